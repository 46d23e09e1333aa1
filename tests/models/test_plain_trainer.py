"""A model under a plain trainer of Lightning, without a run: it fits its own transform, or refuses."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from genregrid.config import SplitConfig
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.split import split_table
from genregrid.data.table import FeatureTable
from genregrid.models.base import GenreClassifier
from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.mlp import MLP

MODELS: dict[str, Callable[..., GenreClassifier]] = {
    "a network": lambda **shared: MLP(**shared),
    "an estimator": lambda **shared: EstimatorClassifier(
        estimator="sklearn.naive_bayes.GaussianNB", transform="log", **shared
    ),
    "a network with an estimator": lambda **shared: DeepFeatureLSTM(
        estimator="sklearn.naive_bayes.GaussianNB", hidden_size=4, **shared
    ),
}


def datamodule_of(table: FeatureTable) -> GenreDataModule:
    return GenreDataModule(table, split_table(table, SplitConfig(protocol="track", folds=3)))


def trainer(**given: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(**quiet, accelerator="cpu", enable_checkpointing=False, log_every_n_steps=1, **given)


def build(name: str, table: FeatureTable) -> GenreClassifier:
    torch.manual_seed(0)
    return MODELS[name](genres=list(table.genres), feature_names=list(table.feature_names), slice_seconds=3.0)


@pytest.fixture
def table(make_table: Callable[..., FeatureTable]) -> FeatureTable:
    return make_table(slices=2)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, table: FeatureTable) -> GenreClassifier:
    return build(request.param, table)


@pytest.mark.parametrize("name", MODELS)
def test_a_plain_training_has_the_numbers_of_one_whose_transform_was_fitted_before(
    name: str, table: FeatureTable
) -> None:
    """With Lightning's own check of validation before training, which an estimator leaves out."""
    datamodule = datamodule_of(table)
    ready, plain = build(name, table), build(name, table)
    ready.transform.fit(table.features, datamodule.training_rows)
    batches = list(datamodule.test_dataloader())
    logits = []
    for model in (ready, plain):
        torch.manual_seed(0)
        trainer(max_epochs=1).fit(model, datamodule=datamodule)
        logits.append(model.predict_logits(batches)[0])
    assert torch.equal(*logits)
    assert plain.transform.is_fitted


def test_a_transform_that_is_fitted_is_kept(model: GenreClassifier, table: FeatureTable) -> None:
    datamodule = datamodule_of(table)
    model.transform.fit(datamodule.table.features)  # all rows, unlike a training
    mean = model.transform.mean.clone()
    trainer(max_epochs=1).fit(model, datamodule=datamodule)
    assert torch.equal(model.transform.mean, mean)


def test_a_model_whose_transform_is_not_fitted_is_not_scored(
    model: GenreClassifier,
    table: FeatureTable,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    datamodule = datamodule_of(table)
    for score in (trainer(max_epochs=1).test, trainer(max_epochs=1).validate):
        with user_error("model", problem="transform is not fitted"):
            score(model, datamodule=datamodule, verbose=False)
    with user_error("model", problem="transform is not fitted", hint="datamodule=GenreDataModule"):
        model.predict_logits(datamodule.test_dataloader())
    batches = datamodule.train_dataloader(), datamodule.val_dataloader()
    with user_error("model", problem="transform is not fitted"):
        trainer(max_epochs=1).fit(model, *batches)


def test_weights_of_a_checkpoint_are_fitted(model: GenreClassifier, table: FeatureTable) -> None:
    datamodule = datamodule_of(table)
    trainer(max_epochs=1).fit(model, datamodule=datamodule)
    again = type(model)(**model.hparams)
    again.load_state_dict(model.state_dict())
    batches = list(datamodule.test_dataloader())
    assert torch.equal(again.predict_logits(batches)[0], model.predict_logits(batches)[0])


def test_an_estimator_that_is_not_fitted_says_so(
    table: FeatureTable, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    model, datamodule = build("an estimator", table), datamodule_of(table)
    model.transform.fit(table.features)
    with user_error("model", problem="estimator is not fitted"):
        model.predict_logits(datamodule.test_dataloader())


def test_an_estimator_ends_a_training_without_a_number_of_epochs(table: FeatureTable) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`max_epochs` was not set")
        plain = trainer()
        plain.fit(build("an estimator", table), datamodule=datamodule_of(table))
    assert plain.current_epoch == 1
