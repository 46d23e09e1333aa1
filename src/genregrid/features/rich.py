"""Compute the rich recipe: the 57 descriptors of Kaggle's files, and 311 more from the same analysis.

docs/recipes.md lists the columns. Only those in ``_mean`` and ``_var`` can be pooled into those of longer slices.
"""

from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors, mean_and_variance
from genregrid.features.spectrum import HOP_SAMPLES, NUM_BINS, NUM_CHROMA, TINY

_NUM_MFCCS = 20
_PERCENTILES = (10, 50, 90)
_QUIETEST = 1e-10  # lowest magnitude in contrast and power in flatness, as in librosa; digital silence is then flat

# Contrast: a band starts with the last bin at or below its lower edge, in Hz, and stops before the next band
_CONTRAST_HZ = 200 * 2.0 ** np.arange(6)
_CONTRAST_BINS = (0, *(_CONTRAST_HZ * (2 * (NUM_BINS - 1) / SAMPLE_RATE_HZ)).astype(int).tolist(), NUM_BINS)
_CONTRAST_SHARE = 0.02

_DELTA_FRAMES = 9  # 0.2 s, librosa's default
_ONSET_REACH = 2  # frames, 46 ms: closer onsets count as one; sixteenth notes at 300 bpm are 50 ms apart

# Rhythm: half octaves of tempo. Below 40 bpm, a slice of 3 s holds less than two beats
_BAND_EDGES_BPM = 40 * 2 ** (np.arange(7) / 2)
_BAND_BPM = np.sqrt(_BAND_EDGES_BPM[:-1] * _BAND_EDGES_BPM[1:])
# the first lag of each band from 320 to 40 bpm, in frames, and the end: 9, 12, 17, 23, 33, 46, 65
_BAND_LAGS = np.ceil(60 * SAMPLE_RATE_HZ / HOP_SAMPLES / _BAND_EDGES_BPM[::-1]).astype(int).tolist()
_UNREPEATED = 1e-6  # autocorrelation; smaller values are rounding errors of the transform and not a rhythm

# 15 values per frame, each described by its mean and variance
_OVER_TIME = (
    *(f"contrast{number}" for number in range(1, len(_CONTRAST_BINS))),
    "flatness",
    *(f"tonnetz{number}" for number in range(1, 7)),
    "onset",
)
_MFCCS = tuple(f"mfcc{number}" for number in range(1, _NUM_MFCCS + 1))
_OF_SLICE = (
    *(f"{mfcc}_delta_rms" for mfcc in _MFCCS),  # 20
    *(f"{mfcc}_p{percentile}" for mfcc in _MFCCS for percentile in _PERCENTILES),  # 60
    *(f"{mfcc}_{later}_cov" for mfcc, later in combinations(_MFCCS, 2)),  # 190
    *("onset_p90", "onset_rate"),
    *(f"rhythm_{bpm:.0f}_bpm" for bpm in _BAND_BPM),  # 6, from 48 to 269 bpm
    *("rhythm_peak", "rhythm_clarity", "rhythm_entropy"),
)

#: The 368 descriptors of the rich recipe, in order; Kaggle's 57 first.
RICH_FEATURE_NAMES: tuple[str, ...] = (
    *FEATURE_NAMES,
    *(f"{name}_{statistic}" for name in _OVER_TIME for statistic in ("mean", "var")),
    *_OF_SLICE,
)


def rich_descriptors(analysis: Analysis) -> dict[str, NDArray[np.float64]]:
    """Compute the 368 descriptors by name, each (slice,), in the order of `RICH_FEATURE_NAMES`; all are finite."""
    onsets = analysis.onset_strength[..., None]
    over_time = np.concatenate([_contrast(analysis), _flatness(analysis), _tonnetz(analysis), onsets], axis=2)
    of_mfcc = (_delta_rms(analysis.mfcc), _mfcc_percentiles(analysis.mfcc), _mfcc_covariances(analysis.mfcc))
    of_slice = np.hstack([*of_mfcc, _onset_statistics(analysis), _rhythm_statistics(analysis.rhythm)])
    columns = kaggle_descriptors(analysis)
    columns |= mean_and_variance(dict(zip(_OVER_TIME, np.moveaxis(over_time, 2, 0), strict=True)))
    return columns | dict(zip(_OF_SLICE, of_slice.T, strict=True))


def _contrast(analysis: Analysis) -> NDArray[np.float32]:
    """Compute the spectral contrast of each octave, its strongest over its weakest bins, (slice, frame, band).

    The bands are 0 to 200 Hz, five octaves from there on, and 6400 Hz and above. A value is 10 log10 of a ratio of
    magnitudes, as in librosa: half of the decibels; 0 in silence. Unlike in librosa, peaks are not raised to 80 below
    the highest peak of the slice, nor valleys to 80 below the highest valley: silent frames would get the contrast
    between those two.

    Source: Jiang et al., "Music Type Classification by Spectral Contrast Feature", ICME 2002.
    """
    contrast = np.empty((*analysis.magnitude.shape[:2], len(_CONTRAST_BINS) - 1), np.float32)
    for band, (start, stop) in enumerate(pairwise(_CONTRAST_BINS)):
        # a share of the bins, including the first bin of the next band, as in librosa
        count = max(1, round(_CONTRAST_SHARE * (stop - start + 1)))
        parted = np.partition(analysis.magnitude[..., start:stop], (count - 1, stop - start - count), axis=2)
        valley = np.maximum(parted[..., :count].mean(axis=2), _QUIETEST)
        peak = np.maximum(parted[..., -count:].mean(axis=2), _QUIETEST)
        contrast[..., band] = 10 * np.log10(peak / valley)
    return contrast


def _flatness(analysis: Analysis) -> NDArray[np.float32]:
    """Compute the geometric over the arithmetic mean of the bins' power, (slice, frame, 1) in (0, 1]; 1 in silence.

    Source: Dubnov, "Generalization of Spectral Flatness Measure for Non-Gaussian Linear Processes", IEEE Signal
    Processing Letters 11(8), 2004.
    """
    power = np.maximum(analysis.power, np.float32(_QUIETEST))
    geometric: NDArray[np.float32] = np.exp(np.log(power).mean(axis=2, keepdims=True))
    arithmetic: NDArray[np.float32] = power.mean(axis=2, keepdims=True)
    return geometric / arithmetic


def _tonnetz(analysis: Analysis) -> NDArray[np.float32]:
    """Compute the centre of the pitch classes on the circles of fifths, minor and major thirds, (slice, frame, 6).

    Each circle gives a sine and a cosine; all are 0 in silence.

    Source: Harte, Sandler and Gasser, "Detecting Harmonic Change in Musical Audio", AMCMM 2006.
    """
    turns = np.array([7 / 12, 3 / 4, 1 / 3])  # of each circle per semitone
    angle = 2 * np.pi * np.outer(np.arange(NUM_CHROMA), turns)
    circles = np.stack([np.sin(angle), np.cos(angle)], axis=2) * np.array([1, 1, 0.5])[:, None]
    total = analysis.chroma.sum(axis=2, keepdims=True)
    shares = analysis.chroma / np.where(total < TINY, 1, total)
    balance: NDArray[np.float32] = shares @ circles.reshape(NUM_CHROMA, 6).astype(np.float32)  # (class, circle x 2)
    return balance


def _delta_rms(mfcc: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the root mean square over frames of each coefficient's slope per frame, (slice, coefficient).

    The slope of a frame is that of the line through the nine frames around it. The first and the last four frames use
    the line through the first and the last nine. With fewer than nine frames, the line goes through all of them.

    Source: Savitzky and Golay, "Smoothing and Differentiation of Data", Analytical Chemistry 36(8), 1964.
    """
    num_frames = mfcc.shape[1]
    width = min(_DELTA_FRAMES, num_frames)
    position = np.arange(width) - (width - 1) / 2
    taps = position / np.square(position).sum()
    windows = np.lib.stride_tricks.sliding_window_view(mfcc, width, axis=1)  # (slice, frame, coefficient, tap)
    squared = np.square(windows @ taps)
    inside = squared.shape[1]
    at_ends = (num_frames - inside) / 2 * (squared[:, 0] + squared[:, -1])
    return np.asarray(np.sqrt((squared.sum(axis=1) + at_ends) / num_frames))


def _mfcc_percentiles(mfcc: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute percentiles over frames, interpolated linearly between frames, (slice, coefficient x percentile)."""
    percentiles = np.percentile(mfcc.astype(np.float64), _PERCENTILES, axis=1)  # (percentile, slice, coefficient)
    return np.moveaxis(percentiles, 0, 2).reshape(len(mfcc), -1)


def _mfcc_covariances(mfcc: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the population covariances over frames of each pair of coefficients, (slice, pair).

    Source: Mandel and Ellis, "Song-Level Features and Support Vector Machines for Music Classification", ISMIR 2005.
    """
    away = mfcc - mfcc.mean(axis=1, keepdims=True, dtype=np.float64)
    covariance = away.transpose(0, 2, 1) @ away / mfcc.shape[1]
    first, second = np.triu_indices(_NUM_MFCCS, 1)
    return np.asarray(covariance[:, first, second])


def _onset_statistics(analysis: Analysis) -> NDArray[np.float64]:
    """Compute the 90th percentile of the onset strength, and the onsets per second, (slice, 2).

    An onset is a frame that is stronger than the two before it, at least as strong as the two after it, and more than
    one standard deviation above the mean of the slice.
    """
    strength = analysis.onset_strength.astype(np.float64)
    around = np.pad(strength, ((0, 0), (_ONSET_REACH, _ONSET_REACH)))
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _ONSET_REACH + 1, axis=1)
    before, after = windows[..., :_ONSET_REACH].max(axis=2), windows[..., _ONSET_REACH + 1 :].max(axis=2)
    threshold = strength.mean(axis=1, keepdims=True) + strength.std(axis=1, keepdims=True)
    is_onset = (strength > before) & (strength >= after) & (strength > threshold)
    rate = is_onset.sum(axis=1) * (SAMPLE_RATE_HZ / analysis.samples.shape[1])
    return np.column_stack([np.percentile(strength, 90, axis=1), rate])


def _rhythm_statistics(rhythm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute how strongly the onsets repeat from 40 to 320 bpm, (slice, 6 bands + 3).

    The columns are the highest autocorrelation within each half octave, the slowest first; the highest peak of the
    autocorrelation, or 0 without a peak; the height of that peak above the mean; and the entropy of the autocorrelation
    over lags as a share of the highest possible: 1 if all lags are alike, as in silence.

    Source: after Tzanetakis and Cook, "Musical Genre Classification of Audio Signals", IEEE Transactions on Speech and
    Audio Processing 10(5), 2002, section III-C, who compute such values from a beat histogram.
    """
    start, stop = _BAND_LAGS[0], _BAND_LAGS[-1]
    bands = [rhythm[:, first:last].max(axis=1) for first, last in pairwise(_BAND_LAGS)]
    within = rhythm[:, start:stop]
    is_peak = (within > rhythm[:, start - 1 : stop - 1]) & (within >= rhythm[:, start + 1 : stop + 1])
    peak = np.where(is_peak, within, 0).max(axis=1)
    clarity = np.where(peak > _UNREPEATED, peak - within.mean(axis=1), 0)
    shares = np.maximum(within, _UNREPEATED)
    shares = shares / shares.sum(axis=1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(axis=1) / np.log(stop - start)
    return np.column_stack([*bands[::-1], peak, clarity, entropy])
