"""Fits: Lightning's trainer as every one has it, where one goes on, what is said on the screen, and ctrl-C."""

import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from genregrid.config import TrainerConfig
from genregrid.errors import UserError
from genregrid.models.base import CHECKPOINT_KEY, GenreClassifier
from genregrid.models.network import Network
from genregrid.record.facts import identity_in
from genregrid.training.build import Prepared
from genregrid.training.last_checkpoint import LastCheckpoint
from genregrid.training.stack import Fitted, StackCheckpoint, can_be_stacked, fit_stack

# Models far below this size gain nothing from a second thread on idle cores, and lose beside other jobs. The bound
# itself is a guess: it lies between them and models whose matrices fill a core.
_WEIGHTS_WORTH_THREADS = 1_000_000
_CHECKPOINT = "checkpoint"
#: What a run that is stopped goes on from, while it is not finished.
LAST_CHECKPOINT = "last.ckpt"
#: The same of runs that are trained together, in the folder of the first.
STACK_CHECKPOINT = "stack.ckpt"
DIVERGED = "no epoch had a finite validation loss, so there is no model: lower model.learning_rate."
# What was trained together with others and waits for its test, by identity.
_fitted: dict[str, Fitted] = {}


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
    num_threads = _num_threads(model, settings.devices) if settings.threads is None else settings.threads
    torch.set_num_threads(num_threads)
    if settings.devices > 1:
        os.environ["OMP_NUM_THREADS"] = str(num_threads)  # else Lightning chooses anew
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
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,  # type: ignore[arg-type]  # one of Lightning's names, which it checks
            gradient_clip_val=settings.gradient_clip_val,
            enable_checkpointing=folder is not None,
            callbacks=callbacks,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"trainer.accelerator={settings.accelerator}, trainer.precision={settings.precision}, "
            f"trainer.devices={settings.devices}: {reason}"
        ) from error


def fit_and_test(ready: Prepared, folder: Path, logger: Logger | None) -> None:
    """Train, keep the epoch of the lowest validation loss as checkpoint.ckpt, and test it.

    With `resume` a training that was stopped goes on from its last checkpoint; one that `fit_together` has done is
    tested only.

    Args:
        ready: what `genregrid.training.build.prepare` built.
        folder: the run folder.
        logger: of the run, if there is one.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    model, settings = ready.model, ready.settings.trainer
    checkpoint = ModelCheckpoint(folder, _CHECKPOINT, monitor="val/loss", enable_version_counter=False)
    last_checkpoint = LastCheckpoint(folder / LAST_CHECKPOINT, settings.checkpoint_seconds)
    with quiet_lightning():
        trainer = build_trainer(model, settings, folder, logger, [checkpoint, last_checkpoint])
        best = str(folder / f"{_CHECKPOINT}.ckpt")
        if (fitted := _fitted.pop(ready.facts.identity, None)) is not None:
            _take_over(trainer, model, fitted, logger, len(ready.datamodule.train_dataloader()))
            with interruptible():
                trainer.test(model, ready.datamodule, verbose=False)
            trainer.save_checkpoint(best)
            return
        with interruptible():
            last = _last_checkpoint(ready, folder)
            trainer.fit(model, ready.datamodule, ckpt_path=last, weights_only=None if last is None else True)
        if trainer.global_step == 0:  # an estimator takes no steps, and without one Lightning keeps no checkpoint
            trainer.save_checkpoint(best)
        # Lightning keeps the first epoch whatever its loss, and writes down a loss that is not a number as infinite
        elif checkpoint.best_model_score is None or not torch.isfinite(checkpoint.best_model_score):
            raise UserError(DIVERGED)
        with interruptible():
            trainer.test(model, ready.datamodule, ckpt_path=best, verbose=False, weights_only=True)


def _take_over(
    trainer: pl.Trainer, model: GenreClassifier, fitted: Fitted, logger: Logger | None, steps_per_epoch: int
) -> None:
    """Give a model what was learnt for it in a stack, the logger its curves, and the trainer the count of its steps."""
    if not fitted.weights:
        raise UserError(DIVERGED)
    assert isinstance(model, Network)  # others are not stacked
    model.load_state_dict(model.state_dict() | fitted.weights)
    model.curves = fitted.curves
    if logger is not None:
        model.log_curves(logger, steps_per_epoch)
    num_epochs, loop = len(fitted.curves), trainer.fit_loop
    loop.epoch_progress.current.completed = num_epochs
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = num_epochs * steps_per_epoch
    loop.epoch_loop.on_load_checkpoint({"_batches_that_stepped": num_epochs * steps_per_epoch})  # as loggers count


def _last_checkpoint(ready: Prepared, folder: Path) -> Path | None:
    """The checkpoint that the run goes on from: its own, of the same settings and data."""
    path = folder / LAST_CHECKPOINT
    if not (ready.settings.resume and path.is_file()):
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    return path if identity_in(content[CHECKPOINT_KEY]) == ready.facts.identity else None


def fit_together(runs: Sequence[Prepared], chances: Sequence[torch.Tensor], folder: Path) -> None:
    """Train runs of one cell as one computation, where their model can; `fit_and_test` then finds each of them fitted.

    Args:
        runs: what `genregrid.training.build.prepare` built for each.
        chances: the state of torch's random numbers behind each of these calls.
        folder: where a checkpoint of all of them is kept meanwhile, and gone on from with `resume`.
    """
    if len(runs) < 2:
        return
    models, settings = [run.model for run in runs], runs[0].settings
    if can_be_stacked(models, settings.trainer, len(runs[0].datamodule.table.track)):
        names = [run.facts.identity for run in runs]
        seconds = settings.trainer.checkpoint_seconds
        checkpoint = StackCheckpoint(folder / STACK_CHECKPOINT, names, seconds, settings.resume)
        fitted = fit_stack(models, [run.datamodule for run in runs], chances, settings.trainer, checkpoint)
        _fitted.update(zip(names, fitted, strict=True))


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


def _num_threads(model: GenreClassifier, num_processes: int) -> int:
    """One thread for a small model; for a large one every core, shared among processes."""
    num_weights = sum(weight.numel() for weight in model.parameters())
    return max(1, (os.cpu_count() or 1) // num_processes) if num_weights >= _WEIGHTS_WORTH_THREADS else 1


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
