"""Weights of a soft vote: against a general optimiser, and cases small enough to know."""

import numpy as np
import pytest
from scipy.optimize import minimize

from genregrid.metrics.soft_vote import mixture_weights


def draw(num_models: int = 3, rows: int = 300, genres: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    genre = random.integers(genres, size=rows)
    logits = random.standard_normal((num_models, rows, genres))
    logits[:, np.arange(rows), genre] += np.linspace(1.0, 1.4, num_models)[:, None]
    probs = np.exp(logits)
    return probs / probs.sum(axis=2, keepdims=True), genre


def test_weights_are_those_that_a_general_optimiser_finds() -> None:
    probs, genre = draw()

    def loss(free: np.ndarray) -> float:
        weights = np.exp(free) / np.exp(free).sum()
        mixed = np.tensordot(weights, probs, axes=1)
        return float(-np.log(mixed[np.arange(len(genre)), genre]).mean())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000})
    weights = mixture_weights(probs, genre)
    assert loss(np.log(np.maximum(weights, 1e-12))) <= best.fun + 1e-7
    assert weights.sum() == pytest.approx(1)


def test_equal_predictions_have_equal_weights() -> None:
    probs, genre = draw(1)
    np.testing.assert_allclose(mixture_weights(np.repeat(probs, 4, axis=0), genre), 0.25)


def test_imagined_rows_draw_weights_together() -> None:
    probs, genre = draw()
    apart, nearer, equal = (mixture_weights(probs, genre, prior) for prior in (0, 300, 1e9))
    assert np.ptp(apart) > np.ptp(nearer) > np.ptp(equal)
    np.testing.assert_allclose(equal, 1 / 3, atol=1e-6)


def test_without_validation_rows_there_are_no_weights() -> None:
    with pytest.raises(ValueError, match="there are none"):
        mixture_weights(np.empty((2, 0, 3)), np.empty(0, int))
