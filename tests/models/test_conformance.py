"""What every model of conf/model must do; a new one is tested by existing."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from genregrid.config import register_schemas
from genregrid.data.table import FEATURE_NAMES, FeatureTable
from genregrid.models.base import GenreClassifier, load_checkpoint
from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.network import Network

CONF = Path(__file__).resolve().parents[2] / "conf"
CONFIGS = sorted((CONF / "model").glob("*.yaml"))
GENRES = ["blues", "classical", "metal"]
Fit = Callable[..., pl.Trainer]
# What keeps a model from learning eight tracks by heart, and the value at which it does not.
HOLDING_BACK = {
    "dropout": 0.0,
    "input_dropout": 0.0,
    "min_leaf": 1,
    "num_neighbours": 1,
    "inverse_penalty": 1000.0,
    "shrinkage": 0.1,
}
pytestmark = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)


@cache
def composed(config: Path) -> DictConfig:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"model={config.stem}"])


def build(config: Path, **overrides: Any) -> GenreClassifier:
    pl.seed_everything(0, verbose=False)
    facts = {"genres": GENRES, "feature_names": list(FEATURE_NAMES), "slice_seconds": 3.0}
    model: GenreClassifier = instantiate(composed(config).model, **facts, **overrides, _convert_="all")
    return model


def ready(config: Path) -> GenreClassifier:
    """A model that gives logits: an estimator is fitted first."""
    model = build(config).eval()
    fit_estimator(model, random_batch(size=30))
    return model


def fit_estimator(model: GenreClassifier, batch: dict[str, torch.Tensor]) -> None:
    if isinstance(model, EstimatorClassifier):
        model.head.fit([batch], model.vectors, model.fit_estimator)
    if isinstance(model, DeepFeatureLSTM):
        model.estimator.fit([batch], model.vectors, model.fit_estimator)


def random_batch(num_slices: int = 10, size: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(size, num_slices, len(FEATURE_NAMES), generator=generator),
        "length": torch.full((size,), num_slices),
        "genre": torch.arange(size) % len(GENRES),
        "track": torch.arange(size),
    }


def test_yaml_keys_are_constructor_parameters(config: Path) -> None:
    keys = set(composed(config).model) - {"_target_"}
    cls = get_class(composed(config).model["_target_"])
    parameters = {name for base in cls.__mro__ if issubclass(base, GenreClassifier) for name in _keywords(base)}
    assert keys == parameters - {"genres", "feature_names", "slice_seconds", "shared"}


def _keywords(cls: type) -> set[str]:
    code = cls.__init__.__code__
    return set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


@pytest.mark.parametrize("num_slices", [1, 4, 10])
def test_logits_have_a_row_per_window_and_a_column_per_genre(config: Path, num_slices: int) -> None:
    logits = ready(config).logits(random_batch(num_slices))
    assert logits.shape == (6, len(GENRES))
    assert torch.isfinite(logits).all()


def test_padding_has_no_effect(config: Path) -> None:
    model = ready(config)
    model.transform.fit(3 + 2 * random_batch(size=30)["features"].flatten(0, 1))  # padding is no zero once transformed
    batch = random_batch(num_slices=4)
    padded = batch | {"features": torch.nn.functional.pad(batch["features"], (0, 0, 0, 3), value=1e6)}
    torch.testing.assert_close(model.logits(padded), model.logits(batch))


def test_a_short_window_beside_long_ones_is_scored_as_if_alone(config: Path) -> None:
    model = ready(config)
    batch = random_batch(num_slices=4)
    short = batch | {"length": torch.tensor([4, 2, 4, 1, 4, 3])}
    alone = {name: values[1:2] for name, values in short.items()} | {"features": batch["features"][1:2, :2]}
    torch.testing.assert_close(model.logits(short)[1:2], model.logits(alone), atol=1e-5, rtol=1e-4)


def test_windows_of_a_batch_do_not_see_each_other(config: Path) -> None:
    model = ready(config)
    batch = random_batch()
    alone = model.logits({name: values[2:3] for name, values in batch.items()})
    torch.testing.assert_close(model.logits(batch)[2:3], alone, atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(config: Path) -> None:
    model, batch = build(config).eval(), random_batch()
    if isinstance(model, EstimatorClassifier):
        assert list(model.parameters()) == []
        return
    logits = model(model.transform(batch["features"]), batch["length"])
    torch.nn.functional.cross_entropy(logits, batch["genre"]).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_eight_tracks_can_be_learnt_by_heart(config: Path) -> None:
    settings = composed(config).model
    model = build(config, **{name: value for name, value in HOLDING_BACK.items() if name in settings}).train()
    batch = random_batch(size=8)
    if isinstance(model, Network):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(200):
            logits = model(model.transform(batch["features"]), batch["length"])
            loss = torch.nn.functional.cross_entropy(logits, batch["genre"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    fit_estimator(model.eval(), batch)
    assert (model.logits(batch).argmax(dim=1) == batch["genre"]).all()


def test_checkpoint_gives_the_same_logits_again(
    config: Path, make_table: Callable[..., FeatureTable], fit: Fit, tmp_path: Path
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


def test_model_learns_well_separated_genres(config: Path, make_table: Callable[..., FeatureTable], fit: Fit) -> None:
    few = {"min_leaf": 1, "num_neighbours": 3}  # of eight training tracks a genre
    model = build(config, **{name: value for name, value in few.items() if name in composed(config).model})
    fit(model, make_table(genres=GENRES, tracks=12, slices=4), max_epochs=15)
    assert model.scored is not None
    assert model.scored.scores["test/accuracy"] >= 0.9
    if isinstance(model, Network):
        assert [row["epoch"] for row in model.curves] == list(range(1, 16))
        assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} <= set(model.curves[0])


def test_the_same_seed_gives_the_same_numbers(config: Path, make_table: Callable[..., FeatureTable], fit: Fit) -> None:
    table, batch = make_table(genres=GENRES, tracks=6, slices=4), random_batch()
    said = []
    for _ in range(2):
        model = build(config)
        fit(model, table, max_epochs=2)
        said.append(model.eval().logits(batch))
    torch.testing.assert_close(said[0], said[1], atol=0, rtol=0)


def test_docs_have_a_paragraph_with_a_source(config: Path) -> None:
    text = (CONF.parent / "docs/models.md").read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n### {config.stem}\n")
    assert found
    paragraph = rest.partition("\n#")[0]
    assert "*" in paragraph or "same article" in paragraph or "same paper" in paragraph
