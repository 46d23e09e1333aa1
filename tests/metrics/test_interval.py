"""The cluster bootstrap against known widths."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit
from scipy.stats import binom, bootstrap
from sklearn.metrics import f1_score

from genregrid.metrics import interval
from genregrid.metrics.interval import ClusterBootstrap, Estimate, cluster_interval
from genregrid.metrics.selective import auroc


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


@pytest.mark.parametrize("num", [1, 2])
def test_fewer_than_three_clusters_have_no_interval(num: int) -> None:
    estimate = ClusterBootstrap(np.arange(20) % num, unit="artist").mean(np.arange(20) < 15)
    assert (estimate.value, estimate.why) == (0.75, "1 artist" if num == 1 else "2 artists")
    assert np.isnan([estimate.low, estimate.high]).all()
    assert np.isnan(cluster_interval(np.arange(20) < 15, np.arange(20) % num)).all()


def test_clusters_count_by_their_sizes() -> None:
    sizes = [18, 1, 1]  # 20^2 / (18^2 + 1 + 1) is 1.2 effective clusters
    estimate = ClusterBootstrap(np.repeat(np.arange(3), sizes)).mean(np.arange(20) < 15)
    assert np.isnan(estimate.low)
    assert estimate.why == "3 groups"


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
    cluster, values = random.permutation(np.arange(270) % 60), random.random(270)
    draws = np.random.default_rng(0)
    means = []
    for _ in range(300):
        drawn = draws.integers(60, size=60)
        means.append(np.concatenate([values[cluster == number] for number in drawn]).mean())
    estimate = ClusterBootstrap(cluster, level=0.8, num_resamples=300).mean(values)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(means, [0.1, 0.9]), rel=1e-5)


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
        return np.where(weights[:, 0] > 0, 0.1 * weights[:, 1], np.nan)

    estimate = ClusterBootstrap(range(5)).statistic(share)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.1, 0.0, 0.2), abs=0.01)


def test_weights_never_exceed_their_share_of_memory() -> None:
    sizes = []

    def count(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes.append(weights.size)
        return weights[:, 0]

    ClusterBootstrap(np.arange(100_000)).statistic(count, num_resamples=25)
    assert max(sizes) <= 2**20
    assert sum(sizes) == 26 * 100_000


def test_no_score_of_one_cluster_has_an_interval() -> None:
    estimate = ClusterBootstrap(["abba"] * 3).mean([0.1, 0.2, 0.4])
    assert estimate.value == pytest.approx(0.7 / 3)
    assert np.isnan([estimate.low, estimate.high]).all()
    assert estimate.why == "1 group"


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


def test_models_that_never_differ_may_differ_on_other_tracks() -> None:
    right = np.arange(100) < 60
    estimate = ClusterBootstrap(np.arange(100)).difference(right, right)
    unseen = 1 - 0.025 ** (1 / 100)  # of something that never happened on 100 tracks, Clopper and Pearson
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.0, -unseen, unseen))


def test_difference_bounds_grow_with_its_tracks() -> None:
    bootstrap = ClusterBootstrap(np.arange(100))
    base = np.arange(100) >= 60
    bounds = [bootstrap.difference(base | (np.arange(100) < num), base) for num in range(60)]
    assert (np.diff([one.low for one in bounds]) >= 0).all()
    assert (np.diff([one.high for one in bounds]) >= 0).all()


def test_difference_of_many_tracks_is_the_bootstrap_of_their_differences() -> None:
    first, second = np.random.default_rng(0).random((2, 300)) < [[0.7], [0.6]]
    bootstrap = ClusterBootstrap(np.arange(300) // 3)
    ahead = first.astype(float) - second
    assert bootstrap.difference(first, second) == bootstrap.mean(ahead)


@pytest.mark.parametrize("num", [5, 20, 30, 100])
@pytest.mark.parametrize("method", ["mean", "ratios"])
def test_bounds_of_a_share_grow_with_its_hits(num: int, method: str) -> None:
    bootstrap = ClusterBootstrap(np.arange(num))
    shares = [np.arange(num) < hits for hits in range(num + 1)]
    if method == "mean":
        bounds = [bootstrap.mean(share) for share in shares]
    else:
        bounds = [bootstrap.ratios(share[:, None], np.ones((num, 1)), is_share=True)[0] for share in shares]
    for name in ("low", "high"):
        ends = np.array([getattr(one, name) for one in bounds])
        assert (np.diff(ends) >= 0).all()
        assert ((ends >= 0) & (ends <= 1)).all()
    assert all(one.low <= one.value <= one.high for one in bounds)


def test_nineteen_of_twenty_are_less_sure_than_twenty() -> None:
    bootstrap = ClusterBootstrap(np.arange(20))
    assert bootstrap.mean(np.arange(20) < 19).low < bootstrap.mean(np.ones(20, bool)).low


def test_no_share_of_clusters_is_surer_than_all() -> None:
    cluster = np.arange(200) // 20
    bootstrap = ClusterBootstrap(cluster)
    whole, ones = np.ones((200, 1)), np.ones((200, 1), bool)
    (every,) = bootstrap.ratios(ones, whole, is_share=True)
    (none,) = bootstrap.ratios(~ones, whole, is_share=True)
    assert (every.low, none.high) == pytest.approx((0.025**0.1, 1 - 0.025**0.1))
    for hits in range(1, 200):
        (one,) = bootstrap.ratios((np.arange(200) < hits)[:, None], whole, is_share=True)
        assert one.low <= every.low
        assert one.high >= none.high


def test_ratio_of_equal_clusters_is_their_t_interval_of_the_logit() -> None:
    shares = np.array([0.2, 0.5, 0.6, 0.9, 0.8])  # of five clusters of ten
    hits = np.concatenate([np.arange(10) < 10 * share for share in shares])[:, None]
    (estimate,) = ClusterBootstrap(np.arange(50) // 10).ratios(hits, np.ones_like(hits), is_share=True)
    error = np.std(shares, ddof=1) / np.sqrt(5) / (0.6 * 0.4)
    half = stats.t.ppf(0.975, 4) * error
    assert [estimate.low, estimate.high] == pytest.approx(expit(logit(0.6) + np.array([-half, half])))


def test_variance_of_clusters_of_any_size_is_right_on_average() -> None:
    # each cluster's mean has variance 1, so that the mean of all has the sum of squared parts
    cluster = np.repeat(range(4), (45, 20, 20, 15))
    part, random = np.bincount(cluster) / 100, np.random.default_rng(0)
    squares = []
    for _ in range(2000):
        estimate = ClusterBootstrap(cluster).mean(random.normal(-10, 1, size=4)[cluster])  # below 0: no logarithm
        half = (estimate.high - estimate.low) / 2
        squares.append((half / stats.t.ppf(0.975, 1 / np.square(part).sum() - 1)) ** 2)
    assert np.mean(squares) == pytest.approx(np.square(part).sum(), rel=0.05)


def test_jackknife_is_that_of_a_loop_without_each_cluster() -> None:
    random = np.random.default_rng(1)
    cluster, weight = random.integers(12, size=90), random.random((90, 1))
    value = random.random((90, 1)) * weight
    (estimate,) = ClusterBootstrap(cluster).ratios(value, weight)
    left_out = [value[cluster != one].sum() / weight[cluster != one].sum() for one in range(12)]
    part = np.bincount(cluster) / 90
    weights = (1 - part) ** 2 / (1 - 2 * part + np.square(part).sum())
    error = np.sqrt((weights * np.square(np.array(left_out) - estimate.value)).sum())
    sums = np.bincount(cluster, weight[:, 0])
    half = stats.t.ppf(0.975, sums.sum() ** 2 / np.square(sums).sum() - 1) * error
    bounds = estimate.value * np.exp(np.array([-half, half]) / estimate.value)  # a delta method on the logarithm
    assert [estimate.low, estimate.high] == pytest.approx(bounds)
    (plain,) = [ClusterBootstrap(np.arange(12)).mean(np.arange(12.0) - 1)]
    half = stats.t.ppf(0.975, 11) * np.std(np.arange(12), ddof=1) / np.sqrt(12)
    assert [plain.low, plain.high] == pytest.approx([4.5 - half, 4.5 + half])


def test_numbers_of_strata_are_fixed() -> None:
    # precision varies between genres, not between the clusters of a genre
    genre = np.repeat([0, 1], 60)
    found = (np.arange(120) % 3 > 0)[:, None]
    hit = found & (genre == 0)[:, None]
    widths = []
    for stratum in (None, genre):
        (one,) = ClusterBootstrap(np.arange(120) // 3, stratum=stratum).ratios(hit, found, is_share=True)
        widths.append(one.high - one.low)
    assert widths[0] > 0.1
    assert np.isnan(widths[1])  # no spread
    assert one.why == "no spread"


def test_a_score_needs_clusters_of_its_subject() -> None:
    own = (np.arange(60) < 20)[:, None]  # of two artists; it is predicted for others too
    found = own | (np.arange(60) % 4 == 0)[:, None]
    bootstrap = ClusterBootstrap(np.arange(60) // 10, stratum=own[:, 0], unit="artist")
    (estimate,) = bootstrap.ratios(own & found, found, is_share=True, subject=own)
    assert (estimate.value, estimate.why) == (20 / 30, "2 artists")
    assert np.isnan(estimate.low)


def test_mean_ratio_is_moved_by_the_bias_of_the_resamples() -> None:
    random = np.random.default_rng(0)
    genre, predicted = random.integers(5, size=(2, 100))
    true, found = np.eye(5)[genre], np.eye(5)[predicted]
    bootstrap = ClusterBootstrap(np.arange(100) // 2, num_resamples=50)
    estimate = bootstrap.mean_ratio(2 * true * found, true + found)
    assert estimate.value == pytest.approx(f1_score(genre, predicted, average="macro"))
    draws = np.random.default_rng(0)
    means = []
    for _ in range(50):
        rows = (2 * draws.integers(50, size=50)[:, None] + [0, 1]).ravel()
        means.append(f1_score(genre[rows], predicted[rows], average="macro"))
    tail = stats.norm.cdf(np.sqrt(50 / 49) * stats.t.ppf(0.025, 49))
    moved = np.quantile(means, [tail, 1 - tail]) + estimate.value - np.mean(means)
    assert [estimate.low, estimate.high] == pytest.approx(moved)


@pytest.mark.parametrize("right", [True, False])
def test_perfect_macro_f1_has_the_exact_bound_of_its_clusters(right: bool) -> None:
    true = np.eye(2)[np.arange(40) % 2]
    estimate = ClusterBootstrap(np.arange(40) // 2).mean_ratio(2.0 * true * right, true + (true if right else 1 - true))
    exact = (1.0, 0.025 ** (1 / 20), 1.0) if right else (0.0, 0.0, 1 - 0.025 ** (1 / 20))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(exact)


def test_recall_of_nine_artists_is_covered() -> None:
    sizes = np.array([2, 12, 12, 13, 12, 11, 11, 17, 10])  # tracks of blues by artist, GTZAN
    cluster, random = np.repeat(np.arange(9), sizes), np.random.default_rng(0)
    bootstrap, whole = ClusterBootstrap(cluster), np.ones((100, 1), bool)
    covered = []
    for _ in range(300):  # probit: standard deviation 0.9 between artists, 1 within
        artist = 0.9 * random.normal(size=9)
        hits = 0.2 + artist[cluster] + random.normal(size=100) > 0
        (estimate,) = bootstrap.ratios(hits[:, None], whole, is_share=True)
        covered.append(estimate.low <= stats.norm.cdf(0.2 / np.sqrt(1.81)) <= estimate.high)
    assert np.mean(covered) >= 0.93  # percentiles: 0.89


def test_percentiles_are_those_of_scipy_s_bootstrap() -> None:
    correct = np.random.default_rng(0).random(300) < 0.7
    wanted = {"method": "percentile", "n_resamples": 4000, "rng": np.random.default_rng(1)}
    expected = bootstrap((correct.astype(float),), np.mean, **wanted).confidence_interval
    estimate = ClusterBootstrap(range(300), num_resamples=4000).mean(correct)
    assert [estimate.low, estimate.high] == pytest.approx([expected.low, expected.high], abs=0.006)
    confidence = np.random.default_rng(2).random(300) + 0.5 * correct

    def area(correct: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
        return float(auroc(confidence, correct))

    wanted |= {"paired": True, "vectorized": False, "n_resamples": 300}
    expected = bootstrap((correct, confidence), area, **wanted).confidence_interval
    ours = ClusterBootstrap(range(300)).statistic(lambda weights: auroc(confidence, correct, weights))
    assert [ours.low, ours.high] == pytest.approx([expected.low, expected.high], abs=0.01)


def test_scores_without_spread_have_no_bounds() -> None:
    bootstrap = ClusterBootstrap(np.arange(90) // 3)
    same = np.tile([0.1, 0.3, 0.2], 30)
    few = ClusterBootstrap(np.arange(90) // 18)
    estimates = [
        few.mean(same),
        few.ratios(same[:, None], np.ones((90, 1)), is_share=True)[0],
        bootstrap.mean(same),
        *bootstrap.ratios(same[:, None], np.ones((90, 1))),
    ]
    estimates.append(bootstrap.statistic(lambda weights: np.full(len(weights), 1.0)))
    estimates += bootstrap.ratios(np.zeros((90, 1)), np.ones((90, 1)))
    for estimate in estimates:
        assert estimate.value in (0.0, pytest.approx(0.2)) or estimate.value == 1.0
        assert np.isnan([estimate.low, estimate.high]).all()
        assert estimate.why == "no spread"


@pytest.mark.parametrize("num", [10, 100])
def test_models_that_differ_everywhere_may_agree_on_other_tracks(num: int) -> None:
    estimate = ClusterBootstrap(np.arange(num)).difference(np.ones(num, bool), np.zeros(num, bool))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(2 * 0.025 ** (1 / num) - 1)
    other = ClusterBootstrap(np.arange(num)).difference(np.zeros(num, bool), np.ones(num, bool))
    assert (other.value, other.low, other.high) == pytest.approx((-1.0, -1.0, -estimate.low))
