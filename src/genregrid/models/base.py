"""What all models share: the transform of descriptors, scores of validation and test, and what a checkpoint holds."""

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
from genregrid.models.transform import FeatureTransform

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
    """Base of all models: `Network` for those that learn by gradients, `EstimatorClassifier` for scikit-learn's.

    Descriptors are transformed inside the model by buffers that `transform.fit` sets from training slices only and
    that travel with the weights.

    Args:
        genres: genre names in the order of the logits, at least 2.
        feature_names: names of the feature axis.
        slice_seconds: slice length in seconds.
        transform: of the descriptors, one of `genregrid.models.transform.TRANSFORMS`.

    Raises:
        UserError: an unknown transform.
    """

    def __init__(
        self,
        *,
        genres: Sequence[str],
        feature_names: Sequence[str],
        slice_seconds: float,
        transform: str = "standardise",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.genres = list(genres)
        self.feature_names = list(feature_names)
        self.slice_seconds = slice_seconds
        self.transform = FeatureTransform(transform, feature_names)
        #: Plain values about the run that trained the weights (protocol, parts, recipe ...), kept in the checkpoint.
        self.provenance: dict[str, Any] = {}
        self.scored: Scored | None = None
        #: Logits (window, genre), genre and track (window,) of validation, where they cannot be asked for again later.
        self.validated: tuple[Tensor, Tensor, Tensor] | None = None
        #: One row per epoch: epoch (from 1), and scores of training and validation; empty where there are no epochs.
        self.curves: list[dict[str, float]] = []
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits of a batch of raw features, (batch, genre) float32: the model's verdict, by which it is scored.

        Slices behind `length` are padding: zeros in the batch, and any numbers once transformed. A model must leave
        them out; the conformance test checks it.
        """
        raise NotImplementedError  # `Network` and `EstimatorClassifier` have theirs

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Keep a batch's logits for `on_validation_epoch_end`."""
        kept = (self.logits(batch).float(), batch["genre"], batch["track"])
        self._seen.append((kept[0].cpu(), kept[1].cpu(), kept[2].cpu()))  # scores are computed there

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss` (windows) and `val/accuracy`, `val/f1_macro` (tracks)."""
        logits, genre, track = self._gather_from_all()
        # `sync_dist`: they are equal already; Lightning would warn
        self.log_dict(validation_scores(logits, genre, track, len(self.genres)), sync_dist=True)

    def test_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Keep a batch's logits for `on_test_epoch_end`."""
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        """Set `scored` and log all its scores."""
        logits, genre, track = self._gather_from_all()
        log_probs, track_genre, numbers = voted(logits, genre, track)
        values = scores(log_probs, track_genre, self.genres, "test/") | scores(
            logits, genre, self.genres, "test_slice/"
        )
        windows = confusion_matrix(logits, genre, len(self.genres))
        self.scored = Scored(values, windows, log_probs, track_genre, numbers)
        self.log_dict(values, sync_dist=True)

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

    def _gather_from_all(self) -> tuple[Tensor, Tensor, Tensor]:
        """What all processes of the trainer have seen, in the order of one that sees it all."""
        seen = self._gather()
        if self.trainer.world_size == 1:
            return seen
        logits, genre, track = map(self._from_all, seen)
        is_window = track >= 0  # the rest filled up the last turn
        return logits[is_window], genre[is_window], track[is_window]

    def _from_all(self, values: Tensor) -> Tensor:
        """Windows of all processes, (window, ...), which were dealt to them by turns."""
        own = values.to(self.device)
        shares = [torch.empty_like(own) for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather(shares, own)
        return torch.stack(shares, dim=1).flatten(0, 1).cpu()

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
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):  # a model whose package is not installed
                raise cause from None
            cause = cause.__cause__
        raise UserError(
            f"checkpoint={path} is no checkpoint of genregrid, or of another version ({type(error).__name__})."
        ) from error
    return model.eval()


def voted(logits: Tensor, genre: Tensor, track: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, true genre and number of each track, from (window, genre), (window,) and (window,)."""
    log_probs, numbers = track_vote(logits, track)
    position = torch.searchsorted(numbers, track)
    return log_probs, genre.new_zeros(len(numbers)).scatter_(0, position, genre), numbers


def validation_scores(logits: Tensor, genre: Tensor, track: Tensor, num_genres: int) -> dict[str, Tensor]:
    """`val/loss` of windows, `val/accuracy` and `val/f1_macro` of tracks, from (window, genre), (window,) twice."""
    log_probs, track_genre, _ = voted(logits, genre, track)
    return {
        "val/loss": F.cross_entropy(logits, genre),
        "val/accuracy": multiclass_accuracy(log_probs, track_genre, num_genres, average="micro"),
        "val/f1_macro": multiclass_f1_score(log_probs, track_genre, num_genres, average="macro"),
    }


def check_counts(**counts: object) -> None:
    """Refuse what is no whole number of 1 or more; arguments of a model by name.

    Raises:
        UserError: the first that is none.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"model.{name}={value}: a whole number, 1 or more.")


def check_shares(**shares: object) -> None:
    """Refuse what does not lie in [0, 1); arguments of a model by name.

    Raises:
        UserError: the first that does not.
    """
    for name, value in shares.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise UserError(f"model.{name}={value}: 0 or more, and less than 1.")


def check_switches(**switches: object) -> None:
    """Refuse what is neither true nor false (YAML's words; ``no`` is text on a command line); arguments by name.

    Raises:
        UserError: the first that is neither.
    """
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise UserError(f"model.{name}={value}: true or false.")
