"""What every model of conf/model must do; a new YAML is tested without a new test."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.table import FeatureTable
from genregrid.models.argument import parameters
from genregrid.models.base import GenreClassifier
from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.network import Network
from genregrid.models.trained import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
GENRES = ["blues", "classical", "metal"]
Fit = Callable[..., pl.Trainer]
MakeTable = Callable[..., FeatureTable]
# What keeps a model from overfitting eight tracks, and the value at which it does not.
REGULARISATION = {
    "dropout": 0.0,
    "input_dropout": 0.0,
    "min_leaf": 1,
    "num_neighbours": 1,
    "inverse_penalty": 1000.0,
    "shrinkage": 0.1,
}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """A model of conf/model."""
    return str(request.param)


@pytest.fixture(scope="module")
def config(name: str, composed: Callable[..., DictConfig]) -> DictConfig:
    """The settings of a model."""
    model: DictConfig = composed(f"model={name}").model
    return model


def build(config: DictConfig, **overrides: Any) -> GenreClassifier:
    pl.seed_everything(0, verbose=False)
    facts = {"genres": GENRES, "feature_names": list(FEATURE_NAMES), "slice_seconds": 3.0}
    model: GenreClassifier = instantiate(config, **facts, **overrides, _convert_="all")
    return model


def ready(config: DictConfig) -> GenreClassifier:
    """A model that gives logits: an estimator is fitted first."""
    model = build(config).eval()
    fit_estimator(model, random_batch(size=30))
    return model


def fit_estimator(model: GenreClassifier, batch: dict[str, torch.Tensor]) -> None:
    if isinstance(model, EstimatorClassifier):
        model.head.fit([batch], model.vectors)
    if isinstance(model, DeepFeatureLSTM):
        model.estimator.fit([batch], model.vectors)


def random_batch(num_slices: int = 10, size: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(size, num_slices, len(FEATURE_NAMES), generator=generator),
        "length": torch.full((size,), num_slices),
        "genre": torch.arange(size) % len(GENRES),
        "track": torch.arange(size),
    }


def test_yaml_keys_are_constructor_parameters(config: DictConfig) -> None:
    keys = set(config) - {"_target_"}
    known = set(parameters(get_class(config["_target_"]))) - {"genres", "feature_names", "slice_seconds"}
    if "estimator" in config:
        taken = {config.get("names", {}).get(key, key) for key in keys - known}
        assert taken <= set(signature(get_class(config.estimator)).parameters)
        keys -= keys - known
        known -= {"names"} - keys  # in shared/estimator.yaml, but not in shared/network.yaml
    assert keys == known


@pytest.mark.parametrize("num_slices", [1, 4, 10])
def test_logits_have_a_row_per_window_and_a_column_per_genre(config: DictConfig, num_slices: int) -> None:
    logits = ready(config).logits(random_batch(num_slices))
    assert logits.shape == (6, len(GENRES))
    assert torch.isfinite(logits).all()


def test_padding_has_no_effect(config: DictConfig) -> None:
    model = ready(config)
    model.transform.fit(3 + 2 * random_batch(size=30)["features"].flatten(0, 1))  # transformed padding is not zero
    batch = random_batch(num_slices=4)
    padded = batch | {"features": torch.nn.functional.pad(batch["features"], (0, 0, 0, 3), value=1e6)}
    torch.testing.assert_close(model.logits(padded), model.logits(batch))


def test_a_short_window_beside_long_ones_is_scored_as_if_alone(config: DictConfig) -> None:
    model = ready(config)
    batch = random_batch(num_slices=4)
    short = batch | {"length": torch.tensor([4, 2, 4, 1, 4, 3])}
    alone = {name: values[1:2] for name, values in short.items()} | {"features": batch["features"][1:2, :2]}
    torch.testing.assert_close(model.logits(short)[1:2], model.logits(alone), atol=1e-5, rtol=1e-4)


def test_windows_of_a_batch_do_not_see_each_other(config: DictConfig) -> None:
    model = ready(config)
    batch = random_batch()
    alone = model.logits({name: values[2:3] for name, values in batch.items()})
    torch.testing.assert_close(model.logits(batch)[2:3], alone, atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(config: DictConfig) -> None:
    model, batch = build(config).eval(), random_batch()
    if isinstance(model, EstimatorClassifier):
        assert list(model.parameters()) == []
        return
    logits = model(model.transform(batch["features"]), batch["length"])
    torch.nn.functional.cross_entropy(logits, batch["genre"]).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_eight_tracks_can_be_overfitted(config: DictConfig) -> None:
    model = build(config, **{key: value for key, value in REGULARISATION.items() if key in config}).train()
    batch = random_batch(size=8)
    if isinstance(model, Network):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        loss = torch.tensor(torch.inf)
        for _ in range(200):
            if loss < 1e-3:  # further steps change nothing
                break
            logits = model(model.transform(batch["features"]), batch["length"])
            loss = torch.nn.functional.cross_entropy(logits, batch["genre"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    fit_estimator(model.eval(), batch)
    assert (model.logits(batch).argmax(dim=1) == batch["genre"]).all()


def test_checkpoint_gives_the_same_logits_again(
    config: DictConfig, make_table: MakeTable, fit: Fit, tmp_path: Path
) -> None:
    model = build(config)
    model.provenance = {"protocol": "track", "tracks": {"train": ["blues.00000"]}}
    trainer = fit(model, make_table(genres=GENRES, tracks=6, slices=4), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    loaded = load_checkpoint(tmp_path / "again.ckpt")
    assert type(loaded) is type(model)
    assert loaded.provenance == model.provenance
    assert (loaded.genres, loaded.slice_seconds) == (GENRES, 3.0)
    batch = random_batch()
    torch.testing.assert_close(loaded.logits(batch), model.eval().logits(batch), atol=0, rtol=0)


@pytest.mark.slow
def test_model_learns_well_separated_genres(config: DictConfig, make_table: MakeTable, fit: Fit) -> None:
    few = {"min_leaf": 1, "num_neighbours": 3}  # of eight training tracks a genre
    model = build(config, **{key: value for key, value in few.items() if key in config})
    num_epochs = 15 if isinstance(model, Network) else 1  # an estimator is fitted at once
    fit(model, make_table(genres=GENRES, tracks=12, slices=4), max_epochs=num_epochs)
    assert model.scored is not None
    assert model.scored.scores["test/accuracy"] >= 0.9
    if isinstance(model, Network):
        assert [row["epoch"] for row in model.curves] == list(range(1, 16))
        assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} <= set(model.curves[0])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(config: DictConfig, make_table: MakeTable, fit: Fit) -> None:
    table, batch = make_table(genres=GENRES, tracks=6, slices=4), random_batch()
    predicted = []
    for _ in range(2):
        model = build(config)
        fit(model, table, max_epochs=2)
        predicted.append(model.eval().logits(batch))
    torch.testing.assert_close(predicted[0], predicted[1], atol=0, rtol=0)


def test_docs_have_a_paragraph_with_a_source(name: str) -> None:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n### {name}\n")
    assert found
    paragraph = rest.partition("\n#")[0]
    assert "*" in paragraph or "same article" in paragraph or "same paper" in paragraph
