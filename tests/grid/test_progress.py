"""The progress of a grid: what its folder holds, what is printed, and which grid is resumed."""

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genregrid.grid.progress import Progress, cell_of, earlier_folder, forget_failures
from genregrid.record.facts import RunFacts
from genregrid.record.folder import ERROR_FILE

FACTS = RunFacts(
    model="lstm",
    seed=0,
    settings={},
    started="2026-01-01T00:00:00.000+00:00",
    versions={},
    commit=None,
    dataset="twin",
    dataset_label="twin",
    synthetic=False,
    slice_seconds=3.0,
    protocol="track",
    leaks=False,
    folds=5,
    fold=0,
    val_folds=4,
    split_seed=0,
    num_tracks={},
    data_hashes={},
)


def fake_run(folder: Path, model: str = "lstm", **facts: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("{}")
    content = FACTS.to_json() | {"model": model} | facts
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_the_status_of_a_grid_is_read_from_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path, num_jobs=6, watch=False)
    assert progress.status().done == []
    fake_run(tmp_path / "twin/a", val_accuracy=0.5)
    fake_run(tmp_path / "twin/b", val_accuracy=0.7)
    fake_run(tmp_path / "twin/c", model="mlp", val_accuracy=0.65)
    (tmp_path / "twin/d").mkdir()
    (tmp_path / "twin/d/config.yaml").touch()  # started
    (tmp_path / "twin/e").mkdir()
    (tmp_path / f"twin/e/{ERROR_FILE}").write_text("slice=4: too short.\n\nTraceback")
    status = progress.status()
    assert [path.name for path in status.done] == ["a", "b", "c"]
    assert status.failed == {tmp_path / "twin/e": "slice=4: too short."}
    assert status.accuracy == {"mlp-slice3-track": 0.65, "lstm-slice3-track": pytest.approx(0.6)}
    progress.print_status()
    line = capsys.readouterr().out
    assert line.startswith("grid: 3 of 6 jobs done, 1 failed, ")
    assert ", 1 started, " in line
    assert " left, best mlp-slice3-track 65.0 % of validation" in line
    assert progress.conclude()
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["1 of 6 jobs failed:", f"  {tmp_path / 'twin/e'}: slice=4: too short."]
    assert printed.out.splitlines() == [f"next: `python evaluate.py runs={tmp_path}`", f"run: {tmp_path}"]
    forget_failures(tmp_path)
    assert not progress.conclude()


@pytest.mark.parametrize("value", ["0.9", True, 2.0, [0.5], None])
def test_a_validation_accuracy_that_no_run_has_is_no_score(value: object, tmp_path: Path) -> None:
    fake_run(tmp_path / "a", val_accuracy=value)
    fake_run(tmp_path / "b", val_accuracy=0.5)
    status = Progress(tmp_path, num_jobs=2, watch=False).status()
    assert len(status.done) == 2
    assert status.accuracy == {"lstm-slice3-track": 0.5}


def test_cells_of_one_model_are_named_by_the_settings_that_differ(tmp_path: Path) -> None:
    for number, (size, score) in enumerate([(32, 0.5), (32, 0.6), (64, 0.7)]):
        settings = {"model.hidden_size": size, "batch_size": 16}
        fake_run(tmp_path / str(number), val_accuracy=score, settings=settings, dataset_label="twin")
    (tmp_path / "3").mkdir()
    (tmp_path / f"3/{ERROR_FILE}").touch()  # being written
    status = Progress(tmp_path, num_jobs=4, watch=False).status()
    means = {"lstm-slice3-track model.hidden_size=64": 0.7, "lstm-slice3-track model.hidden_size=32": 0.55}
    assert status.accuracy == pytest.approx(means)
    assert status.failed == {tmp_path / "3": "failed"}


def test_the_newest_grid_of_the_same_overrides_is_resumed(tmp_path: Path) -> None:
    def start(name: str, *overrides: str, age: int) -> None:
        (tmp_path / name).mkdir()
        config = OmegaConf.create({"hydra": {"overrides": {"hydra": ["hydra.mode=MULTIRUN"], "task": list(overrides)}}})
        OmegaConf.save(config, tmp_path / name / "multirun.yaml")
        os.utime(tmp_path / name / "multirun.yaml", (10_000 - age, 10_000 - age))

    start("1", "model=lstm", "seed=0,1", age=4)
    start("2", "model=lstm", "seed=0,1", age=3)
    start("3", "model=lstm", "seed=0,1,2", age=2)
    start("4", "model=mlp", "seed=0,1", age=1)
    here = tmp_path / "5"
    overrides = ["seed=0,1", "model=lstm", "resume=true", "launcher=local", "hydra.launcher.workers=3"]
    assert earlier_folder(here, overrides) == tmp_path / "2"
    assert earlier_folder(here, ["model=lstm"]) is None


@pytest.mark.parametrize("age", [0, -(10**10)])  # the second is dated centuries ahead
def test_a_damaged_multirun_yaml_is_left_out(age: int, tmp_path: Path) -> None:
    sound = "hydra: {overrides: {hydra: [], task: [model=lstm]}}"
    bomb = "a: &a [x, x]\nhydra: {overrides: {hydra: [*a, *a], task: [model=lstm]}}"
    damaged = (b"", sound.encode()[:40], b"\xff\xfe\0", b"[1, 2]", b"hydra: 3", bomb.encode(), b"[" * 10_000, b"\0")
    for number, content in enumerate(damaged):
        (tmp_path / f"damaged{number}").mkdir()
        (tmp_path / f"damaged{number}/multirun.yaml").write_bytes(content)
    (tmp_path / "folder/multirun.yaml").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/multirun.yaml")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/multirun.yaml").symlink_to("nowhere")
    for path in tmp_path.glob("*/multirun.yaml"):
        if path.exists():
            os.utime(path, (10_000 - age, 10_000 - age))
    assert earlier_folder(tmp_path / "new", ["model=lstm"]) is None
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound/multirun.yaml").write_text(sound)
    os.utime(tmp_path / "sound/multirun.yaml", (1, 1))
    assert earlier_folder(tmp_path / "new", ["model=lstm"]) == tmp_path / "sound"


def test_jobs_of_a_cell_differ_in_folds_and_seeds() -> None:
    assert cell_of(["model=mlp", "split.fold=1", "seed=2"]) == cell_of(["seed=0", "model=mlp", "+split.val_fold=3"])
    assert cell_of(["model=mlp", "split.folds=1"]) != cell_of(["model=mlp"])
