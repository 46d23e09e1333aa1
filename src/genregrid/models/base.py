"""What all models share: scaling, loss, optimiser, and scores of validation and test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from hydra.utils import get_class
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from genregrid.errors import UserError
from genregrid.metrics.score import confusion_matrix, scores
from genregrid.metrics.vote import track_vote

#: Where a checkpoint keeps what is not weights: the model's class and where its numbers come from.
CHECKPOINT_KEY = "genregrid"


@dataclass(frozen=True)
class Scored:
    """What a model said of the test tracks.

    Attributes:
        scores: every score by name, ``test/`` at track level and ``test_slice/`` at window level.
        window_confusion: (true genre, predicted genre) int64, counts of windows.
        log_probs: (track, genre) float32.
        genre: (track,) int64, the true genres.
        track: (track,) int64, index into the table's tracks.
    """

    scores: dict[str, float]
    window_confusion: Tensor
    log_probs: Tensor
    genre: Tensor
    track: Tensor


class GenreClassifier(pl.LightningModule):
    """Base of all models: a subclass has an `__init__` that builds layers and a `forward` that uses them.

    Features are standardised inside the model by buffers that `fit_scaler` sets from training slices only and that
    travel with the weights; `forward` receives standardised features.

    Args:
        genres: genre names in the order of the logits, at least 2.
        feature_names: names of the feature axis.
        slice_seconds: slice length in seconds.
        learning_rate: of Adam, above 0.
        weight_decay: L2 penalty of Adam, 0 or more.

    Raises:
        UserError: a learning rate or weight decay out of range.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        *,
        genres: Sequence[str],
        feature_names: Sequence[str],
        slice_seconds: float,
        learning_rate: float,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if learning_rate <= 0 or weight_decay < 0:
            raise UserError(
                f"model.learning_rate={learning_rate:g} must be above 0, and weight_decay={weight_decay:g} 0 or more."
            )
        self.genres = list(genres)
        self.feature_names = list(feature_names)
        self.slice_seconds = slice_seconds
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.register_buffer("feature_mean", torch.zeros(len(feature_names)))
        self.register_buffer("feature_scale", torch.ones(len(feature_names)))
        #: Plain values about the run that trained the weights (protocol, parts, recipe ...), kept in the checkpoint.
        self.provenance: dict[str, Any] = {}
        self.scored: Scored | None = None
        #: One row per epoch: epoch (from 1), train/loss, train/accuracy, and the validation scores.
        self.curves: list[dict[str, float]] = []
        self._training: list[tuple[Tensor, Tensor]] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def fit_scaler(self, features: Tensor) -> None:
        """Set mean and scale from training slices, (row, feature); a constant feature keeps scale 1."""
        features = features.double()
        deviation = features.std(dim=0, correction=0)
        # a column that varies by rounding alone counts as constant
        constant = deviation <= 1e-7 * features.abs().amax(dim=0)
        self.feature_mean.copy_(features.mean(dim=0))
        self.feature_scale.copy_(torch.where(constant, 1.0, deviation))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre) float32, from standardised features (batch, slice, feature) and length (batch,).

        Slices behind `length` are padding: zeros before, and minus mean over scale after standardising. A model must
        leave them out; the conformance test checks it.
        """
        raise NotImplementedError  # every subclass has its own

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits of a batch of raw features, (batch, genre) float32."""
        scaled: Tensor = self(self.standardise(batch["features"]), batch["length"])
        return scaled

    def standardise(self, features: Tensor) -> Tensor:
        """Features minus mean, over scale, (..., feature) float32."""
        return (features - self.feature_mean) / self.feature_scale

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as in the paper; fused, as a loop over small tensors takes a quarter of a small model's step."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Cross-entropy of a batch. Nothing is logged here: a call of `log` costs as much as a small model's step."""
        logits = self.logits(batch)
        loss = F.cross_entropy(logits, batch["genre"])
        self._training.append((loss.detach(), (logits.detach().argmax(dim=1) == batch["genre"]).float().mean()))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log `train/loss` and `train/accuracy` (means over batches, dropout on), and add the epoch to `curves`."""
        loss, accuracy = (torch.stack(values).mean() for values in zip(*self._training, strict=True))
        self._training.clear()
        values = {"train/loss": loss, "train/accuracy": accuracy}
        self.log_dict(values)
        values |= {name: value for name, value in self.trainer.callback_metrics.items() if name.startswith("val/")}
        self.curves.append({"epoch": self.current_epoch + 1} | {name: float(value) for name, value in values.items()})

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Keep a batch's logits for `on_validation_epoch_end`."""
        kept = (self.logits(batch).float(), batch["genre"], batch["track"])
        self._seen.append((kept[0].cpu(), kept[1].cpu(), kept[2].cpu()))  # scores are computed there

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss` (windows) and `val/accuracy`, `val/f1_macro` (tracks)."""
        logits, genre, track = self._gather()
        log_probs, track_genre, _ = voted(logits, genre, track)
        num = len(self.genres)
        self.log_dict(
            {
                "val/loss": F.cross_entropy(logits, genre),
                "val/accuracy": multiclass_accuracy(log_probs, track_genre, num, average="micro"),
                "val/f1_macro": multiclass_f1_score(log_probs, track_genre, num, average="macro"),
            }
        )

    def test_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Keep a batch's logits for `on_test_epoch_end`."""
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        """Set `scored` and log all its scores."""
        logits, genre, track = self._gather()
        log_probs, track_genre, numbers = voted(logits, genre, track)
        values = scores(log_probs, track_genre, self.genres, "test/") | scores(
            logits, genre, self.genres, "test_slice/"
        )
        windows = confusion_matrix(logits, genre, len(self.genres))
        self.scored = Scored(values, windows, log_probs, track_genre, numbers)
        self.log_dict(values)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class and the provenance, as plain values that load with ``weights_only=True``."""
        cls = type(self)
        checkpoint[CHECKPOINT_KEY] = {"model_class": f"{cls.__module__}.{cls.__qualname__}"} | self.provenance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the provenance back."""
        self.provenance = {k: v for k, v in checkpoint[CHECKPOINT_KEY].items() if k != "model_class"}

    @torch.inference_mode()
    def say(self, batches: Iterable[dict[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (window, genre) float32, true genre and track, both (window,) int64, of one batch or more."""
        self.eval()
        for batch in batches:
            self.validation_step(batch, 0)
        return self._gather()

    def _gather(self) -> tuple[Tensor, Tensor, Tensor]:
        logits, genre, track = (torch.cat(values) for values in zip(*self._seen, strict=True))
        self._seen.clear()
        return logits, genre, track


def load_checkpoint(path: Path) -> GenreClassifier:
    """The model of a checkpoint, on the CPU, with its provenance.

    Raises:
        UserError: there is no such file, or it is no checkpoint of genregrid.
    """
    if path.is_dir():
        path /= "checkpoint.ckpt"  # the folder that `run: PATH` names will do
    if not path.is_file():
        raise UserError(f"checkpoint={path} does not exist: give the checkpoint.ckpt of a run folder.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        cls = get_class(content[CHECKPOINT_KEY]["model_class"])
        if not issubclass(cls, GenreClassifier):
            raise TypeError(f"{cls.__name__} is no GenreClassifier")
        model = cls.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for files that are no checkpoints
        raise UserError(f"checkpoint={path} is no checkpoint of genregrid ({type(error).__name__}).") from error
    return model.eval()


def voted(logits: Tensor, genre: Tensor, track: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, true genre and number of each track, from (window, genre), (window,) and (window,)."""
    log_probs, numbers = track_vote(logits, track)
    position = torch.searchsorted(numbers, track)
    return log_probs, genre.new_zeros(len(numbers)).scatter_(0, position, genre), numbers
