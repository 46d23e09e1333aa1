"""A run on several devices: one process for each, which Lightning starts and DistributedDataParallel keeps alike.

Every process reads the corpus, deals and shuffles it alike, takes its share of each batch, and has all verdicts in the
end; the first one alone prints and writes. Lightning starts the others by the command that started the first, with its
run folder (strategy ``ddp``). Spawned processes (``ddp_spawn``) would each be sent a copy of the corpus, and would keep
verdicts and curves to themselves.
"""

import os

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from genregrid.config import TrainerConfig
from genregrid.errors import UserError


def is_first_process() -> bool:
    """Whether this is the process of a run that prints and writes; Lightning numbers those of a machine so."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def check_devices(settings: TrainerConfig) -> None:
    """Refuse several devices if the command that starts their processes would not start this run alone.

    Raises:
        UserError: several devices in a multirun, or outside of train.py.
    """
    if settings.devices > 1 and not HydraConfig.initialized():
        raise UserError(f"trainer.devices={settings.devices}: processes are started by train.py only.")
    if settings.devices > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError(
            f"trainer.devices={settings.devices}: every process would run all jobs of a multirun; leave out -m and "
            "experiment, or set trainer.devices=1."
        )


def check_shares(settings: TrainerConfig, num_windows: int, is_estimator: bool) -> None:
    """Refuse a training that cannot be shared among devices.

    Args:
        settings: with `devices`.
        num_windows: training windows.
        is_estimator: whether an estimator of scikit-learn is part of the model.

    Raises:
        UserError: an estimator, which needs all windows at once, or fewer windows than devices.
    """
    if settings.devices == 1:
        return
    if is_estimator:
        raise UserError(
            f"trainer.devices={settings.devices}: this model is fitted by scikit-learn, on all windows at once and in "
            "one process; set trainer.devices=1."
        )
    if num_windows < settings.devices:
        raise UserError(
            f"trainer.devices={settings.devices}: there are {num_windows} training windows only; take fewer devices."
        )
