"""The base of all models: input transform, scores of validation and test, and the content of a checkpoint."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from genregrid.data.datamodule import GenreDataModule
from genregrid.errors import UserError
from genregrid.metrics.score import confusion_matrix, scores
from genregrid.metrics.vote import track_vote
from genregrid.models.argument import FeatureNames, Genres, Positive, check_arguments
from genregrid.models.transform import FeatureTransform

#: Key of a checkpoint for the model's class and the provenance.
CHECKPOINT_KEY = "genregrid"


@dataclass(frozen=True)
class Scored:
    """Predictions and scores of a model on the test tracks."""

    scores: dict[str, float]  # by name, ``test/`` at track level and ``test_slice/`` at window level
    window_confusion: Tensor  # (true genre, predicted genre) int64, counts of windows
    log_probs: Tensor  # (track, genre) float32
    genre: Tensor  # (track,) int64, the true genres
    track: Tensor  # (track,) int64, index into the table's tracks


class GenreClassifier(pl.LightningModule):
    """Base of all models: `Network` for those that learn by gradients, `EstimatorClassifier` for scikit-learn's.

    Descriptors are transformed inside the model by buffers that `transform.fit` sets from training slices only and
    that are saved with the weights. Arguments of all subclasses are checked here (`genregrid.models.argument`).

    Args:
        genres: genre names in the order of the logits, at least 2.
        feature_names: names of the feature axis.
        slice_seconds: slice length in seconds.
        transform: of the descriptors, one of `genregrid.models.transform.TRANSFORMS`.

    Raises:
        UserError: an unknown transform, or an argument of a subclass out of its range.
    """

    def __init__(
        self,
        *,
        genres: Genres,
        feature_names: FeatureNames,
        slice_seconds: Positive,
        transform: str = "standardise",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_arguments(type(self), self.hparams)
        self.genres = list(genres)
        self.feature_names = list(feature_names)
        self.slice_seconds = slice_seconds
        self.transform = FeatureTransform(transform, feature_names)
        #: Plain values about the run that trained the weights (protocol, parts, recipe ...), kept in the checkpoint.
        self.provenance: dict[str, Any] = {}
        self.scored: Scored | None = None
        #: Logits (window, genre), genre and track (window,) of validation, if they cannot be computed again later.
        self.validated: tuple[Tensor, Tensor, Tensor] | None = None
        #: One row per epoch: epoch (from 1), and scores of training and validation; empty for models without epochs.
        self.curves: list[dict[str, float]] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Fit the transform on the training slices of the trainer's datamodule, unless it is fitted already.

        A run fits it before; this is for a plain trainer of Lightning.

        Raises:
            UserError: it is not fitted, and this is no training, or the trainer has no `GenreDataModule`.
        """
        if self.transform.is_fitted:
            return
        # only a `GenreDataModule` has training rows; batches alone may be mixed or augmented
        datamodule = getattr(self.trainer, "datamodule", None) if stage == "fit" else None
        if not isinstance(datamodule, GenreDataModule):
            raise _not_fitted()
        self.transform.fit(datamodule.table.features, datamodule.training_rows)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute logits of a batch of raw features, (batch, genre) float32.

        Slices from `length` on are padding: zeros in the batch, and any numbers once transformed. A model ignores them.
        """
        raise NotImplementedError  # `Network` and `EstimatorClassifier` have theirs

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Keep a batch's logits for `on_validation_epoch_end`."""
        # scores are computed on the CPU
        self._seen.append((self.logits(batch).float().cpu(), batch["genre"].cpu(), batch["track"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss` (windows) and `val/accuracy`, `val/f1_macro` (tracks)."""
        logits, genre, track = self._gather_from_all()
        # `sync_dist`: the values are equal already, but Lightning would warn
        self.log_dict(validation_scores(logits, genre, track, len(self.genres)), sync_dist=True)

    def test_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Keep a batch's logits for `on_test_epoch_end`."""
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        """Set `scored` and log all its scores that are known."""
        logits, genre, track = self._gather_from_all()
        # a trainer has no datamodule only where batches come from elsewhere
        table = getattr(getattr(self.trainer, "datamodule", None), "table", None)
        check_finite(logits, track, () if table is None else table.tracks)
        log_probs, track_genre, numbers = voted(logits, genre, track)
        values = scores(log_probs, track_genre, self.genres, "test/")
        values |= scores(logits, genre, self.genres, "test_slice/")
        windows = confusion_matrix(logits, genre, len(self.genres))
        self.scored = Scored(values, windows, log_probs, track_genre, numbers)
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        self.log_dict(known, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class and the provenance, as plain values that load with ``weights_only=True``."""
        cls = type(self)
        checkpoint[CHECKPOINT_KEY] = {"model_class": f"{cls.__module__}.{cls.__qualname__}"} | self.provenance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the provenance."""
        self.provenance = {k: v for k, v in checkpoint[CHECKPOINT_KEY].items() if k != "model_class"}

    @torch.inference_mode()
    def predict_logits(
        self, batches: Iterable[dict[str, Tensor]], tracks: Sequence[str] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute logits (window, genre) float32, true genre and track, both (window,) int64, of one batch or more.

        Args:
            batches: as those of `genregrid.data.datamodule`.
            tracks: names of the tracks, for the error.

        Raises:
            UserError: the logits of a window are not finite, or the transform is not fitted.
        """
        if not self.transform.is_fitted:
            raise _not_fitted()
        self.eval()
        for batch in batches:
            self.validation_step(batch, 0)
        logits, genre, track = self._gather()
        check_finite(logits, track, tracks)
        return logits, genre, track

    def _gather_from_all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Collect the kept windows of all processes, in the order of a single process."""
        seen = self._gather()
        if self.trainer.world_size == 1:
            return seen
        logits, genre, track = map(self._from_all, seen)
        is_window = track >= 0  # the rest fills up the last round
        return logits[is_window], genre[is_window], track[is_window]

    def _from_all(self, values: Tensor) -> Tensor:
        """Collect windows of all processes, (window, ...); process i has every window i modulo their number."""
        own = values.to(self.device)
        # not Lightning's `all_gather`: it calls a function that torch deprecates
        shares = [torch.empty_like(own) for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather(shares, own)
        return torch.stack(shares, dim=1).flatten(0, 1).cpu()

    def _gather(self) -> tuple[Tensor, Tensor, Tensor]:
        logits, genre, track = (torch.cat(values) for values in zip(*self._seen, strict=True))
        self._seen.clear()
        return logits, genre, track


def _not_fitted() -> UserError:
    """Return the error of a model whose transform does nothing yet: its answers would be little better than chance."""
    hint = (
        "train it with Trainer.fit(model, datamodule=GenreDataModule(...)), or call its transform.fit(features, rows)"
    )
    return UserError("its transform is not fitted to training slices", key="model", hint=hint)


def check_finite(logits: Tensor, track: Tensor, tracks: Sequence[str] = ()) -> None:
    """Refuse logits that are not finite: they have no score and no most probable genre.

    Args:
        logits: (window, genre).
        track: of each window, (window,) int64, an index into `tracks`.
        tracks: names of the tracks; empty if they have none.

    Raises:
        UserError: the logits of a window are NaN or infinite; it names the first track.
    """
    wrong = ~logits.isfinite().all(dim=1)
    if wrong.any():
        number = int(track[wrong][0])
        of = tracks[number] if number < len(tracks) else f"number {number}"
        problem = f"its logits are not finite for {int(wrong.sum())} of {len(wrong)} windows, the first of track {of}"
        hint = "its weights are too large, or the descriptors lie far outside those of the training"
        raise UserError(problem, key="model", hint=hint)


def voted(logits: Tensor, genre: Tensor, track: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute log-probabilities, true genre and number of each track from (window, genre), (window,) and (window,)."""
    log_probs, numbers = track_vote(logits, track)
    position = torch.searchsorted(numbers, track)
    return log_probs, genre.new_zeros(len(numbers)).scatter_(0, position, genre), numbers


def validation_scores(logits: Tensor, genre: Tensor, track: Tensor, num_genres: int) -> dict[str, Tensor]:
    """Compute `val/loss` of windows, and `val/accuracy` and `val/f1_macro` of tracks; arguments as in `voted`."""
    log_probs, track_genre, _ = voted(logits, genre, track)
    return {
        "val/loss": F.cross_entropy(logits, genre),
        "val/accuracy": multiclass_accuracy(log_probs, track_genre, num_genres, average="micro"),
        "val/f1_macro": multiclass_f1_score(log_probs, track_genre, num_genres, average="macro"),
    }
