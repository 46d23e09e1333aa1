"""What a run's model uses, measured on its test tracks; `genregrid.training.explain` computes it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Evidence:
    """Integrated gradients: what speaks for the genre that a network predicts for each test track.

    Attributes:
        by_kind: by kind of descriptors, (track,) float64: by how much its values raise the logit of the predicted
            genre, less the mean logit of all genres, above that of the mean training slice.
        by_position: (track, position) float64: the same of all descriptors, by equal parts of the track.
        gap: the largest difference between the sum of a window's attributions and the difference of its logits,
            relative to that difference, or to one logit if it is smaller.
    """

    by_kind: Mapping[str, NDArray[np.float64]]
    by_position: NDArray[np.float64]
    gap: float


@dataclass(frozen=True)
class Explanation:
    """The test tracks of a run, and how its predictions for them depend on descriptors.

    Attributes:
        tracks: names of the test tracks.
        genre: (track,) names of the true genres.
        predicted: (track,) names of the predicted genres.
        num_descriptors: by kind.
        right_by_kind: by kind, (track,) float64: the share of permutations after which the prediction is right.
        right_by_descriptor: the same by single descriptor; empty for the values of a network.
        kind_of: kind of each single descriptor.
        num_permutations: 1 or more.
        brightness_hz: (track,) float64, the mean spectral centroid of a track; empty if there is no such descriptor.
        evidence: ``None`` for models without gradients.
    """

    tracks: tuple[str, ...]
    genre: tuple[str, ...]
    predicted: tuple[str, ...]
    num_descriptors: Mapping[str, int]
    right_by_kind: Mapping[str, NDArray[np.float64]]
    right_by_descriptor: Mapping[str, NDArray[np.float64]]
    kind_of: Mapping[str, str]
    num_permutations: int
    brightness_hz: NDArray[np.float64]
    evidence: Evidence | None = None
