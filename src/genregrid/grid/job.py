"""One job of a grid, as launchers see it: configuration, run folder, output, and what is written if it is lost."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from genregrid.record.folder import ERROR_FILE

_OUTPUT_FILE = "output.txt"


def compose_job(context: HydraContext, config: DictConfig, number: int, overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of a job.

    Args:
        context: of Hydra.
        config: of the grid.
        number: of the job in the grid.
        overrides: of the job.
    """
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    return job


def folder_of(job: DictConfig) -> Path:
    """Return the run folder of a job; its name comes from the job's settings."""
    with _as_current(job):
        return Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)


def without_hydra(config: DictConfig) -> DictConfig:
    """Copy a composed configuration without Hydra's own part, as the task receives it."""
    own = config.copy()
    with open_dict(own):
        del own["hydra"]
    return own


def run_quietly(context: HydraContext, task: Callable[..., Any], job: DictConfig, place: str = "") -> JobReturn:
    """Run a job in this process, and write what it prints to output.txt in its folder.

    Args:
        context: of Hydra.
        task: the function that Hydra passes to launchers.
        job: the configuration, from `compose_job`.
        place: the machine, for output.txt; empty if it is this one.
    """
    folder = folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / _OUTPUT_FILE
    with output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        if place:
            print(f"on {place}", flush=True)
        returned = run_job(
            hydra_context=context,
            task_function=task,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    if list(folder.iterdir()) == [output]:  # a trial, or a job that another folder holds already
        shutil.rmtree(folder)
    returned.cfg = returned.hydra_cfg = None  # the parent process may not be able to unpickle their classes
    return returned


def record_lost_job(job: DictConfig, overrides: Sequence[str], reason: str) -> JobReturn:
    """Write why a job was lost to error.txt in its folder, where a job that fails writes its own error.

    Args:
        job: the configuration of a job whose process ended.
        overrides: of the job.
        reason: why it ended.
    """
    folder = folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR_FILE).write_text(f"{reason}\n", encoding="utf-8")
    return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)


@contextmanager
def _as_current(job: DictConfig) -> Iterator[None]:
    """Resolve ``${hydra:...}`` for this job."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(job)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
