"""Hydra's launcher for a SLURM cluster, as ``launcher=slurm``: submitit's, with one sentence for each mistake."""

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
from genregrid.program import command_name, install_command

_TARGET = "hydra_plugins.genregrid_slurm.SlurmLauncher"


class SlurmLauncher(Launcher):
    """Submits the jobs of a grid as one array of SLURM jobs; has the settings of ``hydra/launcher: submitit_slurm``."""

    def __init__(self, **settings: Any) -> None:
        try:
            from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher
        except ModuleNotFoundError:
            raise _mistake("it needs submitit", f"run `{install_command('slurm')}`") from None
        self._submitit = SubmititLauncher(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to launchers."""
        self._config = config
        self._submitit.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all have ended."""
        from submitit.core.utils import UncompletedJobError

        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            hint = "run it where jobs are submitted, or add hydra/launcher=submitit_local to run jobs on this machine"
            raise _mistake("this machine has no sbatch and srun", hint)
        try:
            returned: Sequence[JobReturn] = self._submitit.launch(job_overrides, initial_job_idx)
        except UncompletedJobError as error:
            sweep = self._config.hydra.sweep.dir
            hint = (
                f"see the jobs' logs in {sweep}/.submitit; running jobs continue, and "
                f"`{command_name('evaluate')} runs={sweep}` reports on what they write"
            )
            raise _mistake(f"SLURM refused or ended a job ({str(error).strip().splitlines()[0]})", hint) from error
        return returned


def _mistake(problem: str, hint: str) -> UserError:
    return UserError(problem, key="launcher", value="slurm", hint=hint)


if find_spec("hydra_plugins.hydra_submitit_launcher") is not None:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    @dataclass
    class SlurmLauncherConf(SlurmQueueConf):  # type: ignore[misc]  # untyped
        """Settings of `SlurmLauncher`, as ``hydra/launcher: slurm``."""

        _target_: str = _TARGET

    ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="genregrid")
else:
    for _name in ("slurm", "submitit_local"):
        node = {"_target_": _TARGET}
        ConfigStore.instance().store(group="hydra/launcher", name=_name, node=node, provider="genregrid")
