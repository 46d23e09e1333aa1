"""Train fits of one cell side by side: their parameters form one matrix, and one product computes all of them.

Overhead dominates the training step of a small network: a step of thirty stacked fits takes little longer than a step
of one. Batches, dropout masks and initial weights are those of separate fits. The trained models differ only because
sums are taken in another order (docs/results.md). There is no `Trainer`: it would double the time of a step.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genregrid.config import TrainerConfig
from genregrid.data.datamodule import GenreDataModule, WindowBatches
from genregrid.models.base import GenreClassifier, validation_scores
from genregrid.models.mlp import MLP
from genregrid.training.resume import (
    check_adam,
    check_curves,
    check_rng_state,
    read_if_sound,
    require,
    write_checkpoint,
)

#: The file from which an interrupted stack resumes, in the folder of its first run.
STACK_CHECKPOINT = "stack.ckpt"
_MAX_BYTES = 2**30  # of transformed descriptors: each fit keeps its own copy
_STATE_KEYS = {"fitted", "weights", "optimizer", "rng_state", "order"}


@dataclass
class Fitted:
    """The result of one fit."""

    weights: dict[str, Tensor] = field(default_factory=dict)  # by name, from the epoch with the lowest validation loss
    loss: float = math.inf  # that loss; infinite if no epoch had a finite loss
    curves: list[dict[str, float]] = field(default_factory=list)  # one row per epoch, as `Network.curves`
    num_worse: int = 0  # epochs since the lowest loss

    def has_stopped(self, patience: int | None) -> bool:
        """Return whether early stopping ends this fit, as Lightning's `EarlyStopping` would."""
        has_diverged = bool(self.curves) and not math.isfinite(self.curves[-1]["val/loss"])
        return patience is not None and (self.num_worse >= patience or has_diverged)


class StackCheckpoint:
    """The file from which an interrupted stack resumes: the state of each fit at the end of an epoch, by identity.

    `seconds` is the least time between two checkpoints; with `resume`, `read` uses an existing file.
    """

    def __init__(self, path: Path, identities: Sequence[str], seconds: float, resume: bool) -> None:
        self._path = path
        self._identities = identities
        self._seconds = seconds
        self._resume = resume
        self._saved = time.monotonic()

    def read(self, check: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
        """Return what `check` makes of the state of each fit, or ``None`` if there is no file that can be used.

        A file that is damaged, of other fits or of an older version is reported in one line.
        """
        if not self._resume:
            return None

        def checked(content: dict[Any, Any]) -> list[dict[str, Any]]:
            require(content.keys() >= {*self._identities}, "it is of fits with other settings or data")
            states = [content[name] for name in self._identities]
            require(all(state.keys() == _STATE_KEYS for state in states), "it is of another version of genregrid")
            return check(states)

        return read_if_sound(self._path, checked, "the trainings begin anew")

    def save(self, states: Callable[[], list[dict[str, Any]]]) -> None:
        """Write the state of each fit if the last checkpoint is old enough."""
        if time.monotonic() - self._saved >= self._seconds:
            write_checkpoint(dict(zip(self._identities, states(), strict=True)), self._path)
            self._saved = time.monotonic()


def can_be_stacked(models: Sequence[GenreClassifier], settings: TrainerConfig, num_slices: int) -> bool:
    """Return whether all models are linear layers on pooled windows, train without extras, and fit into memory."""
    if settings.precision != "32-true" or settings.gradient_clip_val is not None or settings.devices > 1:
        return False
    if len(models) * num_slices * len(models[0].feature_names) * 4 > _MAX_BYTES:
        return False
    return all(
        isinstance(model, MLP)
        # No ReLU: two sums that differ in the last bit can have different signs, and the fits then diverge.
        and all(isinstance(layer, nn.Linear | nn.Dropout | nn.Identity) for layer in model.layers)
        and not (model.one_cycle or model.mixup or model.slice_dropout or model.ema_decay is not None)
        for model in models
    )


def fit_stack(
    models: Sequence[GenreClassifier],
    datamodules: Sequence[GenreDataModule],
    rng_states: Sequence[Tensor],
    settings: TrainerConfig,
    checkpoint: StackCheckpoint,
) -> list[Fitted]:
    """Train models of one cell side by side, from the last checkpoint if there is one; `models` are not changed.

    Each fit draws dropout from its own one of `rng_states`, torch's random state at the start of its training.
    """
    networks = [model for model in models if isinstance(model, MLP)]
    uses_gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    stack = _Stack(networks, rng_states, torch.device("cuda" if uses_gpu else "cpu"))
    results = [Fitted() for _ in networks]
    steps = [len(module.train_dataloader()) for module in datamodules]
    if (saved := checkpoint.read(lambda states: stack.checked(states, steps, settings))) is not None:
        results = [state["fitted"] for state in saved]
        stack.load_state(saved)
        for module, state in zip(datamodules, saved, strict=True):
            module.load_state_dict(state["order"])
    train = _TrainingWindows(networks, [module.train_dataloader() for module in datamodules], stack.device)
    val = [_pooled(model, module.val_dataloader()) for model, module in zip(networks, datamodules, strict=True)]
    val_inputs = nn.utils.rnn.pad_sequence([inputs for inputs, _, _ in val], batch_first=True).to(stack.device)

    def states() -> list[dict[str, Any]]:
        parts = zip(results, stack.state(), datamodules, strict=True)
        return [{"fitted": vars(result), "order": module.state_dict()} | state for result, state, module in parts]

    for epoch in range(1 + max(len(result.curves) for result in results), settings.max_epochs + 1):
        active = [number for number, result in enumerate(results) if not result.has_stopped(settings.patience)]
        if not active:
            break
        means = stack.train_epoch(train)
        logits = stack.logits(val_inputs).cpu()
        for number in active:
            _, genre, track = val[number]
            scores = validation_scores(logits[number, : len(genre)], genre, track, len(networks[0].genres))
            row = {"train/loss": means[0, number], "train/accuracy": means[1, number]} | scores
            result = results[number]
            result.curves.append({"epoch": epoch} | {name: float(value) for name, value in row.items()})
            result.num_worse += 1
            if result.curves[-1]["val/loss"] < result.loss:
                result.loss = result.curves[-1]["val/loss"]
                result.weights = stack.weights(number)
                result.num_worse = 0
        checkpoint.save(states)
    return results


def _finite(weights: Any, shape: torch.Size) -> Tensor:
    is_alike = isinstance(weights, Tensor) and weights.dtype == torch.float32 and weights.shape == shape
    require(is_alike and bool(weights.isfinite().all()), "its weights do not fit the model")
    return cast(Tensor, weights)


def _pooled(model: MLP, batches: WindowBatches) -> tuple[Tensor, Tensor, Tensor]:
    """Return the layers' input for every window, (window, feature), and each window's genre and track, in order."""
    pooled = []
    for batch in batches.in_order():
        inputs = model.pooled(model.transform(batch["features"]), batch["length"])
        pooled.append((inputs, batch["genre"], batch["track"]))
    inputs, genre, track = (torch.cat(values) for values in zip(*pooled, strict=True))
    return inputs, genre, track


class _TrainingWindows:
    """Training windows of all fits, kept on a device, and the order in which each fit takes them."""

    def __init__(self, models: Sequence[MLP], loaders: Sequence[WindowBatches], device: torch.device) -> None:
        pooled = list(map(_pooled, models, loaders))
        self._features = torch.cat([inputs for inputs, _, _ in pooled]).to(device)
        self._genre = torch.cat([genre for _, genre, _ in pooled]).to(device)
        self._loaders = loaders
        sizes = torch.tensor([len(genre) for _, genre, _ in pooled])
        self._first = sizes.cumsum(0) - sizes
        self.num_steps = [len(loader) for loader in loaders]

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor, list[int]]]:
        """Draw the order of an epoch and cut it into batches.

        Yields:
            For each step: features, (fit, window, feature), and genre, (fit, window), of a batch of each fit; the
            share of each window in the mean of its batch, (fit, window), 0 for padding; the windows of each fit.
        """
        size = max(self.num_steps) * self._loaders[0].batch_size
        rows = torch.full((len(self._loaders), size), -1)
        for number, loader in enumerate(self._loaders):
            order = loader.shuffled() + self._first[number]
            rows[number, : len(order)] = order
        by_step = rows.view(len(self._loaders), max(self.num_steps), -1)
        rows = by_step.transpose(0, 1).contiguous()  # (step, fit, window)
        counts = (rows >= 0).sum(dim=2)
        shares = (rows >= 0) / counts.clamp(min=1)[:, :, None]
        device = self._genre.device
        for chosen, share, sizes in zip(rows.clamp(min=0).to(device), shares.to(device), counts.tolist(), strict=True):
            yield self._features[chosen], self._genre[chosen], share, sizes


class _Stack:
    """The parameters of all fits as one matrix, (fit, parameter), with an optimizer and random states.

    The optimizer gets each row as a separate tensor, because it counts steps by tensor, and a fit with fewer batches
    takes fewer steps. Everything is computed on `device`, except random numbers, which the CPU draws.
    """

    def __init__(self, models: Sequence[MLP], rng_states: Sequence[Tensor], device: torch.device) -> None:
        first = models[0]
        self.device = device
        self._model = first
        self._names = [name for name, _ in first.layers.named_parameters(prefix="layers")]
        self._shapes = [weight.shape for weight in first.layers.parameters()]
        self._sizes = [shape.numel() for shape in self._shapes]
        flat = [torch.cat([weight.detach().flatten() for weight in model.layers.parameters()]) for model in models]
        self._parameters = torch.stack(flat).to(device).requires_grad_()
        self._rows = self._parameters.detach().unbind()  # these share the memory of the matrix
        self._optimizer = torch.optim.Adam(
            self._rows,
            lr=first.learning_rate,
            weight_decay=first.weight_decay,
            decoupled_weight_decay=first.decoupled_weight_decay,
            fused=True,
        )
        self._generators = [torch.Generator() for _ in models]
        for generator, rng_state in zip(self._generators, rng_states, strict=True):
            generator.set_state(rng_state)

    def state(self) -> list[dict[str, Any]]:
        """Return the state of each fit: weights, the optimizer's state, and the random state."""
        optimizer = self._optimizer.state_dict()["state"]
        return [
            {"weights": row.cpu().clone(), "optimizer": optimizer[number], "rng_state": generator.get_state()}
            for number, (row, generator) in enumerate(zip(self._rows, self._generators, strict=True))
        ]

    def checked(
        self, states: Sequence[dict[str, Any]], steps_per_epoch: Sequence[int], settings: TrainerConfig
    ) -> list[dict[str, Any]]:
        """Return states from a file, with `Fitted` made of what was checked, if these fits can resume from them.

        Raises:
            UserError: a value is impossible for these fits. Other errors, as for a missing value, mean the same.
        """
        checked = []
        longest = max(len(state["fitted"]["curves"]) for state in states)
        for state, row, num_steps in zip(states, self._rows, steps_per_epoch, strict=True):
            curves = check_curves(state["fitted"]["curves"], settings.max_epochs)
            losses = [epoch["val/loss"] for epoch in curves]
            result = Fitted({}, min(losses), curves, len(losses) - 1 - losses.index(min(losses)))
            require(settings.patience is None or result.num_worse <= settings.patience, "its training had ended")
            for name, shape in zip(self._names, self._shapes, strict=True):
                result.weights[name] = _finite(state["fitted"]["weights"][name], shape)
            check_adam(state["optimizer"], row, num_steps * longest)  # a fit that has stopped still takes steps
            check_rng_state(state["rng_state"])
            check_rng_state(state["order"]["order"])
            weights = _finite(state["weights"], row.shape)
            kept = {name: state[name] for name in ("optimizer", "rng_state", "order")}
            checked.append(kept | {"fitted": result, "weights": weights})
        ended = [state["fitted"].has_stopped(settings.patience) for state in checked]
        epochs = {len(state["fitted"].curves) for state, has_ended in zip(checked, ended, strict=True) if not has_ended}
        require(epochs <= {longest}, "its fits are at different epochs")
        return checked

    def load_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Restore what `state` returned, or `checked`."""
        for row, generator, state in zip(self._rows, self._generators, states, strict=True):
            row.copy_(state["weights"])
            generator.set_state(state["rng_state"])
        optimizer = {number: state["optimizer"] for number, state in enumerate(states)}
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": optimizer})

    def weights(self, number: int) -> dict[str, Tensor]:
        """Return a copy of the parameters of one fit, by name."""
        parts = torch.split(self._rows[number].cpu().clone(), self._sizes)
        return {name: part.view(shape) for name, part, shape in zip(self._names, parts, self._shapes, strict=True)}

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Compute logits, (fit, window, genre), of inputs (fit, window, feature), without dropout."""
        return self._forward(inputs, None)

    def train_epoch(self, windows: _TrainingWindows) -> Tensor:
        """Train every fit on each of its batches; return loss and accuracy, (2, fit), means over the fit's batches."""
        sums = torch.zeros(2, len(self._rows), device=self.device)
        for features, genre, share, sizes in windows.batches():
            logits = self._forward(features, sizes)
            smoothing = self._model.label_smoothing
            loss = F.cross_entropy(logits.flatten(0, 1), genre.flatten(), reduction="none", label_smoothing=smoothing)
            losses = (loss.view_as(genre) * share).sum(dim=1)
            (gradient,) = torch.autograd.grad(losses.sum(), self._parameters)
            for row, row_gradient, size in zip(self._rows, gradient, sizes, strict=True):
                row.grad = row_gradient if size > 0 else None  # the optimizer skips a fit without a batch
            self._optimizer.step()
            accuracies = ((logits.detach().argmax(dim=2) == genre) * share).sum(dim=1)
            sums += torch.stack([losses.detach(), accuracies])
        return sums.cpu() / torch.tensor(windows.num_steps)

    def _forward(self, inputs: Tensor, sizes: list[int] | None) -> Tensor:
        """Apply the layers to (fit, window, feature), with dropout where `sizes`, windows per fit, are given."""
        weights = iter(torch.split(self._parameters, self._sizes, dim=1))
        for layer in self._model.layers:
            if isinstance(layer, nn.Linear):
                matrix = next(weights).view(-1, layer.out_features, layer.in_features)
                inputs = torch.baddbmm(next(weights).unsqueeze(1), inputs, matrix.transpose(1, 2))
            elif isinstance(layer, nn.Dropout) and layer.p > 0 and sizes is not None:
                inputs = inputs * self._dropout_factors(inputs.shape, sizes, 1 - layer.p)
        return inputs

    def _dropout_factors(self, shape: torch.Size, sizes: list[int], share: float) -> Tensor:
        """Draw dropout factors, of which `share` are not zero, from each fit's own random state."""
        factors = torch.zeros(shape)
        for number, (size, generator) in enumerate(zip(sizes, self._generators, strict=True)):
            if size > 0:
                factors[number, :size].bernoulli_(share, generator=generator)
        return factors.div_(share).to(self.device)
