"""Save the checkpoint from which an interrupted training resumes."""

import time
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Saves the state of the training at the end of an epoch, if the last checkpoint is old enough.

    Saving after every epoch would cost a small model a fifth of its time. Lightning's `ModelCheckpoint` saves by time
    only in the middle of an epoch, where the order of the batches cannot be resumed.

    Args:
        path: of the checkpoint.
        seconds: least time between two checkpoints, 0 or more.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is time. Lightning calls this after the hooks of all other callbacks and of the model."""
        is_time = time.monotonic() - self._saved >= self._seconds and trainer.global_step > 0
        if trainer.strategy.broadcast(is_time):  # all processes save together, because they wait for each other
            trainer.save_checkpoint(self._path)
            self._saved = time.monotonic()
