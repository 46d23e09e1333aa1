"""Estimate the statistics of the synthetic twin of GTZAN from the real feature tables.

``python tools/estimate_twin.py ROOT`` writes ``src/genregrid/twin/statistics.json``. ``ROOT`` holds
``gtzan/`` with the Kaggle tables and the artist index. Only means, covariances, quantiles and artist sizes are written,
no row. benchmarks/twin.py measures the twin against the real tables.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import polygamma

from genregrid.errors import Options, command
from genregrid.twin.draw import STATISTICS_FILE, to_deviates

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEVIATES: Floats = np.linspace(-3.0, 3.0, 21)  # 3: one slice in 740 is beyond it; 438 tracks allow no more
PRIOR_FREEDOM = 10.0  # of the pooled covariance; tried on track means: at 57 kNN is 5 points low, at 1 SVM 6 high
RIDGE = 20.0  # of the map from 30-second to mean 3-second values; flat from 5 to 50 in cross-validation
SHORT_SAMPLES = 661_500  # a clip up to this length yields nine whole slices of 66 150 samples, not ten
LOGARITHMIC_MEANS = frozenset(
    {
        "rms_mean",
        "spectral_centroid_mean",
        "spectral_bandwidth_mean",
        "rolloff_mean",
        "zero_crossing_rate_mean",
        "tempo",
    }
)
SOURCE = (
    "Figures of a synthetic twin of GTZAN: quantiles per column, genre means, Cholesky factors (thousandths, row-wise "
    "lower triangles) of the covariances of artist, track and slice effects per genre, slice memory and scale, artist "
    "sizes. Estimated from the Kaggle feature tables by `python tools/estimate_twin.py ROOT`; no row of "
    "a real table is in it. Means and factors are in standard normal deviates of the columns' quantiles; quantiles of "
    "columns under `logarithmic` are natural logarithms."
)
SLICE_TABLES = ("features_3_sec.classical-jazz-rock.csv", "features_3_sec.rebuilt192.csv")


def track_of(filenames: pd.Series[str]) -> pd.Series[str]:
    """Extract track names: ``blues.00000.3.wav`` and ``blues.00000.wav`` both give ``blues.00000``."""
    return filenames.str.extract(r"^(\w+\.\d+)", expand=False)


def load(root: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Read the 30-second table, the joined 3-second tables and the artist index.

    Args:
        root: Folder that holds ``gtzan/``.

    Returns:
        Clips (one row a track), slices (one row a 3-second slice), both with a column ``track``, and artist by track.

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
    """Compute quantiles of weighted values at levels in (0, 1), interpolated between midpoints of cumulated weights."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return np.interp(levels, (cumulated - 0.5 * weights[order]) / cumulated[-1], values[order])


def quantile_table(linked: Floats, labels: pd.Series[str]) -> Floats:
    """Compute the values of every column at `DEVIATES` with equal weight per genre, ``(feature, deviate)``."""
    weights = (1.0 / labels.map(labels.value_counts())).to_numpy(dtype=float)
    levels: Floats = np.array([statistics.NormalDist().cdf(float(deviate)) for deviate in DEVIATES])
    table = np.stack([weighted_quantiles(column, weights, levels) for column in linked.T])
    # Tempo takes few values, so neighbouring quantiles tie; a tiny slope keeps the map invertible.
    slope = 1e-4 * (table.max(axis=1, keepdims=True) - table.min(axis=1, keepdims=True))
    return np.asarray(np.maximum.accumulate(table + slope * np.arange(len(DEVIATES)), axis=1), dtype=np.float64)


def ridge(inputs: Floats, targets: Floats) -> Floats:
    """Fit a ridge regression; its first input is the constant, which is not shrunk."""
    penalty = RIDGE * np.eye(inputs.shape[1])
    penalty[0, 0] = 0.0
    return np.asarray(np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets), dtype=np.float64)


def impute_levels(known: Floats, known_rows: Ints, clips: Floats) -> Floats:
    """Return mean slice deviates of every track: known ones, and predictions from the 30-second clip for the others.

    Noise with the cross-validated residual covariance is added to predictions, so that variances are right. More than
    half of the tracks have only a clip, and the regression explains 98 % of the variance of most mean columns.

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
        residuals[fold == part] = known[fold == part] - train[fold == part] @ ridge(
            train[fold != part], known[fold != part]
        )
    noise = np.random.default_rng(0).multivariate_normal(np.zeros(known.shape[1]), np.cov(residuals.T), size=len(clips))
    levels: Floats = inputs @ ridge(train, known) + noise
    levels[known_rows] = known
    return levels


def shrink(samples: Floats, weights: Floats) -> Floats:
    """Shrink each genre's covariance towards the pooled one, by its effective number of groups or rows.

    Args:
        samples: Covariances, ``(genre, feature, feature)``.
        weights: Degrees of freedom, ``(genre,)``.

    Returns:
        ``(genre, feature, feature)``; a covariance on `PRIOR_FREEDOM` degrees of freedom is half its own.
    """
    pooled = np.average(samples, axis=0, weights=weights)
    own = (weights / (weights + PRIOR_FREEDOM))[:, None, None]
    return own * samples + (1.0 - own) * pooled


def group_means(values: Floats, groups: Ints) -> Floats:
    """Compute the mean of each group, repeated for each member, ``(row, feature)``."""
    sums = np.zeros((int(groups.max()) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return (sums / np.bincount(groups)[:, None])[groups]


def artist_and_track(levels: Floats, genres: Ints, artists: Ints) -> tuple[Floats, Floats]:
    """Estimate covariances of artist and track effects within genres, by the method of moments.

    Args:
        levels: Track levels, ``(track, feature)``.
        genres: Genre of each track, 0 to 9.
        artists: Artist of each track within its genre; a track without one has its own artist number.

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
    """Estimate the first-order autoregressive coefficient of each column, corrected for the removed track means."""
    follows = tracks[1:] == tracks[:-1]
    observed = np.mean((deviations[1:] * deviations[:-1])[follows], axis=0) / np.mean(deviations**2, axis=0)
    grid = np.linspace(-0.5, 0.95, 146)
    centre = np.eye(10) - 0.1
    lags = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    centred = [centre @ coefficient**lags @ centre for coefficient in grid]
    expected = [np.diag(matrix, 1).mean() / np.diag(matrix).mean() for matrix in centred]
    coefficients: Floats = np.interp(observed, expected, grid)
    return coefficients


def slice_statistics(deviations: Floats, tracks: Ints, genres: Ints) -> tuple[Floats, Floats, Floats]:
    """Estimate the covariance of slices about their track per genre, and the spread of scales of tracks and slices.

    Args:
        deviations: Slices less their track's mean, ``(slice, feature)``.
        tracks: Track of each slice.
        genres: Genre of each slice.

    Returns:
        Covariance ``(genre, feature, feature)``; spread of tracks' scales as from `spread`; the same of slices' scales.
    """
    count = np.bincount(tracks)
    num_genres = int(genres.max()) + 1
    freedom = np.array(
        [np.sum(genres == genre) - len(np.unique(tracks[genres == genre])) for genre in range(num_genres)]
    )
    inner = [deviations[genres == genre] for genre in range(num_genres)]
    covariance = np.stack([rows.T @ rows / df for rows, df in zip(inner, freedom, strict=True)])
    covariance = shrink(covariance, freedom.astype(float))
    whitened = whiten(deviations, covariance, genres)
    sums = np.zeros((len(count), deviations.shape[1]))
    np.add.at(sums, tracks, whitened**2)
    whole = count == 10
    varied = np.log(sums[whole] / 9.0)
    null = np.random.default_rng(0).standard_normal((20_000, 10))
    coefficient = float(np.median(memory(deviations, tracks)))
    for index in range(1, 10):
        null[:, index] = coefficient * null[:, index - 1] + np.sqrt(1.0 - coefficient**2) * null[:, index]
    sampling_variance = float(np.var(np.log(np.var(null, axis=1))))
    radius = np.log(np.sum(whitened**2, axis=1))
    radius -= group_means(radius[:, None], tracks)[:, 0]
    # For slices of equal scale this variance is 2 / features; removing the mean of ten slices takes a tenth of it.
    burst = np.sqrt(max(np.var(radius) / 0.9 - 2.0 / deviations.shape[1], 0.0) / 4.0)
    return covariance, spread(varied, sampling_variance), np.array([burst, 0.0])


def whiten(values: Floats, covariances: Floats, genres: Ints) -> Floats:
    """Whiten values by the Cholesky factor of their genre's covariance, ``(row, feature)``."""
    whitened = np.empty_like(values)
    for genre, covariance in enumerate(covariances):
        whitened[genres == genre] = np.linalg.solve(np.linalg.cholesky(covariance), values[genres == genre].T).T
    return whitened


def spread(log_variances: Floats, sampling_variance: float) -> Floats:
    """Estimate standard deviations of the logarithm of a scale: common to a row, and of each coordinate.

    Args:
        log_variances: Logarithms of sample variances, ``(unit, coordinate)``.
        sampling_variance: Variance of such a logarithm if all units have the same scale.
    """
    centred = log_variances - log_variances.mean(axis=0)
    width = centred.shape[1]
    total = np.mean(centred**2)
    common = (np.mean(centred.mean(axis=1) ** 2) * width - total) / (width - 1)
    return np.sqrt(
        np.maximum([common, total - common - sampling_variance], 0.0) / 4.0
    )  # 4: a variance is a squared scale


def artist_spread(levels: Floats, genres: Ints, artists: Ints, within: Floats) -> Floats:
    """Estimate how the spread of tracks varies between artists with at least five tracks; see `spread`."""
    groups = np.unique(np.stack([genres, artists]), axis=1, return_inverse=True)[1]
    whitened = whiten(levels - group_means(levels, groups), within, genres)
    count = np.bincount(groups)
    sums = np.zeros((len(count), levels.shape[1]))
    np.add.at(sums, groups, whitened**2)
    large = count >= 5
    variances = sums[large] / (count[large] - 1)[:, None]
    return spread(np.log(variances), float(np.mean(polygamma(1, (count[large] - 1) / 2.0))))


def factor(covariances: Floats) -> list[list[int]]:
    """Pack lower Cholesky factors in thousandths as row-wise triangles; negative eigenvalues are raised to 1e-4."""
    packed = []
    for covariance in covariances:
        value, vector = np.linalg.eigh(covariance)
        lower = np.linalg.cholesky((vector * np.maximum(value, 1e-4)) @ vector.T)
        packed.append(np.rint(1000.0 * lower[np.tril_indices(len(lower))]).astype(int).tolist())
    return packed


def artist_sizes(artists: dict[str, str], genres: list[str]) -> tuple[dict[str, list[list[int]]], dict[str, int]]:
    """Return (number, size) of each genre's artists, largest first, and every artist's number over all genres."""
    number = {artist: place for place, artist in enumerate(dict.fromkeys(artists.values()))}
    sizes = {}
    for genre in genres:
        counts = Counter(number[artist] for track, artist in artists.items() if track.startswith(f"{genre}."))
        sizes[genre] = [
            [artist, count] for artist, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        ]
    return sizes, number


def exact_duplicates(clips: pd.DataFrame, columns: list[str]) -> list[list[str]]:
    """Find pairs of tracks with 57 equal features, in the table's order."""
    again = clips[clips.duplicated(columns, keep=False)]
    return [names.tolist() for _, names in again.groupby(columns, sort=False).track]


def place_duplicates(
    pairs: list[list[str]], owner: dict[str, int], sizes: dict[str, list[list[int]]]
) -> list[list[Any]]:
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


def short_tracks(clips: pd.DataFrame) -> dict[str, list[int]]:
    """List the numbers of tracks of nine slices by genre."""
    short = clips[clips.length <= SHORT_SAMPLES]
    return {genre: [int(track[-5:]) for track in rows.track] for genre, rows in short.groupby("label")}


def genre_codes(labels: pd.Series[str], genres: list[str]) -> Ints:
    """Return the index of each label among the genres."""
    return np.asarray(pd.Index(genres).get_indexer(labels), dtype=np.int64)


def is_logarithmic(column: str) -> bool:
    """Return whether a column is positive by definition and ranges over orders of magnitude."""
    return column.endswith("_var") or column in LOGARITHMIC_MEANS


def link(table: pd.DataFrame, columns: list[str]) -> Floats:
    """Return features as float64, with the logarithm of logarithmic columns, ``(row, feature)``."""
    return np.column_stack([np.log(table[name]) if is_logarithmic(name) else table[name] for name in columns])


def rounded(values: Floats) -> list[Any]:
    """Convert to nested lists with four significant digits."""
    if values.ndim > 1:
        return [rounded(row) for row in values]
    return [float(f"{value:.4g}") for value in values]


def estimate(root: Path) -> dict[str, Any]:
    """Estimate all statistics; the keys are documented by `genregrid.twin.draw`.

    Args:
        root: Folder that holds ``gtzan/``.
    """
    clips, slices, artists = load(root)
    columns = list(clips.columns[2:-2])
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
    genre = genre_codes(clips.label, genres)
    # A repeated track is not a second independent one.
    once = ~clips.track.isin([pair[1] for pair in pairs]).to_numpy()
    own_artist = np.array([owner.get(track, -1 - row) for row, track in enumerate(clips.track)])
    artist, track = artist_and_track(levels[once], genre[once], own_artist[once])
    deviations = deviates - means
    between_slices, track_spread, slice_spread = slice_statistics(deviations, tracks, genre_codes(slices.label, genres))
    return {
        "source": SOURCE,
        "genres": genres,
        "columns": columns,
        "logarithmic": [name for name in columns if is_logarithmic(name)],
        "deviates": [float(DEVIATES[0]), float(DEVIATES[-1]), len(DEVIATES)],
        "quantiles": rounded(quantiles),
        "genre_mean": rounded(np.stack([levels[genre == place].mean(axis=0) for place in range(len(genres))])),
        "slice_memory": rounded(memory(deviations, tracks)),
        "artist_spread": rounded(artist_spread(levels[once], genre[once], own_artist[once], track)),
        "track_spread": rounded(track_spread),
        "slice_spread": rounded(slice_spread),
        "artists": sizes,
        "short": short_tracks(clips),
        "duplicates": place_duplicates(pairs, owner, sizes),
        "artist_factor": factor(artist),
        "track_factor": factor(track),
        "slice_factor": factor(between_slices),
    }


def write(values: dict[str, Any], path: Path) -> None:
    """Write the statistics, one line per key, the same bytes for the same statistics."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in values.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


@command()
def main() -> None:
    """Command line: ``python tools/estimate_twin.py [ROOT]``."""
    parser = Options(description="Estimate the statistics of the synthetic twin from the real tables.")
    parser.add_argument("root", nargs="?", default=os.environ.get("GENREGRID_DATA"), help="folder that holds gtzan/")
    arguments = parser.parse_args()
    if arguments.root is None:
        parser.error("give the folder of the real tables or set GENREGRID_DATA")
    write(estimate(Path(arguments.root)), Path(str(resources.files("genregrid.twin"))) / STATISTICS_FILE)


if __name__ == "__main__":
    sys.exit(main())
