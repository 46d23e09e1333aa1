"""Selective classification against scikit-learn, against its curves, and by hand."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from genregrid.metrics.certainty import certainty
from genregrid.metrics.selective import accuracy_at_coverage, augrc, auroc, confidences, risk_coverage


def drawn(seed: int, num: int = 40, digits: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences with many ties, and whether each prediction is right; both outcomes occur."""
    random = np.random.default_rng(seed)
    confidence = random.random(num).round(digits)
    correct = random.random(num) < confidence
    correct[:2] = True, False
    return confidence, correct


@given(seed=st.integers(0, 1000))
def test_auroc_agrees_with_scikit_learn(seed: int) -> None:
    confidence, correct = drawn(seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, 40))
    weights[:, :2] = 1
    assert float(auroc(confidence, correct)) == pytest.approx(roc_auc_score(correct, confidence))
    expected = [roc_auc_score(correct, confidence, sample_weight=row) for row in weights]
    assert auroc(confidence, correct, weights) == pytest.approx(expected)


def test_auroc_without_mistakes_is_not_a_number() -> None:
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert np.isnan(auroc([0.5, 0.6], [True, True]))
    assert np.isnan(auroc([0.5, 0.6], [False, False]))
    assert np.isnan(auroc([0.5, 0.6, 0.7], [True, False, True], weights)).tolist() == [False, True, True]


def test_confidence_without_information_is_chance() -> None:
    assert float(auroc([0.3] * 6, [True, False] * 3)) == 0.5


def test_curves_of_four_rows_by_hand() -> None:
    coverage, risk, generalized_risk = risk_coverage([0.6, 0.9, 0.8, 0.8], [True, True, False, True])
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.0, 1 / 3, 1 / 4])
    assert generalized_risk.tolist() == [0.0, 0.25, 0.25]


def test_augrc_of_four_rows_by_hand() -> None:
    # generalized risk from (0, 0): 0 at 1/4, 1/4 at 3/4, 1/4 at 1: a triangle of 1/16 and a bar of 1/16
    assert float(augrc([0.6, 0.9, 0.8, 0.8], [True, True, False, True])) == pytest.approx(1 / 8)


@given(seed=st.integers(0, 1000))
def test_augrc_is_the_area_under_the_generalized_curve(seed: int) -> None:
    confidence, correct = drawn(seed)
    curve = risk_coverage(confidence, correct)
    area = np.trapezoid(np.append(0.0, curve.generalized_risk), np.append(0.0, curve.coverage))
    assert float(augrc(confidence, correct)) == pytest.approx(area)


@pytest.mark.parametrize(("correct", "expected"), [(True, 0.0), (False, 0.5)])
def test_augrc_runs_from_no_mistake_to_nothing_but_mistakes(correct: bool, expected: float) -> None:
    assert float(augrc([0.2, 0.4, 0.9], [correct] * 3)) == expected


@given(seed=st.integers(0, 200))
def test_whole_weights_are_repeated_rows(seed: int) -> None:
    confidence, correct = drawn(seed, digits=12)
    weights = np.random.default_rng(seed).integers(0, 3, size=(2, 40))
    weights[:, 0] = 1
    repeated = [(np.repeat(confidence, row), np.repeat(correct, row)) for row in weights]
    assert augrc(confidence, correct, weights) == pytest.approx([float(augrc(*rows)) for rows in repeated])
    expected = [float(accuracy_at_coverage(*rows, 0.8)) for rows in repeated]
    assert accuracy_at_coverage(confidence, correct, 0.8, weights) == pytest.approx(expected)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 1.0])
def test_accuracy_at_coverage_is_that_of_the_surest(coverage: float) -> None:
    confidence, correct = drawn(5, digits=12)
    surest = np.argsort(confidence)[::-1][: round(40 * coverage)]
    assert float(accuracy_at_coverage(confidence, correct, coverage)) == pytest.approx(correct[surest].mean())


def test_equal_confidences_count_by_their_share_in_any_order() -> None:
    # two of five rows: the first, and a third of each of the three with 0.5
    confidence, correct = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([False, True, True, False, True])
    weights = np.array([[1, 1, 1, 1, 1], [1, 2, 0, 1, 1], [0, 0, 0, 1, 1]])
    for order in itertools.permutations(range(5)):
        rows = list(order)
        values = accuracy_at_coverage(confidence[rows], correct[rows], 0.4, weights[:, rows])
        assert values == pytest.approx([(2 / 3) / 2, (2 / 3) / 2, 0.0])
        assert float(accuracy_at_coverage(confidence[rows], correct[rows], 0.4)) == pytest.approx(1 / 3)


@given(seed=st.integers(0, 1000))
def test_accuracy_at_coverage_lies_on_the_generalized_curve(seed: int) -> None:
    confidence, correct = drawn(seed)
    coverage, _, risk = risk_coverage(confidence, correct)
    expected = 1 - np.interp(0.6, np.insert(coverage, 0, 0), np.insert(risk, 0, 0)) / 0.6
    assert float(accuracy_at_coverage(confidence, correct, 0.6)) == pytest.approx(expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_confidences_that_are_not_finite_are_refused(value: float) -> None:
    rows = ([0.5, value, 0.7], [True, False, True])
    for function in (auroc, augrc, risk_coverage, partial(accuracy_at_coverage, coverage=0.5)):
        with pytest.raises(ValueError, match="confidence must be finite numbers, and row 1 has"):
            function(*rows)
    with pytest.raises(ValueError, match="log_probs must be finite numbers, and row 0 has"):
        confidences([[0.0, value]])


def test_confidences_and_outcomes_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 confidences and 2 predictions"):
        auroc([0.1, 0.2, 0.3], [True, False])


def test_the_last_row_is_answered_in_part() -> None:
    assert float(accuracy_at_coverage([5, 4, 3, 2, 1], [True, True, False, True, True], 0.5)) == pytest.approx(2 / 2.5)


def test_confidences_follow_their_definitions() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 6))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    first, second = np.sort(probs, axis=1)[:, ::-1][:, :2].T
    values = confidences(logits)
    assert values["certainty"] == pytest.approx(certainty(torch.from_numpy(logits)).numpy())
    assert values["max_probability"] == pytest.approx(first)
    assert values["margin"] == pytest.approx(first - second)
    assert values["entropy"] == pytest.approx(-entropy(probs, axis=1))


def test_every_confidence_is_surer_of_a_clear_genre() -> None:
    values = confidences(np.array([[0.0, 0.1, 0.2], [0.0, 0.0, 800.0]]))
    assert len(values) == 4
    assert all(np.isfinite(value).all() and value[1] > value[0] for value in values.values())
