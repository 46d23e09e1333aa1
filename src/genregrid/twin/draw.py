"""Draw a statistical twin of GTZAN: 1000 synthetic tracks of ten 3-second slices, from a file of statistics.

A track is a draw from a hierarchical Gaussian model: genre mean + artist effect + track effect + slice effect, mapped
to the units of the 57 descriptors. ``statistics.json`` has the model's means, covariances and quantiles, estimated by
``tools/estimate_twin.py``. The corpus has GTZAN's structure too: artist sizes, tracks of nine slices, exact duplicates.
docs/twin.md compares it with the real tables.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

STATISTICS_FILE = "statistics.json"
SLICES_PER_TRACK = 10
BLOCK = 100  # tracks of a genre in GTZAN, after which artist sizes, short tracks and duplicates repeat
SLICE_SECONDS = 3.0
LENGTH_SAMPLES = 66_149  # of such a slice in Kaggle's tables
TEMPO_LAG_BPM = 60 * 22_050 / 512  # the tempo of one STFT hop; librosa's tempi are this divided by whole numbers
PARTS = ("train", "val", "test")
_PART_SHARES = (0.443, 0.197, 0.290)  # of all tracks; the published filtered lists have 443, 197 and 290 of 1000
_LARGEST_DEVIATE = 3.5  # beyond, extrapolated quantiles are impossible for audio at 22 050 Hz
_UNIT_BOUNDED = ("chroma_stft_mean", "chroma_stft_var", "zero_crossing_rate_mean", "zero_crossing_rate_var")

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Twin:
    """A drawn corpus."""

    frame: pd.DataFrame  # one row per 3-second slice with the columns of Kaggle's GTZAN
    artists: dict[str, str]  # artist by track name, where known
    filtered: dict[str, str]  # part by track name: no artist in two parts, no exact duplicate


@dataclass(frozen=True)
class _Statistics:
    """Statistics of ``statistics.json`` as arrays; axes genre (10), feature (57) and deviate (21)."""

    genres: list[str]
    columns: list[str]
    logarithmic: NDArray[np.bool_]
    deviates: NDArray[np.float64]
    quantiles: _Floats
    genre_mean: _Floats
    artist_factor: _Floats
    track_factor: _Floats
    slice_factor: _Floats
    slice_memory: _Floats
    artist_spread: _Floats
    track_spread: _Floats
    slice_spread: _Floats
    artists: list[list[list[int]]]
    short: list[list[int]]
    duplicates: list[list[int]]


@dataclass(frozen=True)
class _Layout:
    """Artists of tracks, ``(genre, track)``, and which tracks are short or repeated."""

    artist: _Ints  # -1 where unknown
    short: NDArray[np.bool_]  # nine slices
    pairs: _Ints  # rows (genre, track, genre, track): the second track repeats the first


def _unpack(triangles: list[list[int]], size: int) -> _Floats:
    """Unpack lower triangular matrices ``(genre, feature, feature)`` from row-wise triangles in thousandths."""
    factors = np.zeros((len(triangles), size, size), dtype=np.float32)
    rows, columns = np.tril_indices(size)
    factors[:, rows, columns] = np.asarray(triangles, dtype=np.float32) / 1000.0
    return factors


@cache
def _statistics() -> _Statistics:
    """Read the statistics once per process."""
    text = (resources.files("genregrid.twin") / STATISTICS_FILE).read_text(encoding="utf-8")
    stored: dict[str, Any] = json.loads(text)
    genres, columns = stored["genres"], stored["columns"]
    low, high, count = stored["deviates"]
    return _Statistics(
        genres=genres,
        columns=columns,
        logarithmic=np.isin(columns, stored["logarithmic"]),
        deviates=np.linspace(low, high, count),
        **{
            name: np.asarray(stored[name], dtype=np.float32)
            for name in ("quantiles", "genre_mean", "slice_memory", "artist_spread", "track_spread", "slice_spread")
        },
        **{name: _unpack(stored[name], len(columns)) for name in ("artist_factor", "track_factor", "slice_factor")},
        artists=[stored["artists"][genre] for genre in genres],
        short=[stored["short"].get(genre, []) for genre in genres],
        duplicates=[[genres.index(a), i, genres.index(b), j] for a, i, b, j in stored["duplicates"]],
    )


def _even_order(artist: _Ints) -> _Ints:
    """Order a block's tracks so that the first n of them, for any n, have its artists in proportion.

    >>> _even_order(np.array([5, 5, 5, 5, 8, 8])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    position = np.empty(len(artist))
    for number in np.unique(artist):
        member = artist == number
        position[member] = (np.arange(member.sum()) + 0.5) / member.sum()
    return np.argsort(position, kind="stable")


def _block_artists(sizes: list[list[int]]) -> _Ints:
    """Number the artist of each of a block's tracks, sorted by artist, unknown ones (-1) last."""
    numbers = np.repeat([number for number, _ in sizes], [size for _, size in sizes])
    return np.concatenate([numbers, np.full(BLOCK - len(numbers), -1)]).astype(np.int64)


def _layout(statistics: _Statistics, tracks_per_genre: int) -> _Layout:
    """Repeat GTZAN's block of 100 tracks per genre; an incomplete last block keeps the proportions of its artists."""
    num_genres = len(statistics.genres)
    full_blocks, rest = divmod(tracks_per_genre, BLOCK)
    per_block = 1 + max(number for sizes in statistics.artists for number, _ in sizes)
    artist = np.empty((num_genres, tracks_per_genre), dtype=np.int64)
    short = np.zeros((num_genres, tracks_per_genre), dtype=np.bool_)
    track_at: list[dict[tuple[int, int], int]] = []  # by genre: (block, slot) to track
    for genre, sizes in enumerate(statistics.artists):
        block_artist = _block_artists(sizes)
        slot = np.concatenate([np.tile(np.arange(BLOCK), full_blocks), np.sort(_even_order(block_artist)[:rest])])
        block = np.arange(tracks_per_genre) // BLOCK
        known = block_artist[slot] >= 0
        artist[genre] = np.where(known, block_artist[slot] + per_block * block, -1)
        short[genre] = np.isin(slot, statistics.short[genre])
        track_at.append({pair: track for track, pair in enumerate(zip(block.tolist(), slot.tolist(), strict=True))})
    pairs = [
        (a, track_at[a][block, i], b, track_at[b][block, j])
        for block in range(full_blocks + 1)
        for a, i, b, j in statistics.duplicates
        if (block, i) in track_at[a] and (block, j) in track_at[b]
    ]
    return _Layout(artist, short, np.array(pairs, dtype=np.int64).reshape(-1, 4))


def _spread(rng: np.random.Generator, shape: tuple[int, ...], spread: _Floats) -> _Floats:
    """Draw log-normal factors of root mean square 1: one common to the last axis times one of each coordinate."""
    common, coordinate = spread.tolist()
    logarithm = rng.standard_normal(shape, dtype=np.float32)
    logarithm *= coordinate
    logarithm += common * rng.standard_normal((*shape[:-1], 1), dtype=np.float32)
    logarithm -= common**2 + coordinate**2
    return np.exp(logarithm, out=logarithm)


def _levels(statistics: _Statistics, layout: _Layout, rng: np.random.Generator) -> _Floats:
    """Draw deviates of every track's mean, ``(genre, track, feature)``.

    Artist and track effects are centred within each genre, because the stored genre means are those of the real tracks
    and already include the mean effect of the few artists of a genre.
    """
    num_features = len(statistics.columns)
    known = layout.artist >= 0
    owner = layout.artist.copy()
    owner[~known] = layout.artist.max() + 1 + np.arange(np.sum(~known))  # unknown artists are all different
    num_owners = int(owner.max()) + 1
    by_owner = rng.standard_normal((num_owners, num_features), dtype=np.float32)
    variety = _spread(rng, (num_owners, num_features), statistics.artist_spread)
    levels: _Floats = by_owner[owner] @ statistics.artist_factor.transpose(0, 2, 1)
    noise = rng.standard_normal((*owner.shape, num_features), dtype=np.float32)
    noise *= variety[owner]
    levels += noise @ statistics.track_factor.transpose(0, 2, 1)
    levels += (statistics.genre_mean - levels.mean(axis=1))[:, None]
    return levels


def _deviations(statistics: _Statistics, num_tracks: int, rng: np.random.Generator) -> _Floats:
    """Draw deviates of slices about their track's mean, ``(genre, track, slice, feature)``, autoregressive, centred."""
    num_genres, num_features = len(statistics.genres), len(statistics.columns)
    shape = (num_genres, num_tracks, SLICES_PER_TRACK, num_features)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= _spread(rng, (num_genres, num_tracks, 1, num_features), statistics.track_spread)
    noise *= _spread(rng, (*shape[:-1], 1), statistics.slice_spread)
    noise = noise.reshape(num_genres, -1, num_features)  # (genre, track and slice, feature)
    series = (noise @ statistics.slice_factor.transpose(0, 2, 1)).reshape(shape)
    innovation = np.sqrt(1.0 - statistics.slice_memory**2)
    for index in range(1, SLICES_PER_TRACK):
        series[:, :, index] *= innovation
        series[:, :, index] += statistics.slice_memory * series[:, :, index - 1]
    series -= series.mean(axis=2, keepdims=True)
    lags = np.abs(np.subtract.outer(np.arange(SLICES_PER_TRACK), np.arange(SLICES_PER_TRACK)))
    mean_correlation = (statistics.slice_memory[:, None, None] ** lags).mean(axis=(1, 2))
    # Removing the mean reduces the variance to this share; the statistics are variances with divisor n - 1.
    kept = (1.0 - mean_correlation) * SLICES_PER_TRACK / (SLICES_PER_TRACK - 1)
    series /= np.sqrt(kept).astype(np.float32)
    return series


def to_deviates(
    linked: NDArray[np.float64], quantiles: NDArray[np.float64], deviates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map columns to standard normal deviates through their quantiles, linearly between them and beyond.

    `linked` are values or their logarithms, ``(row, feature)``; `quantiles`, ``(feature, deviate)``, rise with the
    evenly spaced `deviates`. Results, ``(row, feature)``, are cut at plus and minus 3.5.
    """
    mapped = np.empty_like(linked)
    step = deviates[1] - deviates[0]
    for column, knots in enumerate(quantiles):
        values = linked[:, column]
        mapped[:, column] = np.interp(values, knots, deviates)
        mapped[:, column] += np.minimum(values - knots[0], 0.0) * step / (knots[1] - knots[0])
        mapped[:, column] += np.maximum(values - knots[-1], 0.0) * step / (knots[-1] - knots[-2])
    return np.clip(mapped, -_LARGEST_DEVIATE, _LARGEST_DEVIATE)


def _to_values(statistics: _Statistics, deviates: _Floats) -> _Floats:
    """Map deviates ``(row, feature)`` to descriptors in their units, ``(feature, row)``; inverts `to_deviates`."""
    low = statistics.deviates[0]
    step = statistics.deviates[1] - low
    last = len(statistics.deviates) - 2
    values = np.empty(deviates.shape[::-1], dtype=np.float32)
    for column, name in enumerate(statistics.columns):
        knots = statistics.quantiles[column]
        position = (np.clip(deviates[:, column], -_LARGEST_DEVIATE, _LARGEST_DEVIATE) - low) / step
        left = np.clip(position.astype(np.int32), 0, last)
        linked = knots[left] + (position - left) * np.diff(knots)[left]
        values[column] = np.exp(linked) if statistics.logarithmic[column] else linked
        if name in _UNIT_BOUNDED:
            np.clip(values[column], 1e-6, 0.999, out=values[column])
    tempo = statistics.columns.index("tempo")
    values[tempo] = TEMPO_LAG_BPM / np.maximum(np.rint(TEMPO_LAG_BPM / values[tempo]), 1.0)
    return values


def _frame(statistics: _Statistics, layout: _Layout, values: _Floats) -> pd.DataFrame:
    """Make the table of slices from descriptors ``(feature, row)``, without the tenth slice of short tracks."""
    num_tracks = layout.artist.shape[1]
    present = np.ones((*layout.artist.shape, SLICES_PER_TRACK), dtype=np.bool_)
    present[..., -1] = ~layout.short
    rows = np.flatnonzero(present)
    endings = [f".{index}.wav" for index in range(SLICES_PER_TRACK)]
    names = [track + ending for track in _track_names(statistics, num_tracks) for ending in endings]
    label = np.array(statistics.genres, dtype=object)[rows // (num_tracks * SLICES_PER_TRACK)]
    features = pd.DataFrame(values[:, rows].astype(np.float64).T, columns=statistics.columns)
    features.insert(0, "filename", [names[row] for row in rows.tolist()])
    features.insert(1, "length", LENGTH_SAMPLES)
    features["label"] = label
    return features


def _track_names(statistics: _Statistics, tracks_per_genre: int) -> list[str]:
    """List track names by genre, then number."""
    return [f"{genre}.{track:05d}" for genre in statistics.genres for track in range(tracks_per_genre)]


def _filtered(layout: _Layout, names: list[str]) -> dict[str, str]:
    """Assign artists to train, val and test, largest first, each to the part that needs most tracks of its genre.

    The second of two duplicates is left out, and so are tracks that exceed a part's share of a genre.
    """
    num_genres, num_tracks = layout.artist.shape
    missing = np.outer(np.ones(num_genres), _PART_SHARES) * num_tracks
    usable = np.ones(layout.artist.shape, dtype=np.bool_)
    usable[layout.pairs[:, 2], layout.pairs[:, 3]] = False
    genre, track = np.nonzero(usable)
    artist = layout.artist[genre, track]
    group = np.where(artist >= 0, artist, artist.max() + 1 + np.arange(len(artist)))
    parts: dict[str, str] = {}
    for members in _largest_first(group):
        need = missing[genre[members]].sum(axis=0) / np.array(_PART_SHARES)
        part = int(np.argmax(need))
        for member in members.tolist():
            if missing[genre[member], part] >= 0.5:
                missing[genre[member], part] -= 1.0
                parts[names[genre[member] * num_tracks + track[member]]] = PARTS[part]
    return dict(sorted(parts.items()))


def _largest_first(group: _Ints) -> Iterable[_Ints]:
    """List the members of each group, the largest group first, equal ones by number.

    >>> [members.tolist() for members in _largest_first(np.array([4, 7, 7, 4, 9, 7]))]
    [[1, 2, 5], [0, 3], [4]]
    """
    order = np.argsort(group, kind="stable")
    _, start, count = np.unique(group[order], return_index=True, return_counts=True)
    return [order[start[i] : start[i] + count[i]] for i in np.argsort(-count, kind="stable")]


def draw_twin(seed: int = 0, num_tracks: int = 1000) -> Twin:
    """Draw a synthetic corpus that behaves under evaluation as GTZAN does; documentation and tests use seed 0.

    `num_tracks` is a multiple of 10 from 20 to 1 000 000 (checked by `genregrid.config.DatasetConfig`). Above 1000 the
    structure repeats with new artists; below, artists keep their proportions, and short tracks and duplicates are only
    those among the tracks that are left.
    """
    statistics = _statistics()
    per_genre = num_tracks // len(statistics.genres)
    rng = np.random.default_rng(seed)
    layout = _layout(statistics, per_genre)
    deviates = _deviations(statistics, per_genre, rng)
    deviates += _levels(statistics, layout, rng)[:, :, None]
    source, copy = layout.pairs[:, :2].T, layout.pairs[:, 2:].T
    deviates[tuple(copy)] = deviates[tuple(source)]
    values = _to_values(statistics, deviates.reshape(-1, len(statistics.columns)))  # (genre, track, slice) to row
    names = _track_names(statistics, per_genre)
    numbers = zip(names, layout.artist.reshape(-1).tolist(), strict=True)
    artists = {name: f"artist {number:03d}" for name, number in numbers if number >= 0}
    return Twin(_frame(statistics, layout, values), artists, _filtered(layout, names))
