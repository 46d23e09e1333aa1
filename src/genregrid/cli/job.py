"""A command as the function that Hydra calls for each job, which reports what goes wrong with the job."""

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from traceback import format_exception
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genregrid.cli.mistake import mistake_of, print_mistake
from genregrid.grid.progress import Progress
from genregrid.record.folder import ERROR_FILE
from genregrid.training.devices import is_first_process

Main = Callable[[DictConfig, Path], Any]


class Job:
    """The task function of a script: Hydra and its launchers call it once for each job.

    Launchers send it to other processes. It arrives there without its state, which is about this process.

    Args:
        main: a function of a module; it receives the configuration and the run folder.

    Attributes:
        progress: of the grid; its sweeper sets it. ``None`` for a single run.
        folder: the run folder of the latest job in this process; ``None`` before the first.
        has_failed: whether a job failed in this process.
    """

    def __init__(self, main: Main) -> None:
        update_wrapper(self, main)  # Hydra names the job after the module of `main`
        self._main = main
        self.progress: Progress | None = None
        self.folder: Path | None = None
        self.has_failed = False

    def __reduce__(self) -> Any:
        return Job, (self._main,)

    def __call__(self, cfg: DictConfig) -> Any:
        """Run one job and return its result, or ``None`` where it failed.

        In a grid, every failure is written to error.txt in the run folder, and the other jobs run. Elsewhere, what is
        no mistake of the user raises.
        """
        folder = Path(HydraConfig.get().runtime.output_dir)
        in_grid = HydraConfig.get().mode == RunMode.MULTIRUN
        self.folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        (folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
        try:
            result = self._main(cfg, self.folder)
            if folder.is_dir() and any(folder.iterdir()):
                print(f"run: {self.folder}", flush=True)
            return result
        except Exception as error:
            mistake = mistake_of(error)
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
            if self.progress is not None:
                self.progress.job_ended()
