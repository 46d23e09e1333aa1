"""Which command of evaluate.py a configuration starts, and which keys it takes."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from genregrid.cli.command import choose
from genregrid.cli.evaluate import COMMANDS, main
from genregrid.cli.recordings import RECORDINGS
from genregrid.cli.report import EXPLAIN, REPORT
from genregrid.cli.score import SCORE
from genregrid.cli.vote import VOTE
from genregrid.config import EvaluateConfig
from genregrid.errors import UserError

Composed = Callable[..., DictConfig]
UserErrors = Callable[..., Any]


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        ("checkpoint=x", SCORE),
        ("checkpoint=x dataset=gtzan split=row seed=1 logger=csv", SCORE),
        ("checkpoint=x audio=song.wav", RECORDINGS),
        ("runs=x audio=songs reference=paper human=answers.csv logger=wandb", REPORT),
        ("runs=x explain=true reference=paper dataset=gtzan", EXPLAIN),
        ("ensemble=[a,b]", VOTE),
    ],
)
def test_a_key_starts_its_command_with_the_keys_that_it_takes(overrides: str, command: Any, composed: Composed) -> None:
    assert choose(COMMANDS, composed(*overrides.split(), config="evaluate")) is command


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ("", None, None),
        ("dataset=gtzan", None, None),
        ("audio=song.wav", "audio", "song.wav"),
        ("checkpoint=x runs=y", "checkpoint", "x"),
        ("runs=y ensemble=z", "runs", "y"),
        ("checkpoint=x ensemble=z", "checkpoint", "x"),
        ("audio=song.wav ensemble=z", "audio", "song.wav"),
        ("checkpoint=x reference=paper", "reference", "paper"),
        ("checkpoint=x human=answers.csv", "human", "answers.csv"),
        ("checkpoint=x audio=song.wav seed=1", "seed", 1),
        ("ensemble=z seed=1", "seed", 1),
        ("ensemble=z logger=wandb", "logger", None),
        ("runs=y dataset=gtzan", "dataset", None),
        ("runs=y split=track", "split", None),
        ("runs=y explain=true split=track", "split", None),
        ("checkpoint=x explain=true", "explain", True),
        ("checkpoint=", "checkpoint", ""),
        ("checkpoint=x audio=", "audio", ""),
        ("checkpoint= audio=x", "checkpoint", ""),
        ("runs=", "runs", ""),
        ("runs=x audio=", "audio", ""),
    ],
)
def test_other_combinations_are_refused_with_the_key(
    overrides: str, key: str | None, value: Any, composed: Composed, user_error: UserErrors
) -> None:
    with user_error(key, value):
        choose(COMMANDS, composed(*overrides.split(), config="evaluate"))


def test_every_key_of_the_configuration_belongs_to_a_command() -> None:
    assert set.union(*(command.keys for command in COMMANDS)) == {field.name for field in fields(EvaluateConfig)}


def test_a_logger_of_files_is_refused_by_a_report(composed: Composed, user_error: UserErrors, tmp_path: Any) -> None:
    with user_error("logger"):
        REPORT.run(composed("runs=x", "logger=csv", config="evaluate"), tmp_path)


def test_a_key_that_no_command_takes_has_no_hint(composed: Composed) -> None:
    with pytest.raises(UserError) as caught:
        choose(COMMANDS, composed("checkpoint=x", "++other=1", config="evaluate"))
    assert (caught.value.key, caught.value.value, caught.value.hint) == ("other", 1, None)


@pytest.mark.parametrize("name", ["checkpoint.ckpt", "last.ckpt"])
def test_the_folder_of_a_training_is_not_written_to(
    name: str, tmp_path: Path, composed: Composed, user_error: UserErrors
) -> None:
    (tmp_path / name).touch()
    with user_error("hydra.run.dir", tmp_path):
        main(composed(f"checkpoint={tmp_path / name}", config="evaluate"), tmp_path)
