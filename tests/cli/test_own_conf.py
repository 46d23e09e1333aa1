"""A folder of one's own for the configuration: ``--config-dir FOLDER`` adds its files to those of the package."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genregrid.cli.argument import check_form, with_hint
from genregrid.cli.mistake import NO_SUCH_KEY
from genregrid.cli.nearest import Keys
from genregrid.config import register_schemas
from genregrid.errors import UserError
from genregrid.files import read_json

FOREST = """# @package _global_
# A random forest.
defaults:
  - shared/estimator
  - _self_

window: 1
batch_size: 4096
trainer:
  max_epochs: 1
model:
  _target_: genregrid.models.estimator.EstimatorClassifier
  estimator: sklearn.ensemble.ExtraTreesClassifier
  names: {num_trees: n_estimators}
  num_trees: 5
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the model `forest` and the dataset `mine`."""
    folder = tmp_path / "my conf"
    for name, text in (("model/forest", FOREST), ("dataset/mine", "defaults: [twin]\nnum_tracks: 50\n")):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["--config-dir {}", "--config-dir={}", "-cd {}"])
def test_a_model_and_a_dataset_of_an_own_folder_are_found_and_named(form: str, own: Path, project_root: Path) -> None:
    register_schemas()
    arguments = [*shlex.split(form.format("'my conf'")), "model=forest"]
    keys = Keys(arguments, "train", project_root / "conf")
    assert {"forest", "lstm"} <= set(keys.choices["model"])
    assert {"mine", "twin"} <= set(keys.choices["dataset"])
    assert "model.num_trees" in keys.of_model()
    mistake = with_hint(
        UserError(NO_SUCH_KEY, key="model.trees"), [*arguments, "model.trees=3"], "train", project_root / "conf"
    )
    assert "model.num_trees=3" in (mistake.hint or "")


def test_a_model_of_an_own_folder_is_trained_and_its_checkpoint_scored(
    own: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--config-dir", "my conf", "model=forest", "dataset=mine", "logger=none", "trainer.accelerator=cpu")
    assert script("train", *words, "hydra.run.dir=run") == 0, capsys.readouterr().err
    assert read_json(Path("run/run.json"))["model"] == "forest"
    assert script("evaluate", "--config-dir", "my conf", "checkpoint=run", "hydra.run.dir=again") == 0, (
        capsys.readouterr().err
    )
    assert read_json(Path("again/metrics.json")) == read_json(Path("run/metrics.json"))


def test_a_word_that_is_a_model_of_an_own_folder_gets_its_key(
    own: Path, project_root: Path, user_error: Callable[..., Any]
) -> None:
    with user_error("forest", hint="model=forest"):
        check_form(["--config-dir", "my conf", "forest"], "train", project_root / "conf")
