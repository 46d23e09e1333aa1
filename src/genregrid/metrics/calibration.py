"""Calibration: whether predictions with a probability of 70 % are right in 70 of 100 cases."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

from genregrid.metrics.finite import finite

TEMPERATURES = (0.05, 20.0)  # neural models need 0.5 to 5; validation data cannot determine values outside this range


def fit_temperature(log_probs: ArrayLike, genre: ArrayLike) -> float:
    """Find the temperature that minimises the negative log-likelihood of validation rows.

    The negative log-likelihood is convex in 1 / temperature, so its slope has at most one zero. If there is none
    between the ends of `TEMPERATURES`, the nearer end is returned: the lower one if all rows are right, the upper one
    for a model that is no better than guessing.

    Args:
        log_probs: (row, genre) float, finite; unnormalised logits are allowed.
        genre: (row,) int, true genres by number.

    Raises:
        ValueError: no rows, or a value that is not finite.

    Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    logits = finite("log_probs", log_probs)
    if not len(logits):
        raise ValueError("a temperature is fitted on validation rows, and there are none")
    excess = logits - np.take_along_axis(logits, np.asarray(genre)[:, None], axis=1)

    def slope(inverse: float) -> float:
        return float((softmax(inverse * excess, axis=1) * excess).sum(axis=1).mean())

    sharpest, flattest = TEMPERATURES
    if slope(1 / sharpest) <= 0:
        return sharpest
    if slope(1 / flattest) >= 0:
        return flattest
    return float(1 / brentq(slope, 1 / flattest, 1 / sharpest))


def rescale(log_probs: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Rescale to a temperature above 0 and normalise, (row, genre) -> (row, genre); above 1 lowers the confidence."""
    return np.asarray(log_softmax(finite("log_probs", log_probs) / temperature, axis=1))


def negative_log_likelihood(log_probs: ArrayLike, genre: ArrayLike) -> NDArray[np.float64]:
    """Compute the loss of each row, (row,) float64 in nats, 0 or more; arguments as in `fit_temperature`."""
    log_probs = rescale(log_probs, 1.0)
    return -np.take_along_axis(log_probs, np.asarray(genre)[:, None], axis=1)[:, 0]


def brier(log_probs: ArrayLike, genre: ArrayLike) -> NDArray[np.float64]:
    """Compute the Brier score of each row, (row,) float64, summed over genres: 0 to 2.

    Arguments as in `fit_temperature`.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    distance = np.exp(rescale(log_probs, 1.0))
    distance[np.arange(len(distance)), np.asarray(genre)] -= 1
    return np.asarray(np.square(distance).sum(axis=1))


def ece(confidence: ArrayLike, correct: ArrayLike, num_bins: int = 15) -> float:
    """Compute the expected calibration error, 0 to 1, over bins of equal mass (adaptive ECE).

    It is the mean over rows of the distance between confidence and accuracy in the row's bin. It has no interval: it is
    biased upwards, as distances that are due to chance add up, and no resampling removes this near 0. Compare it with
    `calibrated_ece`.

    Args:
        confidence: (row,) probability of the predicted genre, 0 to 1.
        correct: (row,) bool.
        num_bins: bins of equal numbers of rows, 1 or more; rows of equal confidence are in one bin.

    Source: Nixon et al., "Measuring calibration in deep learning", CVPR Workshops 2019.
    """
    confidence = finite("confidence", confidence)
    gaps = np.bincount(_equal_mass(confidence, num_bins), np.asarray(correct, float) - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def calibrated_ece(confidence: ArrayLike, correct: ArrayLike, cluster: ArrayLike, num_bins: int = 15) -> float:
    """Compute the mean adaptive ECE of a calibrated model, for as many clusters of rows; NaN for a single cluster.

    In each bin the number of right rows varies about its mean. The mean distance of a normal variable from its mean is
    sqrt(2 / pi) standard deviations. Rows of one cluster are right or wrong together, so that the variance is that of
    independent rows times the design effect: squared sums over clusters of a bin, divided by the squares of its rows.

    Args:
        confidence: (row,) probability of the predicted genre, 0 to 1.
        correct: (row,) bool.
        cluster: (row,) numbers or names; rows of one cluster, such as the seeds of a track, are not independent.
        num_bins: as in `ece`.

    Source: of the design effect, Kish, *Survey sampling*, 1965, section 5.4; its variances are estimated here.
    """
    confidence = finite("confidence", confidence)
    bins, number = _equal_mass(confidence, num_bins), np.unique(np.asarray(cluster), return_inverse=True)[1]
    if number.max() == 0:
        return float("nan")
    gap = np.asarray(correct, float) - confidence
    gap -= (np.bincount(bins, gap) / np.maximum(np.bincount(bins), 1))[bins]
    together = np.bincount(np.unique(number * num_bins + bins, return_inverse=True)[1], gap)
    squares = np.square(gap).sum()
    effect = np.square(together).sum() / squares if squares > 0 else 1.0
    variance = np.bincount(bins, confidence * (1 - confidence))
    return float(np.sqrt(2 / np.pi * effect * variance).sum() / len(confidence))


def reliability(confidence: ArrayLike, correct: ArrayLike, num_bins: int = 15) -> pd.DataFrame:
    """Tabulate the non-empty bins of `ece` by rising confidence: mean confidence, accuracy, num."""
    rows = pd.DataFrame({"confidence": finite("confidence", confidence), "accuracy": np.asarray(correct, float)})
    bins = rows.groupby(_equal_mass(rows["confidence"].to_numpy(), num_bins))
    return bins.mean().assign(num=bins.size()).rename_axis("bin").reset_index(drop=True)


def _equal_mass(confidence: NDArray[np.float64], num_bins: int) -> NDArray[np.int64]:
    """Return the bin of each row, from 0. Rows of equal confidence share their mean rank and so their bin.

    >>> _equal_mass(np.array([0.9, 0.2, 0.5, 0.9]), 2)
    array([1, 0, 0, 1])
    """
    middle = (rankdata(confidence) - 0.5) / len(confidence)
    return np.asarray((middle * num_bins).astype(np.int64))
