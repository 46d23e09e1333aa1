"""Fits of one cell as one computation: parameters stacked, products batched.

A step of a small network is nearly all overhead; of thirty stacked ones it costs little more than of one. The same
batches, dropout masks and initial weights as one by one make the same models, within what sums in another order differ
by (docs/results.md). No `Trainer` stands around it: Lightning's part of a step would be half of it.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genregrid.config import TrainerConfig
from genregrid.data.datamodule import GenreDataModule, WindowBatches
from genregrid.models.base import GenreClassifier, validation_scores
from genregrid.models.mlp import MLP

_MOST_BYTES = 2**30  # of transformed descriptors, which every fit has its own of
_STATE = ("weights", "momentum", "square", "num_steps")
_BETAS, _EPS = (0.9, 0.999), 1e-8  # of Adam, as torch.optim has them


@dataclass
class Fitted:
    """What a fit has come to.

    Attributes:
        weights: parameters by name, of the epoch of the lowest validation loss.
        loss: that loss; infinite if there was none that is a number.
        curves: one row per epoch, as `Network.curves`.
        num_worse: epochs since that of the lowest loss.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    loss: float = math.inf
    curves: list[dict[str, float]] = field(default_factory=list)
    num_worse: int = 0

    def is_over(self, patience: int | None) -> bool:
        """Whether training would have stopped early."""
        has_diverged = bool(self.curves) and not math.isfinite(self.curves[-1]["val/loss"])
        return patience is not None and (self.num_worse >= patience or has_diverged)


class StackCheckpoint:
    """What a stack that is stopped goes on from: where each of its fits stands at the end of an epoch, by identity.

    Args:
        path: of the checkpoint.
        identities: of the fits, in their order.
        seconds: from one checkpoint to the next, 0 or more.
        resume: whether to go on from what is there.
    """

    def __init__(self, path: Path, identities: Sequence[str], seconds: float, resume: bool) -> None:
        self._path = path
        self._identities = identities
        self._seconds = seconds
        self._resume = resume
        self._saved = time.monotonic()

    def read(self) -> list[dict[str, Any]] | None:
        """Where each fit stood; ``None`` if the checkpoint is missing or lacks one of them."""
        if not (self._resume and self._path.is_file()):
            return None
        fits = torch.load(self._path, weights_only=True)
        return [fits[name] for name in self._identities] if set(self._identities) <= set(fits) else None

    def save(self, fits: Callable[[], list[dict[str, Any]]]) -> None:
        """Keep where each fit stands, if it is time."""
        if time.monotonic() - self._saved >= self._seconds:
            part = self._path.with_name(f"{self._path.name}.writing")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(dict(zip(self._identities, fits(), strict=True)), part)
            os.replace(part, self._path)
            self._saved = time.monotonic()


def can_be_stacked(models: Sequence[GenreClassifier], settings: TrainerConfig, num_slices: int) -> bool:
    """Whether the models are networks of linear layers on pooled windows, trained without extras, and fit into memory.

    Args:
        models: of one cell.
        settings: of their trainer.
        num_slices: of the corpus.
    """
    if settings.precision != "32-true" or settings.gradient_clip_val is not None or settings.devices > 1:
        return False
    if len(models) * num_slices * len(models[0].feature_names) * 4 > _MOST_BYTES:
        return False
    return all(
        isinstance(model, MLP)
        # behind a ReLU two sums that differ in the last bit may go two ways, and part for good
        and all(isinstance(layer, nn.Linear | nn.Dropout | nn.Identity) for layer in model.layers)
        and not (model.one_cycle or model.mixup or model.slice_dropout or model.ema_decay is not None)
        for model in models
    )


def fit_stack(
    models: Sequence[GenreClassifier],
    datamodules: Sequence[GenreDataModule],
    chances: Sequence[Tensor],
    settings: TrainerConfig,
    checkpoint: StackCheckpoint,
) -> list[Fitted]:
    """Train models of one cell side by side.

    Args:
        models: as they were built, their transforms fitted; they stay as they are.
        datamodules: the windows of each.
        chances: the state of torch's random numbers in which each would begin to train.
        settings: of the trainer of all of them.
        checkpoint: saved as training goes, and gone on from.
    """
    networks = [model for model in models if isinstance(model, MLP)]
    uses_gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    stack = _Stack(networks, chances, torch.device("cuda" if uses_gpu else "cpu"))
    results = [Fitted() for _ in networks]
    if (before := checkpoint.read()) is not None:
        results = [Fitted(**fit["fitted"]) for fit in before]
        stack.load([fit["stack"] for fit in before])
        for module, fit in zip(datamodules, before, strict=True):
            module.load_state_dict(fit["order"])
    train = _Inputs(networks, [module.train_dataloader() for module in datamodules], stack.device)
    val = [_pooled(model, module.val_dataloader()) for model, module in zip(networks, datamodules, strict=True)]
    held_out = nn.utils.rnn.pad_sequence([inputs for inputs, _, _ in val], batch_first=True).to(stack.device)

    def standing() -> list[dict[str, Any]]:
        parts = zip(results, stack.state(), datamodules, strict=True)
        return [{"fitted": vars(one), "stack": state, "order": module.state_dict()} for one, state, module in parts]

    for epoch in range(1 + max(len(result.curves) for result in results), settings.max_epochs + 1):
        going = [number for number, result in enumerate(results) if not result.is_over(settings.patience)]
        if not going:
            break
        means = stack.train_epoch(train)
        logits = stack.logits(held_out).cpu()
        for number in going:
            _, genre, track = val[number]
            scores = validation_scores(logits[number, : len(genre)], genre, track, len(networks[0].genres))
            row = {"train/loss": means[0, number], "train/accuracy": means[1, number]} | scores
            result = results[number]
            result.curves.append({"epoch": epoch} | {name: float(value) for name, value in row.items()})
            result.num_worse += 1
            if result.curves[-1]["val/loss"] < result.loss:
                result.loss, result.weights, result.num_worse = result.curves[-1]["val/loss"], stack.weights(number), 0
        checkpoint.save(standing)
    return results


def _pooled(model: MLP, batches: WindowBatches) -> tuple[Tensor, Tensor, Tensor]:
    """What the layers see of every window, (window, feature), and genre and track of each, in order."""
    kept = []
    for batch in batches.in_order():
        kept.append((model.pooled(model.transform(batch["features"]), batch["length"]), batch["genre"], batch["track"]))
    inputs, genre, track = (torch.cat(values) for values in zip(*kept, strict=True))
    return inputs, genre, track


class _Inputs:
    """Training windows of all fits, and in which order each takes them.

    Args:
        models: pool windows.
        loaders: know each fit's windows and their order.
        device: where the windows go.
    """

    def __init__(self, models: Sequence[MLP], loaders: Sequence[WindowBatches], device: torch.device) -> None:
        pooled = [_pooled(model, loader) for model, loader in zip(models, loaders, strict=True)]
        self.features = torch.cat([inputs for inputs, _, _ in pooled]).to(device)
        self.genre = torch.cat([genre for _, genre, _ in pooled]).to(device)
        self.batch_size = loaders[0].batch_size
        self._loaders = loaders
        sizes = torch.tensor([len(genre) for _, genre, _ in pooled])
        self._first = sizes.cumsum(0) - sizes
        self.num_steps = [len(loader) for loader in loaders]

    def epoch(self) -> tuple[Tensor, Tensor]:
        """Windows of each step and fit, (step, fit, window), -1 where there is none; how many there are (step, fit)."""
        size = max(self.num_steps) * self.batch_size
        rows = torch.full((len(self._loaders), size), -1)
        for number, loader in enumerate(self._loaders):
            order = loader.shuffled() + self._first[number]
            rows[number, : len(order)] = order
        rows = rows.view(len(self._loaders), -1, self.batch_size).transpose(0, 1).contiguous()
        return rows, (rows >= 0).sum(dim=2)


class _Stack:
    """Parameters of all fits as one matrix, (fit, parameter), and Adam on it, which counts each fit's own steps.

    Args:
        models: layers and initial weights.
        chances: states of the random numbers that draw each fit's dropout.
        device: where all is computed but for random numbers, which are those of the CPU.
    """

    def __init__(self, models: Sequence[MLP], chances: Sequence[Tensor], device: torch.device) -> None:
        first = models[0]
        self.device = device
        self._model = first
        self._names = [name for name, _ in first.layers.named_parameters(prefix="layers")]
        self._shapes = [weight.shape for weight in first.layers.parameters()]
        self._sizes = [shape.numel() for shape in self._shapes]
        flat = [torch.cat([weight.detach().flatten() for weight in model.layers.parameters()]) for model in models]
        self._flat = torch.stack(flat).to(device).requires_grad_()
        self._momentum = torch.zeros_like(self._flat)
        self._square = torch.zeros_like(self._flat)
        self._num_steps = torch.zeros(len(models), 1, device=device)
        self._generators = [torch.Generator() for _ in models]
        for generator, chance in zip(self._generators, chances, strict=True):
            generator.set_state(chance)

    def state(self) -> list[dict[str, Tensor]]:
        """Where each fit stands: weights, Adam's moments and steps, and its random numbers."""
        rows = zip(self._flat.detach(), self._momentum, self._square, self._num_steps, self._generators, strict=True)
        return [
            {name: value.cpu().clone() for name, value in zip(_STATE, values, strict=True)}
            | {"chance": generator.get_state()}
            for *values, generator in rows
        ]

    def load(self, state: Sequence[dict[str, Tensor]]) -> None:
        """Stand there again."""
        values = [torch.stack([fit[name] for fit in state]).to(self.device) for name in _STATE]
        self._flat = values[0].requires_grad_()
        self._momentum, self._square, self._num_steps = values[1:]
        for generator, fit in zip(self._generators, state, strict=True):
            generator.set_state(fit["chance"])

    def weights(self, number: int) -> dict[str, Tensor]:
        """A copy of the parameters of one fit, by name."""
        parts = torch.split(self._flat.detach()[number].cpu().clone(), self._sizes)
        return {name: part.view(shape) for name, part, shape in zip(self._names, parts, self._shapes, strict=True)}

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Logits, (fit, window, genre), of inputs (fit, window, feature); no dropout."""
        return self._forward(inputs, None)

    def train_epoch(self, train: _Inputs) -> Tensor:
        """A step of every fit on every batch; loss and accuracy, (2, fit), means over the batches of each."""
        rows, counts = train.epoch()
        found = torch.zeros(2, len(self._flat), device=self.device)
        for step_rows, count, sizes in zip(rows.to(self.device), counts.to(self.device), counts.tolist(), strict=True):
            is_whole = min(sizes) == train.batch_size
            chosen = step_rows if is_whole else step_rows.clamp(min=0)
            features, genre = train.features[chosen], train.genre[chosen]
            logits = self._forward(features, sizes)
            smoothing = self._model.label_smoothing
            loss = F.cross_entropy(logits.flatten(0, 1), genre.flatten(), reduction="none", label_smoothing=smoothing)
            losses, right = loss.view_as(genre), (logits.detach().argmax(dim=2) == genre).float()
            if is_whole:
                values, accuracy = losses.mean(dim=1), right.mean(dim=1)
            else:
                share = (step_rows >= 0) / count.clamp(min=1)[:, None]
                values, accuracy = (losses * share).sum(dim=1), (right * share).sum(dim=1)
            (gradient,) = torch.autograd.grad(values.sum(), self._flat)
            self._step(gradient, None if min(sizes) > 0 else torch.nonzero(count)[:, 0])
            found += torch.stack([values.detach(), accuracy])
        return found.cpu() / torch.tensor(train.num_steps)

    def _forward(self, inputs: Tensor, sizes: list[int] | None) -> Tensor:
        """Layers on (fit, window, feature); `sizes` (windows of each fit's batch) drop out."""
        weights = iter(torch.split(self._flat, self._sizes, dim=1))
        for layer in self._model.layers:
            if isinstance(layer, nn.Linear):
                matrix = next(weights).view(-1, layer.out_features, layer.in_features)
                inputs = torch.baddbmm(next(weights).unsqueeze(1), inputs, matrix.transpose(1, 2))
            elif isinstance(layer, nn.Dropout) and layer.p > 0 and sizes is not None:
                inputs = inputs * self._kept(inputs.shape, sizes, 1 - layer.p)
        return inputs

    def _kept(self, shape: torch.Size, sizes: list[int], share: float) -> Tensor:
        """Dropout's factors, drawn as each fit by itself would draw them."""
        kept = torch.zeros(shape)
        for number, (size, generator) in enumerate(zip(sizes, self._generators, strict=True)):
            if size > 0:
                kept[number, :size].bernoulli_(share, generator=generator)
        return kept.div_(share).to(self.device)

    @torch.no_grad()
    def _step(self, gradient: Tensor, chosen: Tensor | None) -> None:
        """Adam, on the `chosen` fits or on all; torch.optim's has one number of steps for a whole matrix."""
        rate, decay = self._model.learning_rate, self._model.weight_decay
        state = (self._flat, self._momentum, self._square, self._num_steps)
        weights, momentum, square, num_steps = state if chosen is None else (values[chosen] for values in state)
        gradient = gradient if chosen is None else gradient[chosen]
        num_steps += 1
        if decay and self._model.decoupled_weight_decay:
            weights.mul_(1 - rate * decay)
        elif decay:
            gradient = gradient.add(weights, alpha=decay)
        momentum.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        spread = square.sqrt().div_((1 - _BETAS[1] ** num_steps).sqrt_()).add_(_EPS)
        weights.sub_(momentum.div(spread).mul_(rate / (1 - _BETAS[0] ** num_steps)))
        if chosen is not None:
            for values, changed in zip(state, (weights, momentum, square, num_steps), strict=True):
                values[chosen] = changed
