"""W&B offline: what a run logs can be read back from its files, and each job of a process has a run of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.tracking.wandb_run import _is_logged_in
from genregrid.training.run import train

CONF = Path(__file__).resolve().parents[2] / "conf"
GENRES = ("blues", "classical", "metal")


@pytest.fixture
def run(write_csv: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`run("folder", *overrides)` trains two epochs and returns the run folder."""
    corpus = write_csv(genres=GENRES, tracks=9, slices=2)

    def trained(name: str, *overrides: str) -> Path:
        register_schemas()
        base = ["dataset=csv", f"dataset.path={corpus}", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [*base, "split.folds=3", *overrides])
        train(cfg, tmp_path / name, "lstm")
        return tmp_path / name

    return trained


def read_back(folder: Path, what: str) -> Any:
    """What `wandb leet inspect` says of the one run in a folder."""
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
def test_runs_are_online_only_where_the_user_is_logged_in_or_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], expected: bool
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _is_logged_in() == expected
