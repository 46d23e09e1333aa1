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


def is_first_process() -> bool:
    """Return whether this process prints and writes; Lightning numbers the processes of a run in LOCAL_RANK."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def check_devices(settings: TrainerConfig) -> None:
    """Raise a UserError for several devices in a multirun or outside of train.py, which starts the processes."""
    if settings.devices == 1:
        return
    if not HydraConfig.initialized():
        raise _refused(settings, "only train.py starts processes")
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
