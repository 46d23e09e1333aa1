"""Split-conformal prediction: sets of genres that hold the true one as often as promised."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax


def conformal_sets(
    calibration_log_probs: ArrayLike,
    calibration_genre: ArrayLike,
    log_probs: ArrayLike,
    *,
    method: str = "lac",
    level: float = 0.9,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """The genres that cannot be ruled out for each row, (row, genre) bool.

    Over rows drawn like the calibration rows, the true genre is in the set with probability `level` or slightly more:
    on average, not for every genre. Rows are tracks, as slices of one track are not drawn independently. ``lac`` gives
    the smallest sets on average; ``aps`` covers hard and easy rows more evenly, by larger sets. Both may rule out every
    genre of a row. MAPIE, the reference of the tests, wants a scikit-learn estimator around what is an array here.

    Args:
        calibration_log_probs: (calibration row, genre) float of rows that nothing was trained or chosen on;
            unnormalised logits do as well.
        calibration_genre: (calibration row,) int, true genres by number.
        log_probs: (row, genre) float.
        method: ``lac`` takes genres by their probability, ``aps`` by the sum of probabilities down to theirs, part of
            their own left out at random.
        level: coverage, in (0, 1). With fewer than level / (1 - level) calibration rows every set holds all genres.
        seed: of ``aps``.

    Raises:
        ValueError: another method.

    Source: Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 114,
    2019; Romano, Sesia and Candès, "Classification with valid and adaptive coverage", NeurIPS 2020, equation 8.
    """
    if method not in ("lac", "aps"):
        raise ValueError(f"conformal sets are made by lac or aps, not {method!r}")
    random = np.random.default_rng(seed)
    calibration = _strangeness(softmax(np.asarray(calibration_log_probs, float), axis=1), method, random)
    true = np.take_along_axis(calibration, np.asarray(calibration_genre)[:, None], axis=1)[:, 0]
    strangeness = _strangeness(softmax(np.asarray(log_probs, float), axis=1), method, random)
    return np.asarray(strangeness <= _threshold(true, level))


def _threshold(strangeness: NDArray[np.float64], level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n values; infinite where there are not so many.

    >>> _threshold(np.arange(9.0), 0.9), _threshold(np.arange(8.0), 0.9)
    (8.0, inf)
    """
    rank = math.ceil((len(strangeness) + 1) * level - 1e-9)  # 110 * 0.9 is 99.00000000000001
    return float(np.sort(strangeness)[rank - 1]) if rank <= len(strangeness) else math.inf


def _strangeness(probs: NDArray[np.float64], method: str, random: np.random.Generator) -> NDArray[np.float64]:
    """How little each genre fits each row, (row, genre), 0 to 1."""
    if method == "lac":
        return 1 - probs
    order = np.argsort(-probs, axis=1, kind="stable")
    ranked = np.take_along_axis(probs, order, axis=1)
    ranked = ranked.cumsum(axis=1) - random.random((len(probs), 1)) * ranked
    strangeness = np.empty_like(probs)
    np.put_along_axis(strangeness, order, ranked, axis=1)
    return strangeness
