"""The shell around scikit-learn's classifiers: logits, summaries, and what a checkpoint takes back."""

from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from skops.io.exceptions import UntrustedTypesFoundException

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorHead
from genregrid.models.gmm import MixturePerGenre
from genregrid.models.kmeans import GenresOfClusters
from genregrid.models.logistic import Logistic
from genregrid.models.lstm_knn import LSTMKNN
from genregrid.models.set_kernel import SetKernel
from genregrid.models.svm import fit_svm

NAMES = ["rms_mean", "rms_var", "mfcc1_mean"]


def draw(num: int = 60, genres: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    """Vectors (row, 4) about three centres, genres, and tracks of two rows each."""
    random = np.random.default_rng(seed)
    genre = np.arange(num) // 2 % genres
    vectors = (np.eye(genres, 4)[genre] * 6 + random.standard_normal((num, 4))).astype(np.float32)
    return vectors, genre, np.arange(num) // 2


def head_of(estimator: Any, smoothing: float = 1e-6) -> EstimatorHead:
    head = EstimatorHead(4, smoothing)
    head.estimator = estimator
    return head


def test_logits_are_logarithms_of_probabilities_with_a_floor() -> None:
    vectors, genre, _ = draw()
    estimator = LogisticRegression().fit(vectors, genre)
    probs = head_of(estimator, 0.04)(torch.from_numpy(vectors)).exp().numpy()
    np.testing.assert_allclose(probs[:, :3], 0.96 * estimator.predict_proba(vectors) + 0.01, atol=1e-6)
    np.testing.assert_allclose(probs[:, 3], 0.01, atol=1e-6)  # a genre without a training row


def test_an_estimator_comes_back_from_its_bytes() -> None:
    vectors, genre, track = draw()
    for estimator in (
        MixturePerGenre().fit(vectors, genre),
        GenresOfClusters(5).fit(vectors, genre),
        fit_svm(vectors, genre, track, 1.0),
    ):
        head, again = head_of(estimator), EstimatorHead(4, 1e-6)
        again.set_extra_state(head.get_extra_state())
        torch.testing.assert_close(again(torch.from_numpy(vectors)), head(torch.from_numpy(vectors)), atol=0, rtol=0)


def test_a_state_that_could_run_code_is_refused() -> None:
    packed = skops.io.dumps(FunctionTransformer(func=np.load))
    with pytest.raises(UntrustedTypesFoundException):
        EstimatorHead(4, 1e-6).set_extra_state(torch.frombuffer(bytearray(packed), dtype=torch.uint8))


def test_a_head_that_was_never_fitted_has_an_empty_state() -> None:
    head = EstimatorHead(4, 1e-6)
    assert len(head.get_extra_state()) == 0
    head.set_extra_state(head.get_extra_state())
    assert head.estimator is None


def model(**arguments: Any) -> Logistic:
    return Logistic(genres=["a", "b"], feature_names=NAMES, slice_seconds=3.0, **arguments)


def test_summaries_stand_side_by_side() -> None:
    batch = {"features": torch.rand(5, 4, 3), "length": torch.tensor([4, 4, 2, 1, 4])}
    names = (["mean"], ["mean", "spread"], ["pooled", "mean", "spread"])
    mean, spread, multi = (model(summary=name).vectors(batch) for name in names)
    assert (mean.shape, spread.shape, multi.shape) == ((5, 3), (5, 6), (5, 9))
    torch.testing.assert_close(spread[:, :3], mean)
    torch.testing.assert_close(multi[:, 3:], spread)
    first = batch["features"][0]
    variance = first[:, 1].mean() + first[:, 0].var(correction=0)  # untransformed: nothing was fitted
    torch.testing.assert_close(multi[0, 1], variance)


def test_slices_that_are_not_summed_up_stand_one_behind_the_other() -> None:
    batch = {"features": torch.rand(2, 4, 3), "length": torch.tensor([4, 2])}
    sets = SetKernel(genres=["a", "b"], feature_names=NAMES, slice_seconds=3.0)
    vectors = sets.vectors(batch)
    torch.testing.assert_close(vectors[0], batch["features"][0].flatten())
    torch.testing.assert_close(vectors[1, :6], batch["features"][1, :2].flatten())
    assert vectors[1, 6:].isnan().all()


def test_an_unknown_summary_and_smoothing_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.summary=\['max'\]: a list of pooled, mean, spread"):
        model(summary=["max"])
    with pytest.raises(UserError, match=r"model\.summary=mean: a list of"):
        model(summary="mean")
    with pytest.raises(UserError, match=r"model\.whitening=0: above 0, or null"):
        model(whitening=0.0)
    with pytest.raises(UserError, match=r"model\.summary=None: a list of"):
        model(summary=None)
    with pytest.raises(UserError, match=r"model\.refit=no: true or false"):
        model(refit="no")
    with pytest.raises(UserError, match=r"model\.smoothing=0\.0: more than 0"):
        model(smoothing=0.0)


def test_an_svms_temperature_comes_from_tracks_that_it_has_not_seen() -> None:
    vectors, genre, track = draw()
    twins = np.repeat(vectors[::2], 2, axis=0) + np.float32(
        1e-6
    )  # two rows of a track are one: rows by chance would leak
    noise = np.random.default_rng(1).permutation(genre[::2]).repeat(2)
    honest = fit_svm(twins, noise, track, 100.0, gamma=50.0)
    alone = fit_svm(twins, noise, np.arange(len(track)), 100.0, gamma=50.0)
    assert honest.predict_proba(twins).max() < alone.predict_proba(twins).max()


def test_a_genre_of_one_track_is_told() -> None:
    vectors, genre, track = draw()
    with pytest.raises(UserError, match="a genre has one training track only"):
        fit_svm(vectors[:6], genre[:6], track[:6], 1.0)


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


def test_an_average_of_weights_is_refused_where_an_estimator_judges_states() -> None:
    with pytest.raises(UserError, match=r"model\.ema_decay=0\.9: the estimator is fitted on the LSTM's own states"):
        LSTMKNN(genres=["a", "b"], feature_names=NAMES, slice_seconds=3.0, ema_decay=0.9)
