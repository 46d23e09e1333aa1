"""Paths that evaluate.py is given: lists of them, folders of trainings, and the newest training."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from genregrid.cli.place import given_checkpoint, given_paths
from genregrid.cli.report import REPORT
from genregrid.files import home_expanded

UserErrors = Callable[..., Any]


def training(folder: str, started: str = "2026-01-01T00:00:00.000+00:00", name: str = "checkpoint.ckpt") -> Path:
    """Make the folder of a training, with what `given_checkpoint` looks at."""
    path = Path(folder)
    path.mkdir(parents=True)
    (path / name).touch()
    if name == "checkpoint.ckpt" and started:
        (path / "run.json").write_text(json.dumps({"started": started}))
    return path / name


def test_latest_is_the_finished_training_that_started_last(capsys: pytest.CaptureFixture[str]) -> None:
    training("outputs/corpus/old", "2026-01-01T00:00:00.000+00:00")
    newest = training("outputs/multirun/grid/corpus/job1", "2026-01-03T00:00:00.000+00:00")
    training("outputs/corpus/middle", "2026-01-02T00:00:00.000+00:00")
    training("outputs/corpus/unfinished", "")
    training("elsewhere", "2026-01-09T00:00:00.000+00:00")
    evaluated = Path("outputs/evaluate/1")
    evaluated.mkdir(parents=True)
    (evaluated / "run.json").write_text('{"started": "2026-01-08"}')
    damaged = training("outputs/corpus/damaged")
    damaged.with_name("run.json").write_text("{")
    Path("latest").touch()
    assert given_checkpoint("latest") == newest
    assert capsys.readouterr().out == f"checkpoint=latest: {newest}\n"
    assert given_checkpoint("./latest") == Path("latest")


def test_of_trainings_that_started_together_the_last_to_end_is_latest() -> None:
    first, second = training("outputs/a"), training("outputs/b")
    os.utime(first.with_name("run.json"), (2e9, 2e9))
    assert given_checkpoint("latest") == first != second


def test_without_a_training_there_is_no_latest(user_error: UserErrors) -> None:
    with user_error("checkpoint", "latest", hint="./latest"):
        given_checkpoint("latest")
    training("outputs/unfinished", name="last.ckpt")
    with user_error("checkpoint", "latest"):
        given_checkpoint("latest")


def test_a_folder_is_its_checkpoint_or_names_those_below_it(user_error: UserErrors) -> None:
    one = training("grid/corpus/one")
    assert given_checkpoint("grid/corpus/one") == given_checkpoint(str(one)) == one
    with user_error("checkpoint", "grid", problem="1 run with", hint="choose grid/corpus/one"):
        given_checkpoint("grid")
    for number in range(30):
        training(f"grid/corpus/two{number:02d}")
    with user_error("checkpoint", "grid", problem="31 runs with", hint="grid/corpus/two00, "):
        given_checkpoint("grid")
    last = training("stopped", name="last.ckpt")
    with user_error("checkpoint", "stopped", problem="not finished", hint="stopped/last.ckpt"):
        given_checkpoint("stopped")
    assert given_checkpoint(str(last)) == last
    with user_error("checkpoint", "."):
        given_checkpoint(".")
    Path("empty").mkdir()
    with user_error("checkpoint", "empty", problem="no checkpoint"):
        given_checkpoint("empty")
    assert given_checkpoint("nowhere") == Path("nowhere")  # reading it has its own sentence


@pytest.mark.parametrize(("key", "value", "paths"), [
    ("runs", "outputs", ["outputs"]),
    ("runs", "[outputs,grid/a]", ["outputs", "grid/a"]),
    ("audio", "[song.mp3,music]", ["song.mp3", "music"]),
    ("audio", "['a, b.mp3',c.mp3]", ["a, b.mp3", "c.mp3"]),
])  # fmt: skip
def test_a_key_takes_a_path_or_a_list(
    key: str, value: str, paths: list[str], composed: Callable[..., DictConfig]
) -> None:
    assert given_paths(composed(f"{key}={value}", config="evaluate"), key) == [Path(path) for path in paths]


@pytest.mark.parametrize("value", ["[]", "[a,'']", "[[a],b]", "[1]", "[null]", "{a:b}"])
def test_other_values_are_no_paths(value: str, composed: Callable[..., DictConfig], user_error: UserErrors) -> None:
    with user_error("runs"):
        given_paths(composed(f"runs={value}", config="evaluate"), "runs")


def test_a_report_plays_recordings_of_one_folder(
    composed: Callable[..., DictConfig], tmp_path: Path, user_error: UserErrors
) -> None:
    with user_error("audio", ["a", "b"]):
        REPORT.run(composed("runs=x", "audio=[a,b]", config="evaluate"), tmp_path)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    expected = ["/home/me/music", "/home/me", "~other/music", "a/~/b", "music~"]
    assert [home_expanded(path) for path in ("~/music", "~", "~other/music", "a/~/b", "music~")] == expected
    Path("~").mkdir()
    assert home_expanded("~") == "~"
