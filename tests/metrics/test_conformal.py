"""Conformal sets: their promise by simulation, their definition against MAPIE."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from genregrid.metrics.conformal import conformal_sets


def drawn(num: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (row, 6) of a model that is too sure, and genres."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num, 6))
    genre = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return 3 * logits, genre


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize(("num", "level"), [(39, 0.9), (57, 0.8)])
def test_true_genre_is_in_the_set_as_often_as_promised(method: str, num: int, level: float) -> None:
    held = []
    for repeat in range(400):
        logits, genre = drawn(num + 50, repeat)
        sets = conformal_sets(logits[:num], genre[:num], logits[num:], method=method, level=level, seed=repeat)
        held.append(sets[np.arange(50), genre[num:]].mean())
    expected = np.ceil((num + 1) * level - 1e-9) / (num + 1)  # exact where no two rows are alike
    assert np.mean(held) == pytest.approx(expected, abs=4 * np.std(held) / 20)
    assert 4 * np.std(held) / 20 < 0.02


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_too_few_calibration_rows_rule_out_nothing(method: str) -> None:
    logits, genre = drawn(60)
    assert conformal_sets(logits[:8], genre[:8], logits[8:], method=method, level=0.9).all()
    assert not conformal_sets(logits[:9], genre[:9], logits[9:], method=method, level=0.9).all()
    assert conformal_sets(logits[:0], genre[:0], logits, method=method).all()


def test_lac_by_hand() -> None:
    calibration = np.log([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    # true genres have 0.9, 0.8 and 0.4; ceil(4 * 0.5) = 2: whatever has at least 0.8
    sets = conformal_sets(calibration, [0, 0, 1], np.log([[0.85, 0.15], [0.7, 0.3], [0.1, 0.9]]), level=0.5)
    assert sets.tolist() == [[True, False], [False, False], [False, True]]


def test_sets_grow_with_the_level() -> None:
    logits, genre = drawn(500)
    for method in ("lac", "aps"):
        less, more = (conformal_sets(logits, genre, logits, method=method, level=level) for level in (0.7, 0.95))
        assert (more >= less).all()
        assert more.sum() > less.sum()


def test_same_seed_same_sets() -> None:
    logits, genre = drawn(300)
    first, again, other = (conformal_sets(logits, genre, logits, method="aps", seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_another_method_is_refused() -> None:
    logits, genre = drawn(20)
    with pytest.raises(ValueError, match="'raps'"):
        conformal_sets(logits, genre, logits, method="raps")


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_agree_with_mapie(method: str) -> None:
    classification = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        """Its features are the probabilities."""

        classes_ = np.arange(6)
        n_features_in_ = 6

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict_proba(self, probs: NDArray[np.float64]) -> NDArray[np.float64]:
            return probs

        def predict(self, probs: NDArray[np.float64]) -> NDArray[np.int64]:
            return probs.argmax(axis=1)

    logits, genre = drawn(4000)
    probs = softmax(logits, axis=1)
    reference = classification.SplitConformalClassifier(
        Given(), confidence_level=0.9, conformity_score=method, prefit=True, random_state=0
    ).conformalize(probs[:1500], genre[:1500])
    options = {"conformity_score_params": {"include_last_label": "randomized"}} if method == "aps" else {}
    expected = reference.predict_set(probs[1500:], **options)[1][:, :, 0]
    sets = conformal_sets(logits[:1500], genre[:1500], logits[1500:], method=method)
    if method == "lac":
        assert (sets == expected).all()
    else:  # other random numbers: the same on average, genre by genre
        assert sets.mean(axis=0) == pytest.approx(expected.mean(axis=0), abs=0.03)
        assert sets.sum() == pytest.approx(expected.sum(), rel=0.02)


def waves(num: int, first: int) -> NDArray[np.float64]:
    """Logits (row, 3) that need no random numbers."""
    return 2 * np.sin(np.outer(np.arange(1, num + 1) + first, [1.0, 2.0, 3.0]))


# Values of crepes 0.9.1: `known = ConformalClassifier(); known.fit(1 - p_true)`, then
# `known.predict_set(1 - probs, confidence=level, smoothing=False)`. The level is none that 58 rows meet exactly.
@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.9, "011 100 101 010 011 101 111 110 101 111 010 001"),
        (0.7, "001 100 001 010 001 001 001 100 100 000 010 001"),
    ],
)
def test_sets_are_those_of_crepes(level: float, expected: str) -> None:
    logits = waves(57, 0)
    probs, genre = softmax(logits, axis=1), np.arange(57) * 7 % 3
    sure = probs.max(axis=1) > 0.6
    genre[sure] = probs.argmax(axis=1)[sure]
    sets = conformal_sets(logits, genre, waves(12, 100), level=level)
    assert " ".join("".join(map(str, row)) for row in sets.astype(int)) == expected
