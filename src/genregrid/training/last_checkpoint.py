"""The checkpoint that a stopped training goes on from."""

import time
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Saves the training as it stands at the end of an epoch, every so many seconds.

    After every epoch it would cost a small model a fifth of its time. Lightning's `ModelCheckpoint` can save by time
    only in the middle of an epoch, which the order of the batches could not go on from.

    Args:
        path: of the checkpoint.
        seconds: from one to the next, 0 or more.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, if it is time; Lightning calls this behind the hooks of all others."""
        is_time = time.monotonic() - self._saved >= self._seconds and trainer.global_step > 0
        if trainer.strategy.broadcast(is_time):  # of several processes all save together, or wait for each other
            trainer.save_checkpoint(self._path)
            self._saved = time.monotonic()
