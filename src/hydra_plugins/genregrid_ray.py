"""Hydra's launcher for a Ray cluster, as ``launcher=ray``: each job of a grid is a task of Ray.

hydra-ray-launcher is not used: it takes cloudpickle from 3 back to 2, brings boto3 and Ray's dashboard along, and a
process that dies ends its whole grid. Hydra looks for launchers in the namespace `hydra_plugins` only, hence this
module's place.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from genregrid.cluster import Died, connected, each_done


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
    """Runs each job as a task of a Ray cluster; its workers import torch once, and run job after job.

    What a job prints is printed here when it is done. A job whose machine dies is run again; one whose process ends at
    every attempt is told in ``error.txt`` in its run folder.

    Args:
        address: of the cluster, ``auto`` or ``HOST:PORT`` of its head.
        cpus: cores of a job.
        gpus: GPUs of a job, or a part of one.
        memory_gb: memory in GB that a machine must have unclaimed for a job to start there; ``None``: not asked.
    """

    def __init__(self, address: str, cpus: float, gpus: float, memory_gb: float | None) -> None:
        self._address = address
        self._resources: dict[str, Any] = {"cpus": cpus, "gpus": gpus, "memory_gb": memory_gb}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all are done, in the order of the overrides."""
        setup_globals()
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = list(enumerate(map(list, job_overrides), initial_job_idx))
        returned: dict[int, JobReturn] = {}
        with connected(self._address, f"hydra.launcher.address={self._address}"):
            shared = (self, Singleton.get_state())
            for (number, overrides), done in each_done(_run, jobs, *shared, **self._resources):
                if isinstance(done, Died):
                    returned[number], node, text = self._told(number, overrides, done), "no machine", ""
                else:
                    returned[number], node, text = done
                words = " ".join(filter_overrides(overrides))
                print(f"[{len(returned)}/{len(jobs)}] job {number} on {node}: {words}\n{text}", end="", flush=True)
        return [returned[number] for number, _ in jobs]

    def run(self, number: int, overrides: list[str]) -> JobReturn:
        """Run one job in this process."""
        return run_job(
            hydra_context=self._context,
            task_function=self._task,
            config=self._job_config(number, overrides),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def _job_config(self, number: int, overrides: list[str]) -> DictConfig:
        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _told(self, number: int, overrides: list[str], died: Died) -> JobReturn:
        """Leave the reason where a job that fails by itself leaves its own."""
        sentence = f"its process ended at every attempt: out of memory, or a machine that fails ({died.reason})."
        hydra_config = HydraConfig.instance()
        config, before = self._job_config(number, overrides), hydra_config.cfg
        hydra_config.set_config(config)  # a folder's name is made of choices
        folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
        hydra_config.cfg = before
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(sentence + "\n")
        print(f"{folder}: {sentence}", file=sys.stderr, flush=True)
        return JobReturn(overrides=overrides, status=JobStatus.COMPLETED)


def _run(job: tuple[int, list[str]], launcher: RayLauncher, state: Any) -> tuple[JobReturn, str, str]:
    """What a worker runs: the job's return, the node, and what was printed."""
    import ray

    Singleton.set_state(state)
    setup_globals()
    with io.StringIO() as text, redirect_stdout(text), redirect_stderr(text):
        done = launcher.run(*job)
        printed = text.getvalue()
    node = f"{ray.util.get_node_ip_address()} (node {ray.get_runtime_context().get_node_id()[:8]})"
    return done, node, printed
