"""Which descriptors of a recording make one genre more probable than another, for any model.

A descriptor is replaced by its mean over the training slices, and the odds of the two genres are compared before and
after. Where a model has many columns, all columns of a kind are replaced together: alone, each of several columns that
measure nearly the same changes little.

Source: occlusion, as in Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, with the
mean as the replacement.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genregrid.data.kind import LEARNED, kinds_of
from genregrid.data.window import window_bounds, window_rows
from genregrid.models.base import GenreClassifier

_MOST_COLUMNS = 64  # that are replaced one by one
_MOST_WINDOWS = 32  # of a recording, evenly chosen; each is predicted once per descriptor


class Contribution(NamedTuple):
    """What a descriptor, or a kind of them, adds to the odds of one genre against another.

    Attributes:
        name: of the column, or of the kind of columns.
        decades: log10 of the factor by which it raises the odds of the first genre; below 0 for the second one.
        deviations: mean over the recording, in standard deviations of the training slices from their mean; ``None`` for
            several columns.
    """

    name: str
    decades: float
    deviations: float | None


def contributions(
    model: GenreClassifier,
    features: NDArray[np.float32],
    window_slices: int,
    hop_slices: int | None,
    genres: tuple[int, int],
) -> list[Contribution]:
    """Compare two genres by every descriptor of a recording, or by every kind where there are more than 64 columns.

    Args:
        model: any model.
        features: (slice, feature) float32, raw descriptors of a recording.
        window_slices: longest window.
        hop_slices: between windows; ``None`` for windows without overlap.
        genres: numbers of the genre that is explained, and of the one that it is compared with.

    Returns:
        The largest effect first. Empty if the model has learned values only, which have no names.
    """
    groups = _groups(model.feature_names)
    if not groups:
        return []
    batch = _windows(features, window_slices, hop_slices)
    with torch.inference_mode():
        whole = _decades(model, batch, genres)
        transformed = model.transform(torch.from_numpy(features)).mean(dim=0)
        found = []
        for name, columns in groups.items():
            with _replaced_by_mean(model.transform, columns):
                decades = whole - _decades(model, batch, genres)
            deviations = float(transformed[columns[0]]) if len(columns) == 1 else None
            found.append(Contribution(name, decades, deviations))
    return sorted(found, key=lambda one: -abs(one.decades))


def _groups(feature_names: Sequence[str]) -> Mapping[str, list[int]]:
    """Return the columns that are replaced together, by name.

    >>> _groups(["tempo", "rms_mean"]), _groups([f"mtt{number}_mean" for number in range(200)])
    ({'tempo': [0], 'rms_mean': [1]}, {})
    """
    kinds = kinds_of(feature_names)
    if set(kinds) <= {LEARNED}:
        return {}
    if len(feature_names) <= _MOST_COLUMNS:
        return {name: [number] for number, name in enumerate(feature_names)}
    return kinds


def _windows(features: NDArray[np.float32], window_slices: int, hop_slices: int | None) -> dict[str, Tensor]:
    """Return the windows that vote, or some of many, as a batch."""
    num_slices = len(features)
    _, start, stop = window_bounds(np.array([num_slices]), min(window_slices, num_slices), hop_slices)
    chosen = np.unique(np.linspace(0, len(start) - 1, min(len(start), _MOST_WINDOWS)).round().astype(np.int64))
    padded = torch.from_numpy(np.vstack([features, np.zeros_like(features[:1])]))
    rows = torch.from_numpy(window_rows(np.arange(num_slices), start[chosen], stop[chosen]))
    return {"features": padded[rows], "length": torch.from_numpy(stop[chosen] - start[chosen])}


def _decades(model: GenreClassifier, batch: dict[str, Tensor], genres: tuple[int, int]) -> float:
    """Return log10 of the odds of the first genre against the second in the vote of the windows."""
    first, second = genres
    logits = model.logits(batch).double()
    return float((logits[:, first] - logits[:, second]).mean()) / float(np.log(10))


@contextmanager
def _replaced_by_mean(transform: nn.Module, columns: Sequence[int]) -> Iterator[None]:
    """Let a transform return 0, which is the mean of the training slices, in some columns."""

    def replaced(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[..., list(columns)] = 0
        return output

    handle = transform.register_forward_hook(replaced)
    try:
        yield
    finally:
        handle.remove()
