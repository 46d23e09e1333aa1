"""Mistakes in overrides, as fields: Hydra 1.3 and OmegaConf 2.3 name the key and the value in attributes of errors."""

from collections.abc import Callable
from typing import Any

import hydra
import omegaconf
import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

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
        ("a b", "a b", None, ""),
        ("model=lstm,mlp", None, None, "--multirun"),
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
