"""Values that are not finite are refused by name, whatever is made of them."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from genregrid.metrics.calibration import (
    brier,
    calibrated_ece,
    ece,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    rescale,
)
from genregrid.metrics.comparison import holm
from genregrid.metrics.conformal import conformal_sets
from genregrid.metrics.finite import finite
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.metrics.soft_vote import mixture_weights

GOOD = np.log([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
GENRE = [0, 1, 1]
RIGHT = [True, True, False]
BOOTSTRAP = ClusterBootstrap(range(3))
ROWS: dict[str, Callable[[np.ndarray], object]] = {
    "fit_temperature": lambda bad: fit_temperature(bad, GENRE),
    "rescale": lambda bad: rescale(bad, 2.0),
    "negative_log_likelihood": lambda bad: negative_log_likelihood(bad, GENRE),
    "brier": lambda bad: brier(bad, GENRE),
    "conformal_sets": lambda bad: conformal_sets(GOOD, GENRE, bad),
    "calibration of conformal_sets": lambda bad: conformal_sets(bad, GENRE, GOOD),
    "mixture_weights": lambda bad: mixture_weights(bad[None], GENRE),
    "numerator of ratios": lambda bad: BOOTSTRAP.ratios(bad, np.ones((3, 1))),
    "denominator of ratios": lambda bad: BOOTSTRAP.ratios(np.ones((3, 2)), bad),
    "numerator of mean_ratio": lambda bad: BOOTSTRAP.mean_ratio(bad, np.ones((3, 2))),
}
VALUES: dict[str, Callable[[np.ndarray], object]] = {
    "ece": lambda bad: ece(bad, RIGHT),
    "calibrated_ece": lambda bad: calibrated_ece(bad, RIGHT, range(3)),
    "reliability": lambda bad: reliability(bad, RIGHT),
    "holm": holm,
    "difference": lambda bad: BOOTSTRAP.difference(bad, RIGHT),
    "other difference": lambda bad: BOOTSTRAP.difference(RIGHT, bad),
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [*ROWS, *VALUES])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    bad = GOOD.copy() if name in ROWS else np.array([0.5, 0.6, 0.7])
    bad[1, ...] = value
    with pytest.raises(ValueError, match=r"must be finite numbers, and row [01] has"):
        (ROWS | VALUES)[name](bad)


def test_infinite_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="values must be finite numbers, and row 2 has inf"):
        BOOTSTRAP.mean([0.1, math.nan, math.inf])


def test_a_number_that_is_not_finite_is_named() -> None:
    with pytest.raises(ValueError, match="level must be finite numbers, and it has nan"):
        finite("level", math.nan)


def test_differences_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 1 values of 3 predictions"):
        BOOTSTRAP.difference([1.0, 0.0, 1.0], [1.0])
