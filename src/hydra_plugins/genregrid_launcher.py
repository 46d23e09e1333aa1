"""Hydra's launchers for one machine (``launcher=local``) and for a Ray cluster (``launcher=ray``).

Processes import torch once and run job after job. Hydra looks for launchers only in the namespace `hydra_plugins`.
hydra-ray-launcher is not used: it downgrades cloudpickle from 3 to 2, installs boto3 and Ray's dashboard, and a process
that dies ends its whole grid.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.job import Job, worker_corpora
from genregrid.cli.mistake import output_mistake
from genregrid.errors import UserError
from genregrid.grid.job import Grid, folder_of, without_hydra
from genregrid.grid.progress import cell_of
from genregrid.parallel.pool import Pool, num_cores
from genregrid.parallel.ray_cluster import LostTask, connected, each_done

NumberedJob = tuple[int, list[str]]  # and its overrides


@dataclass
class _ProcessLauncherConf:
    _target_: str = "hydra_plugins.genregrid_launcher.ProcessLauncher"
    workers: int | None = None


@dataclass
class _RayLauncherConf:
    _target_: str = "hydra_plugins.genregrid_launcher.RayLauncher"
    address: str = "auto"
    cpus: float = 1
    gpus: float = 0
    memory_gb: float | None = None


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=_ProcessLauncherConf, provider="genregrid")
ConfigStore.instance().store(group="hydra/launcher", name="ray", node=_RayLauncherConf, provider="genregrid")


class _Launcher(Launcher):
    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to launchers."""
        self._grid = Grid(hydra_context, config, task_function)


class ProcessLauncher(_Launcher):
    """Runs jobs side by side; the output of a job is in output.txt of its folder.

    Jobs that differ only in fold and seed are given to a process ``trainer.stack`` at a time, and trained as one
    computation. If a job ends its process, for example because memory is full, it runs once more alone, and only it
    fails. ``workers=None``: one process per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise UserError("1 process or more, or null for one per core", key="hydra.launcher.workers", value=workers)
        self._num_workers = workers or num_cores()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run all jobs and return their results, in the order of the overrides."""
        setup_globals()
        jobs = list(enumerate(map(list, job_overrides), initial_job_idx))
        run_stack = _StackRunner(self._grid, Singleton.get_state()["instances"])
        # ahead=1: a stack takes long, and an idle process may run what another one would keep waiting
        pool = Pool(run_stack, self._num_workers, ahead=1, hint="leave out launcher=local")
        returned: dict[int, JobReturn] = {}
        try:
            with closing(pool.run(self._stacks(jobs))) as results:
                for stack, of_stack in results:
                    if of_stack is None:
                        reason = "its process ended: out of memory, or killed"
                        of_stack = [self._grid.record_lost_job(*job, reason) for job in stack]
                    returned |= {number: result for (number, _), result in zip(stack, of_stack, strict=True)}
        finally:
            shutil.rmtree(run_stack.corpus_folder, ignore_errors=True)
        return [returned[number] for number, _ in jobs]

    def _stacks(self, jobs: list[NumberedJob]) -> list[list[NumberedJob]]:
        """Group jobs that one process runs together, the largest groups first: all cores then end at about one time."""
        cells: dict[frozenset[str], list[NumberedJob]] = {}
        for job in jobs:
            cells.setdefault(cell_of(job[1]), []).append(job)
        stacks = []
        for cell in cells.values():
            config = self._grid.compose(*cell[0])
            stack = OmegaConf.select(config, "trainer.stack") or 1
            size = max(1, min(stack, -(-len(cell) // self._num_workers)))
            stacks += [cell[start : start + size] for start in range(0, len(cell), size)]
        return sorted(stacks, key=len, reverse=True)


@dataclass(frozen=True)
class _StackRunner:
    """What a process needs to run stacks of jobs; small, because each stack of jobs is sent with it."""

    grid: Grid
    instances: Any

    @property
    def corpus_folder(self) -> Path:
        """Where processes share the tables that they read, while the grid runs."""
        return Path(str(self.grid.config.hydra.sweep.dir)) / "corpus"

    def __call__(self, stack: list[NumberedJob]) -> list[JobReturn]:
        """Run a stack of jobs, in a worker process."""
        setup_globals()
        Singleton.set_state(Singleton.get_state() | {"instances": self.instances})  # resolvers cannot be pickled
        from genregrid.training.run import train_together  # torch takes seconds to import
        from genregrid.training.stack import STACK_CHECKPOINT

        configs = [self.grid.compose(*job) for job in stack]
        task = self.grid.task
        if isinstance(task, Job):
            task.corpora = worker_corpora(self.corpus_folder)
            if len(stack) > 1:
                runs = [(without_hydra(job), folder_of(job), job.hydra.runtime.choices.model) for job in configs]
                try:
                    task.fitted = train_together(runs, task.corpora)
                except OSError as error:  # no room for the checkpoint of the stack
                    reason = str(output_mistake(error, in_grid=True))
                    return [self.grid.record_lost_job(*job, reason) for job in stack]
        returned = [self.grid.run(config) for config in configs]
        with suppress(IsADirectoryError, PermissionError):  # a folder of this name is not ours
            (folder_of(configs[0]) / STACK_CHECKPOINT).unlink(missing_ok=True)
        return returned


class RayLauncher(_Launcher):
    """Runs each job as a task of a Ray cluster, in worker processes that import torch once.

    The output of a job is in output.txt of its folder. If the machine of a job dies, the job runs again. If its process
    ends at every attempt, error.txt has the reason. conf/launcher/ray.yaml explains the settings.
    """

    def __init__(self, address: str, cpus: float, gpus: float, memory_gb: float | None) -> None:
        self._address = address
        self._resources: dict[str, Any] = {"cpus": cpus, "gpus": gpus, "memory_gb": memory_gb}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all have ended, in the order of the overrides."""
        setup_globals()
        Path(str(self._grid.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = list(enumerate(map(list, job_overrides), initial_job_idx))
        returned: dict[int, JobReturn] = {}
        with connected(self._address, "hydra.launcher.address"):
            shared = (self._grid, Singleton.get_state())
            for job, done in each_done(_run_on_cluster, jobs, *shared, **self._resources):
                if isinstance(done, LostTask):
                    reason = f"out of memory, or a machine that fails ({done.reason})"
                    done = self._grid.record_lost_job(*job, f"its process ended at every attempt: {reason}")
                returned[job[0]] = done
        return [returned[number] for number, _ in jobs]


def _run_on_cluster(job: NumberedJob, grid: Grid, state: Any) -> JobReturn:
    """Run a job in a worker process of the cluster."""
    import ray

    Singleton.set_state(state)
    setup_globals()
    place = f"{ray.util.get_node_ip_address()} (node {ray.get_runtime_context().get_node_id()[:8]})"
    return grid.run(grid.compose(*job), place)
