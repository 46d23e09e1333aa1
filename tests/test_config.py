"""The configuration as a whole: what is composed, and what is refused when it is composed."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from genregrid.config import register_schemas
from genregrid.data.split import LEAKING_PROTOCOLS, PROTOCOLS

CONF = Path(__file__).resolve().parents[1] / "conf"


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.mark.parametrize("group", ["dataset", "split", "model", "logger"])
def test_every_choice_composes(group: str) -> None:
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
def test_choices_bring_the_papers_values(override: str, key: str, value: object) -> None:
    assert OmegaConf.select(composed(override), key) == value


def test_values_on_the_command_line_win_over_those_of_a_model() -> None:
    config = composed("trainer.max_epochs=3", "batch_size=5", "window=2", "model=mlp")
    assert (config.trainer.max_epochs, config.batch_size, config.window) == (3, 5, 2)


@pytest.mark.parametrize(
    "override",
    ["slcie=3", "slice=abc", "trainer.max_epoch=3", "model.hiden_size=3", "split.fold=a", "model=foo", "seed=1.5"],
)
def test_misspelt_keys_and_wrong_types_are_refused(override: str) -> None:
    with pytest.raises(HydraException):
        composed(override)


def test_every_protocol_has_a_choice_and_the_leaking_ones_say_so() -> None:
    assert {path.stem for path in (CONF / "split").glob("*.yaml")} == set(PROTOCOLS)
    for protocol in PROTOCOLS:
        split = composed(f"split={protocol}").split
        assert split.protocol == protocol
        assert not split.allow_leak
        assert ("LEAKS" in split.label) == (protocol in LEAKING_PROTOCOLS)


def test_synthetic_corpora_say_so_in_their_label() -> None:
    for path in (CONF / "dataset").glob("*.yaml"):
        dataset = composed(f"dataset={path.stem}").dataset
        assert ("synthetic" in dataset.label) == dataset.synthetic


def test_roots_follow_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert composed("dataset=gtzan").dataset.root == "data/gtzan"
    monkeypatch.setenv("GENREGRID_DATA", "/corpora")
    assert composed("dataset=gtzan").dataset.root == "/corpora/gtzan"
