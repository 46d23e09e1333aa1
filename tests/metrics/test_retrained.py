"""The interval of a method that is trained anew, by hand and by simulation."""

import numpy as np
import pytest
from scipy import stats

from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.metrics.retrained import retrained

NARROW = Estimate(0.6, 0.59, 0.61)
# four folds of ten tracks, of which 5, 6, 6 and 7 are right
FOLD = np.repeat(np.arange(4), 10)
CORRECT = np.concatenate([np.arange(10) < num for num in (5, 6, 6, 7)])


def test_it_is_student_s_interval_of_the_folds() -> None:
    estimate = retrained(CORRECT, FOLD, np.zeros(40), NARROW)
    expected = stats.ttest_1samp([0.5, 0.6, 0.6, 0.7], 0.6).confidence_interval()
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.6, expected.low, expected.high))


def test_it_is_never_narrower_than_that_of_the_trained_models() -> None:
    wide = Estimate(0.6, 0.2, 0.9)
    assert retrained(CORRECT, FOLD, np.zeros(40), wide) == wide


def test_seeds_of_a_fold_change_nothing() -> None:
    once = retrained(CORRECT, FOLD, np.zeros(40), NARROW)
    seeds = retrained(np.tile(CORRECT, 3), np.tile(FOLD, 3), np.zeros(120), NARROW)
    assert (seeds.low, seeds.high) == pytest.approx((once.low, once.high))


def test_divisions_of_the_same_tracks_add_degrees_of_freedom_only() -> None:
    estimate = retrained(np.tile(CORRECT, 3), np.tile(FOLD, 3), np.repeat([0, 1, 2], 40), NARROW)
    error = np.std([0.5, 0.6, 0.6, 0.7], ddof=1) / 2
    assert estimate.high - 0.6 == pytest.approx(error * stats.t.ppf(0.975, 9))


@pytest.mark.parametrize(("num", "why"), [(1, "1 fold"), (2, "2 folds")])
def test_one_or_two_folds_have_no_interval(num: int, why: str) -> None:
    estimate = retrained(CORRECT[: 10 * num], FOLD[: 10 * num], np.zeros(10 * num), NARROW)
    assert np.isnan([estimate.low, estimate.high]).all()
    assert (estimate.value, estimate.why) == (0.6, why)


def test_where_the_trained_models_have_no_bounds_there_are_none() -> None:
    unknown = Estimate(0.6, why="2 artists")
    assert retrained(CORRECT, FOLD, np.zeros(40), unknown) == unknown


def test_it_holds_the_accuracy_of_other_trainings_where_the_trained_models_interval_is_too_narrow() -> None:
    random, held = np.random.default_rng(0), []
    fold = np.arange(500) % 5
    for _ in range(300):
        effect = 0.05 * random.normal(size=5)  # five points between trainings
        correct = random.random(500) < 0.6 + effect[fold]
        trained = ClusterBootstrap(range(500), num_resamples=200).mean(correct)
        anew = retrained(correct, fold, np.zeros(500), trained)
        held.append([one.low <= 0.6 <= one.high for one in (trained, anew)])
    narrow, wide = np.mean(held, axis=0)
    assert narrow < 0.88
    assert wide > 0.93
