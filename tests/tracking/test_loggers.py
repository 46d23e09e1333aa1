"""W&B offline: the logged values are read back from files, and each job of a process has a separate run."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from genregrid.tracking.wandb_run import _is_logged_in, resolved_mode, start_run
from genregrid.training.run import train

GENRES = ("blues", "classical", "metal")


@pytest.fixture
def run(write_csv: Callable[..., Path], composed: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., Path]:
    """`run("folder", *overrides)` trains two epochs and returns the run folder."""
    corpus = write_csv(genres=GENRES, tracks=9, slices=2)

    def trained(name: str, *overrides: str) -> Path:
        base = ["dataset=csv", f"dataset.path={corpus}", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
        train(composed(*base, "split.folds=3", *overrides), tmp_path / name, "lstm")
        return tmp_path / name

    return trained


def read_back(folder: Path, what: str) -> Any:
    """Return the output of `wandb leet inspect` for the one run in a folder."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = Path(sys.executable).with_name("wandb")
    words = [str(command), "leet", "inspect", what, "--json", str(path)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_two_runs_of_one_process_have_their_own_files_with_config_and_summary(run: Callable[..., Path]) -> None:
    for folder, seed in ((run("a", "split=row", "split.allow_leak=true"), 0), (run("b", "seed=1"), 1)):
        content = json.dumps(read_back(folder, "--summary"))
        summary = json.loads((folder / "metrics.json").read_text())
        for word in ("test/accuracy", "test/certainty/blues", "test/confusion", "val/loss", "train/accuracy"):
            assert word in content, word
        assert ("LEAKS" in content) == (seed == 0)
        assert str(round(summary["test/accuracy"], 3))[:4] in content
        tables = {path.name.split("_")[0] for path in folder.rglob("*.table.json")}
        assert {"predictions", "per", "confusion"} <= tables


def test_csv_logger_writes_a_row_per_epoch_into_the_run_folder(run: Callable[..., Path]) -> None:
    metrics = pd.read_csv(run("csv", "logger=csv") / "metrics.csv")
    assert metrics["val/loss"].notna().sum() == 2
    assert metrics["train/accuracy"].notna().sum() == 2


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"WANDB_API_KEY": "0" * 40}, True),
    ],
)
def test_runs_are_online_only_if_the_user_is_logged_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], expected: bool
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _is_logged_in() == expected


def test_an_unknown_mode_is_refused(user_error: Callable[..., AbstractContextManager[None]]) -> None:
    with user_error("logger.mode", "on"):
        resolved_mode("on")


@pytest.mark.parametrize("project", ["../../p", "a/b:c?d", "p" * 10_000])
def test_a_project_that_wandb_does_not_take_is_refused(
    project: str, tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error("logger.project", project):
        start_run(tmp_path, "disabled", project=project)


def test_long_names_and_tags_are_cut(tmp_path: Path) -> None:
    start_run(tmp_path, "disabled", project="p", name="n" * 500, group="g" * 500, tags=["t" * 100]).finish()


@pytest.mark.parametrize(
    ("mode", "sweep", "is_own"), [("MULTIRUN", "grids", True), ("RUN", "grids", False), ("MULTIRUN", "wandb", False)]
)
def test_an_id_in_the_environment_is_that_of_one_run_and_of_no_job_of_a_grid(
    mode: str,
    sweep: str,
    is_own: bool,
    composed: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = composed("sweep=grids", hydra=True)
    with open_dict(cfg):
        cfg.hydra.mode, cfg.hydra.runtime.choices.sweep = mode, sweep
    HydraConfig.instance().set_config(cfg)
    settings: list[dict[str, Any]] = []
    monkeypatch.setattr("wandb.init", lambda **given: settings.append(given))  # its own id replaces WANDB_RUN_ID
    for _ in range(2):
        start_run(tmp_path, "offline", project="p")
    ids = {given.get("id") for given in settings}
    assert (len(ids) == 2 and None not in ids) if is_own else ids == {None}
    assert all(given.get("resume") == ("never" if is_own else None) for given in settings)  # whatever WANDB_RESUME is
