"""Every output of a synthetic corpus and of a leaking protocol is marked, whatever the label of the corpus is."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from genregrid.cli.report import report
from genregrid.models.base import CHECKPOINT_KEY
from genregrid.report.ensemble import ensemble
from genregrid.search.study import load_study
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train

pytestmark = pytest.mark.slow

MARKS = ("LEAKS", "SYNTHETIC")
TWIN = ("dataset=twin", "dataset.num_tracks=100", "dataset.label=mine")
LEAK = ("split=row", "split.allow_leak=true")
QUICK = ("trainer.max_epochs=2", "trainer.accelerator=cpu")
EXHIBITS = (".csv", ".md", ".svg", ".html")


class Outputs:
    """The folder of all outputs, and the printed text of each command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.screen: dict[str, str] = {}

    def keep(self, name: str, command: Callable[[], object]) -> None:
        with redirect_stdout(StringIO()) as printed:
            returned = command()
        self.screen[name] = f"{printed.getvalue()}\n{returned}"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, composed: Callable[..., DictConfig]) -> Outputs:
    """Two runs, an evaluation, an ensemble and a report; the first run and the report are logged to W&B."""
    made = Outputs(tmp_path_factory.mktemp("marks"))
    runs = made.folder / "runs"

    def trained(model: str, logger: str) -> str:
        return train(
            composed(f"model={model}", f"logger={logger}", *TWIN, *LEAK, *QUICK), runs / model, model
        ).summary()

    def evaluated() -> str:
        cfg = composed(f"checkpoint={runs / 'mlp'}", *TWIN, config="evaluate")
        return evaluate(cfg, made.folder / "evaluation").summary()

    def reported() -> str:
        return report(composed(f"runs={runs}", "logger=wandb", config="evaluate"), made.folder / "report")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(made.folder / "staging"))
        made.keep("train", lambda: trained("mlp", "wandb"))
        made.keep("train again", lambda: trained("logistic", "none"))
        made.keep("evaluate", evaluated)
        made.keep("ensemble", lambda: ensemble(str(runs), made.folder / "ensemble"))
        made.keep("report", reported)
    return made


@pytest.mark.parametrize("command", ["train", "train again", "evaluate", "ensemble", "report"])
def test_the_screen_has_the_marks(outputs: Outputs, command: str) -> None:
    assert "mine" in outputs.screen[command]
    assert [mark for mark in MARKS if mark not in outputs.screen[command]] == []


def test_run_folders_and_checkpoints_have_the_marks(outputs: Outputs) -> None:
    folders = [path.parent for path in outputs.folder.rglob("run.json")]
    assert {path.relative_to(outputs.folder).parts[0] for path in folders} == {"runs", "evaluation", "ensemble"}
    for folder in folders:
        facts = json.loads((folder / "run.json").read_text())
        assert (facts["dataset_label"], facts["marks"]) == ("mine", list(MARKS)), folder
        assert set(pd.read_csv(folder / "per_genre.csv")["marks"]) == {"LEAKS SYNTHETIC"}, folder
    for path in outputs.folder.rglob("checkpoint.ckpt"):
        assert torch.load(path, weights_only=True)[CHECKPOINT_KEY]["marks"] == list(MARKS)


def test_tables_figures_and_the_page_of_a_report_have_the_marks(outputs: Outputs) -> None:
    files = [path for path in (outputs.folder / "report").iterdir() if path.suffix in EXHIBITS]
    assert {path.suffix for path in files} == set(EXHIBITS)
    unmarked = [path.name for path in files for mark in MARKS if mark not in path.read_text(encoding="utf-8")]
    assert unmarked == []


@pytest.mark.parametrize("folder", ["runs/mlp", "report"])
def test_wandb_runs_have_the_marks(outputs: Outputs, folder: str) -> None:
    (path,) = (outputs.folder / folder).glob("wandb/offline-run-*/*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    run: dict[str, Any] = next(record["run"] for record in map(json.loads, lines) if record["type"] == "run")
    assert set(MARKS) <= set(run["tags"])
    assert run["config"]["update"]["marks"] == list(MARKS)


@pytest.mark.torture
def test_a_search_of_a_synthetic_corpus_has_its_mark_in_every_output(project_root: Path, tmp_path: Path) -> None:
    search = ("search.num_trials=2", "search.num_folds=1")
    command = [sys.executable, str(project_root / "train.py"), "-m", "sweep=optuna", "model=mlp", *TWIN, *search]
    command += ["trainer.max_epochs=2", "hydra.sweep.dir=study"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine (SYNTHETIC): 100 tracks" in done.stdout
    assert "Marks: SYNTHETIC" in done.stdout
    files = [path for path in (tmp_path / "study").iterdir() if path.suffix in EXHIBITS]
    assert {path.suffix for path in files} == set(EXHIBITS)
    assert [path.name for path in files if "SYNTHETIC" not in path.read_text(encoding="utf-8")] == []
    assert load_study(tmp_path / "study").user_attrs["marks"] == ["SYNTHETIC"]
