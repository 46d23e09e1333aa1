"""Tests of whether two models differ on the same tracks."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from genregrid.metrics.finite import finite
from genregrid.metrics.interval import ROUNDING


class McNemar(NamedTuple):
    """McNemar's test of two models on the same predictions."""

    only_a: float  # predictions that only the first model has right; of fractions, the sum of its positive differences
    only_b: float
    p_value: float  # two-sided; 1 if the models never differ
    exact: bool  # whether it is the binomial test; the cluster-adjusted one needs about twenty clusters or more


class CorrectedTTest(NamedTuple):
    """The corrected resampled t-test of a difference."""

    mean: float  # with its interval, low to high
    t: float  # like all below, NaN if runs do not differ, or one is not finite
    p_value: float  # two-sided
    low: float  # NaN for two runs too: Student's t with one degree of freedom has an interval of 25 standard errors
    high: float


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, cluster: ArrayLike | None = None) -> McNemar:
    """Test whether two models have the same accuracy, by the predictions on which they differ.

    Single predictions have the binomial test with mid-p: the outcome itself counts half. For 20 to 1000 predictions, of
    which 5 to 30 % differ, its false alarms at 0.05 are 1.7 to 5.0 %; those of the exact test are 0.5 to 4.2 %. If a
    cluster has several predictions, or a prediction is partly right (the mean over seeds), d_k = (only a is right) -
    (only b is right) is summed within cluster k, and (sum d_k)^2 / sum d_k^2 is compared with chi-square with one
    degree of freedom.

    Args:
        correct_a: (prediction,) bool, or fractions from 0 to 1.
        correct_b: the same of the second model, row by row for the same predictions.
        cluster: (prediction,) numbers or names of independent units, such as artists; by default every prediction.

    Raises:
        ValueError: arrays of unequal length, or a value that is not finite.

    Source: McNemar, Psychometrika 12, 1947; Obuchowski, "On the comparison of correlated proportions for clustered
    data", Statistics in Medicine 17, 1998, in the modified form of Yang, Sun and Hardin, "A note on the tests for
    clustered matched-pair binary data", Biometrical Journal 52, 2010; for mid-p, Fagerland, Lydersen and Laake, "The
    McNemar test for binary matched-pairs data", BMC Medical Research Methodology 13, 2013.

    >>> round(mcnemar([1, 1, 1, 1, 0], [0, 0, 0, 0, 0]).p_value, 6)  # twice 0.5^4 / 2
    0.0625
    """
    first, second = finite("correct_a", correct_a), finite("correct_b", correct_b)
    number = np.arange(len(first)) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    if not len(first) == len(second) == len(number):
        lengths = f"{len(first)} and {len(second)} predictions of {len(number)} clusters"
        raise ValueError(f"two models are compared on the same predictions, not on {lengths}")
    ahead = np.where(np.abs(first - second) < ROUNDING, 0.0, first - second)
    per_cluster = np.bincount(number, ahead)
    per_cluster[np.abs(per_cluster) < ROUNDING] = 0.0
    only_a, only_b = np.maximum(ahead, 0).sum(), np.maximum(-ahead, 0).sum()
    exact = len(per_cluster) == len(ahead) and bool(np.isin(ahead, (-1, 0, 1)).all())
    if not per_cluster.any():
        p_value = 1.0
    elif exact:
        fewer, num = min(only_a, only_b), only_a + only_b
        p_value = 2 * stats.binom.cdf(fewer, num, 0.5) - stats.binom.pmf(fewer, num, 0.5)
    else:
        p_value = stats.chi2.sf(per_cluster.sum() ** 2 / np.square(per_cluster).sum(), df=1)
    return McNemar(float(only_a), float(only_b), float(p_value), exact)


def corrected_t_test(
    difference: ArrayLike, num_train: float, num_test: float, *, level: float = 0.95
) -> CorrectedTTest:
    """Test whether the mean difference over folds is zero, corrected for overlapping training parts.

    The variance of the mean is the variance of runs times (1 / n + num_test / num_train) instead of 1 / n. Runs without
    spread beyond rounding, or that are not finite, cannot be tested: t, p and bounds are NaN.

    Args:
        difference: (run,) of accuracies, first minus second model, one run per fold and division of tracks; 2 or
            more. Fits of one fold and division that differ in their seed are no further runs: take their mean.
        num_train: tracks in a training part, above 0.
        num_test: tracks in a test part, above 0.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: fewer than two runs.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003; over several
    divisions, Bouckaert and Frank, "Evaluating the replicability of significance tests", PAKDD 2004.
    """
    runs = np.asarray(difference, float)
    if len(runs) < 2:
        raise ValueError(f"a t-test needs two runs or more, not {len(runs)}")
    mean, num = float(runs.mean()), len(runs)
    if not np.isfinite(runs).all() or np.ptp(runs) < ROUNDING:
        return CorrectedTTest(mean, math.nan, math.nan, math.nan, math.nan)
    error = math.sqrt((1 / num + num_test / num_train) * runs.var(ddof=1))
    half = error * stats.t.ppf((1 + level) / 2, num - 1) if num > 2 else math.nan
    t = mean / error
    return CorrectedTTest(mean, t, float(2 * stats.t.sf(abs(t), num - 1)), float(mean - half), float(mean + half))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values of several tests, (test,), so that they bound the probability of any false alarm among them.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = finite("p_values", p_values)
    return np.asarray(multipletests(values, method="holm")[1]) if len(values) else values
