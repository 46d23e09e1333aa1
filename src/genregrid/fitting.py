"""Lightning's trainer as every fit has it: threads, progress, what is said on the screen, and ctrl-C."""

import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from genregrid.config import TrainerConfig
from genregrid.errors import UserError
from genregrid.models.base import GenreClassifier

# Models far below this size gain nothing from a second thread on idle cores, and lose beside other jobs. The bound
# itself is a guess: it lies between them and models whose matrices fill a core.
_WEIGHTS_WORTH_THREADS = 1_000_000


def build_trainer(
    model: GenreClassifier,
    settings: TrainerConfig,
    folder: Path | None,
    logger: Logger | None,
    callbacks: list[Callback],
) -> pl.Trainer:
    """The trainer of one fit; it also sets the number of CPU threads.

    Args:
        model: what is fitted.
        settings: how long and where.
        folder: the run folder; ``None``: no checkpoint is kept, and no file written.
        logger: of the run, if there is one.
        callbacks: beside early stopping and the progress bar.

    Raises:
        UserError: an accelerator or a precision that this machine does not have.
    """
    torch.set_num_threads(_num_threads(model) if settings.threads is None else settings.threads)
    if settings.patience is not None:
        callbacks.append(EarlyStopping("val/loss", patience=settings.patience))
    shows_bar = sys.stdout.isatty() if settings.progress_bar is None else settings.progress_bar
    if shows_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=25))  # redrawn each step, it would cost more than a small model
    try:
        return pl.Trainer(
            **trainer_basics(folder, logger) | {"enable_progress_bar": shows_bar},
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=1,  # the corpus is one tensor, and its batches are not divided among devices
            precision=settings.precision,  # type: ignore[arg-type]  # one of Lightning's names, which it checks
            gradient_clip_val=settings.gradient_clip_val,
            enable_checkpointing=folder is not None,
            callbacks=callbacks,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"trainer.accelerator={settings.accelerator}, trainer.precision={settings.precision}: {reason}"
        ) from error


class Epochs(Callback):
    """Keeps the validation scores of the epoch of the lowest validation loss, and hands them on after each epoch.

    Args:
        told: is given the epoch, from 1, and the scores of the best one so far, as soon as one has a finite loss.
    """

    def __init__(self, told: Callable[[int, dict[str, float]], None]) -> None:
        self._told = told
        #: Scores by name (``val/loss`` ...); empty until an epoch has a finite loss.
        self.best: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take an epoch's scores."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if math.isfinite(scores["val/loss"]) and scores["val/loss"] < self.best.get("val/loss", math.inf):
            self.best = scores
        if self.best:
            self._told(trainer.current_epoch + 1, self.best)


def trainer_basics(folder: Path | None, logger: Logger | None) -> dict[str, Any]:
    """What training and testing have in common, as arguments of Lightning's trainer."""
    return {
        "default_root_dir": folder,
        "logger": logger or False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,  # Lightning warns of epochs shorter than its default of 50
        "use_distributed_sampler": False,  # batches come from no DataLoader that it could be put into
    }


@contextmanager
def interruptible() -> Iterator[None]:
    """Let ctrl-C be a KeyboardInterrupt, of which Lightning makes a SystemExit."""
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None


def _num_threads(model: GenreClassifier) -> int:
    """One thread for a small model, every core for a large one."""
    num_weights = sum(weight.numel() for weight in model.parameters())
    return (os.cpu_count() or 1) if num_weights >= _WEIGHTS_WORTH_THREADS else 1


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners and its hints for other uses off the screen."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* directory .* exists and is not empty")  # it is the run folder
            # the checkpoint's weights are the average already, and testing needs no more
            warnings.filterwarnings("ignore", ".*WeightAveraging callback, but loading a checkpoint.*")
            warnings.filterwarnings("ignore", ".*configure_optimizers. returned .None.*")  # an estimator has none
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning 2.6 against torch 2.13
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
