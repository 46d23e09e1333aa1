"""A program computes the probabilities of its model: all models of conf/model, two genres, genres without a track."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from genregrid.data.columns import FEATURE_NAMES as ALL_NAMES
from genregrid.deploy.program import Program
from genregrid.models.base import GenreClassifier
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.vote import Vote

CONF = Path(__file__).resolve().parents[2] / "conf/model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
FEATURE_NAMES = ALL_NAMES[:9]  # fewer columns take less time
GENRES = ("blues", "classical", "metal")
# Fewer trees take less time.
SMALL = {"num_trees": 20, "num_rounds": 10, "num_clusters": 20}
# A scan is compiled before it runs. Some models are in test_export too.
ELSEWHERE = {
    "bilstm_attention",
    "gru",
    "lstm",
    "lstm_knn",
    "lstm_svm",
    "mlp",
    "logistic",
    "extra_trees",
    "kernel_ridge",
}
Config = Callable[[str], DictConfig]


@pytest.fixture(scope="module")
def config() -> Config:
    """`config("mlp")` has the settings of a model, without the time that Hydra takes."""

    def load(name: str) -> DictConfig:
        read = OmegaConf.load(CONF / f"{name}.yaml")
        base = read.defaults[0]
        shared = OmegaConf.load(CONF / f"{base}.yaml") if base.startswith("shared/") else load(base)
        merged = OmegaConf.merge(shared, read.model)
        assert isinstance(merged, DictConfig)
        return merged

    return load


def windows(size: int = 40, num_slices: int = 5, num_genres: int = 3) -> dict[str, torch.Tensor]:
    """Draw windows that are padded by numbers that must not count."""
    random = torch.Generator().manual_seed(1)
    genre = torch.arange(size) % num_genres
    features = torch.randn(size, num_slices, len(FEATURE_NAMES), generator=random) + 0.3 * genre.view(-1, 1, 1)
    length = torch.randint(1, num_slices + 1, (size,), generator=random)
    features[torch.arange(num_slices) >= length.unsqueeze(1)] = 1e4
    return {"features": features, "length": length, "genre": genre, "track": torch.arange(size)}


def fitted(config: DictConfig, batch: dict[str, torch.Tensor], **settings: Any) -> GenreClassifier:
    """Build a model, and fit its estimator and its transform on a batch."""
    settings = {key: value for key, value in SMALL.items() if key in config} | settings
    facts = {"genres": list(GENRES), "feature_names": list(FEATURE_NAMES), "slice_seconds": 3.0}
    torch.manual_seed(0)
    model: GenreClassifier = instantiate(config, **facts | settings, _convert_="all").eval()
    is_inside = torch.arange(batch["features"].shape[1]) < batch["length"].unsqueeze(1)
    model.transform.fit(batch["features"][is_inside])
    head = getattr(model, "head" if isinstance(model, EstimatorClassifier) else "estimator", None)
    if head is not None:
        head.fit([batch], model.vectors)  # type: ignore[operator]  # models with such a head have it
    return model


def assert_equal(model: GenreClassifier, batch: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        log_probs = Program(deepcopy(model))(batch["features"], batch["length"])
        expected = model.logits(batch).softmax(dim=1)
    torch.testing.assert_close(log_probs.exp(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.torture) if name in ELSEWHERE else name for name in NAMES]
)
def test_probabilities_are_those_of_the_model(name: str, config: Config) -> None:
    model = fitted(config(name), windows())
    assert_equal(model, windows(size=60, num_slices=7))


@pytest.mark.parametrize("name", ["logistic", "svm", "boosting"])
def test_probabilities_of_two_genres_are_those_of_the_model(name: str, config: Config) -> None:
    batch = windows(num_genres=2)
    model = fitted(config(name), batch, genres=list(GENRES[:2]), summary=["mean"])
    assert_equal(model, batch)


@pytest.mark.parametrize("name", ["knn", "kernel_ridge", "logistic"])
def test_a_genre_without_training_tracks_has_the_probability_of_the_model(name: str, config: Config) -> None:
    batch = windows()
    kept = batch["genre"] != 1
    model = fitted(config(name), {key: values[kept] for key, values in batch.items()})
    assert_equal(model, batch)


def test_trees_of_one_leaf_are_exported(config: Config) -> None:
    batch = windows()
    assert_equal(fitted(config("boosting"), batch, min_leaf=100), batch)


@pytest.mark.parametrize("transform", ["standardise", "quantile"])
def test_the_temperature_divides_logits_of_transformed_descriptors(transform: str, config: Config) -> None:
    batch = windows()
    model = fitted(config("mlp"), batch, transform=transform)
    with torch.no_grad():
        log_probs = Program(deepcopy(model), temperature=2.0)(batch["features"], batch["length"])
        torch.testing.assert_close(log_probs, (model.logits(batch) / 2).log_softmax(dim=1))


def test_an_estimator_without_a_program_is_refused(
    config: Config, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    settings = config("gaussian")
    settings.estimator = "sklearn.naive_bayes.GaussianNB"
    del settings.shrinkage
    model = fitted(settings, windows())
    with user_error("model.estimator", "GaussianNB"):
        Program(model)


def test_a_vote_is_refused(user_error: Callable[..., AbstractContextManager[None]]) -> None:
    with user_error("model", problem="a vote"):
        Program(Vote.__new__(Vote))
