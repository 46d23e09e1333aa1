"""Comparisons against statsmodels and scipy, by hand, and by how often they raise a false alarm."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests

from genregrid.metrics.comparison import corrected_t_test, holm, mcnemar


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 2), (3, 3), (0, 7), (25, 40)])
def test_single_predictions_have_the_binomial_test_with_mid_p(only_a: int, only_b: int) -> None:
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, 5, 4])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, 5, 4])
    test = mcnemar(a, b)
    assert (test.only_a, test.only_b, test.exact) == (only_a, only_b, True)
    exact = reference([[5, only_a], [only_b, 4]], exact=True).pvalue
    half = stats.binom.pmf(only_a, only_a + only_b, 0.5) if only_a != only_b else 0.0
    assert test.p_value == pytest.approx(exact - half)


@pytest.mark.parametrize("num", [20, 200])
def test_mid_p_raises_false_alarms_in_about_one_of_twenty(num: int) -> None:
    wrong = np.repeat([False, True], [num, num])
    alarm = []
    for only_a in range(num + 1):
        a = np.roll(wrong, only_a)[:num]
        alarm.append(mcnemar(a, ~a).p_value < 0.05)
    probability = stats.binom.pmf(np.arange(num + 1), num, 0.5)
    assert 0.02 < probability[np.array(alarm)].sum() < 0.06


def test_differences_by_rounding_are_ties() -> None:
    # two models that have the same mean over seeds, summed in another order
    a, b = np.full(30, 0.1 + 0.2), np.full(30, 0.3)
    assert (a != b).all()
    assert mcnemar(a, b) == (0.0, 0.0, 1.0, True)
    assert mcnemar(np.append(a, 1.0), np.append(b, 0.0)).exact
    thirds = np.array([1 / 3, 2 / 3, 1.0, 1 / 3])
    assert mcnemar(thirds, thirds[::-1], [0, 0, 0, 0]).p_value == 1.0


def test_unequal_lengths_are_refused() -> None:
    for lengths in ((3, 1, 3), (3, 3, 2), (1, 3, 3)):
        with pytest.raises(ValueError, match="same predictions"):
            mcnemar(*(np.ones(num) for num in lengths))


def test_predictions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="correct_b must be finite numbers, and row 1 has nan"):
        mcnemar([1, 0], [1, math.nan])


def test_clusters_of_one_are_single_predictions() -> None:
    a, b = np.random.default_rng(0).random((2, 50)) < 0.7
    assert mcnemar(a, b, np.arange(50)[::-1]) == mcnemar(a, b)


def test_models_that_never_differ_are_the_same() -> None:
    correct = np.array([1, 0, 1])
    for cluster in (None, [0, 0, 1]):
        assert mcnemar(correct, correct, cluster).p_value == 1.0


def test_adjusted_statistic_of_three_clusters_by_hand() -> None:
    # d: 2, 1, -1: (2)^2 / (4 + 1 + 1)
    test = mcnemar([1, 1, 1, 0, 1], [0, 0, 0, 1, 1], ["x", "x", "y", "z", "z"])
    assert (test.only_a, test.only_b, test.exact) == (3, 1, False)
    assert test.p_value == pytest.approx(stats.chi2.sf(4 / 6, 1))


def test_repeating_every_prediction_adds_no_evidence() -> None:
    a, b = np.random.default_rng(0).random((2, 80)) < [[0.8], [0.6]]
    both, neither = (a & b).sum(), (~a & ~b).sum()
    table = [[both, (a & ~b).sum()], [(~a & b).sum(), neither]]
    test = mcnemar(np.tile(a, 3), np.tile(b, 3), np.tile(np.arange(80), 3))
    assert test.p_value == pytest.approx(reference(table, exact=False, correction=False).pvalue)


def test_means_over_seeds_are_tested_like_the_seeds() -> None:
    a, b = np.random.default_rng(0).random((2, 60, 3)) < 0.7
    averaged = mcnemar(a.mean(axis=1), b.mean(axis=1))
    assert not averaged.exact
    assert averaged.p_value == pytest.approx(mcnemar(a.ravel(), b.ravel(), np.repeat(np.arange(60), 3)).p_value)


def test_false_alarms_are_one_in_twenty_with_clusters_and_more_without() -> None:
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(50), 6)
    adjusted, naive = [], []
    for _ in range(400):
        lean = random.choice([0.2, 0.8], size=50).repeat(6)  # an artist suits one of the two models
        a, b = random.random(300) < lean, random.random(300) < 1 - lean
        adjusted.append(mcnemar(a, b, cluster).p_value < 0.05)
        naive.append(mcnemar(a, b).p_value < 0.05)
    assert 0.02 < np.mean(adjusted) < 0.08
    assert np.mean(naive) > 0.15


def test_corrected_t_test_by_hand() -> None:
    runs = np.array([0.02, 0.04, 0.00, 0.06])
    test = corrected_t_test(runs, num_train=900, num_test=100)
    variance = 0.002 / 3  # squares of -0.01, 0.01, -0.03, 0.03
    spread = math.sqrt((1 / 4 + 1 / 9) * variance)
    assert test.mean == pytest.approx(0.03)
    assert test.t == pytest.approx(0.03 / spread)
    assert test.p_value == pytest.approx(2 * stats.t.sf(0.03 / spread, 3))
    half = spread * stats.t.ppf(0.975, 3)
    assert [test.low, test.high] == pytest.approx([0.03 - half, 0.03 + half])


def test_without_test_part_it_is_the_plain_t_test() -> None:
    runs = np.random.default_rng(0).normal(0.5, 1, 12)
    test, plain = corrected_t_test(runs, 900, 0), stats.ttest_1samp(runs, 0)
    interval = plain.confidence_interval()
    assert [test.t, test.p_value] == pytest.approx([plain.statistic, plain.pvalue])
    assert [test.low, test.high] == pytest.approx([interval.low, interval.high])


@pytest.mark.parametrize("difference", [0.1, -0.1, 0.0])
@pytest.mark.parametrize("rounding", [0.0, 1e-16])
def test_runs_that_all_agree_cannot_be_tested(difference: float, rounding: float) -> None:
    test = corrected_t_test(difference + rounding * np.arange(10), 90, 10)
    assert test.mean == pytest.approx(difference)
    assert np.isnan([test.t, test.p_value, test.low, test.high]).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_runs_that_are_not_finite_have_no_p(value: float) -> None:
    assert np.isnan(corrected_t_test([0.1, value, 0.3], 90, 10).p_value)


def test_two_runs_have_a_p_and_no_interval() -> None:
    test = corrected_t_test([0.05, 0.15], 90, 10)
    assert test.p_value == pytest.approx(2 * stats.t.sf(test.t, 1))
    assert np.isnan([test.low, test.high]).all()


def test_one_run_is_refused() -> None:
    with pytest.raises(ValueError, match="two runs"):
        corrected_t_test([0.1], 90, 10)


def test_holm_by_hand() -> None:
    # sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1, and never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


# Values of mlxtend 0.25.0, `mlxtend.evaluate.mcnemar([[50, only_a], [only_b, 30]], exact=..., corrected=False)[1]`
@pytest.mark.parametrize(
    ("only_a", "only_b", "chi_square", "exact"),
    [(9, 2, 0.03480847881186725, 0.0654296875), (25, 40, 0.06281184751609843, 0.08168153394154003)],
)
def test_mcnemar_is_that_of_mlxtend(only_a: int, only_b: int, chi_square: float, exact: float) -> None:
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, 50, 30])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, 50, 30])
    twice = np.tile(np.arange(len(a)), 2)  # as clusters of two, so that it is not the binomial test
    assert mcnemar(np.tile(a, 2), np.tile(b, 2), twice).p_value == pytest.approx(chi_square)
    assert mcnemar(a, b).p_value == pytest.approx(exact - stats.binom.pmf(only_a, only_a + only_b, 0.5))


# Values of baycomp 1.0.3, `baycomp.two_on_single(first, second, rope=0)`: the probability that the second is not better
@pytest.mark.parametrize(("num", "ahead"), [(5, 0.8362971423035835), (10, 0.9436046644283133)])
def test_corrected_t_test_is_the_correlated_t_test_of_baycomp(num: int, ahead: float) -> None:
    first = np.array([0.62, 0.58, 0.66, 0.60, 0.71, 0.63, 0.59, 0.70, 0.64, 0.61])[:num]
    second = np.array([0.60, 0.57, 0.61, 0.62, 0.65, 0.64, 0.55, 0.66, 0.63, 0.60])[:num]
    test = corrected_t_test(first - second, 1 - 1 / num, 1 / num)
    assert test.p_value == pytest.approx(2 * (1 - ahead))


def test_holm_is_that_of_statsmodels_and_its_definition() -> None:
    p_values = np.random.default_rng(0).random(28) ** 3
    ranked, adjusted = np.argsort(p_values), np.empty(28)
    for rank, number in enumerate(ranked):
        adjusted[number] = min(1.0, max((28 - i) * p_values[ranked[i]] for i in range(rank + 1)))
    assert holm(p_values).tolist() == pytest.approx(adjusted.tolist())
    assert multipletests(p_values, method="holm")[1].tolist() == pytest.approx(adjusted.tolist())
