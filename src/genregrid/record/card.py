"""A checkpoint's description of itself: how good its settings were in cross-validation, and how sure it can be."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import UserError, counted
from genregrid.metrics.calibration import TEMPERATURES
from genregrid.models.argument import Allowed, is_number, is_whole
from genregrid.name import MOST_GENRES
from genregrid.record.checked import HINT, checked, checked_dict

if TYPE_CHECKING:
    from torch import Tensor

#: Probability that the set of genres of a verdict holds the true one.
LEVEL = 0.9
#: The scores of a genre in a card.
GENRE_SCORES = ("precision", "recall", "f1")

_Share = Annotated[float, Allowed("0 to 1", lambda value: is_number(value, 0, 1))]
_Whole = Annotated[int, Allowed("1 or more", lambda value: is_whole(value, 1, 2**32))]
_Temperature = Annotated[float, Allowed("a temperature", lambda value: is_number(value, *TEMPERATURES))]
_LARGEST = 1e30  # of the numbers of a map


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score of all test tracks, 0 to 1, with its 95 % interval; no bounds if there are too few groups of tracks."""

    value: _Share | None
    low: _Share | None = None
    high: _Share | None = None

    def __str__(self) -> str:
        return self.written()

    def written(self, unit: str = "") -> str:
        """Write it in per cent, with its interval.

        >>> Score(value=0.5, low=0.4, high=0.6).written(" %"), Score(value=0.5).written(), Score(value=None).written()
        ('50.0 % (40.0 to 60.0)', '50.0', '-')
        """
        if self.value is None:
            return "-"
        share = f"{100 * self.value:.1f}{unit}"
        if self.low is None or self.high is None:
            return share
        return f"{share} ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The cross-validated score of the settings of a final model, and the calibration of its probabilities.

    A final model is trained on every track, so that no track is left to test it. What is known about it are the scores
    of models with the same settings on the folds, each of which was tested on tracks that it was not trained on.
    """

    protocol: str  # how tracks were divided
    folds: _Whole
    num_tracks: _Whole  # tracks that were tested
    num_groups: _Whole  # groups of them that the protocol keeps in one fold
    unit: str  # what a group is: artist or track
    accuracy: Score
    per_genre: dict[str, dict[str, Score]]  # by genre and by name of `GENRE_SCORES`
    tested: dict[str, Annotated[int, Allowed("0 or more", lambda value: is_whole(value, 0, 2**32))]]  # tracks by genre
    temperature: _Temperature  # divides logits; fitted on the validation tracks of all folds
    threshold: _Share  # a genre is in the set if its probability is at least 1 minus this; from tracks of other folds
    set_size: Annotated[float, Allowed("0 or more", lambda value: is_number(value, 0, MOST_GENRES))]  # mean
    epochs: _Whole | None  # median over the folds of the best epoch; None for models without epochs

    @property
    def evidence(self) -> str:
        """How good the settings are, such as "right for 61.0 % (55.0 to 67.0) of 1000 tracks by artists that ..."."""
        by = f" by {self.unit}s" if self.unit == "artist" else ""
        tracks = counted(self.num_tracks, "track")
        return f"right for {self.accuracy.written(' %')} of {tracks}{by} that it was not trained on"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, source: object) -> Self:
        """Read what `to_json` returned.

        Raises:
            UserError: a key is missing, or has a value of another type or out of its range.
        """
        if not isinstance(content, dict):
            raise UserError("its card is no dict", key=source, hint=HINT)
        values = checked(cls, content, source, without=("accuracy", "per_genre"))
        table = checked_dict(content, "per_genre", source)
        if len(table) > MOST_GENRES:
            raise UserError("its card has too many genres", key=source, hint=HINT)
        per_genre = {genre: _scores(checked_dict(table, genre, source), source) for genre in table}
        accuracy = Score(**checked(Score, checked_dict(content, "accuracy", source), source))
        if accuracy.value is None:
            raise UserError("its card has no accuracy", key=source, hint=HINT)
        return cls(accuracy=accuracy, per_genre=per_genre, **values)


def _scores(content: dict[str, Any], source: object) -> dict[str, Score]:
    return {name: Score(**checked(Score, checked_dict(content, name, source), source)) for name in GENRE_SCORES}


@dataclass(frozen=True, eq=False)
class TrackMap:
    """Where the training tracks of a final model lie, to find those that are near to a recording.

    A track is a point with a few coordinates, along which genres differ most. Its descriptors are not kept.

    Attributes:
        projection: (feature, axis) float32, from the mean of a track's transformed slices to coordinates.
        position: (track, axis) float32, in the order of the training tracks.
    """

    projection: NDArray[np.float32]
    position: NDArray[np.float32]

    def nearest(self, mean: NDArray[np.float32], most: int) -> list[int]:
        """Return the numbers of the nearest tracks, nearest first; `mean` is (feature,) float32."""
        distance = np.square(self.position - mean @ self.projection).sum(axis=1)
        return [int(number) for number in np.argsort(distance, kind="stable")[:most]]

    def to_json(self) -> "dict[str, Tensor]":
        """Return tensors by name, for a checkpoint."""
        import torch  # a report reads records, and does without it

        return {name: torch.from_numpy(values) for name, values in vars(self).items()}

    @classmethod
    def from_json(cls, content: Any, num_tracks: int, source: object) -> Self:
        """Read what `to_json` returned.

        Raises:
            UserError: a tensor is missing, or its type, shape or values are not those of a map.
        """
        values = content if isinstance(content, dict) else {}
        arrays: dict[str, Any] = {
            name: values[name].numpy() if hasattr(values.get(name), "numpy") else None
            for name in ("projection", "position")
        }
        are_sound = all(
            isinstance(array, np.ndarray)
            and array.dtype == np.float32
            and array.ndim == 2
            and 0 < array.shape[1] < MOST_GENRES
            and bool(np.isfinite(array).all())
            and bool((abs(array) < _LARGEST).all())
            for array in arrays.values()
        )
        if not are_sound or arrays["position"].shape != (num_tracks, arrays["projection"].shape[1]):
            raise UserError("its map of training tracks is not sound", key=source, hint=HINT)
        return cls(**arrays)
