"""Runs on several devices: one process per device, which Lightning starts and DistributedDataParallel synchronises.

Every process reads, splits and shuffles the corpus in the same way, trains on its share of each batch, and receives all
predictions. Only the first process prints and writes. Lightning starts the others with the command that started the
first, and with its run folder (strategy ``ddp``). Spawned processes (``ddp_spawn``) would each receive a copy of the
corpus, and would not return predictions and curves.
"""

import os

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from genregrid.config import TrainerConfig
from genregrid.errors import UserError
from genregrid.program import PARENT, command_name, is_child

# Variables of launchers, from which Lightning would take this process for one of several.
_RANKS = ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "JSM_NAMESPACE_RANK"]
_RANKS += ["MASTER_ADDR", "MASTER_PORT", "STANDALONE_PORT", "PL_GLOBAL_SEED"]
_SLURM_RANKS = ["SLURM_PROCID", "SLURM_NTASKS"]


def is_first_process() -> bool:
    """Return whether this process prints and writes; Lightning numbers the processes of a run in LOCAL_RANK."""
    return not is_child() or os.environ.get("LOCAL_RANK") == "0"


def forget_ranks(*, in_job: bool = False) -> None:
    """Remove variables that number processes, unless our own parent has set them; call it before importing Lightning.

    They may be left over in a shell, or belong to a launcher that started this process for another reason. With
    `in_job` SLURM's own stay: submitit reads them at the end of a job.
    """
    if not is_child():
        for name in _RANKS if in_job else [*_RANKS, *_SLURM_RANKS]:
            os.environ.pop(name, None)


def announce_parent(settings: TrainerConfig) -> None:
    """Let the processes that Lightning starts for a run recognise this one."""
    if settings.devices > 1 and not is_child():
        os.environ[PARENT] = str(os.getpid())


def check_devices(settings: TrainerConfig) -> None:
    """Raise a UserError for several devices in a multirun or outside of a command, which starts the processes."""
    if settings.devices == 1:
        return
    most = max(os.cpu_count() or 1, 2)
    if settings.devices > most:  # no machine has more GPUs than cores, and each process needs a core
        raise _refused(settings, f"this machine has {most} cores, and a device needs one", "take fewer devices")
    if not HydraConfig.initialized():
        raise _refused(settings, f"only `{command_name('train')}` starts processes")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        hint = "leave out -m and experiment, or set trainer.devices=1"
        raise _refused(settings, "every process would run all jobs of a multirun", hint)


def check_divisible(settings: TrainerConfig, num_windows: int, has_estimator: bool) -> None:
    """Raise a UserError for several devices with an estimator of scikit-learn, or with fewer training windows."""
    if settings.devices == 1:
        return
    if has_estimator:
        problem = "scikit-learn fits this model on all windows at once and in one process"
        raise _refused(settings, problem, "set trainer.devices=1")
    if num_windows < settings.devices:
        raise _refused(settings, f"there are only {num_windows} training windows", "take fewer devices")


def _refused(settings: TrainerConfig, problem: str, hint: str | None = None) -> UserError:
    return UserError(problem, key="trainer.devices", value=settings.devices, hint=hint)
