"""Hydra's launcher for a Ray cluster, as ``launcher=ray``: each job of a grid is a task of Ray.

hydra-ray-launcher is not used: it downgrades cloudpickle from 3 to 2, installs boto3 and Ray's dashboard, and a process
that dies ends its whole grid. Hydra looks for launchers only in the namespace `hydra_plugins`, so this module is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from genregrid.grid.job import Grid
from genregrid.parallel.ray_cluster import LostTask, connected, each_done


@dataclass
class RayLauncherConf:
    """Settings of `RayLauncher`, as ``hydra/launcher: ray``."""

    _target_: str = "hydra_plugins.genregrid_ray.RayLauncher"
    address: str = "auto"
    cpus: float = 1
    gpus: float = 0
    memory_gb: float | None = None


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="genregrid")


class RayLauncher(Launcher):
    """Runs each job as a task of a Ray cluster, in worker processes that import torch once.

    The output of a job is in output.txt of its folder. If the machine of a job dies, the job runs again. If its process
    ends at every attempt, error.txt has the reason.

    Args:
        address: of the cluster, ``auto`` or ``HOST:PORT`` of its head.
        cpus: cores of a job.
        gpus: GPUs of a job, or a fraction of one.
        memory_gb: free memory in GB that a machine must have before a job starts there; ``None``: not checked.
    """

    def __init__(self, address: str, cpus: float, gpus: float, memory_gb: float | None) -> None:
        self._address = address
        self._resources: dict[str, Any] = {"cpus": cpus, "gpus": gpus, "memory_gb": memory_gb}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to launchers."""
        self._grid = Grid(hydra_context, config, task_function)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all have ended, in the order of the overrides."""
        setup_globals()
        Path(str(self._grid.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = list(enumerate(map(list, job_overrides), initial_job_idx))
        returned: dict[int, JobReturn] = {}
        with connected(self._address, "hydra.launcher.address"):
            shared = (self._grid, Singleton.get_state())
            for job, done in each_done(_run, jobs, *shared, **self._resources):
                if isinstance(done, LostTask):
                    reason = f"out of memory, or a machine that fails ({done.reason})"
                    done = self._grid.record_lost_job(*job, f"its process ended at every attempt: {reason}")
                returned[job[0]] = done
        return [returned[number] for number, _ in jobs]


def _run(job: tuple[int, list[str]], grid: Grid, state: Any) -> JobReturn:
    """Run a job in a worker process of the cluster."""
    import ray

    Singleton.set_state(state)
    setup_globals()
    place = f"{ray.util.get_node_ip_address()} (node {ray.get_runtime_context().get_node_id()[:8]})"
    return grid.run(grid.compose(*job), place)
