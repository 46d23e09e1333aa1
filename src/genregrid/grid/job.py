"""One job of a grid, as launchers see it: its configuration, its folder, what it prints, and what if it is lost."""

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
    """The configuration of a job.

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
    """The run folder of a job, whose name is made of its choices."""
    with _as_current(job):
        return Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)


def without_hydra(config: DictConfig) -> DictConfig:
    """A copy of a composed configuration as the task is given it, without Hydra's own part."""
    own = config.copy()
    with open_dict(own):
        del own["hydra"]
    return own


def run_quietly(context: HydraContext, task: Callable[..., Any], job: DictConfig, place: str = "") -> JobReturn:
    """Run a job in this process; what it prints goes into output.txt of its folder.

    Args:
        context: of Hydra.
        task: the function that Hydra hands to launchers.
        job: the configuration, as `compose_job` has it.
        place: where this is, for output.txt; empty where that goes without saying.
    """
    folder = folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / _OUTPUT_FILE
    with output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        if place:
            print(f"on {place}", flush=True)
        done = run_job(
            hydra_context=context,
            task_function=task,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    if list(folder.iterdir()) == [output]:  # it was finished before, elsewhere, or is a trial, which leaves nothing
        shutil.rmtree(folder)
    # without its configs, which the other process would have to know the classes of
    return JobReturn(overrides=done.overrides, status=done.status, _return_value=done._return_value)


def told_lost(job: DictConfig, overrides: Sequence[str], sentence: str) -> JobReturn:
    """Leave the reason where a job that fails by itself leaves its own.

    Args:
        job: the configuration of a job whose process ended.
        overrides: of the job.
        sentence: why.
    """
    folder = folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR_FILE).write_text(f"{sentence}\n", encoding="utf-8")
    return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)


@contextmanager
def _as_current(job: DictConfig) -> Iterator[None]:
    """Let ``${hydra:...}`` stand for what it will in the job."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(job)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
