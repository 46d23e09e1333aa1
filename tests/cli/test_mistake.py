"""Mistakes in overrides, as fields: Hydra 1.3 and OmegaConf 2.3 name the key and the value in attributes of errors."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import omegaconf
import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.argument import check_form
from genregrid.cli.mistake import missing_group, mistake_of
from genregrid.errors import UserError

Composed = Callable[..., DictConfig]


def mistake_in(composed: Composed, *overrides: str) -> UserError:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of several types, which is what the test is about
        composed(*overrides)
    mistake = mistake_of(caught.value)
    assert mistake is not None
    assert "\n" not in str(mistake)
    return mistake


@pytest.mark.parametrize(
    ("override", "key", "value", "problem"),
    [
        ("slcie=3", "slcie", None, "no such key"),
        ("modle=mlp", "modle", None, "no such key"),
        ("model.dropuot=3", "model.dropuot", None, "no such key"),
        ("hydra.run.dirr=x", "hydra.run.dirr", None, "no such key"),
        ("model=foo", "model", "foo", "lstm, lstm_knn"),
        ("hydra/launcher=foo", "hydra/launcher", "foo", "processes"),
        ("batch_size=x", "batch_size", "x", "expected a whole number"),
        ("batch_size=null", "batch_size", None, "must not be null"),
        ("slice=x", "slice", "x", "expected a number"),
        ("slice=[1,2]", "slice", [1, 2], "expected a number"),
        ("trainer.checkpoint_seconds=x", "trainer.checkpoint_seconds", "x", "expected a number"),
        ("resume=x", "resume", "x", "expected true or false"),
        ("dataset.tables=3", "dataset.tables", 3, "ListConfig"),
        ("a b", "a b", None, "key=value"),
        ("model=lstm,mlp", "model", "lstm,mlp", "several values"),
        ("slice=choice(1,2)", "slice", "choice(1,2)", "several values"),
        ("model", "model", None, "key=value"),
        ("slice=[1", "slice", "[1", "cannot be read"),
    ],
)
def test_a_mistake_in_an_override_is_reported_with_its_key_and_value(
    override: str, key: str | None, value: Any, problem: str, composed: Composed
) -> None:
    mistake = mistake_in(composed, override)
    assert (mistake.key, mistake.value) == (key, value)
    assert problem in mistake.problem


def test_the_mistake_is_found_in_the_causes_of_an_error() -> None:
    with pytest.raises(hydra.errors.InstantiationException) as caught:
        instantiate(OmegaConf.create({"_target_": "genregrid.config.SearchConfig", "num_jobs": 0}))
    mistake = mistake_of(caught.value)
    assert mistake is not None
    assert (mistake.key, mistake.value) == ("search.num_jobs", 0)
    with pytest.raises(hydra.errors.InstantiationException) as caught:
        instantiate(OmegaConf.create({"_target_": "genregrid.config.SearchConfig", "foo": 0}))
    mistake = mistake_of(caught.value)
    assert mistake is not None
    assert "unexpected keyword argument 'foo'" in mistake.problem
    assert "genregrid.config.SearchConfig" in mistake.problem


def test_a_fault_of_the_program_is_no_mistake() -> None:
    assert mistake_of(ValueError("no")) is None


def test_a_key_without_its_group_is_an_assertion_of_this_version_of_omegaconf(composed: Composed) -> None:
    assert omegaconf.__version__.startswith("2.3"), "see whether `missing_group` is still needed"
    with pytest.raises(AssertionError):
        composed("dataset.recipe=x", config="evaluate")
    mistake = missing_group(["checkpoint=x", "dataset.recipe=x"], {"dataset": "dataset=csv"})
    assert mistake is not None
    assert (mistake.key, mistake.value, mistake.hint) == ("dataset.recipe", "x", "add dataset=csv")
    assert missing_group(["checkpoint=x", "trainer.devices=2"], {"dataset": "dataset=csv"}) is None
    groups = {"dataset": "dataset=csv", "split": "split=track"}
    mistake = missing_group(["checkpoint=x", "dataset=csv", "dataset.path=x", "split.fold=1"], groups)
    assert mistake is not None
    assert (mistake.key, mistake.hint) == ("split.fold", "add split=track")


@pytest.mark.parametrize("argument", ["=", "=3"])
def test_an_argument_without_a_key_is_refused_before_hydra_sees_it(
    argument: str, project_root: Path, user_error: Callable[..., Any]
) -> None:
    check_form(["slice=3", "-m"], "train", project_root / "conf")
    with user_error(argument, problem="key=value"):
        check_form(["slice=3", argument], "train", project_root / "conf")


def test_a_variable_that_ends_the_import_of_torch_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def imported() -> Exception:
        with pytest.raises(ValueError, match="nonsense") as caught:
            exec(compile("raise ValueError('nonsense')", "torch.py", "exec"), {"__name__": "torch._logging"})
        return caught.value

    for name in [name for name in os.environ if "TORCH" in name]:
        monkeypatch.delenv(name)
    assert mistake_of(imported()) is None
    monkeypatch.setenv("TORCH_LOGS", "nonsense")
    assert mistake_of(ValueError("of the program")) is None
    mistake = mistake_of(imported())
    assert mistake is not None
    assert (mistake.key, mistake.hint is not None and "`unset TORCH_LOGS`" in mistake.hint) == ("TORCH_LOGS", True)
