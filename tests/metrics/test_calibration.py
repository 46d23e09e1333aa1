"""Calibration against scikit-learn, torchmetrics and by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error

from genregrid.metrics.calibration import (
    TEMPERATURES,
    brier,
    calibrated_ece,
    ece,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    rescale,
)


def drawn(num: int, sharpness: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (row, 5), `sharpness` times those that the genres were drawn by."""
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(num, 5))
    genre = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return sharpness * logits, genre


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_what_sharpened_the_logits(sharpness: float) -> None:
    assert fit_temperature(*drawn(20_000, sharpness)) == pytest.approx(sharpness, rel=0.03)


def test_temperature_minimises_the_likelihood_of_validation() -> None:
    logits, genre = drawn(200, 2.0)
    expected = minimize_scalar(
        lambda log: log_loss(genre, np.exp(rescale(logits, np.exp(log)))), bounds=(-3, 3), options={"xatol": 1e-8}
    )
    assert fit_temperature(logits, genre) == pytest.approx(np.exp(expected.x), rel=1e-5)


def test_temperature_of_probabilities_is_that_of_their_logits() -> None:
    logits, genre = drawn(300)
    assert fit_temperature(log_softmax(logits, axis=1), genre) == pytest.approx(fit_temperature(logits, genre))


@pytest.mark.parametrize("gap", [0.1, 1.0, 1000.0])
def test_rows_that_are_all_right_get_the_lower_bound(gap: float) -> None:
    assert fit_temperature(gap * np.eye(4), np.arange(4)) == TEMPERATURES[0]


def test_a_model_that_is_always_wrong_gets_the_upper_bound() -> None:
    assert fit_temperature(9 * np.eye(4), np.array([1, 2, 3, 0])) == TEMPERATURES[1]


def test_temperature_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="validation rows"):
        fit_temperature(np.zeros((0, 4)), np.zeros(0, int))


def test_rescaled_probabilities_add_up_and_keep_their_order() -> None:
    logits, _ = drawn(50)
    rescaled = rescale(logits, 2.5)
    assert np.exp(rescaled).sum(axis=1) == pytest.approx(np.ones(50))
    assert (rescaled.argsort(axis=1) == logits.argsort(axis=1)).all()
    assert rescaled[:, 0] - rescaled[:, 1] == pytest.approx((logits[:, 0] - logits[:, 1]) / 2.5)


def test_scores_of_single_rows_average_to_those_of_scikit_learn() -> None:
    logits, genre = drawn(300)
    probs = np.exp(log_softmax(logits, axis=1))
    assert negative_log_likelihood(logits, genre).mean() == pytest.approx(log_loss(genre, probs))
    assert brier(logits, genre).mean() == pytest.approx(brier_score_loss(genre, probs))


def test_brier_runs_from_sure_and_right_to_sure_and_wrong() -> None:
    log_probs = np.array([[0.0, -900.0], [0.0, 0.0], [0.0, -900.0]])
    assert brier(log_probs, np.array([0, 0, 1])) == pytest.approx([0.0, 0.5, 2.0])


def test_calibration_error_of_four_rows_by_hand() -> None:
    # sure: mean confidence 0.8, accuracy 0.5; unsure: mean confidence 0.3, accuracy 0.5
    error = ece([0.9, 0.2, 0.7, 0.4], [True, False, False, True], num_bins=2)
    assert error == pytest.approx((0.3 + 0.2) / 2)


def test_calibration_error_agrees_with_torchmetrics_where_masses_are_equal_in_equal_widths() -> None:
    random = np.random.default_rng(2)
    confidence = (np.arange(150) + 0.5) / 150  # ten in every fifteenth
    correct = random.random(150) < 0.6
    order = random.permutation(150)
    expected = binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct).long(), n_bins=15)
    assert ece(confidence[order], correct[order]) == pytest.approx(expected.item(), abs=1e-6)


def test_equal_confidences_share_a_bin_in_any_order() -> None:
    confidence = np.array([0.5] * 7 + [0.9] * 3)
    correct = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    expected = (abs(3 - 3.5) + abs(2 - 2.7)) / 10
    assert ece(confidence, correct, num_bins=5) == pytest.approx(expected)
    assert ece(confidence[::-1], correct[::-1], num_bins=5) == pytest.approx(expected)


def test_a_calibrated_model_reads_as_much_as_noise_makes() -> None:
    random = np.random.default_rng(3)
    confidence = random.beta(4, 2, size=600)
    read = [ece(confidence, random.random(600) < confidence) for _ in range(300)]
    assert np.mean(read) == pytest.approx(calibrated_ece(confidence, random.random(600) < 0.7, range(600)), rel=0.05)


def test_repeating_every_row_changes_nothing_that_a_calibrated_model_reads() -> None:
    random = np.random.default_rng(3)
    confidence = random.beta(4, 2, size=200)
    correct = random.random(200) < confidence
    once = calibrated_ece(confidence, correct, range(200))
    thrice = calibrated_ece(np.tile(confidence, 3), np.tile(correct, 3), np.tile(range(200), 3))
    assert thrice == pytest.approx(once, rel=1e-12)


@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])  # of what makes a seed right
def test_a_calibrated_model_reads_more_where_rows_are_right_together(shared: float) -> None:
    random = np.random.default_rng(0)
    track = np.tile(np.arange(300), 3)
    read, expected = [], []
    for _ in range(100):
        confidence = random.beta(4, 2, size=300)[track]
        luck = np.sqrt(shared) * random.normal(size=300)[track] + np.sqrt(1 - shared) * random.normal(size=900)
        correct = norm.cdf(luck) < confidence
        read.append(ece(confidence, correct))
        expected.append(calibrated_ece(confidence, correct, track))
    assert np.mean(read) == pytest.approx(np.mean(expected), rel=0.06)


def test_of_one_cluster_nothing_is_known() -> None:
    assert np.isnan(calibrated_ece([0.5, 0.9], [True, False], ["abba", "abba"]))


def test_reliability_has_the_rows_of_each_bin() -> None:
    bins = reliability([0.9, 0.2, 0.7, 0.4, 0.6, 0.1], [True, False, False, True, True, False], num_bins=3)
    assert bins["confidence"].tolist() == pytest.approx([0.15, 0.5, 0.8])
    assert bins["accuracy"].tolist() == pytest.approx([0.0, 1.0, 0.5])
    assert bins["num"].tolist() == [2, 2, 2]


def test_reliability_adds_up_to_the_error() -> None:
    random = np.random.default_rng(0)
    confidence, correct = random.random(203).round(1), random.random(203) < 0.5
    bins = reliability(confidence, correct)
    error = (bins["num"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / bins["num"].sum()
    assert len(bins) < 15
    assert bins["num"].sum() == 203
    assert error == pytest.approx(ece(confidence, correct))


def test_reliability_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(4)
    confidence = random.permutation(np.linspace(0.2, 0.99, 300))
    correct = random.random(300) < confidence
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy="quantile")
    bins = reliability(confidence, correct)
    assert bins["accuracy"].tolist() == pytest.approx(accuracy.tolist())
    assert bins["confidence"].tolist() == pytest.approx(mean.tolist())
