"""One case: what is tried, and the verdict on how it ended."""

import csv
import json
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.faults.mutation import MARKUP, SECRET
from tests.faults.process import Command, Done
from tests.faults.workshop import Workshop, environment, numbers_in

#: The most characters that a command may print about a mistake.
MOST_CHARACTERS = 1000
#: The most memory that a command may take on inputs as small as these; about 0.4 GB of it are imports.
MOST_BYTES = 1_500_000_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Trial:
    """What one case runs, and what may come out.

    Attributes:
        mutation: what was changed, for the reader of a failure.
        steps: commands, one after another; those of a step run at the same time. The last step is judged.
        honest: the numbers that must come out, by file; ``None``: only that they are finite.
        must_fail: whether the input is illegal, so that the command must refuse it.
        may_differ: whether the input may be another well-formed one, with other numbers.
        names: parts of a note that excuse other numbers: the command says what it left out.
        read: reads the numbers of the finished case from its folder.
        codes: exit codes besides 2 that are right.
        skips: whether it may print one sentence for each recording that it skips.
        anywhere: whether the command line names where to write.
        killed: whether the numbers must be there even after exit code 2, as an earlier step may have finished.
        judge_all: whether every step is judged; the last step must bring the numbers.
        most_bytes: of memory.
    """

    mutation: str
    steps: Sequence[Sequence[Command]]
    honest: Mapping[str, bytes] | None = None
    must_fail: bool = False
    may_differ: bool = False
    names: Sequence[str] = ()
    read: Callable[[Path], Mapping[str, bytes]] = lambda folder: numbers_in(folder / "out")
    codes: Sequence[int] = (0,)
    skips: bool = False
    anywhere: bool = False
    killed: bool = False
    judge_all: bool = False
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True)
class Verdict:
    """How a case ended; `lost` is the reason, empty where it survived."""

    area: str
    number: int
    mutation: str
    lost: str
    done: list[Done] = field(default_factory=list)

    @property
    def reproduction(self) -> str:
        """Return the command that runs this case alone."""
        return f"python benchmarks/torture.py --area {self.area} --case {self.number}"

    def __str__(self) -> str:
        return f"{self.area} {self.number}: {self.mutation}: {self.lost or 'survived'}"


Area = Callable[[Workshop, Random, int, Path], Trial]


def try_case(area: str, make: Area, number: int, workshop: Workshop) -> Verdict:
    """Prepare case `number` of an area, run it, and return the verdict; the number is the seed of the case."""
    folder = workshop.case_folder(f"{area}-{number}".replace(" ", "-"))
    trial = make(workshop, Random(f"{area} {number}"), number, folder)
    before = set(folder.rglob("*"))
    done: list[Done] = []
    earlier: list[Done] = []
    for step in trial.steps:
        earlier += done
        done = workshop.server.run(*(replace(one, environment=environment() | dict(one.environment)) for one in step))
    try:
        judged = [*(earlier if trial.judge_all else ()), *done]
        lost = next((fault for one in judged if (fault := _fault(one, trial))), "")
        lost = lost or _folder_fault(folder, before, done, trial)
    except Exception:
        lost = "the outputs cannot be read: " + traceback.format_exc(limit=-1).replace("\n", " ")
    return Verdict(area, number, trial.mutation, lost, done)


def _fault(done: Done, trial: Trial) -> str:
    """Return what is wrong with how a command ended; empty if nothing is."""
    if done.hung:
        return f"hangs: no end after {done.seconds:.0f} s"
    if done.code < 0:
        return f"signal {-done.code}"
    for text in (done.out, done.err):
        if SECRET in text:
            return "prints a variable of the environment"
        if not all(line.replace("\t", " ").isprintable() for line in text.split("\n")):
            return f"prints control characters: {text[:200]!r}"
    if "Traceback" in done.out + done.err or done.code not in (2, *trial.codes):
        last = [line for line in done.err.splitlines() if line.strip()][-1:]
        return f"exit {done.code}: {(last or [''])[0][:300]}"
    if done.touched and not trial.anywhere:
        return f"touches {done.touched[0]}"
    if done.peak_bytes > trial.most_bytes:
        return f"takes {done.peak_bytes / 1e9:.1f} GB"
    if done.code == 2:
        lines = done.err.strip().splitlines()
        if len(lines) != 1 and not (trial.skips and lines):
            return f"{len(lines)} lines instead of one sentence: {done.err[:300]!r}"
        if max(map(len, lines)) > MOST_CHARACTERS:
            return f"a message of {max(map(len, lines))} characters"
    if done.code in trial.codes and trial.must_fail:
        return "accepted, and must be refused"
    return ""


def _folder_fault(folder: Path, before: set[Path], done: Sequence[Done], trial: Trial) -> str:
    """Return what is wrong with the files after a case; empty if nothing is."""
    allowed = tuple(str(folder / name) for name in ("out", "home", "temporary"))
    for path in folder.rglob("*"):
        if path not in before and not trial.anywhere and not str(path).startswith(allowed):
            return f"writes outside of the run folder: {path.relative_to(folder)}"
    if fault := inert_fault(folder / "out"):
        return fault
    if not trial.killed and all(one.code not in trial.codes for one in done):
        return ""
    numbers = trial.read(folder)
    if trial.honest is not None and not numbers:
        return "exit 0 and no numbers"
    if fault := finite_fault(folder / "out"):
        return fault
    if trial.honest is None or trial.may_differ or numbers == trial.honest:
        return ""
    text = "".join(one.out + one.err for one in done)
    if trial.names and any(name in text for name in trial.names):
        return ""
    differing = sorted(name for name in {*numbers, *trial.honest} if numbers.get(name) != trial.honest.get(name))
    return f"other numbers than the honest input: {', '.join(differing)[:200]}"


def inert_fault(out: Path) -> str:
    """Return which written file another program would run or which one holds a secret; empty if none does."""
    for path in out.rglob("*") if out.is_dir() else ():
        if not path.is_file() or path.stat().st_size > 20_000_000 or path.suffix in (".ckpt", ".png", ".npy", ".wav"):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        if SECRET in text:
            return f"{path.name} holds a variable of the environment"
        if path.suffix in (".md", ".html", ".svg") and MARKUP in text:
            return f"{path.name} holds {MARKUP}"
        if path.suffix == ".csv":
            for row in csv.reader(text.splitlines()):
                for cell in row:
                    if (
                        cell[:1] in ("=", "+", "-", "@", "\t", "\r")
                        and not _NUMBER.fullmatch(cell)
                        and cell not in ("-inf",)
                    ):
                        return f"{path.name} has the cell {cell[:40]!r}"
    return ""


def finite_fault(out: Path) -> str:
    """Return which score below a folder is no number or out of range; empty if none is."""
    for path in out.rglob("metrics.json") if out.is_dir() else ():
        for name, value in json.loads(path.read_text(encoding="utf-8")).items():
            if value is not None and not math.isfinite(value):
                return f"{name} is {value}"
            if "accuracy" in name and value is not None and not 0 <= value <= 1:
                return f"{name} is {value}"
    for path in out.rglob("predictions.csv") if out.is_dir() else ():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                probs = [float(value) for key, value in row.items() if key and key.startswith("p_")]
                if probs and not abs(sum(probs) - 1) < 1e-3:
                    return f"probabilities of {row.get('track')} sum to {sum(probs)}"
    return ""
