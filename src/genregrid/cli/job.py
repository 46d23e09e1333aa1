"""A command as the function that Hydra calls for each job, which reports what goes wrong with the job."""

from collections.abc import Callable, Mapping
from functools import cache, update_wrapper
from pathlib import Path
from traceback import format_exception
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genregrid.cli.mistake import mistake_of, output_mistake, print_mistake
from genregrid.errors import is_interruption
from genregrid.grid.progress import Progress
from genregrid.record.folder import ERROR_FILE, is_ours
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.devices import forget_ranks, is_first_process

# Receives the configuration, the run folder, `Job.corpora` and `Job.fitted`.
Main = Callable[[DictConfig, Path, CorpusReader, Mapping[str, Any]], Any]


class Job:
    """The task function of a script: Hydra and its launchers call it once for each job.

    Launchers send it to other processes. It arrives there without its state, which is about this process.

    Attributes:
        corpora: reads the corpora of all jobs in this process.
        fitted: results of fits that a launcher trained together, by identity of their runs; the launcher sets it.
        progress: of the grid; its sweeper sets it. ``None`` for a single run.
        folder: the run folder of the latest job in this process; ``None`` before the first.
        has_failed: whether a job failed in this process.
    """

    def __init__(self, main: Main, corpora: CorpusReader | None = None) -> None:
        update_wrapper(self, main)  # Hydra names the job after the module of `main`
        self._main = main
        self.corpora = corpora or CorpusReader()
        self.fitted: Mapping[str, Any] = {}
        self.progress: Progress | None = None
        self.folder: Path | None = None
        self.has_failed = False

    def __reduce__(self) -> Any:
        return _in_worker, (self._main,)

    def __call__(self, cfg: DictConfig) -> Any:
        """Run one job and return its result, or ``None`` where it failed.

        In a grid, every failure is written to error.txt in the run folder. Elsewhere, a fault of the program
        raises; an error of the system, such as a full disk, is a mistake.
        """
        forget_ranks(in_job=True)  # this may be a process of a cluster
        folder = Path(HydraConfig.get().runtime.output_dir)
        in_grid = HydraConfig.get().mode == RunMode.MULTIRUN
        self.folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        try:
            if in_grid or is_ours(folder):
                (folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
            result = self._main(cfg, self.folder, self.corpora, self.fitted)
            if folder.is_dir() and any(folder.iterdir()):
                print(f"run: {self.folder}", flush=True)
            return result
        except Exception as error:
            if is_interruption(error):
                raise KeyboardInterrupt from error
            mistake = mistake_of(error)
            if mistake is None and isinstance(error, OSError):
                mistake = output_mistake(error, in_grid=in_grid)
            if mistake is None and not in_grid:
                raise
            self.has_failed = True
            sentence = str(mistake or f"{type(error).__name__}: {error}".splitlines()[0])
            print_mistake(f"{self.folder}: {sentence}" if in_grid else sentence)
            if in_grid:
                detail = "" if mistake else f"\n{''.join(format_exception(error))}"
                (folder / ERROR_FILE).write_text(f"{sentence}\n{detail}", encoding="utf-8")
            return None
        finally:
            if is_first_process() and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # nothing was written
            if self.progress is not None and not self.progress.watch:
                self.progress.print_status()


@cache
def worker_corpora(folder: Path | None = None) -> CorpusReader:
    """Return the reader of this worker process; it shares tables in `folder`.

    Its cache is state of the process, because every job arrives as a new copy of `Job`.
    """
    return CorpusReader(folder)


def _in_worker(main: Main) -> Job:
    return Job(main, worker_corpora())
