"""Pool slices into longer ones.

Every descriptor but tempo is a mean or a variance over the STFT frames of its slice, so pooling `k` slices of equal
length is exact for the statistic itself: the mean of the means, and the mean of the variances plus the variance of
the means (law of total variance). What it cannot undo is a descriptor that depends on the whole slice: librosa's
decibel floor (MFCC) and its tempo. docs/results.md shows, column by column, how close pooled rows are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, in_memory
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError, counted


def reslice(
    table: FeatureTable, slice_seconds: float, allocate: Allocate = in_memory, *, others_by_mean: bool = False
) -> FeatureTable:
    """Pool consecutive slices into slices of `slice_seconds`; the remainder of a track is dropped and counted.

    Nine 3-second slices make four 6-second slices (one is left over) and three 9-second ones. `length` is summed;
    `tempo` is the median of the pooled slices, which equals the tempo of the whole clip for more than half of GTZAN's
    clips. An average does not, because librosa's tempi are on a grid and are often wrong by a factor of two. Columns
    whose name ends in neither ``_mean`` nor ``_var`` are refused, or pooled by their mean with `others_by_mean`.

    Raises:
        UserError: the table cannot make slices of that length.
    """
    pooled = _num_pooled(table, slice_seconds)
    if pooled == 1:
        return table
    num_slices = table.num_slices
    kept = table.slice_index < (num_slices // pooled * pooled)[table.track]
    rows = np.flatnonzero(kept).reshape(-1, pooled)  # rows are sorted by track, so no group spans two tracks
    features = allocate((len(rows), len(table.feature_names)))
    for start in range(0, len(rows), BLOCK_ROWS // pooled + 1):
        block = slice(start, start + BLOCK_ROWS // pooled + 1)
        features[block] = _pool(table.features[rows[block]].astype(np.float64), table.feature_names, others_by_mean)
    track = table.track[kept][::pooled]
    still_there, new_track = np.unique(track, return_inverse=True)
    return replace(
        table,
        features=features,
        length_samples=table.length_samples[kept].reshape(-1, pooled).sum(axis=1),
        tracks=tuple(table.tracks[index] for index in still_there),
        track=new_track.astype(np.int64),
        slice_index=table.slice_index[kept][::pooled] // pooled,
        genre=table.genre[still_there],
        slice_seconds=float(slice_seconds),
        notes=(*table.notes, *_dropped(table, pooled, kept, len(still_there))),
    )


def possible_slice_seconds(slice_seconds: float, max_slices: int) -> list[float]:
    """List the slice lengths in seconds that a table can make.

    >>> possible_slice_seconds(3.0, 4)
    [3.0, 6.0, 9.0, 12.0]
    """
    return [round(slice_seconds * count, 6) for count in range(1, max_slices + 1)]


def _num_pooled(table: FeatureTable, slice_seconds: float) -> int:
    possible = possible_slice_seconds(table.slice_seconds, int(table.num_slices.max()))
    nearest = int(np.argmin(np.abs(np.array(possible) - slice_seconds)))
    if abs(possible[nearest] - slice_seconds) > 1e-3:
        lengths = ", ".join(f"{seconds:g}" for seconds in possible)
        raise UserError(f"this table can make slices of {lengths} seconds", key="slice", value=slice_seconds)
    return nearest + 1


def _pool(features: NDArray[np.float64], names: tuple[str, ...], others_by_mean: bool) -> NDArray[np.float64]:
    """Pool each group of slices, (slice, pooled, feature) -> (slice, feature)."""
    position = {name: index for index, name in enumerate(names)}
    pooled: NDArray[np.float64] = features.mean(axis=1)
    for name, index in position.items():
        if name.endswith("_var"):
            mean = position.get(name.removesuffix("_var") + "_mean")
            if mean is None:
                hint = "extract at this slice length instead"
                raise UserError("it cannot be pooled without its mean", key=f"column '{name}'", hint=hint)
            pooled[:, index] += features[:, :, mean].var(axis=1)
        elif name == "tempo":
            pooled[:, index] = np.median(features[:, :, index], axis=1)
        elif not (name.endswith("_mean") or others_by_mean):
            hint = "extract at this slice length instead, or set dataset.pooling=mean"
            raise UserError("it has no pooling rule", key=f"column '{name}'", hint=hint)
    return pooled


def _dropped(table: FeatureTable, pooled: int, kept: NDArray[np.bool_], num_tracks_left: int) -> list[str]:
    notes = []
    if num_dropped := int((~kept).sum()):
        left_over = f"left over {num_dropped} of {len(kept)} slices"
        notes.append(f"pooling {pooled} slices of {table.slice_seconds:g} s {left_over}")
    if num_short := len(table.tracks) - num_tracks_left:
        rest = "too short for one slice of that length and"
        notes.append(f"{counted(num_short, f'track is {rest} was', f'tracks are {rest} were')} left out")
    return notes
