"""The progress of a grid, read from its folder: finished and failed jobs, the best cell, and which grid to resume.

The folder is all that jobs on other machines share. A run folder has run.json in the end, or error.txt if it failed.
"""

import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from genregrid.errors import UserError, printable
from genregrid.files import parse_yaml, read_bytes
from genregrid.models.argument import is_number
from genregrid.program import next_line
from genregrid.record.facts import RunFacts
from genregrid.record.folder import ERROR_FILE, read_run_json, run_folders, why_failed

# The settings in which the runs of a cell differ.
_IN_CELL = ("seed", "split.seed", "split.fold", "split.val_fold")
# Overrides that may differ when a grid is resumed: no result depends on them, except last digits on threads.
_MAY_DIFFER = ("resume=", "launcher=", "logger", "hydra", "trainer.progress_bar=", "trainer.threads=")
# The results of evaluations that are no runs.
_OTHER_RESULTS = {"report.html", "recordings.csv"}
_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_BYTES = 2**20  # of multirun.yaml; 20 kilobytes are usual
_Cell = tuple[str, frozenset[tuple[str, str]]]  # name and settings
_BAR_FORMAT = "grid |{bar:20}| {n_fmt} of {total_fmt} jobs, {remaining} left{postfix}"


@dataclass(frozen=True)
class GridStatus:
    """The run folders of finished, started and failed jobs (with the reason), and the accuracy so far.

    It is the mean over validation tracks by cell, such as ``lstm-slice3-track``; the best is first.
    """

    done: list[Path]
    started: list[Path]
    failed: dict[Path, str]
    accuracy: dict[str, float]


class Progress:
    """Shows the progress of a grid; a context in which its jobs are launched.

    Args:
        folder: of the grid.
        num_jobs: jobs of the grid, including those that were finished before.
        watch: whether to look at the folder all the time, and to show a bar on a terminal, else lines; if not, each
            job calls `print_status` at its end.
        how_to_resume: what resumes the grid, for the message after ctrl-C.
    """

    def __init__(
        self, folder: Path, num_jobs: int, watch: bool, how_to_resume: str = "resume=true resumes the grid"
    ) -> None:
        self.folder = folder
        self.how_to_resume = how_to_resume
        self._num_jobs = num_jobs
        self.watch = watch
        self._read: dict[Path, tuple[_Cell, float | None]] = {}
        self._ended = threading.Event()
        self._start = time.monotonic()
        self._num_before = len(self.status().done)

    def __enter__(self) -> "Progress":
        if self.watch:
            self._thread = threading.Thread(target=self._watch_folder, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self.watch:
            self._thread.join()
            if not sys.stderr.isatty():
                self.print_status()

    def status(self) -> GridStatus:
        """Read the folder; each finished run is read once."""
        done, started, failed, scores = [], [], {}, defaultdict[_Cell, list[float]](list)
        for run, names in sorted(run_folders(self.folder, _OTHER_RESULTS)):
            with suppress(OSError):  # a job that failed earlier was started again at this moment, or a disk fails
                if "run.json" in names:
                    if run not in self._read:
                        try:
                            self._read[run] = _cell_and_score(run / "run.json")
                        except UserError as error:  # damaged after the run
                            failed[run] = str(error)
                            continue
                    done.append(run)
                    cell, score = self._read[run]
                    if score is not None:
                        scores[cell].append(score)
                elif names & _OTHER_RESULTS:
                    done.append(run)
                elif ERROR_FILE in names:
                    failed[run] = why_failed(run)
                else:
                    started.append(run)
        means = {_name(cell, scores): sum(values) / len(values) for cell, values in scores.items()}
        return GridStatus(done, started, failed, dict(sorted(means.items(), key=lambda item: -item[1])))

    def print_status(self) -> None:
        """Print a line: jobs finished, failed and started, time left, the best cell so far."""
        status = self.status()
        num_done, num_failed = len(status.done), len(status.failed)
        num_left = max(self._num_jobs - num_done - num_failed, 0)
        parts = [f"{num_done} of {self._num_jobs} jobs done", f"{num_failed} failed"]
        if status.started:
            parts.append(f"{len(status.started)} started")
        num_new = num_done - self._num_before
        if num_new > 0 and num_left > 0:
            seconds = (time.monotonic() - self._start) / num_new * num_left
            parts.append(f"{tqdm.format_interval(seconds)} left")
        print(f"grid: {', '.join([*parts, *_best(status)])}", flush=True)

    def conclude(self) -> bool:
        """Print which jobs failed and why, then the grid's folder; return whether a job failed."""
        failed = self.status().failed
        if failed:
            print(f"{len(failed)} of {self._num_jobs} jobs failed:", file=sys.stderr)
            runs_by_reason = defaultdict[str, list[Path]](list)
            for run, reason in sorted(failed.items()):
                runs_by_reason[reason].append(run)
            for reason, runs in runs_by_reason.items():
                more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
                print(f"  {runs[0]}{more}: {reason}", file=sys.stderr)
        if any((run / "run.json").is_file() for run in self.status().done):
            print(next_line("evaluate", f"runs={self.folder}"))
        print(f"run: {self.folder}")
        return bool(failed)

    def _watch_folder(self) -> None:
        if sys.stderr.isatty():
            self._show_bar()
            return
        shown = (-1, False)
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            status = self.status()
            now = (len(status.done) + len(status.failed), len(status.started) > 0)
            if now != shown:
                self.print_status()
            shown = now

    def _show_bar(self) -> None:
        with tqdm(total=self._num_jobs, initial=self._num_before, bar_format=_BAR_FORMAT) as bar:
            has_ended = False
            while not has_ended:
                has_ended = self._ended.wait(_SECONDS_BETWEEN_LOOKS)
                status = self.status()
                bar.n = len(status.done) + len(status.failed)
                bar.set_postfix_str(", ".join([f"{len(status.failed)} failed", *_best(status)]))


def _best(status: GridStatus) -> list[str]:
    best = list(status.accuracy.items())[:1]
    return [f"best {printable(cell)} {100 * value:.1f} % of validation" for cell, value in best]


def _cell_and_score(path: Path) -> tuple[_Cell, float | None]:
    """Read the cell of a finished run, and its accuracy on validation tracks."""
    content = read_run_json(path)
    facts = RunFacts.from_json(content, path)
    settings = facts.settings | {"dataset": facts.dataset_label}
    cell = (facts.cell_title, frozenset((key, str(value)) for key, value in settings.items()))
    score = content.get("val_accuracy")
    return cell, score if is_number(score, 0, 1) else None


def _name(cell: _Cell, cells: Iterable[_Cell]) -> str:
    """Name a cell, with the settings in which it differs from others of that name."""
    name, settings = cell
    common = frozenset.intersection(*(others for other, others in cells if other == name))
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(settings - common))])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a grid as ctrl-C does: `timeout` and schedulers send it."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set a handler
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def cell_of(overrides: Iterable[str]) -> frozenset[str]:
    """Return a job's overrides without folds and seeds: they are equal for all jobs of a cell.

    >>> sorted(cell_of(["model=mlp", "seed=0", "split.fold=3"]))
    ['model=mlp']
    """
    return frozenset(override for override in overrides if override.split("=")[0].lstrip("+") not in _IN_CELL)


def earlier_folder(folder: Path, overrides: Iterable[str]) -> Path | None:
    """Find the newest grid beside `folder` that was started by the same overrides, except those without any effect."""
    wanted = _with_effect(overrides)
    grids = sorted(folder.parent.glob("*/multirun.yaml"), key=_modified, reverse=True)
    return next((path.parent for path in grids if _with_effect(_overrides_in(path)) == wanted), None)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a grid that is removed at this moment
        return 0


def _overrides_in(path: Path) -> list[str]:
    """Read the overrides of a grid from its multirun.yaml; none from a file that is damaged."""
    try:
        overrides = parse_yaml(read_bytes(path, most_bytes=_MOST_BYTES), path)["hydra"]["overrides"]
        return [str(override) for override in [*overrides["hydra"], *overrides["task"]]]
    except (UserError, KeyError, TypeError):
        return []


def forget_failures(folder: Path) -> None:
    """Delete error.txt of the failed jobs of a grid, so that they run again."""
    for run, _ in run_folders(folder):
        (run / ERROR_FILE).unlink(missing_ok=True)


def _with_effect(overrides: Iterable[str]) -> set[str]:
    return {override for override in overrides if not override.lstrip("+~").startswith(_MAY_DIFFER)}
