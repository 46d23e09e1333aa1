"""Train and test with Lightning: the trainer of every fit, resuming, screen output and ctrl-C."""

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
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from genregrid.config import TrainerConfig
from genregrid.errors import UserError
from genregrid.models.base import GenreClassifier
from genregrid.models.network import Network
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT
from genregrid.training.build import Prepared
from genregrid.training.devices import announce_parent
from genregrid.training.resume import BestCheckpoint, CheckpointFiles, LastCheckpoint, read_last
from genregrid.training.stack import Fitted

# A guess. A much smaller model gains nothing from a second thread on idle cores, and is slower beside other jobs.
_MIN_WEIGHTS_FOR_THREADS = 1_000_000


def build_trainer(
    model: GenreClassifier,
    settings: TrainerConfig,
    folder: Path | None,
    logger: Logger | None,
    callbacks: list[Callback],
    files: CheckpointFiles | None = None,
    *,
    validates: bool = True,
) -> pl.Trainer:
    """Build the trainer of a fit or test, and set the number of CPU threads.

    Without `files` it writes no checkpoint. Without `validates` it needs no validation tracks, and stops early only if
    one of the callbacks does.

    Raises:
        UserError: an accelerator or a precision that this machine does not have.
    """
    num_threads = _num_threads(model, settings.devices) if settings.threads is None else settings.threads
    torch.set_num_threads(num_threads)
    announce_parent(settings)
    if settings.devices > 1:
        os.environ["OMP_NUM_THREADS"] = str(num_threads)  # otherwise Lightning sets the number again
    if settings.patience is not None and validates:
        callbacks.append(EarlyStopping("val/loss", patience=settings.patience))
    shows_bar = sys.stdout.isatty() if settings.progress_bar is None else settings.progress_bar
    if shows_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=25))  # drawing it at each step would cost more than a small model
    # without an environment of its own, Lightning guesses one from variables such as those of SLURM
    plugins: list[Any] = [LightningEnvironment(), *([] if files is None else [files])]
    try:
        return pl.Trainer(
            default_root_dir=folder,
            logger=logger or False,
            enable_progress_bar=shows_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,  # Lightning warns if an epoch is shorter than its default of 50
            use_distributed_sampler=False,  # it needs a DataLoader, and batches do not come from one
            max_epochs=settings.max_epochs,
            limit_val_batches=None if validates else 0,
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,  # type: ignore[arg-type]  # one of Lightning's names, which it checks
            gradient_clip_val=settings.gradient_clip_val,
            enable_checkpointing=files is not None and validates,  # without validation no epoch is the best
            callbacks=callbacks,
            plugins=plugins,
        )
    except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:  # tpu needs a package
        also = f"trainer.precision={settings.precision}, trainer.devices={settings.devices}"
        problem = f"with {also}: {str(error).splitlines()[0]}"
        raise UserError(problem, key="trainer.accelerator", value=settings.accelerator) from error


def fit_and_test(ready: Prepared, folder: Path, logger: Logger | None) -> None:
    """Train, keep the epoch with the lowest validation loss as checkpoint.ckpt, and test it.

    With `resume`, an interrupted training resumes from its last checkpoint.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    model, settings = ready.model, ready.settings.trainer
    best = BestCheckpoint(folder)
    last = LastCheckpoint(folder / LAST_CHECKPOINT, best.path, settings.checkpoint_seconds)
    files = CheckpointFiles()
    with lightning_run():
        trainer = build_trainer(model, settings, folder, logger, [best, last], files)
        files.resumed = read_last(ready, folder, trainer, best)
        resumed = None if files.resumed is None else folder / LAST_CHECKPOINT
        trainer.fit(model, ready.datamodule, ckpt_path=resumed, weights_only=True)
        files.resumed = None  # its memory
        if trainer.global_step == 0:  # an estimator takes no steps, and without steps Lightning keeps no checkpoint
            trainer.save_checkpoint(best.path)
        # Lightning keeps the first epoch whatever its loss, and reports a loss that is not a number as infinite
        elif best.best_model_score is None or not torch.isfinite(best.best_model_score):
            raise diverged()
        _predict_on_one_thread()
        trainer.test(model, ready.datamodule, ckpt_path=best.path, verbose=False, weights_only=True)


def fit_untested(ready: Prepared, folder: Path, logger: Logger | None, num_epochs: int | None) -> None:
    """Train on every track, and keep the last epoch as checkpoint.ckpt.

    Args:
        ready: whose split has training tracks only.
        folder: the run folder.
        logger: of the epochs.
        num_epochs: after which the training stops; ``None`` trains all epochs. The schedule of the learning rate is
            that of all epochs.

    Raises:
        UserError: the loss of the last epoch is not finite.
    """
    model, files = ready.model, CheckpointFiles()
    callbacks: list[Callback] = [] if num_epochs is None else [_StopAfter(num_epochs)]
    with lightning_run():
        trainer = build_trainer(model, ready.settings.trainer, folder, logger, callbacks, files, validates=False)
        trainer.fit(model, ready.datamodule)
        if model.curves and not math.isfinite(model.curves[-1]["train/loss"]):
            raise diverged("training loss")
        trainer.save_checkpoint(folder / BEST_CHECKPOINT)


class _StopAfter(Callback):
    """Ends a training after some epochs."""

    def __init__(self, num_epochs: int) -> None:
        self._num_epochs = num_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask the trainer to stop after the last of the epochs."""
        trainer.should_stop = trainer.current_epoch + 1 >= self._num_epochs


def score_fitted(ready: Prepared, fitted: Fitted, folder: Path, logger: Logger | None) -> None:
    """Test a model that was trained in a stack, and write its curves and checkpoint, as `fit_and_test` does.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    if not fitted.weights:
        raise diverged()
    model = ready.model
    assert isinstance(model, Network)  # only networks are stacked
    model.load_state_dict(model.state_dict() | fitted.weights)
    model.curves = fitted.curves
    steps_per_epoch = len(ready.datamodule.train_dataloader())
    with lightning_run():
        if logger is not None:
            model.log_curves(logger, steps_per_epoch)
        callbacks: list[Callback] = [_Counters(fitted, steps_per_epoch)]
        trainer = build_trainer(model, ready.settings.trainer, folder, logger, callbacks, CheckpointFiles())
        _predict_on_one_thread()
        trainer.test(model, ready.datamodule, verbose=False)
        trainer.save_checkpoint(folder / BEST_CHECKPOINT)


class _Counters(Callback):
    """Gives a trainer that only tests the epochs and steps of the training, for the logger and the checkpoint."""

    def __init__(self, fitted: Fitted, steps_per_epoch: int) -> None:
        self._num_epochs = len(fitted.curves)
        self._best_epoch = self._num_epochs - fitted.num_worse
        self._steps_per_epoch = steps_per_epoch

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the test scores at the last step: Lightning takes a logged `step` instead of its own counter."""
        num_steps = self._num_epochs * self._steps_per_epoch
        pl_module.log_dict({"epoch": float(self._num_epochs), "step": float(num_steps)})

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write what a checkpoint of the best epoch has, which Lightning counts from 0."""
        checkpoint["epoch"] = self._best_epoch - 1
        checkpoint["global_step"] = self._best_epoch * self._steps_per_epoch


def _predict_on_one_thread() -> None:
    """Predict on one CPU thread from here on: sums differ in their last bits with the number of threads."""
    torch.set_num_threads(1)


def diverged(loss: str = "validation loss") -> UserError:
    """Return the error of a training that left no model."""
    problem = f"no epoch had a finite {loss}, so there is no model"
    return UserError(problem, key="model.learning_rate", hint="take a lower one")


class BestScores(Callback):
    """Keeps the scores of the epoch with the lowest validation loss; calls `on_epoch` with them after each epoch."""

    def __init__(self, on_epoch: Callable[[int, dict[str, float]], None]) -> None:
        self._on_epoch = on_epoch
        #: Scores by name (``val/loss`` ...); empty until an epoch has a finite loss.
        self.best: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the scores of an epoch with the best so far."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if math.isfinite(scores["val/loss"]) and scores["val/loss"] < self.best.get("val/loss", math.inf):
            self.best = scores
        if self.best:
            self._on_epoch(trainer.current_epoch + 1, self.best)


def _num_threads(model: GenreClassifier, num_processes: int) -> int:
    """Choose one thread for a small model, and for a large one all cores, divided among processes."""
    num_weights = sum(weight.numel() for weight in model.parameters())
    return max(1, (os.cpu_count() or 1) // num_processes) if num_weights >= _MIN_WEIGHTS_FOR_THREADS else 1


@contextmanager
def lightning_run() -> Iterator[None]:
    """Hide Lightning's banners and warnings that do not apply here, and raise KeyboardInterrupt on ctrl-C."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # the user chose the CPU
            warnings.filterwarnings("ignore", "GPU available but not used")
            # the run folder already has config.yaml
            warnings.filterwarnings("ignore", ".* directory .* exists and is not empty")
            # the checkpoint has the averaged weights, and a test needs nothing else of the averaging
            warnings.filterwarnings("ignore", ".*WeightAveraging callback, but loading a checkpoint.*")
            # Lightning 2.6 calls a function that torch 2.13 deprecates
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
            yield
    except SystemExit:  # Lightning's answer to ctrl-C
        raise KeyboardInterrupt from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
