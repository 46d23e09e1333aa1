"""Split-conformal prediction: sets of genres that contain the true one with a given probability."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from genregrid.metrics.finite import finite


def conformal_sets(
    calibration_log_probs: ArrayLike,
    calibration_genre: ArrayLike,
    log_probs: ArrayLike,
    *,
    method: str = "lac",
    level: float = 0.9,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Compute the set of possible genres of each row, (row, genre) bool.

    For rows from the distribution of the calibration rows, the true genre is in the set with probability `level` or
    slightly more: on average, not for every genre. Rows are tracks, because slices of one track are not independent.
    ``lac`` gives the smallest sets on average; ``aps`` covers hard and easy rows more evenly, by larger sets. Both may
    give an empty set. MAPIE, the reference of the tests, needs a scikit-learn estimator, and here there is an array.

    Args:
        calibration_log_probs: (calibration row, genre) float of rows that were not used to train or choose anything;
            unnormalised logits are allowed.
        calibration_genre: (calibration row,) int, true genres by number.
        log_probs: (row, genre) float.
        method: ``lac`` orders genres by their probability, ``aps`` by the sum of probabilities down to theirs, minus a
            random part of their own.
        level: coverage, in (0, 1). With fewer than level / (1 - level) calibration rows every set has all genres.
        seed: of ``aps``.

    Raises:
        ValueError: an unknown method, or a value that is not finite.

    Source: Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 114,
    2019; Romano, Sesia and Candès, "Classification with valid and adaptive coverage", NeurIPS 2020, equation 8.
    """
    random = np.random.default_rng(seed)
    limit = threshold(calibration_log_probs, calibration_genre, method=method, level=level, random=random)
    return np.asarray(nonconformity(log_probs, method, random) <= limit)


def threshold(
    log_probs: ArrayLike, genre: ArrayLike, *, method: str, level: float, random: np.random.Generator
) -> float:
    """Compute the largest nonconformity of a genre in a set, 0 to 1; infinite with too few calibration rows.

    Arguments are those of `conformal_sets`; `log_probs` and `genre` are of the calibration rows.
    """
    true = np.take_along_axis(nonconformity(log_probs, method, random), np.asarray(genre)[:, None], axis=1)[:, 0]
    return _quantile(true, level)


def nonconformity(log_probs: ArrayLike, method: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Compute how little each genre fits each row, (row, genre) -> (row, genre) float64, 0 to 1.

    Raises:
        ValueError: an unknown method, or a value that is not finite.
    """
    if method not in ("lac", "aps"):
        raise ValueError(f"conformal sets are made by lac or aps, not {method!r}")
    probs = softmax(finite("log_probs", log_probs), axis=1)
    if method == "lac":
        return np.asarray(1 - probs)
    order = np.argsort(-probs, axis=1, kind="stable")
    ranked = np.take_along_axis(probs, order, axis=1)
    ranked = ranked.cumsum(axis=1) - random.random((len(probs), 1)) * ranked
    summed = np.empty_like(probs)
    np.put_along_axis(summed, order, ranked, axis=1)
    return np.asarray(summed)


def _quantile(nonconformity: NDArray[np.float64], level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest of n values; infinite if there are fewer.

    >>> _quantile(np.arange(9.0), 0.9), _quantile(np.arange(8.0), 0.9)
    (8.0, inf)
    """
    rank = math.ceil((len(nonconformity) + 1) * level - 1e-9)  # 110 * 0.9 is 99.00000000000001
    return float(np.sort(nonconformity)[rank - 1]) if rank <= len(nonconformity) else math.inf
