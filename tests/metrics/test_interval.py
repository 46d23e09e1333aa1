"""The cluster bootstrap against known widths."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.metrics import f1_score

from genregrid.metrics import interval
from genregrid.metrics.interval import ClusterBootstrap, Estimate, cluster_interval


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


def test_mean_leaves_out_what_is_not_known() -> None:
    values = np.array([0.2, np.nan, 0.9, 0.4, np.nan, 0.7])
    known = ~np.isnan(values)
    cluster = np.array([0, 0, 1, 2, 2, 3])
    estimate = ClusterBootstrap(cluster).mean(values)
    assert estimate == ClusterBootstrap(cluster).ratios(np.where(known, values, 0)[:, None], known[:, None])[0]
    assert estimate.value == pytest.approx(0.55)
    assert estimate.low < 0.55 < estimate.high


def test_intervals_are_those_of_a_loop_over_resamples() -> None:
    random = np.random.default_rng(3)
    cluster, values = random.integers(20, size=90), random.random(90)
    draws = np.random.default_rng(0)
    means = []
    for _ in range(300):
        drawn = draws.integers(20, size=20)
        means.append(np.concatenate([values[cluster == number] for number in drawn]).mean())
    estimate = ClusterBootstrap(cluster, level=0.8, num_resamples=300).mean(values)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(means, [0.1, 0.9]))


def test_f1_of_each_genre_is_a_ratio_of_sums() -> None:
    random = np.random.default_rng(0)
    genre, predicted = random.integers(3, size=(2, 200))
    true, found = np.eye(3)[genre], np.eye(3)[predicted]
    estimates = ClusterBootstrap(np.arange(200) // 4).ratios(2 * true * found, true + found)
    assert [estimate.value for estimate in estimates] == pytest.approx(f1_score(genre, predicted, average=None))
    assert all(estimate.low < estimate.value < estimate.high for estimate in estimates)


def test_resamples_without_denominator_are_left_out() -> None:
    predicted = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])  # a third of the resamples lack the only prediction
    estimate, never = ClusterBootstrap(range(4)).ratios(predicted, predicted)
    assert estimate.value == 1.0
    assert np.isnan([estimate.low, estimate.high]).all()  # of one cluster nothing is known
    assert np.isnan([never.value, never.low, never.high]).all()


def test_statistic_of_a_mean_is_the_mean() -> None:
    random = np.random.default_rng(1)
    values, cluster = random.random(300), random.integers(40, size=300)
    bootstrap = ClusterBootstrap(cluster, num_resamples=400)
    by_weights = bootstrap.statistic(lambda weights: weights @ values / weights.sum(axis=1), num_resamples=400)
    mean = bootstrap.mean(values)
    assert [by_weights.value, by_weights.low, by_weights.high] == pytest.approx([mean.value, mean.low, mean.high])


def test_statistic_does_not_depend_on_how_resamples_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(50)
    whole = ClusterBootstrap(range(50)).statistic(lambda weights: weights @ values)
    monkeypatch.setattr(interval, "_ENTRIES", 350)
    parts = ClusterBootstrap(range(50)).statistic(lambda weights: weights @ values)
    assert parts.columns("sum") == pytest.approx(whole.columns("sum"))


def test_values_that_are_not_finite_are_left_out() -> None:
    def share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(weights[:, 0] > 0, 0.25, np.nan)

    assert ClusterBootstrap(range(5)).statistic(share) == Estimate(0.25, 0.25, 0.25)


def test_weights_never_exceed_their_share_of_memory() -> None:
    sizes = []

    def count(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes.append(weights.size)
        return weights[:, 0]

    ClusterBootstrap(np.arange(100_000)).statistic(count, num_resamples=25)
    assert max(sizes) <= 2**20
    assert sum(sizes) == 26 * 100_000


def test_distance_is_the_sum_of_absolute_means() -> None:
    gaps = np.array([[1.0, 0.0], [0.0, -0.5], [1.0, 0.0], [0.0, -0.5]])
    estimate = ClusterBootstrap(range(4)).distance(gaps)
    assert estimate.value == pytest.approx(0.5 + 0.25)
    assert 0 <= estimate.low < estimate.value < estimate.high


def test_bounds_of_a_distance_are_those_of_a_loop_over_resamples() -> None:
    random = np.random.default_rng(3)
    gaps, cluster = random.normal(0.4, 1, size=(60, 3)), random.integers(15, size=60)
    draws = np.random.default_rng(0)
    resampled, noise = [], []
    for _ in range(300):
        means = np.concatenate([gaps[cluster == number] for number in draws.integers(15, size=15)]).mean(axis=0)
        resampled.append(np.abs(means).sum())
        noise.append(np.abs(means - gaps.mean(axis=0)).sum())
    estimate = ClusterBootstrap(cluster, num_resamples=300).distance(gaps)
    assert estimate.low == pytest.approx(estimate.value - np.quantile(noise, 0.975))
    assert estimate.high == pytest.approx(estimate.value + np.quantile(resampled, 0.975) - np.mean(resampled))


def test_distance_of_noise_reaches_zero_where_percentiles_do_not() -> None:
    random = np.random.default_rng(0)
    gaps = random.normal(size=(500, 1)) * np.eye(15)[random.integers(15, size=500)]
    bootstrap = ClusterBootstrap(range(500), num_resamples=500)
    assert bootstrap.distance(gaps).low == 0.0
    assert bootstrap.statistic(lambda w: np.abs(w @ gaps).sum(axis=1) / w.sum(axis=1)).low > 0.1


@pytest.mark.parametrize("method", ["mean", "distance"])
def test_every_interval_of_one_cluster_has_no_width(method: str) -> None:
    values = np.array([0.1, 0.2, 0.4])
    bootstrap = ClusterBootstrap(["abba"] * 3)
    estimate = bootstrap.mean(values) if method == "mean" else bootstrap.distance(values[:, None])
    assert estimate.value == pytest.approx(0.7 / 3)
    assert estimate.low == estimate.value == estimate.high


def test_columns_carry_the_name() -> None:
    assert Estimate(0.5, 0.4, 0.6).columns("f1") == {"f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}


def test_a_share_that_is_never_missed_has_the_exact_lower_bound_of_its_clusters() -> None:
    from scipy.stats import binomtest

    always = ClusterBootstrap(np.arange(20)).mean(np.ones(20, bool))
    exact = binomtest(20, 20).proportion_ci(method="exact")
    assert (always.value, always.low, always.high) == pytest.approx((1.0, exact.low, 1.0))
    never = ClusterBootstrap(np.arange(60) // 3).mean(np.zeros(60, bool))
    assert (never.value, never.low, never.high) == pytest.approx((0.0, 0.0, 1 - exact.low))


def test_a_ratio_that_lies_in_one_cluster_of_several_has_no_bounds() -> None:
    of_one = np.arange(30) < 10
    (estimate,) = ClusterBootstrap(np.arange(30) // 10).ratios((of_one & (np.arange(30) < 7))[:, None], of_one[:, None])
    assert estimate.value == 0.7
    assert np.isnan([estimate.low, estimate.high]).all()


def test_equal_models_differ_by_nothing_surely() -> None:
    estimate = ClusterBootstrap(np.arange(20)).mean(np.zeros(20))
    assert (estimate.low, estimate.high) == (0, 0)
