"""The configuration as a whole: what is composed, and what is refused."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from genregrid.config import (
    LEAKING_PROTOCOLS,
    PROTOCOLS,
    SEARCH_SCORES,
    DatasetConfig,
    EvaluateConfig,
    SearchConfig,
    SplitConfig,
    TrainConfig,
    TrainerConfig,
)

CONF = Path(__file__).resolve().parents[1] / "conf"
Composed = Callable[..., DictConfig]


@pytest.mark.parametrize("group", ["dataset", "split", "model", "logger"])
def test_every_choice_composes(composed: Composed, group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        config = OmegaConf.to_container(composed(f"{group}={path.stem}"), resolve=True)
        assert isinstance(config, dict)
        assert config[group] or path.stem == "none"


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("model=mlp", "batch_size", 4),
        ("model=mlp", "trainer.max_epochs", 100),
        ("model=mlp", "model.learning_rate", 0.01),
        ("model=mlp", "window", 1),
        ("model=lstm", "batch_size", 16),
        ("model=lstm", "trainer.max_epochs", 50),
        ("model=lstm", "model.learning_rate", 0.001),
        ("model=lstm", "window", "track"),
        ("slice=3", "slice", 3),
        ("slice=0.5", "slice", 0.5),
        ("seed=7", "split.seed", 7),
    ],
)
def test_choices_bring_the_papers_values(composed: Composed, override: str, key: str, value: object) -> None:
    assert OmegaConf.select(composed(override), key) == value


def test_values_on_the_command_line_win_over_those_of_a_model(composed: Composed) -> None:
    config = composed("trainer.max_epochs=3", "batch_size=5", "window=2", "model=mlp")
    assert (config.trainer.max_epochs, config.batch_size, config.window) == (3, 5, 2)


@pytest.mark.parametrize(
    "override",
    ["slcie=3", "slice=abc", "trainer.max_epoch=3", "model.hiden_size=3", "split.fold=a", "model=foo", "seed=1.5"],
)
def test_misspelt_keys_and_wrong_types_are_refused(composed: Composed, override: str) -> None:
    with pytest.raises(HydraException):
        composed(override)


def test_every_protocol_has_a_choice_and_the_leaking_ones_are_labelled(composed: Composed) -> None:
    assert {path.stem for path in (CONF / "split").glob("*.yaml")} == set(PROTOCOLS)
    for protocol in PROTOCOLS:
        split = composed(f"split={protocol}").split
        assert split.protocol == protocol
        assert not split.allow_leak
        label = f"{protocol}-LEAKS" if protocol in LEAKING_PROTOCOLS else protocol
        assert split.label == label
        assert SplitConfig(protocol=protocol, allow_leak=True).label == label


def test_a_label_follows_a_protocol_that_is_set_by_hand(composed: Composed) -> None:
    split = composed("split=track", "split.protocol=row", "split.allow_leak=true").split
    assert OmegaConf.to_object(split) == SplitConfig(protocol="row", label="row-LEAKS", allow_leak=True)


def test_synthetic_corpora_are_labelled(composed: Composed) -> None:
    for path in (CONF / "dataset").glob("*.yaml"):
        dataset = composed(f"dataset={path.stem}").dataset
        assert ("synthetic" in dataset.label) == dataset.synthetic


def test_roots_follow_the_variable(composed: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert composed("dataset=gtzan").dataset.root == "data/gtzan"
    monkeypatch.setenv("GENREGRID_DATA", "/corpora")
    assert composed("dataset=gtzan").dataset.root == "/corpora/gtzan"


# --- values that are refused --------------------------------------------------------------------------------------


NO_NAMES = ("", "  ", "a\nb", "\x1b[31m", "x" * 101)
NO_SECONDS = (0, -1, 1e-300, 1e300, math.inf, math.nan)


def training(**keys: Any) -> TrainConfig:
    return TrainConfig(**{"dataset": DatasetConfig(), "split": SplitConfig("track"), **keys})


def split(protocol: str = "track", **keys: Any) -> SplitConfig:
    return SplitConfig(protocol, **keys)


@pytest.mark.parametrize("protocol", ["track", "artist", "filtered", "official"])
def test_default_settings_are_accepted(composed: Composed, protocol: str) -> None:
    assert isinstance(OmegaConf.to_object(composed(f"split={protocol}")), TrainConfig)


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (training, "seed", -1),
        (training, "seed", 2**32),
        (training, "slice", 0),
        (training, "slice", -3),
        (training, "slice", math.nan),
        (training, "slice", math.inf),
        (training, "window", "tracks"),
        (training, "window", 0),
        (training, "window", -1),
        (training, "batch_size", 0),
        (partial(training, window=2), "hop_slices", 0),
        (partial(training, window=2), "hop_slices", -2),
        (training, "hop_slices", 2),
        (TrainerConfig, "trainer.max_epochs", 0),
        (TrainerConfig, "trainer.patience", -1),
        (TrainerConfig, "trainer.devices", 0),
        (TrainerConfig, "trainer.threads", 0),
        (TrainerConfig, "trainer.stack", 0),
        (TrainerConfig, "trainer.strategy", "fsdp"),
        (TrainerConfig, "trainer.precision", "bf16-true"),
        (TrainerConfig, "trainer.checkpoint_seconds", -1),
        (TrainerConfig, "trainer.checkpoint_seconds", math.nan),
        (TrainerConfig, "trainer.threads", 257),
        *((TrainerConfig, f"trainer.{name}", 2**40) for name in ("max_epochs", "patience", "devices", "stack")),
        *((TrainerConfig, "trainer.gradient_clip_val", norm) for norm in (-1.0, math.inf, math.nan)),
        *((TrainerConfig, "trainer.accelerator", name) for name in ("", "tpu2", "cuda:0", "x" * 10_000)),
        *((TrainerConfig, "trainer.precision", name) for name in ("", "7", "16-true", "64-half")),
        *(
            (DatasetConfig, f"dataset.{name}", text)
            for name in ("name", "corpus", "label", "recipe")
            for text in NO_NAMES
        ),
        *(
            (DatasetConfig, "dataset.label", label)
            for label in ("../../..", "a/b", "a\\b", ".", "..", ".hidden", "/etc")
        ),
        *((DatasetConfig, "dataset.genres", genres) for genres in ([], ["rock"])),
        *((DatasetConfig, "dataset.table_slice_seconds", seconds) for seconds in NO_SECONDS),
        *((training, "slice", seconds) for seconds in NO_SECONDS),
        (partial(DatasetConfig, synthetic=True), "dataset.num_tracks", 10**12),
        (partial(DatasetConfig, synthetic=True), "dataset.num_tracks", 1001),
        (partial(DatasetConfig, synthetic=True), "dataset.num_tracks", 0),
        (partial(DatasetConfig, synthetic=True), "dataset.num_tracks", 10),
        (partial(DatasetConfig, synthetic=True), "dataset.num_tracks", 1_000_010),
        (partial(DatasetConfig, synthetic=True), "dataset.cache", "folder"),
        (partial(DatasetConfig, synthetic=True), "dataset.path", "mine.csv"),
        (partial(DatasetConfig, tables=["features.csv"]), "dataset.path", "mine.csv"),
        (SplitConfig, "split.protocol", "random"),
        (split, "split.label", "mine"),
        (split, "split.folds", 1),
        (split, "split.folds", 0),
        (split, "split.fold", 5),
        (split, "split.fold", -1),
        (split, "split.val_folds", 1),
        (split, "split.val_fold", 8),
        (partial(split, "filtered"), "split.val_fold", 2),
        (partial(split, "official"), "split.val_fold", 1),
        (SearchConfig, "search.num_trials", 0),
        (SearchConfig, "search.num_folds", 0),
        (SearchConfig, "search.num_jobs", 0),
        (SearchConfig, "search.score", "test"),
        (SearchConfig, "search.seed", -1),
        (SearchConfig, "search.seed", 2**32),
        *((SearchConfig, f"search.{name}", 100_001) for name in ("num_trials", "num_folds", "num_jobs")),
    ],
)
def test_values_outside_their_range_are_refused(
    user_error: Callable[..., Any], settings: Callable[..., Any], key: str, value: object
) -> None:
    with user_error(key, ... if value is math.nan else value):
        settings(**{key.rpartition(".")[2]: value})


@pytest.mark.parametrize(("keys", "value"), [({"protocol": "all"}, "all"), ({"seed": -1}, -1), ({"seed": None}, None)])
def test_training_needs_a_protocol_and_a_seed(user_error: Callable[..., Any], keys: Any, value: object) -> None:
    with user_error(f"split.{next(iter(keys))}", value):
        training(split=SplitConfig(**{"protocol": "track", **keys}))


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [("split.fold=9", "split.fold", 9), ("trainer.stack=0", "trainer.stack", 0), ("seed=-1", "seed", -1)],
)
def test_a_mistake_on_the_command_line_is_a_user_error(
    composed: Composed, user_error: Callable[..., Any], overrides: str, key: str, value: object
) -> None:
    cfg = composed(overrides)
    with user_error(key, value):
        OmegaConf.to_object(cfg)


@pytest.mark.parametrize("protocol", LEAKING_PROTOCOLS)
def test_leaking_protocols_need_permission(user_error: Callable[..., Any], protocol: str) -> None:
    with user_error("split", protocol, problem="leaks", hint="split.allow_leak=true"):
        SplitConfig(protocol)


def test_known_names_are_listed(user_error: Callable[..., Any]) -> None:
    with user_error("split.protocol", "random", problem=f"choose one of {', '.join(PROTOCOLS)}"):
        SplitConfig("random")
    with user_error("search.score", "test", problem=f"choose one of {', '.join(SEARCH_SCORES)}"):
        SearchConfig(score="test")


def test_the_number_of_tracks_matters_to_the_twin_only() -> None:
    assert DatasetConfig(num_tracks=7).num_tracks == 7


# --- what evaluate.py is given ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    ["checkpoint=x split=track split.seed=null", "runs=x reference=paper human=y audio=z logger=csv", "ensemble=[x,y]"],
)
def test_evaluations_are_accepted(composed: Composed, overrides: str) -> None:
    assert isinstance(OmegaConf.to_object(composed(*overrides.split(), config="evaluate")), EvaluateConfig)


@pytest.mark.parametrize(
    ("split", "key"), [(SplitConfig("all"), "split.protocol"), (SplitConfig("track", seed=-1), "split.seed")]
)
def test_evaluation_needs_a_protocol_and_a_seed_that_is_not_negative(
    user_error: Callable[..., Any], split: SplitConfig, key: str
) -> None:
    with user_error(key):
        EvaluateConfig(checkpoint="x", split=split)


def test_the_seed_of_an_evaluation_is_not_negative(user_error: Callable[..., Any]) -> None:
    with user_error("seed", -1):
        EvaluateConfig(checkpoint="x", seed=-1)


@pytest.mark.parametrize(
    ("genres", "problem"),
    [
        (["rock", "rock", "pop"], "listed twice"),
        (["rock", " "], "visible"),
        (["Hip-Hop", "pop", "hiphop"], "'hiphop' looks like another spelling of 'Hip-Hop'"),
    ],
)
def test_genres_are_different_names(user_error: Callable[..., Any], genres: list[str], problem: str) -> None:
    with user_error("dataset.genres", problem=problem):
        DatasetConfig(genres=genres)


@pytest.mark.parametrize(("label", "name"), [("twin-synthetic", "twin-synthetic"), ("../../etc", None)])
def test_a_label_never_leaves_the_folder_of_results(composed: Composed, label: str, name: str | None) -> None:
    config = composed(f"dataset.label={label}", hydra=True)
    HydraConfig.instance().set_config(config)
    folder = Path(config.hydra.run.dir)
    assert len(folder.parts) == 3
    assert ".." not in folder.parts
    assert folder.parts[1] == (name or folder.parts[1])


def test_a_path_beside_tables_has_the_one_advice_that_works(
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    with user_error("dataset.path", "a.csv", problem="dataset.tables", hint="only one of the two"):
        DatasetConfig(name="csv", corpus="csv", label="csv", path="a.csv", tables=["b.csv"])
