"""Classifiers of scikit-learn as models: arguments, logits, summaries, and what a checkpoint restores."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.estimator import EstimatorClassifier, EstimatorHead, build_estimator
from genregrid.models.gmm import MixturePerGenre
from genregrid.models.kmeans import GenresOfClusters
from genregrid.models.scikit_learn import GaussianPerGenre, NearestNeighbours, RadialSVM, ShrunkenLDA

FACTS: dict[str, Any] = {"genres": ["a", "b"], "feature_names": ["rms_mean", "rms_var", "mfcc1_mean"]}
FACTS |= {"slice_seconds": 3.0}
Expect = Callable[..., AbstractContextManager[None]]


def draw(num: int = 60, genres: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    """Vectors (row, 4) about three centres, genres, and tracks of two rows each."""
    random = np.random.default_rng(seed)
    genre = np.arange(num) // 2 % genres
    vectors = (np.eye(genres, 4)[genre] * 6 + random.standard_normal((num, 4))).astype(np.float32)
    return vectors, genre, np.arange(num) // 2


def head_of(estimator: Any, smoothing: float = 1e-6) -> EstimatorHead:
    head = EstimatorHead(4, smoothing, estimator)
    head.estimator = estimator
    return head


def fitted_svm(vectors: Any, genre: Any, track: Any, *arguments: float) -> Any:
    return EstimatorHead(4, 1e-6, RadialSVM(*arguments)).fitted(vectors, genre, track)


def test_logits_are_logarithms_of_probabilities_with_a_floor() -> None:
    vectors, genre, _ = draw()
    estimator = LogisticRegression().fit(vectors, genre)
    probs = head_of(estimator, 0.04)(torch.from_numpy(vectors)).exp().numpy()
    np.testing.assert_allclose(probs[:, :3], 0.96 * estimator.predict_proba(vectors) + 0.01, atol=1e-6)
    np.testing.assert_allclose(probs[:, 3], 0.01, atol=1e-6)  # a genre without a training row


def test_an_estimator_is_restored_from_its_bytes() -> None:
    vectors, genre, track = draw()
    for blank in (
        MixturePerGenre(),
        GenresOfClusters(5),
        ShrunkenLDA(),
        GaussianPerGenre(),
        NearestNeighbours(),
        RadialSVM(1.0),
    ):
        head, again = (EstimatorHead(4, 1e-6, blank, [StandardScaler()]) for _ in range(2))
        head.estimator = head.fitted(vectors, genre, track)
        again.set_extra_state(head.get_extra_state())
        torch.testing.assert_close(again(torch.from_numpy(vectors)), head(torch.from_numpy(vectors)), atol=0, rtol=0)


def test_a_state_that_could_run_code_is_refused(user_error: Expect) -> None:
    packed = skops.io.dumps(FunctionTransformer(func=np.load))
    with user_error("checkpoint", problem="not trusted"):
        head_of(None).set_extra_state(torch.frombuffer(bytearray(packed), dtype=torch.uint8))


def test_an_unfitted_head_has_an_empty_state() -> None:
    head = head_of(None)
    assert len(head.get_extra_state()) == 0
    head.set_extra_state(head.get_extra_state())
    assert head.estimator is None


def model(estimator: str = "sklearn.linear_model.LogisticRegression", **arguments: Any) -> EstimatorClassifier:
    return EstimatorClassifier(**FACTS, estimator=estimator, **arguments)


def test_summaries_are_side_by_side() -> None:
    batch = {"features": torch.rand(5, 4, 3), "length": torch.tensor([4, 4, 2, 1, 4])}
    names = (["mean"], ["mean", "spread"], ["pooled", "mean", "spread"])
    mean, spread, multi = (model(summary=name).vectors(batch) for name in names)
    assert (mean.shape, spread.shape, multi.shape) == ((5, 3), (5, 6), (5, 9))
    torch.testing.assert_close(spread[:, :3], mean)
    torch.testing.assert_close(multi[:, 3:], spread)
    first = batch["features"][0]
    variance = first[:, 1].mean() + first[:, 0].var(correction=0)  # untransformed: nothing was fitted
    torch.testing.assert_close(multi[0, 1], variance)


def test_an_estimator_of_sets_gets_slices_one_after_the_other() -> None:
    batch = {"features": torch.rand(2, 4, 3), "length": torch.tensor([4, 2])}
    sets = model("genregrid.models.kernel.SetKernelClassifier", summary=None)
    vectors = sets.vectors(batch)
    torch.testing.assert_close(vectors[0], batch["features"][0].flatten())
    torch.testing.assert_close(vectors[1, :6], batch["features"][1, :2].flatten())
    assert vectors[1, 6:].isnan().all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("summary", ["max"]),
        ("summary", "mean"),
        ("summary", []),
        ("summary", ["mean"] * 21),
        ("summary", None),
        ("whitening", 0.0),
        ("refit", "no"),
        ("smoothing", 0.0),
        ("smoothing", 1.0),
    ],
)
def test_settings_out_of_range_are_refused(key: str, value: Any, user_error: Expect) -> None:
    with user_error(f"model.{key}", value):
        model(**{key: value})


@pytest.mark.parametrize(
    ("estimator", "key", "value"),
    [
        ("genregrid.models.boosting.BoostedTrees", "num_rounds", 0),
        ("genregrid.models.boosting.BoostedTrees", "num_leaves", 1),
        ("genregrid.models.boosting.BoostedTrees", "learning_rate", 0.0),
        ("genregrid.models.boosting.BoostedTrees", "feature_share", 1.5),
        ("genregrid.models.gmm.MixturePerGenre", "num_components", 0),
        ("genregrid.models.gmm.MixturePerGenre", "variance_floor", 0),
        ("genregrid.models.kernel.KernelRidgeClassifier", "gamma", 0),
        ("genregrid.models.kernel.KernelRidgeClassifier", "ridge", -1.0),
        ("genregrid.models.kmeans.GenresOfClusters", "num_clusters", 1.5),
        ("genregrid.models.scikit_learn.GaussianPerGenre", "shrinkage", 1.1),
        ("genregrid.models.scikit_learn.NearestNeighbours", "num_neighbours", 0),
        ("genregrid.models.scikit_learn.NearestNeighbours", "num_neighbours", True),
        ("genregrid.models.scikit_learn.RadialSVM", "inverse_penalty", 0.0),
        ("genregrid.models.scikit_learn.RadialSVM", "gamma", "auto"),
        ("genregrid.models.scikit_learn.ShrunkenLDA", "shrinkage", -0.1),
    ],
)
def test_arguments_of_own_estimators_are_checked(estimator: str, key: str, value: Any, user_error: Expect) -> None:
    if "boosting" in estimator:
        pytest.importorskip("lightgbm")
    with user_error(f"model.{key}", value):
        model(estimator, **{key: value})


@pytest.mark.parametrize(("key", "value"), [("num_trees", 0), ("num_trees", True), ("min_leaf", "x"), ("max_depth", 0)])
def test_scikit_learn_checks_its_own_arguments(key: str, value: Any, user_error: Expect) -> None:
    """The key is that of the YAML, which may differ from scikit-learn's; this hook is not public (1.9)."""
    names = {"num_trees": "n_estimators", "min_leaf": "min_samples_leaf"}
    with user_error(f"model.{key}", value, problem=names.get(key, key)):
        build_estimator("sklearn.ensemble.ExtraTreesClassifier", {key: value}, names)


@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        ("os.system", "of a classifier of sklearn"),
        ("sklearn.nothing.Classifier", "no module"),
        ("sklearn.svm.NoSVC", "sklearn.svm has no NoSVC"),
        ("sklearn.svm.SVR", "of a classifier"),
        ("sklearn_evil.Classifier", "of a classifier"),
        ("LogisticRegression", "of a classifier"),
    ],
)
def test_only_classifiers_of_known_packages_are_built(estimator: str, problem: str, user_error: Expect) -> None:
    with user_error("model.estimator", estimator, problem=problem):
        model(estimator)


def test_an_unknown_argument_is_refused(user_error: Expect) -> None:
    with user_error("model.num_trees", problem="no such argument", hint="penalty, "):
        model(num_trees=3)


def test_lda_refuses_whitened_vectors(user_error: Expect) -> None:
    with user_error("model.whitening", 0.2):
        model("genregrid.models.scikit_learn.ShrunkenLDA", whitening=0.2)


def test_lda_keeps_no_covariance_in_its_bytes() -> None:
    random = np.random.default_rng(0)
    vectors, genre = random.normal(size=(60, 300)), np.arange(60) % 3
    head = EstimatorHead(3, 1e-6, ShrunkenLDA())
    head.estimator = head.fitted(vectors, genre, genre)
    assert len(head.get_extra_state()) < 300 * 300


def test_neighbours_are_as_many_as_rows_at_most() -> None:
    vectors, genre, _ = draw(4)
    assert NearestNeighbours(10).fit(vectors, genre).predict_proba(vectors[:1]).tolist() == [[0.5, 0.5]]


def test_a_classifier_without_probabilities_gets_them() -> None:
    vectors, genre, track = draw()
    head = EstimatorHead(4, 1e-6, build_estimator("sklearn.linear_model.RidgeClassifier", {"alpha": 0.1}))
    probs = head.fitted(vectors, genre, track).predict_proba(vectors)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs.argmax(axis=1) == genre).mean() > 0.95


def test_an_svms_temperature_is_fitted_on_left_out_tracks() -> None:
    vectors, genre, track = draw()
    # the two rows of a track are equal: folds of rows would leak
    twins = np.repeat(vectors[::2], 2, axis=0) + np.float32(1e-6)
    noise = np.random.default_rng(1).permutation(genre[::2]).repeat(2)
    honest = fitted_svm(twins, noise, track, 100.0, 50.0)
    alone = fitted_svm(twins, noise, np.arange(len(track)), 100.0, 50.0)
    assert honest.predict_proba(twins).max() < alone.predict_proba(twins).max()


def test_a_genre_of_one_track_has_no_temperature(user_error: Expect) -> None:
    vectors, genre, track = draw()
    with user_error("model", problem="a genre has one training track only"):
        fitted_svm(vectors[:6], genre[:6], track[:6], 1.0)


def test_mixtures_find_genres_of_two_places() -> None:
    random = np.random.default_rng(0)
    place = np.repeat([-8.0, -3.0, 3.0, 8.0], 40)
    genre = np.repeat([0, 1, 0, 1], 40)  # each genre in two places, one beyond the other's
    vectors = (place[:, None] + random.standard_normal((160, 1))).astype(np.float32)
    probs = MixturePerGenre(num_components=2).fit(vectors, genre).predict_proba(vectors)
    assert (probs.argmax(axis=1) == genre).mean() > 0.95
    np.testing.assert_allclose(probs.sum(axis=1), 1)


def test_a_cluster_has_the_shares_of_its_genres() -> None:
    vectors = np.array([[0.0], [0.0], [0.0], [9.0]], np.float32)
    probs = GenresOfClusters(2).fit(vectors, np.array([0, 0, 1, 1])).predict_proba(vectors)
    # of the first three: 1 + 2 * 2 of genre 0 against 1 + 2 * 1; of the last 1 against 1 + 2
    np.testing.assert_allclose(probs[:, 0], [5 / 8, 5 / 8, 5 / 8, 1 / 4])


def test_an_estimator_is_not_fitted_on_an_average_of_weights(user_error: Expect) -> None:
    with user_error("model.ema_decay", 0.9):
        DeepFeatureLSTM(**FACTS, estimator="genregrid.models.scikit_learn.NearestNeighbours", ema_decay=0.9)


def test_arguments_that_no_lstm_has_are_the_estimators(user_error: Expect) -> None:
    deep = DeepFeatureLSTM(
        **FACTS, estimator="genregrid.models.scikit_learn.RadialSVM", hidden_size=5, inverse_penalty=3.0
    )
    assert deep.lstm.hidden_size == 5
    assert deep.estimator._blank.inverse_penalty == 3.0
    with user_error("model.inverse_penalty", 0):
        DeepFeatureLSTM(**FACTS, estimator="genregrid.models.scikit_learn.RadialSVM", inverse_penalty=0)


def test_the_private_check_of_arguments_is_that_of_a_known_version() -> None:
    known = version("scikit-learn").startswith(("1.8.", "1.9."))
    assert known, "see whether arguments can be checked by a public function, without data"
