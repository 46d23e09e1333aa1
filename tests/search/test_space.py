"""The searched settings: ranges of the YAML, sweeps of the command line, and keys that a model does not have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genregrid.config import TrainConfig
from genregrid.models.network import Network
from genregrid.search.space import Space, build_space, nearest, parse_sweep, read_range, to_overrides

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
Composed = Callable[..., DictConfig]
UserErrors = Callable[..., Any]
Sections = dict[str, dict[str, Any]]
SpaceOf = Callable[..., tuple[Space, list[str]]]


@pytest.fixture
def space_of(composed: Composed, sections: Sections) -> SpaceOf:
    """`space_of(model, *overrides)` is the space of a model with these overrides, and the keys that it lacks."""

    def build(model: str, *arguments: str) -> tuple[Space, list[str]]:
        overrides = OverridesParser.create().parse_overrides(list(arguments))
        cfg = composed(f"model={model}")
        family = "network" if issubclass(get_class(cfg.model._target_), Network) else "estimator"
        return build_space(sections, (family, model), cfg, overrides)

    return build


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([8, 16], CategoricalDistribution([8, 16])),
        ([None, 0.2, "log", True], CategoricalDistribution([None, 0.2, "log", True])),
        ({"low": 1, "high": 3}, IntDistribution(1, 3)),
        ({"low": 1, "high": 50, "log": True}, IntDistribution(1, 50, log=True)),
        ({"low": 0.0, "high": 1}, FloatDistribution(0, 1)),
        ({"low": 0.1, "high": 0.5, "step": 0.2}, FloatDistribution(0.1, 0.5, step=0.2)),
        ({"low": 0.0001, "high": 0.01, "log": True}, FloatDistribution(0.0001, 0.01, log=True)),
    ],
)
def test_a_range_of_the_yaml_has_both_its_ends(given: Any, expected: BaseDistribution) -> None:
    assert read_range("model.x", given) == expected


@pytest.mark.parametrize(
    "given",
    [3, "8,16", [], [[1], [2]], {"low": 1}, {"low": 3, "high": 1}, {"low": 0.0, "high": 1.0, "log": True}, {"hi": 1}],
)
def test_a_wrong_range_is_reported_with_its_key(given: Any, user_error: UserErrors) -> None:
    with user_error("model.x", given):
        read_range("model.x", given)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("model.x=32,64", CategoricalDistribution([32, 64])),
        ("model.x=choice(32,64)", CategoricalDistribution([32, 64])),
        ("model.x=null,0.2", CategoricalDistribution([None, 0.2])),
        ("model.x=range(1,4)", IntDistribution(1, 3)),
        ("model.x=range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("model.x=range(1,5,3)", IntDistribution(1, 4, step=3)),
        ("model.x=range(5,1,-1)", IntDistribution(2, 5)),
        ("model.x=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("model.x=interval(0,0.5)", FloatDistribution(0, 0.5)),
        ("model.x=int(interval(1,4))", IntDistribution(1, 3)),
        ("model.x=tag(int,log,interval(1,64))", IntDistribution(1, 63, log=True)),
        ("model.x=tag(log,interval(1e-4,1e-2))", FloatDistribution(0.0001, 0.01, log=True)),
    ],
)
def test_a_sweep_of_the_command_line_means_what_hydra_means(word: str, expected: BaseDistribution) -> None:
    assert parse_sweep(OverridesParser.create().parse_override(word)) == expected


@pytest.mark.parametrize("word", ["model.x=glob(*)", "model.x=range(3,1)", "model.x=interval(2,1)"])
def test_a_sweep_without_values_is_refused(word: str, user_error: UserErrors) -> None:
    with user_error("model.x"):
        parse_sweep(OverridesParser.create().parse_override(word))


def test_a_key_that_the_model_does_not_have_is_left_out(space_of: SpaceOf, sections: Sections) -> None:
    space, missing = space_of("mlp")
    assert "model.num_layers" in missing
    assert "model.num_layers" not in space
    assert set(space_of("lstm")[0]) == set(sections["network"])
    assert set(space_of("lda")[0]) == {"model.transform", "model.shrinkage"}
    assert set(space_of("lstm_svm")[0]) == {*sections["network"], "model.inverse_penalty"}


def test_a_value_fixes_its_key_and_a_sweep_replaces_a_range(space_of: SpaceOf) -> None:
    space, _ = space_of("lstm", "model.dropout=0.3", "batch_size=16,32", "model.mixup=interval(0.1,1)", "slice=3")
    assert "model.dropout" not in space
    assert space["batch_size"] == CategoricalDistribution([16, 32])
    assert space["model.mixup"] == FloatDistribution(0.1, 1.0)


@pytest.mark.parametrize("key", ["split.fold", "seed", "slice", "trainer.max_epochs", "window"])
def test_neither_data_nor_protocol_nor_epochs_are_searched(key: str, space_of: SpaceOf, user_error: UserErrors) -> None:
    with user_error(key):
        space_of("lstm", f"{key}=1,2")


def test_an_empty_space_is_refused(space_of: SpaceOf, user_error: UserErrors) -> None:
    fixed = [f"{key}=null" for key in space_of("lda")[0]]
    with user_error("model", "lda"):
        space_of("lda", *fixed)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_space_whose_values_compose(
    model: str, space_of: SpaceOf, composed: Composed, sections: Sections
) -> None:
    space, _ = space_of(model)
    assert space
    assert {key for key, given in sections.get(model, {}).items() if given is not None} <= set(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    cfg = composed(f"model={model}", *to_overrides(study.ask(space).params))
    assert isinstance(OmegaConf.to_object(cfg), TrainConfig)


def test_the_first_trial_has_the_models_own_values_within_the_space(space_of: SpaceOf, composed: Composed) -> None:
    cfg = composed("model=lstm")
    first = nearest(cfg, space_of("lstm")[0])
    assert first["model.learning_rate"] == 0.001
    assert first["model.weight_decay"] == 0.000001  # 0 in the YAML: below the range, so its lower end
    assert "model.hidden_size" not in nearest(composed("model=mlp"), space_of("mlp")[0])  # null is not a choice


def test_values_survive_the_command_line() -> None:
    params = {"model.dropout": 0.1234567890123, "model.relu": False, "batch_size": 8, "model.transform": "log"}
    overrides = OverridesParser.create().parse_overrides(to_overrides(params))
    found = {override.get_key_element(): override.value() for override in overrides}
    assert found == params | {"model.dropout": 0.1235}


def test_a_wandb_sweep_has_the_same_ranges_and_composes(space_of: SpaceOf, composed: Composed) -> None:
    sweep: Any = OmegaConf.to_container(OmegaConf.load(CONF / "wandb_sweep.yaml"))
    read = {key: _of_wandb(key, given) for key, given in sweep["parameters"].items()}
    assert read == space_of("lstm")[0]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    fixed = [word for word in sweep["command"] if "$" not in word and "=" in word]
    cfg = composed(*fixed, *to_overrides(study.ask(read).params))
    assert isinstance(OmegaConf.to_object(cfg), TrainConfig)
    assert sweep["metric"] == {"name": f"search/{cfg.search.score}", "goal": "minimize"}
    assert sweep["command"][1:5] == ["python", "-m", "genregrid", "train"]
    assert composed("sweep=optuna").search.num_folds == cfg.search.num_folds


def _of_wandb(key: str, given: dict[str, Any]) -> BaseDistribution:
    if "values" in given:
        return read_range(key, given["values"])
    kinds = {"uniform": float, "log_uniform_values": float, "int_uniform": int}
    assert isinstance(given["min"], kinds[given["distribution"]])
    is_log = given["distribution"].startswith("log")
    return read_range(key, {"low": given["min"], "high": given["max"], "log": is_log})
