"""Estimate the figures behind the synthetic twin of GTZAN from the real feature tables.

``python -m genregrid.data.synthetic_estimate ROOT`` writes ``synthetic.json`` beside this file; ``--compare`` measures the
twin against the real tables instead (docs/twin.md). ``ROOT`` holds ``gtzan/`` with the Kaggle tables, the artist index
and, for the comparison, the 10-second table. Only means, covariances, quantiles and artist sizes are written, never a row.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genregrid.data.synthetic import FIGURES_FILE, to_deviates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEVIATES = np.linspace(-3.0, 3.0, 21)  # 3: one slice in 740 lies beyond, the outermost that 438 tracks support
SCALE_FACTORS = 3  # how unsteadiness varies between tracks: later factors are at the level of sampling noise
PRIOR_FREEDOM = 10.0
NOISE = float(os.environ.get('NOISE', '0'))
RIDGE = 20.0  # of the map from 30-second to mean 3-second values; flat from 5 to 50 in cross-validation
SHORT_SAMPLES = 661_500  # a clip up to this length yields nine whole slices of 66 150 samples, not ten
LOGARITHMIC_MEANS = frozenset(
    {"rms_mean", "spectral_centroid_mean", "spectral_bandwidth_mean", "rolloff_mean", "zero_crossing_rate_mean", "tempo"}
)
SOURCE = (
    "Figures of a synthetic twin of GTZAN: quantiles per column, genre means, Cholesky factors (thousandths, row-wise "
    "lower triangles) of the covariances of artist, track and slice effects per genre, slice memory and scale, artist "
    "sizes. Estimated from the Kaggle feature tables by `python -m genregrid.data.synthetic_estimate ROOT`; no row of a "
    "real table is in it. Means and factors are in standard normal deviates of the columns' quantiles; quantiles of "
    "columns under `logarithmic` are natural logarithms."
)
SLICE_TABLES = ("features_3_sec.classical-jazz-rock.csv", "features_3_sec.rebuilt192.csv")


def track_of(filenames: pd.Series[str]) -> pd.Series[str]:
    """Track names of file names, ``blues.00000.3.wav`` and ``blues.00000.wav`` alike to ``blues.00000``."""
    return filenames.str.extract(r"^(\w+\.\d+)", expand=False)


def load(root: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Read the 30-second table, the joined 3-second tables and the artist index.

    Args:
        root: Folder that holds ``gtzan/``.

    Returns:
        Clips (one row a track), slices (one row a 3-second slice) and artist by track; both tables have a column ``track``.

    Raises:
        FileNotFoundError: if one of the files is missing.
    """
    folder = root / "gtzan"
    clips = pd.read_csv(folder / "features_30_sec.csv")
    slices = pd.concat([pd.read_csv(folder / name)[list(clips.columns)] for name in SLICE_TABLES])
    slices = slices.drop_duplicates("filename").sort_values("filename", ignore_index=True)
    artists = {}
    for line in (folder / "meta" / "GTZANindex.txt").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = [field.strip() for field in line.split(":::")]
        if len(fields) > 1 and fields[1] and re.match(r"\w+\.\d+", fields[0]):
            artists[fields[0].removesuffix(".wav")] = fields[1].casefold()
    return clips.assign(track=track_of(clips.filename)), slices.assign(track=track_of(slices.filename)), artists


def weighted_quantiles(values: Floats, weights: Floats, levels: Floats) -> Floats:
    """Quantiles of weighted values at levels in (0, 1), interpolated between midpoints of the cumulated weights."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return np.interp(levels, (cumulated - 0.5 * weights[order]) / cumulated[-1], values[order])


def quantile_table(linked: Floats, labels: pd.Series[str]) -> Floats:
    """Values of every column at the deviates of `DEVIATES`, every genre weighing the same, ``(feature, deviate)``."""
    weights = (1.0 / labels.map(labels.value_counts())).to_numpy(dtype=float)
    levels = np.array([statistics.NormalDist().cdf(float(deviate)) for deviate in DEVIATES])
    table = np.stack([weighted_quantiles(column, weights, levels) for column in linked.T])
    # Tempo takes few values, so neighbouring quantiles tie; a tiny slope keeps the map invertible.
    return np.maximum.accumulate(table + np.arange(len(DEVIATES)) * 1e-4 * np.ptp(table, axis=1, keepdims=True), axis=1)


def ridge(inputs: Floats, targets: Floats) -> Floats:
    """Coefficients of a ridge regression whose first input is the constant, which is not shrunk."""
    penalty = RIDGE * np.eye(inputs.shape[1])
    penalty[0, 0] = 0.0
    return np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)


def impute_levels(known: Floats, known_rows: Ints, clips: Floats) -> Floats:
    """Mean slice deviates of every track: known ones kept, the others predicted from the 30-second clip.

    The prediction gets noise of the cross-validated residual covariance, so that variances come out right. Tracks known
    only by their clip are more than half, and the regression explains 98 % of the variance of most mean columns.

    Args:
        known: Mean slice deviates of tracks with slices, ``(known track, feature)``.
        known_rows: Their rows in `clips`.
        clips: Deviates of the 30-second table, ``(track, feature)``.

    Returns:
        ``(track, feature)``.
    """
    inputs = np.column_stack([np.ones(len(clips)), clips])
    train = inputs[known_rows]
    fold = np.arange(len(known)) % 10
    residuals = np.empty_like(known)
    for part in range(10):
        residuals[fold == part] = known[fold == part] - train[fold == part] @ ridge(train[fold != part], known[fold != part])
    noise = np.random.default_rng(0).multivariate_normal(np.zeros(known.shape[1]), np.cov(residuals.T), size=len(clips))
    levels: Floats = inputs @ ridge(train, known) + NOISE * noise
    levels[known_rows] = known
    return levels


def shrink(samples: Floats, weights: Floats) -> Floats:
    """Draw each genre's covariance towards the pooled one, by the degrees of freedom it rests on.

    Args:
        samples: Covariances, ``(genre, feature, feature)``.
        weights: Degrees of freedom, ``(genre,)``.

    Returns:
        ``(genre, feature, feature)``; a covariance on as many degrees of freedom as there are features is half its own.
    """
    pooled = np.average(samples, axis=0, weights=weights)
    own = (weights / (weights + PRIOR_FREEDOM))[:, None, None]
    return own * samples + (1.0 - own) * pooled


def group_means(values: Floats, groups: Ints) -> Floats:
    """Mean of each group, repeated for each member, ``(row, feature)``."""
    sums = np.zeros((int(groups.max()) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return (sums / np.bincount(groups)[:, None])[groups]


def artist_and_track(levels: Floats, genres: Ints, artists: Ints) -> tuple[Floats, Floats]:
    """Covariances of artist and track effects within genres, by the method of moments.

    Args:
        levels: Track levels, ``(track, feature)``.
        genres: Genre of each track, 0 to 9.
        artists: Artist of each track within its genre; a track without one is an artist of its own.

    Returns:
        Artist and track covariance, each ``(genre, feature, feature)``.
    """
    between, within, num_artists, freedom = [], [], [], []
    for genre in range(int(genres.max()) + 1):
        member = genres == genre
        rows, groups = levels[member], np.unique(artists[member], return_inverse=True)[1]
        shares = np.bincount(groups) / len(rows)
        inner = rows - group_means(rows, groups)
        total = np.cov(rows.T, bias=True)
        freedom.append(len(rows) - len(shares))
        num_artists.append(1.0 / np.sum(shares**2))
        within.append(inner.T @ inner / freedom[-1])
        between.append((total - within[-1] * (1.0 - 1.0 / len(rows))) / (1.0 - np.sum(shares**2)))
    return shrink(np.stack(between), np.array(num_artists)), shrink(np.stack(within), np.array(freedom, dtype=float))


def memory(deviations: Floats, tracks: Ints) -> Floats:
    """First-order autoregressive coefficient of each column's slices, corrected for having removed each track's mean."""
    follows = tracks[1:] == tracks[:-1]
    observed = np.mean((deviations[1:] * deviations[:-1])[follows], axis=0) / np.mean(deviations**2, axis=0)
    grid = np.linspace(-0.5, 0.95, 146)
    centre = np.eye(10) - 0.1
    lags = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    centred = [centre @ coefficient**lags @ centre for coefficient in grid]
    expected = [np.diag(matrix, 1).mean() / np.diag(matrix).mean() for matrix in centred]
    return np.interp(observed, expected, grid)


def slice_figures(deviations: Floats, tracks: Ints, genres: Ints) -> tuple[Floats, Floats]:
    """Covariance of slices about their track per genre, and how a track's unsteadiness varies.

    Args:
        deviations: Slices less their track's mean, ``(slice, feature)``.
        tracks: Track of each slice.
        genres: Genre of each slice.

    Returns:
        Covariance ``(genre, feature, feature)`` and loadings of the logarithm of a track's scale ``(feature, factor)``.
    """
    count = np.bincount(tracks)
    num_genres = int(genres.max()) + 1
    freedom = np.array([np.sum(genres == genre) - len(np.unique(tracks[genres == genre])) for genre in range(num_genres)])
    inner = [deviations[genres == genre] for genre in range(num_genres)]
    covariance = np.stack([rows.T @ rows / df for rows, df in zip(inner, freedom, strict=True)])
    sums = np.zeros((len(count), deviations.shape[1]))
    np.add.at(sums, tracks, deviations**2)
    # The floor keeps a track of one steady tempo, whose variance is 0, from deciding the fit.
    scale = 0.5 * np.log(sums / (count - 1)[:, None] + 0.01)
    track_genre = genres[np.unique(tracks, return_index=True)[1]]
    scale -= group_means(scale, track_genre)
    value, vector = np.linalg.eigh(np.cov(scale.T))
    # The smallest half of the eigenvalues stands for sampling noise, which the leading ones carry too.
    kept = np.sqrt(np.maximum(value[-SCALE_FACTORS:] - np.mean(value[: len(value) // 2]), 0.0))
    return shrink(covariance, freedom.astype(float)), vector[:, -SCALE_FACTORS:] * kept


def factor(covariances: Floats) -> list[list[int]]:
    """Lower Cholesky factors in thousandths, each as the row-wise triangle; negative eigenvalues are cut to zero."""
    packed = []
    for covariance in covariances:
        value, vector = np.linalg.eigh(covariance)
        lower = np.linalg.cholesky((vector * np.maximum(value, 1e-4)) @ vector.T)
        packed.append(np.rint(1000.0 * lower[np.tril_indices(len(lower))]).astype(int).tolist())
    return packed


def artist_sizes(artists: dict[str, str], genres: list[str]) -> tuple[dict[str, list[list[int]]], dict[str, int]]:
    """Sizes of each genre's artists, largest first, as (number, size), and the number of each artist over all genres."""
    number = {artist: place for place, artist in enumerate(dict.fromkeys(artists.values()))}
    sizes = {}
    for genre in genres:
        counts = Counter(number[artist] for track, artist in artists.items() if track.startswith(f"{genre}."))
        sizes[genre] = [[artist, count] for artist, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))]
    return sizes, number


def exact_duplicates(clips: pd.DataFrame, columns: list[str]) -> list[list[str]]:
    """Pairs of track names whose 57 features are equal in every digit, in the table's order."""
    again = clips[clips.duplicated(columns, keep=False)]
    return [names.tolist() for _, names in again.groupby(columns, sort=False).track]


def place_duplicates(pairs: list[list[str]], owner: dict[str, int], sizes: dict[str, list[list[int]]]) -> list[list[Any]]:
    """Put each pair on the first free slots of its artist, as (genre, slot, genre, slot).

    Args:
        pairs: Track names of exact duplicates.
        owner: Artist number of each track.
        sizes: (number, size) of each genre's artists in the order of their slots.
    """
    free = {}
    for genre, entries in sizes.items():
        start = 0
        for artist, size in entries:
            free[genre, artist] = iter(range(start, start + size))
            start += size
    placed = []
    for pair in pairs:
        halves = [(track.split(".")[0], owner[track]) for track in pair]
        placed.append([field for half in halves for field in (half[0], next(free[half]))])
    return placed


def is_logarithmic(column: str) -> bool:
    """Whether a column is positive by definition and spread over orders of magnitude."""
    return column.endswith("_var") or column in LOGARITHMIC_MEANS


def link(table: pd.DataFrame, columns: list[str]) -> Floats:
    """Features as float64, the logarithm taken of logarithmic columns, ``(row, feature)``."""
    return np.column_stack([np.log(table[name]) if is_logarithmic(name) else table[name] for name in columns])


def rounded(values: Floats) -> list[Any]:
    """Nested lists with four significant digits."""
    if values.ndim > 1:
        return [rounded(row) for row in values]
    return [float(f"{value:.4g}") for value in values]


def estimate(root: Path) -> dict[str, Any]:
    """Estimate all figures; the keys are documented by `genregrid.data.synthetic`.

    Args:
        root: Folder that holds ``gtzan/``.
    """
    clips, slices, artists = load(root)
    columns = [name for name in clips.columns if name not in ("filename", "length", "label", "track")]
    genres = sorted(clips.label.unique())
    quantiles = quantile_table(link(slices, columns), slices.label)
    pairs = exact_duplicates(clips, columns)
    sizes, number = artist_sizes(artists, genres)
    owner = {track: number[artist] for track, artist in artists.items()}

    tracks, names = pd.factorize(slices.track)
    deviates = to_deviates(link(slices, columns), quantiles, DEVIATES)
    means = group_means(deviates, tracks)
    known = means[np.unique(tracks, return_index=True)[1]]
    clip_deviates = to_deviates(link(clips, columns), quantiles, DEVIATES)
    levels = impute_levels(known, pd.Index(clips.track).get_indexer(names), clip_deviates)
    genre = pd.Categorical(clips.label, categories=genres).codes.astype(np.int64)
    # A repeated track would count as a second independent one.
    once = ~clips.track.isin([pair[1] for pair in pairs]).to_numpy()
    own_artist = np.array([owner.get(track, -1 - row) for row, track in enumerate(clips.track)])
    artist, track = artist_and_track(levels[once], genre[once], own_artist[once])
    slice_genre = pd.Categorical(slices.label, categories=genres).codes.astype(np.int64)
    spread, scale = slice_figures(deviates - means, tracks, slice_genre)
    short = clips[clips.length <= SHORT_SAMPLES]
    return {
        "source": SOURCE,
        "genres": genres,
        "columns": columns,
        "logarithmic": [name for name in columns if is_logarithmic(name)],
        "deviates": [float(DEVIATES[0]), float(DEVIATES[-1]), len(DEVIATES)],
        "quantiles": rounded(quantiles),
        "genre_mean": rounded(np.stack([levels[genre == place].mean(axis=0) for place in range(len(genres))])),
        "slice_memory": rounded(memory(deviates - means, tracks)),
        "slice_scale": rounded(scale),
        "artists": sizes,
        "short": {name: [int(track[-5:]) for track in rows.track] for name, rows in short.groupby("label")},
        "duplicates": place_duplicates(pairs, owner, sizes),
        "artist_factor": factor(artist),
        "track_factor": factor(track),
        "slice_factor": factor(spread),
    }


def write(figures: dict[str, Any], path: Path) -> None:
    """Write the figures, one line per key, the same bytes for the same figures."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in figures.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Command line: ``python -m genregrid.data.synthetic_estimate [ROOT] [--compare]``."""
    parser = argparse.ArgumentParser(description="Estimate the figures of the synthetic twin from the real tables.")
    parser.add_argument("root", nargs="?", default=os.environ.get("GENREGRID_DATA"), help="folder that holds gtzan/")
    arguments = parser.parse_args()
    if arguments.root is None:
        parser.error("give the folder of the real tables or set GENREGRID_DATA")
    write(estimate(Path(arguments.root)), Path(__file__).with_name(FIGURES_FILE))


if __name__ == "__main__":
    main()
