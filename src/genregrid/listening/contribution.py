"""Which descriptors of a recording make one genre more probable than another, for any model.

A descriptor is replaced by its mean over the training slices, and the odds of the two genres are compared before and
after: once beside the recording's other descriptors, and once beside the means of all others. The mean of both is
given. For a linear model both are equal. A model that is very sure answers the same without any one descriptor, and
then only the second comparison shows a difference.

Where a model has many columns, all columns of a kind are replaced together: alone, each of several columns that measure
nearly the same changes little.

Source: occlusion, as in Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, with the
mean as the replacement. The two comparisons are the last and the first step of the orders that Shapley values average:
Strumbelj and Kononenko, "Explaining prediction models and individual predictions with feature contributions", 2014.
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
_MOST_WINDOWS = 32  # of a recording, evenly chosen; each is predicted twice per descriptor
_VALUES_AT_ONCE = 1 << 20  # of the windows that a model predicts at a time, as in scoring


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
    is_mean = np.zeros((2 + 2 * len(groups), len(model.feature_names)), np.bool_)
    is_mean[1] = True
    for number, columns in enumerate(groups.values()):
        is_mean[2 + 2 * number, columns] = True
        is_mean[3 + 2 * number] = ~is_mean[2 + 2 * number]
    with torch.inference_mode():
        whole, nothing, *others = _decades(model, _windows(features, window_slices, hop_slices), is_mean, genres)
        transformed = model.transform(torch.from_numpy(features)).mean(dim=0)
    found = []
    for (name, columns), without, alone in zip(groups.items(), others[::2], others[1::2], strict=True):
        deviations = float(transformed[columns[0]]) if len(columns) == 1 else None
        found.append(Contribution(name, ((whole - without) + (alone - nothing)) / 2, deviations))
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


def _decades(
    model: GenreClassifier, batch: dict[str, Tensor], is_mean: NDArray[np.bool_], genres: tuple[int, int]
) -> list[float]:
    """Return log10 of the odds of the first genre against the second, for every variant of the features.

    `is_mean` is (variant, feature): which descriptors are replaced by their mean. Many variants are one batch: with one
    batch for each, most of the time would be that of starting a prediction.
    """
    num_windows, longest, num_features = batch["features"].shape
    num_together = max(1, _VALUES_AT_ONCE // (num_windows * longest * num_features))
    found: list[float] = []
    for start in range(0, len(is_mean), num_together):
        masks = torch.from_numpy(is_mean[start : start + num_together])
        several = {
            "features": batch["features"].repeat(len(masks), 1, 1),
            "length": batch["length"].repeat(len(masks)),
        }
        with _replaced_by_mean(model.transform, masks.repeat_interleave(num_windows, dim=0)):
            logits = model.logits(several).double()
        odds = (logits[:, genres[0]] - logits[:, genres[1]]).reshape(len(masks), num_windows)
        found += (odds.mean(dim=1) / np.log(10)).tolist()
    return found


@contextmanager
def _replaced_by_mean(transform: nn.Module, is_mean: Tensor) -> Iterator[None]:
    """Let a transform return 0, which is the mean of the training slices, where `is_mean` (window, feature) is true."""

    def replaced(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # windows are the first axis, features the last; slices may be between them
        return output.masked_fill(is_mean if output.ndim == 2 else is_mean.unsqueeze(1), 0)

    handle = transform.register_forward_hook(replaced)
    try:
        yield
    finally:
        handle.remove()
