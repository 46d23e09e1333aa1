"""Hydra's launcher for a SLURM cluster, as ``launcher=slurm``: submitit's, with a sentence for each mistake.

Hydra looks for launchers in the namespace `hydra_plugins` only, hence this module's place.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from genregrid.errors import UserError

try:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititLauncher
except ModuleNotFoundError:  # an extra
    SlurmQueueConf, SubmititLauncher = object, BasicLauncher
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True


class SlurmLauncher(SubmititLauncher):  # type: ignore[misc]  # untyped
    """Submits the jobs of a grid as one array of SLURM jobs, and waits for all.

    Args:
        settings: those of ``hydra/launcher: submitit_slurm``.

    Raises:
        UserError: submitit is not installed.
    """

    def __init__(self, **settings: Any) -> None:
        if not _IS_INSTALLED:
            raise UserError('launcher=slurm needs submitit: `pip install -e ".[slurm]"`.')
        super().__init__(**settings)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and return when all are done.

        Raises:
            UserError: this machine submits no jobs, or a job was refused or ended by SLURM.
        """
        from submitit.core.utils import UncompletedJobError

        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise UserError(
                "launcher=slurm: no sbatch and srun on this machine: run where jobs are submitted, or run the "
                "same jobs in processes of this machine by hydra/launcher=submitit_local beside it."
            )
        try:
            returned: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        except UncompletedJobError as error:
            sweep = self.config.hydra.sweep.dir
            raise UserError(
                f"a job was refused or ended by SLURM ({str(error).strip().splitlines()[0]}): {sweep}/.submitit holds "
                f"the jobs' logs; those that run go on, and `python evaluate.py runs={sweep}` gathers what they leave."
            ) from error
        return returned


if _IS_INSTALLED:

    @dataclass
    class SlurmLauncherConf(SlurmQueueConf):  # type: ignore[misc]  # untyped
        """Settings of `SlurmLauncher`, as ``hydra/launcher: slurm``."""

        _target_: str = "hydra_plugins.genregrid_slurm.SlurmLauncher"

    ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="genregrid")
else:
    for _name in ("slurm", "submitit_local"):
        ConfigStore.instance().store(
            group="hydra/launcher",
            name=_name,
            node={"_target_": "hydra_plugins.genregrid_slurm.SlurmLauncher"},
            provider="genregrid",
        )
