"""The cluster bootstrap against known widths."""

import numpy as np
import pytest
from scipy.stats import binom

from genregrid.report.interval import cluster_interval


def test_single_draws_give_the_binomial_interval() -> None:
    correct = np.arange(400) < 300
    low, high = cluster_interval(correct, np.arange(400))
    expected = np.array(binom.ppf([0.025, 0.975], 400, 0.75)) / 400
    assert [low, high] == pytest.approx(expected, abs=0.008)


def test_repeating_every_track_does_not_narrow_the_interval() -> None:
    correct = np.arange(200) < 150
    once = cluster_interval(correct, np.arange(200))
    thrice = cluster_interval(np.tile(correct, 3), np.tile(np.arange(200), 3))
    assert thrice == pytest.approx(once)


def test_clusters_widen_the_interval() -> None:
    correct = np.arange(200) // 10 % 4 > 0
    single = cluster_interval(correct, np.arange(200))
    clustered = cluster_interval(correct, np.arange(200) // 10)
    assert clustered[1] - clustered[0] > 2 * (single[1] - single[0])


def test_interval_holds_the_accuracy_and_repeats() -> None:
    correct = np.random.default_rng(0).random(100) < 0.7
    low, high = cluster_interval(correct, np.arange(100))
    assert low < correct.mean() < high
    assert (low, high) == cluster_interval(correct, np.arange(100))


def test_one_cluster_has_no_width() -> None:
    assert cluster_interval([1, 0, 1, 1], [5, 5, 5, 5]) == (0.75, 0.75)
