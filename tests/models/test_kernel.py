"""Kernel ridge regression: against scikit-learn, its left-out tracks against real refits, and sets by hand."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge as Reference
from sklearn.metrics.pairwise import rbf_kernel

from genregrid.models import kernel
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.kernel import KernelRidgeClassifier, SetKernelClassifier

Expect = Callable[..., AbstractContextManager[None]]


def draw(num: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (row, 4) of two genres, one three times as frequent; tracks of two rows."""
    random = np.random.default_rng(0)
    genre = (np.arange(num) // 2 % 4 == 0).astype(np.int64)
    return random.standard_normal((num, 4)) + 2 * genre[:, None], genre, np.arange(num) // 2


def test_columns_are_scikit_learns_with_genres_of_the_same_weight() -> None:
    vectors, genre, _ = draw()
    model = KernelRidgeClassifier(gamma=2.0, ridge=0.3).fit(vectors, genre)
    count = np.bincount(genre)
    reference = Reference(alpha=0.3, kernel="rbf", gamma=2.0 / 4)
    reference.fit(vectors, np.eye(2)[genre] - 0.5, sample_weight=count.mean() / count[genre])
    np.testing.assert_allclose(model.decision_function(vectors[:5]), reference.predict(vectors[:5]), atol=1e-8)
    np.testing.assert_allclose(model.predict_proba(vectors).sum(axis=1), 1)


def test_a_left_out_track_is_predicted_as_by_a_fit_without_it() -> None:
    vectors, genre, track = draw()
    model = KernelRidgeClassifier(gamma=1.0, ridge=0.3).fit(vectors, genre, track)
    count = np.bincount(genre)
    noise = 0.3 * count[genre] / count.mean()
    target = np.eye(2)[genre] - 0.5
    matrix = rbf_kernel(vectors, vectors, 1 / 4)
    error = kernel._left_out(np.linalg.inv(matrix + np.diag(noise)), model.weights_, track)
    for number in (0, 7):
        out = track == number
        weights = np.linalg.solve((matrix + np.diag(noise))[np.ix_(~out, ~out)], target[~out])
        np.testing.assert_allclose(target[out] - error[out], matrix[np.ix_(out, ~out)] @ weights, atol=1e-10)


def test_sets_are_compared_slice_by_slice() -> None:
    windows = np.array([[0.0, 1.0, np.nan], [2.0, np.nan, np.nan], [0.0, 2.0, 4.0]])
    model = SetKernelClassifier(num_features=1, gamma=0.5)
    model.front_ = None
    first = model._stored(windows)
    matrix = model._kernel(first, first)
    for i, a in enumerate(windows):
        for j, b in enumerate(windows):
            pairs = np.exp(-0.5 * (a[~np.isnan(a)][:, None] - b[~np.isnan(b)]) ** 2)
            assert matrix[i, j] == pytest.approx(pairs.mean())


def test_sets_of_one_slice_are_vectors() -> None:
    vectors, genre, track = draw()
    sets = SetKernelClassifier(num_features=4, gamma=1.0, ridge=0.3).fit(vectors, genre, track)
    plain = KernelRidgeClassifier(gamma=1.0, ridge=0.3).fit(vectors, genre, track)
    np.testing.assert_allclose(sets.predict_proba(vectors), plain.predict_proba(vectors), atol=1e-10)


def test_too_many_rows_for_a_matrix_are_refused(monkeypatch: pytest.MonkeyPatch, user_error: Expect) -> None:
    monkeypatch.setattr(kernel, "MOST_ROWS", 10)
    with user_error("model", problem="40 training windows", hint="window=track"):
        KernelRidgeClassifier().fit(*draw())


def test_a_summary_is_refused_where_slices_are_compared(user_error: Expect) -> None:
    facts = {"genres": ["a", "b"], "feature_names": ["x"], "slice_seconds": 3.0}
    with user_error("model.summary", ["mean"]):
        EstimatorClassifier(**facts, estimator="genregrid.models.kernel.SetKernelClassifier", summary=["mean"])


def test_a_smooth_regression_has_the_temperature_that_fits_it() -> None:
    """Smaller columns do not make flatter probabilities."""
    vectors, genre, track = draw(80)
    for ridge in (1.0, 30.0):
        model = KernelRidgeClassifier(gamma=1.0, ridge=ridge).fit(vectors, genre, track)
        probs = model.predict_proba(vectors)
        assert probs.max(axis=1).mean() > 0.8, ridge
