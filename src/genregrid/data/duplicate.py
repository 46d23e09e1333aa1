"""Find tracks that repeat each other, by hashes of their slices, and group tracks that must stay together."""

from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from genregrid.data.slice_rows import BLOCK_ROWS
from genregrid.data.table import FeatureTable


def track_fingerprints(table: FeatureTable) -> NDArray[np.uint64]:
    """Hash all features of each track, (track,) uint64, to recognise a track under another name."""
    fingerprint = np.zeros(len(table.tracks), np.uint64)
    np.add.at(fingerprint, table.track, _row_hashes(table))  # overflow wraps round, which is fine for a hash
    return fingerprint


def duplicate_groups(table: FeatureTable) -> NDArray[np.int64]:
    """Number groups of tracks that share a slice to the last bit, (track,) int64.

    One shared slice is enough, because excerpts of one recording overlap. Slices of digital silence are ignored.
    """
    row_hash = _row_hashes(table)
    sounding = np.ones(len(row_hash), bool)
    if "rms_mean" in table.feature_names:
        sounding = table.features[:, table.feature_names.index("rms_mean")] > 0
    _, content, count = np.unique(row_hash[sounding], return_inverse=True, return_counts=True)
    shared = count[content] > 1
    return _components(table.track[sounding][shared], content[shared], len(table.tracks))


def merged_groups(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge two groupings of tracks: tracks that share a group in either are in one group; all (track,)."""
    track = np.arange(len(first))
    return _components(np.tile(track, 2), np.concatenate([first, second + first.max() + 1]), len(track))


def _row_hashes(table: FeatureTable) -> NDArray[np.uint64]:
    """Hash each row, (row,) uint64, in blocks, because hashing takes several times the memory of the data."""
    blocks = [table.features[start : start + BLOCK_ROWS] for start in range(0, len(table.features), BLOCK_ROWS)]
    return np.concatenate([pd.util.hash_pandas_object(pd.DataFrame(block), index=False) for block in blocks])


def _components(track: NDArray[np.int64], shared: NDArray[np.int64], num_tracks: int) -> NDArray[np.int64]:
    """Number connected components of tracks that have a value in common; (pair,), (pair,) -> (track,)."""
    if not len(track):
        return np.arange(num_tracks)
    size = num_tracks + int(shared.max()) + 1
    graph = coo_array((np.ones(len(track)), (track, num_tracks + shared)), shape=(size, size))
    return cast("NDArray[np.int64]", connected_components(graph, directed=False)[1][:num_tracks].astype(np.int64))
