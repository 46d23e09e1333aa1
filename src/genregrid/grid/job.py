"""The jobs of a grid, as launchers see them: configuration, run folder, output, and what is written for a lost job."""

import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from genregrid.record.folder import ERROR_FILE


@dataclass(frozen=True)
class Grid:
    """What Hydra passes to launchers. It goes to worker processes as a whole.

    `config` is that of the grid; `task` runs a job.
    """

    context: HydraContext
    config: DictConfig
    task: TaskFunction

    def compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Compose the configuration of a job; its number is its place in the grid, from 0."""
        job = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        return job

    def run(self, job: DictConfig, place: str = "") -> JobReturn:
        """Run a composed job in this process; write its `place` and what it prints to output.txt in its folder."""
        folder = folder_of(job)
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / "output.txt"
        with output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            if place:
                print(f"on {place}", flush=True)
            returned = run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=job,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        if list(folder.iterdir()) == [output]:  # a trial, or a job that another folder holds already
            shutil.rmtree(folder)
        returned.cfg = returned.hydra_cfg = None  # the parent process may not be able to unpickle their classes
        return returned

    def record_lost_job(self, number: int, overrides: Sequence[str], reason: str) -> JobReturn:
        """Write why the process of a job ended to error.txt in its folder, where a job that fails writes its error."""
        folder = folder_of(self.compose(number, overrides))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR_FILE).write_text(f"{reason}\n", encoding="utf-8")
        return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)


def folder_of(job: DictConfig) -> Path:
    """Return the run folder of a job; its name comes from the job's settings."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(job)  # ${hydra:...} in the folder's name is about this job
    try:
        return Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)
    finally:
        hydra.cfg = before


def without_hydra(config: DictConfig) -> DictConfig:
    """Copy a composed configuration without Hydra's own part, as the task receives it."""
    own = config.copy()
    with open_dict(own):
        del own["hydra"]
    return own
