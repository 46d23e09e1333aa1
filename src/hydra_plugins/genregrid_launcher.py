"""Hydra's launcher for one machine: a grid's jobs in one process per core, which import what they need once.

Hydra looks for launchers in the namespace `hydra_plugins` only, hence this module's place.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genregrid.errors import UserError
from genregrid.grid.job import compose_job, folder_of, run_quietly, told_lost, without_hydra
from genregrid.grid.progress import cell_of
from genregrid.parallel.pool import Pool, num_cores

Job = tuple[int, list[str]]


@dataclass
class ProcessLauncherConf:
    """Settings of `ProcessLauncher`, as ``hydra/launcher: processes``."""

    _target_: str = "hydra_plugins.genregrid_launcher.ProcessLauncher"
    workers: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=ProcessLauncherConf, provider="genregrid")


class ProcessLauncher(Launcher):
    """Runs jobs side by side; what a job prints goes into output.txt of its folder.

    Jobs that differ in fold and seed only are handed out ``trainer.stack`` at a time, to be trained as one computation.
    A job that ends its process, for want of memory say, is tried once more by itself, and fails alone.

    Args:
        workers: processes; ``None``: one per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self._context = hydra_context
        self._task = task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run all jobs and return what became of them, in their order."""
        if self._workers is not None and self._workers < 1:
            raise UserError(f"hydra.launcher.workers={self._workers}: 1 process or more, or null for one per core.")
        setup_globals()
        num_workers = self._workers or num_cores()
        jobs = [(initial_job_idx + index, list(overrides)) for index, overrides in enumerate(job_overrides)]
        shared = _Shared(self._context, self._config, _where_found(self._task), Singleton.get_state()["instances"])
        pool = Pool(
            partial(_run_together, shared),
            num_workers,
            ahead=1,  # a stack is long, and a worker that is free may have what another would wait for
            way_out="leave out launcher=local.",
        )
        found: dict[int, JobReturn] = {}
        try:
            with closing(pool.run(self._shares(jobs, num_workers))) as work:
                for share, returned in work:
                    for number, job in enumerate(share):
                        found[job[0]] = self._lost(job) if returned is None else returned[number]
        finally:
            shutil.rmtree(_corpus_folder(self._config), ignore_errors=True)
        return [found[index] for index, _ in jobs]

    def _shares(self, jobs: list[Job], num_workers: int) -> list[list[Job]]:
        """Jobs that one process runs at a time, the largest shares first: the cores then end together."""
        cells: dict[frozenset[str], list[Job]] = {}
        for job in jobs:
            cells.setdefault(cell_of(job[1]), []).append(job)
        shares = []
        for cell in cells.values():
            config = self._context.config_loader.load_sweep_config(self._config, cell[0][1])
            stack = OmegaConf.select(config, "trainer.stack") or 1
            size = max(1, min(stack, -(-len(cell) // num_workers)))
            shares += [cell[start : start + size] for start in range(0, len(cell), size)]
        return sorted(shares, key=len, reverse=True)

    def _lost(self, job: Job) -> JobReturn:
        config = compose_job(self._context, self._config, *job)
        return told_lost(config, job[1], "its process ended: out of memory, or killed")


@dataclass(frozen=True)
class _Shared:
    """What every process is told with every share: all of it is small."""

    context: HydraContext
    config: DictConfig
    task: tuple[str, str, int]
    instances: Any


def _where_found(task: Callable[..., Any]) -> tuple[str, str, int]:
    """Module and name by which another process finds a function, and how many wrappers stand around it.

    The script's ``main`` is Hydra's wrapper of the function that Hydra hands over.
    """
    found = getattr(sys.modules[task.__module__], task.__qualname__, None)
    depth = 0
    while found is not None and found is not task:
        found, depth = getattr(found, "__wrapped__", None), depth + 1
    if found is None:
        raise UserError(f"launcher=local finds no function {task.__qualname__} in {task.__module__}: leave it out.")
    return task.__module__, task.__qualname__, depth


def _run_together(shared: _Shared, share: list[Job]) -> list[JobReturn]:
    """Run a share of the jobs, in a worker process."""
    setup_globals()
    Singleton.set_state(Singleton.get_state() | {"instances": shared.instances})  # resolvers do not travel
    module, name, depth = shared.task
    task: Any = getattr(sys.modules[module], name)
    for _ in range(depth):
        task = task.__wrapped__
    from genregrid.training.build import share_tables  # torch takes seconds to import
    from genregrid.training.fit import STACK_CHECKPOINT
    from genregrid.training.run import train_together

    share_tables(_corpus_folder(shared.config))
    configs = [compose_job(shared.context, shared.config, *job) for job in share]
    if len(share) > 1:
        train_together([(without_hydra(job), folder_of(job), job.hydra.runtime.choices.model) for job in configs])
    returned = [run_quietly(shared.context, task, config) for config in configs]
    (folder_of(configs[0]) / STACK_CHECKPOINT).unlink(missing_ok=True)
    return returned


def _corpus_folder(config: DictConfig) -> Path:
    """Where processes share the tables that they read, while the grid runs."""
    return Path(str(config.hydra.sweep.dir)) / "corpus"
