"""Tests of whether two models differ on the same tracks."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests


class McNemar(NamedTuple):
    """McNemar's test of two models on the same predictions."""

    only_a: float  # predictions that only the first model has right; of fractions, the sum of its positive differences
    only_b: float
    p_value: float  # two-sided; 1 if the models never differ
    exact: bool  # whether it is the exact test or the cluster-adjusted one, which needs about twenty clusters or more


class CorrectedTTest(NamedTuple):
    """The corrected resampled t-test of a difference."""

    mean: float  # with its interval, low to high
    t: float  # infinite if all runs have the same difference, 0 if that is 0
    p_value: float  # two-sided
    low: float
    high: float


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, cluster: ArrayLike | None = None) -> McNemar:
    """Test whether two models have the same accuracy, by the predictions on which they differ.

    Single predictions have the exact binomial test. If a cluster has several predictions, or a prediction is partly
    right (the mean over seeds), d_k = (only a is right) - (only b is right) is summed within cluster k, and
    (sum d_k)^2 / sum d_k^2 is compared with chi-square with one degree of freedom.

    Args:
        correct_a: (prediction,) bool, or fractions from 0 to 1.
        correct_b: the same of the second model, row by row for the same predictions.
        cluster: (prediction,) numbers or names of independent units, such as artists; by default every prediction.

    Source: McNemar, Psychometrika 12, 1947; Obuchowski, "On the comparison of correlated proportions for clustered
    data", Statistics in Medicine 17, 1998, in the modified form of Yang, Sun and Hardin, "A note on the tests for
    clustered matched-pair binary data", Biometrical Journal 52, 2010.
    """
    ahead = np.asarray(correct_a, float) - np.asarray(correct_b, float)
    number = np.arange(len(ahead)) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    per_cluster = np.bincount(number, ahead)
    only_a, only_b = np.maximum(ahead, 0).sum(), np.maximum(-ahead, 0).sum()
    exact = len(per_cluster) == len(ahead) and bool(np.isin(ahead, (-1, 0, 1)).all())
    if not per_cluster.any():
        p_value = 1.0
    elif exact:
        p_value = stats.binomtest(int(only_a), int(only_a + only_b)).pvalue
    else:
        p_value = stats.chi2.sf(per_cluster.sum() ** 2 / np.square(per_cluster).sum(), df=1)
    return McNemar(float(only_a), float(only_b), float(p_value), exact)


def corrected_t_test(
    difference: ArrayLike, num_train: float, num_test: float, *, level: float = 0.95
) -> CorrectedTTest:
    """Test whether the mean difference over folds and seeds is zero, corrected for overlapping training parts.

    The variance of the mean is the variance of runs times (1 / n + num_test / num_train) instead of 1 / n.

    Args:
        difference: (run,) of accuracies, first minus second model, one run per fold and seed; at least 2.
        num_train: tracks in a training part, above 0.
        num_test: tracks in a test part, above 0.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: fewer than two runs.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003; over folds and
    seeds, Bouckaert and Frank, "Evaluating the replicability of significance tests", PAKDD 2004.
    """
    runs = np.asarray(difference, float)
    if len(runs) < 2:
        raise ValueError(f"a t-test needs two runs or more, not {len(runs)}")
    mean = float(runs.mean())
    spread = math.sqrt((1 / len(runs) + num_test / num_train) * runs.var(ddof=1)) if np.ptp(runs) > 0 else 0.0
    t = mean / spread if spread else 0.0
    if mean and not spread:  # all runs have the same difference
        t = math.copysign(math.inf, mean)
    half = spread * stats.t.ppf((1 + level) / 2, len(runs) - 1)
    p_value = 2 * stats.t.sf(abs(t), len(runs) - 1)
    return CorrectedTTest(mean, t, float(p_value), float(mean - half), float(mean + half))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values of several tests, (test,), so that they bound the probability of any false alarm among them.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    return np.asarray(multipletests(values, method="holm")[1]) if len(values) else values
