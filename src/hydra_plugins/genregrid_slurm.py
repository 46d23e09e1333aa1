"""Hydra's launcher for a SLURM cluster, as ``launcher=slurm``: submitit's, with one sentence for each mistake.

Hydra looks for launchers only in the namespace `hydra_plugins`, so this module is here.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from genregrid.errors import UserError

_TARGET = "hydra_plugins.genregrid_slurm.SlurmLauncher"


class SlurmLauncher(Launcher):
    """Submits the jobs of a grid as one array of SLURM jobs, and waits for all of them.

    Args:
        settings: those of ``hydra/launcher: submitit_slurm``.

    Raises:
        UserError: submitit is not installed.
    """

    def __init__(self, **settings: Any) -> None:
        try:
            from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher
        except ModuleNotFoundError:
            hint = 'run `pip install -e ".[slurm]"`'
            raise UserError("it needs submitit", key="launcher", value="slurm", hint=hint) from None
        self._submitit = SubmititLauncher(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to launchers."""
        self._config = config
        self._submitit.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all have ended.

        Raises:
            UserError: this machine cannot submit jobs, or SLURM refused or ended a job.
        """
        from submitit.core.utils import UncompletedJobError

        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise UserError(
                "this machine has no sbatch and srun",
                key="launcher",
                value="slurm",
                hint="run it where jobs are submitted, or add hydra/launcher=submitit_local to run the same jobs in "
                "processes of this machine",
            )
        try:
            returned: Sequence[JobReturn] = self._submitit.launch(job_overrides, initial_job_idx)
        except UncompletedJobError as error:
            sweep = self._config.hydra.sweep.dir
            raise UserError(
                f"SLURM refused or ended a job ({str(error).strip().splitlines()[0]})",
                key="launcher",
                value="slurm",
                hint=f"see the jobs' logs in {sweep}/.submitit; running jobs continue, and `python evaluate.py "
                f"runs={sweep}` reports on what they write",
            ) from error
        return returned


if find_spec("hydra_plugins.hydra_submitit_launcher") is not None:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    @dataclass
    class SlurmLauncherConf(SlurmQueueConf):  # type: ignore[misc]  # untyped
        """Settings of `SlurmLauncher`, as ``hydra/launcher: slurm``."""

        _target_: str = _TARGET

    ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="genregrid")
else:
    for _name in ("slurm", "submitit_local"):
        ConfigStore.instance().store(
            group="hydra/launcher", name=_name, node={"_target_": _TARGET}, provider="genregrid"
        )
