"""The files of a training: the best epoch, and a last checkpoint from which an interrupted training resumes.

last.ckpt holds everything that a resumed training needs, also the bytes of checkpoint.ckpt at that time. So a run
folder may be moved, copied or renamed, and checkpoint.ckpt may be missing or newer. Both files are written as a whole.
last.ckpt is optional: if it is damaged or of another run, the training begins anew.
"""

import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lightning
import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from torch import Tensor

from genregrid.checkpoint.archive import read_checkpoint
from genregrid.data.split import TRAIN
from genregrid.errors import UserError
from genregrid.files import replacing
from genregrid.models.base import CHECKPOINT_KEY
from genregrid.models.network import PROGRESS_KEY, Network
from genregrid.record.facts import identity_in
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT
from genregrid.training.build import Prepared
from genregrid.training.devices import is_first_process

_BEST_KEY = "genregrid_best"  # of last.ckpt: the bytes of checkpoint.ckpt
_CURVES = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/f1_macro"}
# What a one-cycle schedule changes or adds in the optimizer's group.
_CYCLED = {"lr", "betas", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}
_COUNTED = {"last_epoch", "_step_count", "_last_lr", "_is_initial", "_get_lr_called_within_step"}
_Checked = TypeVar("_Checked")


def check_names_free(folder: Path) -> None:
    """Raise a UserError if a folder has the name of a checkpoint: it is not ours, so it is not replaced."""
    for path in (folder / BEST_CHECKPOINT, folder / LAST_CHECKPOINT):
        if path.is_dir():
            raise UserError("it is a folder, not a checkpoint", key=path, hint="move it away")


def require(is_right: bool, problem: str) -> None:
    """Raise a UserError with a problem of a checkpoint unless something is right; `read_if_sound` reports it."""
    if not is_right:
        raise UserError(problem)


def read_if_sound(path: Path, check: Callable[[dict[Any, Any]], _Checked], consequence: str) -> _Checked | None:
    """Return what `check` makes of a checkpoint, or ``None`` if there is none that can be used.

    A file that cannot be used is reported in one line, which ends with the consequence: a file of any bytes raises a
    dozen types of errors.

    Raises:
        OSError: the disk fails: this is no mistake in the file.
    """
    if not os.path.lexists(path):
        return None
    try:
        return check(read_checkpoint(path, key=path))
    except OSError:
        raise
    except Exception as error:
        problem = error.problem if isinstance(error, UserError) else f"it is damaged ({type(error).__name__})"
        if is_first_process():
            print(f"{path}: {problem}; {consequence}.", flush=True)
        return None


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as a whole: at any time the file is the old one or the new one.

    Raises:
        OSError: the file cannot be written; its name is in the error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as part, part.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch raises its own error after that of the system
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


class CheckpointFiles(CheckpointIO):
    """How Lightning reads and writes checkpoints.

    Lightning's own class writes to the system's temporary folder first, which may be on another disk, and then copies.

    Attributes:
        resumed: the checked content of last.ckpt, to resume from.
    """

    def __init__(self) -> None:
        self.resumed: dict[str, Any] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint as a whole."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the checked content of last.ckpt, or read another checkpoint."""
        if self.resumed is not None and Path(path).name == LAST_CHECKPOINT:
            return self.resumed
        return read_checkpoint(Path(path), key=path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class BestCheckpoint(ModelCheckpoint):
    """Saves the epoch with the lowest validation loss; its state is the loss alone, which the curves have.

    Lightning's class keeps the absolute path of its file, and forgets the loss when the folder has moved.
    """

    def __init__(self, folder: Path) -> None:
        stem = BEST_CHECKPOINT.removesuffix(".ckpt")
        super().__init__(folder.absolute(), stem, monitor="val/loss", enable_version_counter=False)
        self.path = folder / BEST_CHECKPOINT

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: `restore` takes the loss from the curves."""
        return {}

    def restore(self, loss: float) -> None:
        """Continue after an epoch with this loss, which is in the file."""
        assert self.dirpath is not None
        path, score = os.path.join(self.dirpath, BEST_CHECKPOINT), torch.tensor(loss)
        self.best_model_path = self.kth_best_model_path = path
        self.best_model_score = self.kth_value = score
        self.best_k_models = {path: score}


class LastCheckpoint(Checkpoint):
    """Saves the state of the training at the end of an epoch, if the last checkpoint is `seconds` old.

    Saving after every epoch would cost a small model a fifth of its time. Lightning's `ModelCheckpoint` saves by time
    only in the middle of an epoch, where the order of the batches cannot be resumed. The last epoch is not saved:
    Lightning cannot resume a training that has ended.
    """

    def __init__(self, path: Path, best: Path, seconds: float) -> None:
        self._path = path
        self._best = best
        self._seconds = seconds
        self._saved = time.monotonic()
        self._is_saving = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is time. Lightning calls this after the hooks of all other callbacks and of the model."""
        has_ended = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        is_time = time.monotonic() - self._saved >= self._seconds and trainer.global_step > 0 and not has_ended
        if trainer.strategy.broadcast(is_time):  # all processes save together, because they wait for each other
            self._is_saving = True
            trainer.save_checkpoint(self._path)
            self._is_saving = False
            self._saved = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the best epoch."""
        if self._is_saving:
            checkpoint[_BEST_KEY] = torch.frombuffer(bytearray(self._best.read_bytes()), dtype=torch.uint8)


def read_last(ready: Prepared, folder: Path, trainer: pl.Trainer, best: BestCheckpoint) -> dict[str, Any] | None:
    """Return what a training resumes from, and restore checkpoint.ckpt, or ``None`` to begin anew.

    A file that cannot be used is reported in one line: it is damaged, of another version, or of other settings or data.
    """
    if not ready.settings.resume:
        return None

    def checked(content: dict[Any, Any]) -> dict[str, Any]:
        require(identity_in(content[CHECKPOINT_KEY]) == ready.facts.identity, "it is of other settings or data")
        require(_BEST_KEY in content, "it is of another version of genregrid")
        resumed = _Check(ready, trainer).resumable(content)
        losses = [row["val/loss"] for row in resumed[PROGRESS_KEY]["curves"]]
        _restore_best(content[_BEST_KEY], best.path, ready, losses.index(min(losses)))
        best.restore(min(losses))
        return resumed

    return read_if_sound(folder / LAST_CHECKPOINT, checked, "the training begins anew")


def _restore_best(stored: Any, path: Path, ready: Prepared, epoch: int) -> None:
    """Write checkpoint.ckpt from its bytes in last.ckpt, if they are those of the best epoch."""
    require(isinstance(stored, Tensor) and stored.dtype == torch.uint8 and stored.ndim == 1, "it has no best epoch")
    if not is_first_process():
        return
    with replacing(path) as part:
        part.write_bytes(stored.numpy().tobytes())
        content = read_checkpoint(part, key=path)
        is_own = identity_in(content[CHECKPOINT_KEY]) == ready.facts.identity and content["epoch"] == epoch
        require(is_own, "its best epoch is of another run")
        _check_weights(content["state_dict"], ready.model)


def _check_weights(weights: Any, model: pl.LightningModule) -> None:
    """Raise unless a model could load these weights, and all are finite."""
    require(isinstance(weights, dict), "its weights are no dict")
    for name, own in model.state_dict().items():
        found = weights.get(name)
        is_alike = isinstance(found, Tensor) and found.is_floating_point() == own.is_floating_point()
        require(is_alike and (name.endswith("_extra_state") or found.shape == own.shape), f"it lacks {name}")
        # a transform has NaN where it leaves a descriptor's shape as it is
        is_finite = not own.is_floating_point() or bool((found.isfinite() | own.isnan()).all())
        require(is_finite, f"{name} is not finite")
    copy.deepcopy(model).load_state_dict(weights)  # an estimator's state is read by its own layer


def check_rng_state(state: Any) -> None:
    """Raise unless torch's random number generator accepts a state."""
    torch.Generator().set_state(state)


def check_curves(curves: Any, max_epochs: int) -> list[dict[str, float]]:
    """Return curves if they are one row of finite scores for each epoch, from the first, and epochs remain or none."""
    require(isinstance(curves, list) and 0 < len(curves) <= max_epochs, "it has too few or too many epochs")
    for number, row in enumerate(curves, 1):
        is_row = isinstance(row, dict) and row.keys() == {"epoch", *_CURVES}
        require(is_row and row["epoch"] == number, "its curves differ")
        values = [row[name] for name in _CURVES]
        require(all(isinstance(value, float) and math.isfinite(value) for value in values), "a score is not finite")
    return list(curves)


def check_adam(state: Any, weight: Tensor, num_steps: int, *, may_skip: bool = False) -> None:
    """Raise unless this is Adam's state of a weight after a number of steps; in half precision it `may_skip` some."""
    require(isinstance(state, dict) and state.keys() == {"step", "exp_avg", "exp_avg_sq"}, "another optimizer")
    step = state["step"]
    require(isinstance(step, Tensor) and step.dtype == torch.float32 and step.ndim == 0, "its steps are no number")
    require(step.item() == num_steps or (may_skip and 0 <= step.item() < num_steps), "its steps do not fit its epochs")
    for name in ("exp_avg", "exp_avg_sq"):
        mean = state[name]
        is_alike = isinstance(mean, Tensor) and mean.is_floating_point() and mean.shape == weight.shape
        require(is_alike and bool(mean.isfinite().all()), f"its {name} does not fit the weights")
    require(bool((state["exp_avg_sq"] >= 0).all()), "a mean of squares is negative")


def _require_alike(value: Any, expected: Any, most: float) -> None:
    """Raise unless a value has the keys and types of what is expected, and counters from 0 to `most`."""
    require(type(value) is type(expected), "a value has another type")
    if isinstance(expected, dict):
        require(value.keys() == expected.keys(), "its keys are those of another version")
        for key, item in expected.items():
            _require_alike(value[key], item, most)
    else:
        require(isinstance(value, int) and 0 <= value <= most, "a counter is out of range")


class _Check:
    """The checks of last.ckpt's content against the run that resumes from it."""

    def __init__(self, ready: Prepared, trainer: pl.Trainer) -> None:
        require(isinstance(ready.model, Network), "this model has no epochs to resume")
        assert isinstance(ready.model, Network)
        self._ready = ready
        self._model: Network = ready.model
        self._settings = ready.settings.trainer
        self._trainer = trainer
        num_windows = len(ready.datamodule.windows[TRAIN].genre) // self._settings.devices
        self._steps_per_epoch = -(-num_windows // ready.datamodule.train_dataloader().batch_size)
        self._may_skip = self._settings.precision == "16-mixed"

    def resumable(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return what Lightning restores; only what was checked is in it.

        Raises:
            UserError: a value is impossible for this run. Other errors, as for a missing value, mean the same.
        """
        progress = content[PROGRESS_KEY]
        curves = check_curves(progress["curves"], self._settings.max_epochs - 1)
        num_steps = len(curves) * self._steps_per_epoch
        rng_states = {name: state for name, state in progress["chance"].items() if name in ("cpu", "cuda")}
        check_rng_state(rng_states["cpu"])
        if "cuda" in rng_states and torch.cuda.is_available():
            torch.Generator("cuda").set_state(rng_states["cuda"])
        check_rng_state(content["GenreDataModule"]["order"])
        _check_weights(content["state_dict"], self._model)
        resumed = {
            "state_dict": content["state_dict"],
            "epoch": len(curves) - 1,
            "global_step": num_steps,
            "pytorch-lightning_version": lightning.__version__,
            "loops": {"fit_loop": self._loops(content["loops"]["fit_loop"], len(curves), num_steps)},
            "callbacks": self._callbacks(curves, num_steps),
            "optimizer_states": [self._optimizer(content["optimizer_states"], num_steps)],
            "lr_schedulers": self._schedulers(content["lr_schedulers"], content["optimizer_states"], num_steps),
            "GenreDataModule": {"order": content["GenreDataModule"]["order"]},
            PROGRESS_KEY: {"chance": rng_states, "curves": curves},
            CHECKPOINT_KEY: {"model_class": content[CHECKPOINT_KEY]["model_class"]} | self._model.provenance,
        }
        if "MixedPrecision" in content:
            resumed["MixedPrecision"] = self._scaler(content["MixedPrecision"])
        return resumed | self._averaging(content, num_steps)

    def _averaging(self, content: dict[str, Any], num_steps: int) -> dict[str, Any]:
        if self._model.ema_decay is None:
            return {}
        _check_weights(content["current_model_state"], self._model)
        count = content["averaging_state"]["n_averaged"]
        require(isinstance(count, Tensor) and count.dtype == torch.int64 and count.ndim == 0, "it counts no averages")
        require(0 < count.item() <= num_steps, "its number of averages is impossible")
        return {"current_model_state": content["current_model_state"], "averaging_state": {"n_averaged": count}}

    def _loops(self, loops: Any, num_epochs: int, num_steps: int) -> Any:
        """Check Lightning's counters: types and keys against those of a new trainer, and the counts that matter."""
        num_batches = len(self._ready.datamodule.val_dataloader()) * num_epochs
        _require_alike(loops, self._trainer.fit_loop.state_dict(), max(num_steps, num_batches, num_epochs))
        batches = loops["epoch_loop.batch_progress"]
        steps = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
        for counts in loops["epoch_progress"].values():
            is_last = counts["ready"] == counts["processed"] == counts["completed"] + 1 == num_epochs
            require(is_last, "its counters differ")
        require(set(batches["total"].values()) == {num_steps} and batches["is_last_batch"], "its counters differ")
        require(set(batches["current"].values()) == {self._steps_per_epoch}, "it was saved in the middle of an epoch")
        require(set(steps["total"].values()) == {num_steps}, "its counters differ")
        require(loops["epoch_loop.state_dict"]["_batches_that_stepped"] == num_steps, "its counters differ")
        return loops

    def _callbacks(self, curves: list[dict[str, float]], num_steps: int) -> dict[str, Any]:
        """Compute the state of callbacks from the curves."""
        states: dict[str, Any] = {}
        if self._model.ema_decay is not None:
            states["WeightAveraging"] = {"latest_update_step": num_steps}
        patience = self._settings.patience
        if patience is not None:
            losses = [row["val/loss"] for row in curves]
            num_worse = len(losses) - 1 - losses.index(min(losses))
            require(num_worse < patience, "its training had ended")
            (early,) = (call for call in self._trainer.callbacks if isinstance(call, EarlyStopping))  # type: ignore[attr-defined]  # Lightning sets it
            best = {"wait_count": num_worse, "best_score": torch.tensor(min(losses))}
            states[early.state_key] = early.state_dict() | best
        return states

    def _optimizer(self, states: Any, num_steps: int) -> Any:
        (state,) = states
        weights = list(self._model.parameters())
        for number, of_weight in state["state"].items():
            check_adam(of_weight, weights[number], num_steps, may_skip=self._may_skip)
        require(state["state"].keys() == set(range(len(weights))), "it lacks an optimizer's state")
        (group,) = state["param_groups"]
        own = self._model.build_optimizer().state_dict()["param_groups"][0]
        cycled = _CYCLED if self._model.one_cycle else set()
        require(own.keys() - group.keys() == set() and group.keys() - own.keys() <= cycled, "another optimizer")
        for key, value in group.items():
            if key in cycled:
                numbers = value if isinstance(value, tuple) else (value,)
                is_right = len(numbers) == len(own.get(key, ())) if key == "betas" else len(numbers) == 1
                is_right &= all(isinstance(number, float) and 0 <= number < math.inf for number in numbers)
                require(is_right, f"the optimizer's {key} is no number")
            else:
                require(type(value) is type(own[key]) and value == own[key], f"the optimizer has another {key}")
        return state

    def _schedulers(self, states: Any, optimizers: Any, num_steps: int) -> Any:
        if not self._model.one_cycle:
            require(states == [], "it has a schedule")
            return states
        (state,) = states
        total = self._settings.max_epochs * self._steps_per_epoch
        expected = self._model.build_schedule(self._model.build_optimizer(), total).state_dict()
        require(state.keys() == expected.keys(), "another schedule")
        for key in expected.keys() - _COUNTED:
            require(state[key] == expected[key], f"the schedule has another {key}")
        require(all(type(state[key]) is type(expected[key]) for key in _COUNTED), "a schedule's value has another type")
        is_at = state["last_epoch"] == state["_step_count"] - 1 == num_steps
        is_at |= self._may_skip and 0 <= state["last_epoch"] == state["_step_count"] - 1 < num_steps
        require(is_at, "the schedule is at another step")
        require(state["_last_lr"] == [optimizers[0]["param_groups"][0]["lr"]], "the schedule has another rate")
        return states

    def _scaler(self, state: Any) -> Any:
        """Check the loss scale of half precision."""
        numbers = list(state.values())
        is_right = all(isinstance(value, int | float) and 0 <= value < math.inf for value in numbers)
        require(is_right, "its loss scale is no number")
        return state
