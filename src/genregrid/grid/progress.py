"""A grid's folder tells how far the grid is: what is done, what failed, what is best, and where to go on.

Jobs may run here, in other processes or on other machines; all that they share is this folder. A run folder begins with
config.yaml and ends with run.json or, where it failed, with error.txt.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import OmegaConf
from tqdm import tqdm

from genregrid.record.facts import RunFacts
from genregrid.record.folder import ERROR_FILE, run_folders, why_failed

# What the runs of a cell differ in.
_IN_CELL = ("seed", "split.seed", "split.fold", "split.val_fold")
# What may be said differently when a grid goes on: nothing of what comes out depends on it.
_MAY_DIFFER = ("resume=", "launcher=", "logger", "hydra", "trainer.progress_bar=", "trainer.threads=")
_SECONDS_BETWEEN_LOOKS = 1.0
_Cell = tuple[str, frozenset[tuple[str, str]]]  # name and settings
_BAR_FORMAT = "grid |{bar:20}| {n_fmt} of {total_fmt} jobs, {remaining} left{postfix}"


@dataclass(frozen=True)
class Standing:
    """How far a grid is.

    Attributes:
        done: finished run folders.
        begun: run folders that are not finished.
        failed: sentence by run folder.
        accuracy: mean accuracy on validation tracks by cell, such as ``lstm-slice3-track``; the best first.
    """

    done: list[Path] = field(default_factory=list)
    begun: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)


class Progress:
    """Looks at a grid's folder and tells how far the grid is; a context in which its jobs are launched.

    Args:
        folder: of the grid.
        num_jobs: jobs of the grid, those included that were finished before.
        watch: whether to look all the time, as a bar on a terminal and else as lines; without it `tell` does.
    """

    current: "Progress | None" = None

    def __init__(self, folder: Path, num_jobs: int, watch: bool) -> None:
        self.folder = folder
        self._num_jobs = num_jobs
        self._watch = watch
        self._read: dict[Path, tuple[_Cell, float | None]] = {}
        self._ended = threading.Event()
        self._begun = time.monotonic()
        self._num_before = len(self.standing().done)

    def __enter__(self) -> "Progress":
        Progress.current = self
        if self._watch:
            self._thread = threading.Thread(target=self._look_on, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._watch:
            self._thread.join()
            if not sys.stderr.isatty():
                self.tell()

    def standing(self) -> Standing:
        """Read the folder; a finished run is read once."""
        done, begun, failed, scores = [], [], {}, dict[_Cell, list[float]]()
        for run, names in sorted(run_folders(self.folder)):
            with suppress(FileNotFoundError):  # a job began again just now
                if "run.json" in names:
                    if run not in self._read:
                        self._read[run] = _cell_and_score(run / "run.json")
                    done.append(run)
                    cell, score = self._read[run]
                    if score is not None:
                        scores.setdefault(cell, []).append(score)
                elif ERROR_FILE in names:
                    failed[run] = why_failed(run)
                else:
                    begun.append(run)
        means = {_told(cell, scores): sum(values) / len(values) for cell, values in scores.items()}
        return Standing(done, begun, failed, dict(sorted(means.items(), key=lambda item: -item[1])))

    def tell(self) -> None:
        """Print a line: cells done and failed, time left, best so far."""
        standing = self.standing()
        num_done, num_failed = len(standing.done), len(standing.failed)
        num_left = max(self._num_jobs - num_done - num_failed, 0)
        words = [f"{num_done} of {self._num_jobs} jobs done", f"{num_failed} failed", *self._best(standing)]
        num_new = num_done - self._num_before
        if num_new > 0 and num_left > 0:
            seconds = (time.monotonic() - self._begun) / num_new * num_left
            words.insert(2, f"{tqdm.format_interval(seconds)} left")
        if standing.begun:
            words.insert(2, f"{len(standing.begun)} begun")
        print(f"grid: {', '.join(words)}", flush=True)

    def job_ended(self) -> None:
        """Tell the standing after a job that ran in this process, unless a bar does."""
        if not self._watch:
            self.tell()

    def conclude(self) -> bool:
        """Print the grid's folder, behind what failed in it and why; whether something did."""
        failed = self.standing().failed
        if failed:
            print(f"{len(failed)} of {self._num_jobs} jobs failed:", file=sys.stderr)
            runs_by_sentence: dict[str, list[Path]] = {}
            for run, sentence in sorted(failed.items()):
                runs_by_sentence.setdefault(sentence, []).append(run)
            for sentence, runs in runs_by_sentence.items():
                more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
                print(f"  {runs[0]}{more}: {sentence}", file=sys.stderr)
        print(f"run: {self.folder}")
        return bool(failed)

    def _best(self, standing: Standing) -> list[str]:
        return [f"best {cell} {100 * value:.1f} % of validation" for cell, value in standing.accuracy.items()][:1]

    def _look_on(self) -> None:
        if not sys.stderr.isatty():
            told = (-1, -1)
            while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
                standing = self.standing()
                if (now := (len(standing.done) + len(standing.failed), len(standing.begun) > 0)) != told:
                    self.tell()
                told = now
            return
        with tqdm(total=self._num_jobs, initial=self._num_before, bar_format=_BAR_FORMAT) as bar:
            ended = False
            while not ended:
                ended = self._ended.wait(_SECONDS_BETWEEN_LOOKS)
                standing = self.standing()
                bar.n = len(standing.done) + len(standing.failed)
                bar.set_postfix_str(", ".join([f"{len(standing.failed)} failed", *self._best(standing)]))


def _cell_and_score(path: Path) -> tuple[_Cell, float | None]:
    """The cell of a finished run, and its accuracy on validation tracks."""
    content = json.loads(path.read_text(encoding="utf-8"))
    facts = RunFacts.from_json(content, path)
    settings = facts.settings | {"dataset": facts.dataset_label}
    cell = (facts.cell_title, frozenset((key, str(value)) for key, value in settings.items()))
    return cell, content.get("val_accuracy")


def _told(cell: _Cell, cells: Iterable[_Cell]) -> str:
    """A cell's name, and the settings that tell it apart from others of that name."""
    name, settings = cell
    common = frozenset.intersection(*(others for other, others in cells if other == name))
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(settings - common))])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, which `timeout` and schedulers send, end a grid as ctrl-C does."""

    def answer(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may answer
        return
    before = signal.signal(signal.SIGTERM, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def cell_of(overrides: Iterable[str]) -> frozenset[str]:
    """A job's overrides but for folds and seeds: equal for the jobs of a cell.

    >>> sorted(cell_of(["model=mlp", "seed=0", "split.fold=3"]))
    ['model=mlp']
    """
    return frozenset(word for word in overrides if word.split("=")[0].lstrip("+") not in _IN_CELL)


def earlier_folder(folder: Path, words: Iterable[str]) -> Path | None:
    """The newest grid beside `folder` that was begun by the same overrides, but for what changes no result.

    Args:
        folder: where a new grid would be written.
        words: the overrides of the command line.
    """
    wanted = _said(words)
    begun = sorted(folder.parent.glob("*/multirun.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in begun:
        config: Any = OmegaConf.load(path)
        overrides = config.hydra.overrides
        if _said([*overrides.hydra, *overrides.task]) == wanted:
            return path.parent
    return None


def forget_failures(folder: Path) -> None:
    """Have the failed jobs of a grid count as not begun: they are tried again."""
    for run, _ in run_folders(folder):
        (run / ERROR_FILE).unlink(missing_ok=True)


def _said(words: Iterable[str]) -> set[str]:
    return {word for word in words if not word.lstrip("+~").startswith(_MAY_DIFFER)}
