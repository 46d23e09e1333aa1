"""Grids: what their folder tells, how they go on, and jobs in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from genregrid.config import register_schemas
from genregrid.errors import UserError
from genregrid.grid.progress import Progress, cell_of, earlier_folder, forget_failures
from genregrid.models.network import Network
from genregrid.record.facts import RunFacts, identity
from genregrid.record.folder import ERROR_FILE, finished_run
from genregrid.report.cell import read_grid
from genregrid.training.run import finished_before, train

CONF = Path(__file__).resolve().parents[2] / "conf"
QUICK = ("logger=none", "trainer.accelerator=cpu", "split.folds=3", "dataset=csv")


@pytest.fixture
def make_cfg(write_csv: Callable[..., Path]) -> Callable[..., DictConfig]:
    path = write_csv(tracks=9, slices=4)

    def make(*overrides: str) -> DictConfig:
        register_schemas()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", [*QUICK, f"dataset.path={path}", *overrides])

    return make


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


# --- what the folder tells ------------------------------------------------------------------------------------------


def test_a_grids_standing_is_read_from_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path, num_jobs=6, watch=False)
    assert progress.standing().done == []
    fake_run(tmp_path / "twin/a", val_accuracy=0.5)
    fake_run(tmp_path / "twin/b", val_accuracy=0.7)
    fake_run(tmp_path / "twin/c", model="mlp", val_accuracy=0.65)
    (tmp_path / "twin/d").mkdir()
    (tmp_path / "twin/d/config.yaml").touch()  # begun
    (tmp_path / "twin/e").mkdir()
    (tmp_path / f"twin/e/{ERROR_FILE}").write_text("slice=4: too short.\n\nTraceback")
    standing = progress.standing()
    assert [path.name for path in standing.done] == ["a", "b", "c"]
    assert standing.failed == {tmp_path / "twin/e": "slice=4: too short."}
    assert standing.accuracy == {"mlp-slice3-track": 0.65, "lstm-slice3-track": pytest.approx(0.6)}
    progress.tell()
    line = capsys.readouterr().out
    assert line.startswith("grid: 3 of 6 jobs done, 1 failed, ")
    assert ", 1 begun, " in line
    assert " left, best mlp-slice3-track 65.0 % of validation" in line
    assert progress.conclude()
    told = capsys.readouterr()
    assert told.err.splitlines() == ["1 of 6 jobs failed:", f"  {tmp_path / 'twin/e'}: slice=4: too short."]
    assert told.out == f"run: {tmp_path}\n"
    forget_failures(tmp_path)
    assert not progress.conclude()


def test_cells_of_one_model_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    for number, (size, score) in enumerate([(32, 0.5), (32, 0.6), (64, 0.7)]):
        settings = {"model.hidden_size": size, "batch_size": 16}
        fake_run(tmp_path / str(number), val_accuracy=score, settings=settings, dataset_label="twin")
    (tmp_path / "3").mkdir()
    (tmp_path / f"3/{ERROR_FILE}").touch()  # being written
    standing = Progress(tmp_path, num_jobs=4, watch=False).standing()
    means = {"lstm-slice3-track model.hidden_size=64": 0.7, "lstm-slice3-track model.hidden_size=32": 0.55}
    assert standing.accuracy == pytest.approx(means)
    assert standing.failed == {tmp_path / "3": "failed"}


def test_the_newest_grid_of_the_same_words_is_gone_on_with(tmp_path: Path) -> None:
    def begun(name: str, *words: str, age: int) -> None:
        (tmp_path / name).mkdir()
        config = OmegaConf.create({"hydra": {"overrides": {"hydra": ["hydra.mode=MULTIRUN"], "task": list(words)}}})
        OmegaConf.save(config, tmp_path / name / "multirun.yaml")
        os.utime(tmp_path / name / "multirun.yaml", (10_000 - age, 10_000 - age))

    begun("1", "model=lstm", "seed=0,1", age=4)
    begun("2", "model=lstm", "seed=0,1", age=3)
    begun("3", "model=lstm", "seed=0,1,2", age=2)
    begun("4", "model=mlp", "seed=0,1", age=1)
    here = tmp_path / "5"
    words = ["seed=0,1", "model=lstm", "resume=true", "launcher=local", "hydra.launcher.workers=3"]
    assert earlier_folder(here, words) == tmp_path / "2"
    assert earlier_folder(here, ["model=lstm"]) is None


def test_jobs_of_a_cell_differ_in_folds_and_seeds() -> None:
    assert cell_of(["model=mlp", "split.fold=1", "seed=2"]) == cell_of(["seed=0", "model=mlp", "+split.val_fold=3"])
    assert cell_of(["model=mlp", "split.folds=1"]) != cell_of(["model=mlp"])


# --- identity -------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_known_by_settings_and_data(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    quick = ("model=lda",)
    folder = tmp_path / "grid/lda-slice3-track-fold0-seed0-job4"
    train(make_cfg(*quick), folder, "lda")
    other_number = tmp_path / "grid/lda-slice3-track-fold0-seed0-job9"
    assert finished_before(make_cfg(*quick), folder, "lda") == folder
    no_matter = ("trainer.threads=2", "logger=csv", "resume=true", "trainer.progress_bar=true", "trainer.stack=5")
    assert finished_before(make_cfg(*quick, *no_matter), other_number, "lda") == folder
    for change in ("seed=1", "split.val_folds=4", "model.transform=quantile", "slice=6", "trainer.max_epochs=7"):
        assert finished_before(make_cfg(*quick, change), folder, "lda") is None, change
    assert finished_before(make_cfg(*quick), folder, "other") is None
    path = Path(str(make_cfg(*quick).dataset.path))
    path.write_text(path.read_text().replace(",66149,", ",66150,", 1))
    assert finished_before(make_cfg(*quick), folder, "lda") is None


def test_data_in_another_place_are_the_same_data() -> None:
    config = {"dataset": {"path": "a.csv", "name": "csv"}, "seed": 0}
    moved = {"dataset": {"path": "b.csv", "name": "csv"}, "seed": 0}
    assert identity("lstm", config, {"a.csv": "12"}) == identity("lstm", moved, {"b.csv": "12"})
    assert identity("lstm", config, {"a.csv": "12"}) != identity("lstm", config, {"a.csv": "13"})


def test_runs_without_an_identity_are_not_taken_for_finished(tmp_path: Path) -> None:
    assert finished_run(fake_run(tmp_path / "lstm-job0"), "abc") is None


# --- going on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["lstm", "set_mlp", "lstm_svm"])
def test_a_run_that_was_stopped_comes_to_the_same_bytes(
    model: str, make_cfg: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"model={model}", "trainer.max_epochs=5", "trainer.checkpoint_seconds=0", "logger=csv", "batch_size=4")
    train(make_cfg(*words), tmp_path / "whole", model)
    with monkeypatch.context() as patched:

        def stopped(self: Network) -> None:
            if self.current_epoch == 3:
                raise RuntimeError("stopped")
            end_epoch(self)

        end_epoch = Network.on_train_epoch_end
        patched.setattr(Network, "on_train_epoch_end", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            train(make_cfg(*words), tmp_path / "stopped", model)
    assert (tmp_path / "stopped/last.ckpt").is_file()
    assert not (tmp_path / "stopped/run.json").exists()
    epochs: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(
            Network, "on_train_epoch_end", lambda self: (epochs.append(self.current_epoch), end_epoch(self))[1]
        )
        train(make_cfg(*words, "resume=true"), tmp_path / "stopped", model)
    assert epochs == [3, 4]
    assert not (tmp_path / "stopped/last.ckpt").exists()
    for name in ("curves.csv", "predictions.csv", "predictions_val.csv", "timeline.csv", "metrics.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    logged = [(tmp_path / kind / "metrics.csv").read_text().count("\n") for kind in ("stopped", "whole")]
    assert abs(logged[0] - logged[1]) <= 6  # epochs logged again come in rows of their own


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(
    make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    words = ("model=lstm", "trainer.max_epochs=2", "trainer.checkpoint_seconds=0")
    train(make_cfg(*words), tmp_path / "whole", "lstm")
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "whole/checkpoint.ckpt").rename(run / "last.ckpt")
    result = train(make_cfg(*words, "resume=true", "model.hidden_size=8"), run, "lstm")
    assert len(result.curves) == 2


def test_what_is_finished_is_not_replaced_by_going_on(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    train(make_cfg("model=lda"), tmp_path / "run", "lda")
    before = (tmp_path / "run/predictions.csv").read_bytes()
    with pytest.raises(UserError, match="holds a finished run of other settings or data"):
        train(make_cfg("model=lda", "model.transform=standardise", "resume=true"), tmp_path / "run", "lda")
    assert (tmp_path / "run/predictions.csv").read_bytes() == before


def test_a_report_of_a_grid_that_is_running_passes_over_what_is_not_finished(
    make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    train(make_cfg("model=lda"), tmp_path / "grid/done-job0", "lda")
    for number, names in ((1, ["config.yaml"]), (2, ["config.yaml", ERROR_FILE]), (3, ["config.yaml", "metrics.json"])):
        folder = tmp_path / f"grid/lda-job{number}"
        folder.mkdir()
        for name in names:
            (folder / name).write_text("slice=4: too short.\n" if name == ERROR_FILE else "{}")
    cells, notes = read_grid(tmp_path / "grid")
    assert [len(cell.runs) for cell in cells] == [1]
    assert any("lda-job1 has no result yet" in note for note in notes)
    assert any("lda-job2 failed and was passed over: slice=4: too short." in note for note in notes)
    (tmp_path / f"grid/lda-job2/{ERROR_FILE}").write_text("")  # as it may be found while it is written
    assert any("lda-job2 failed and was passed over: failed" in note for note in read_grid(tmp_path / "grid")[1])


# --- jobs in processes ----------------------------------------------------------------------------------------------


def command(project_root: Path, *words: str) -> list[str]:
    fixed = ["dataset.num_tracks=200", "logger=none", "trainer.accelerator=cpu", "launcher=local"]
    return [sys.executable, str(project_root / "train.py"), "-m", *fixed, *words]


def results_of(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.rglob("predictions.csv")}


def test_a_grid_killed_and_gone_on_with_is_the_grid_that_was_not(project_root: Path, tmp_path: Path) -> None:
    """``kill -9`` in the middle, then ``resume=true``: every job once, and every byte of its predictions."""
    words = ("model=lstm,set_mlp,mlp", "seed=0,1", "trainer.max_epochs=40", "trainer.checkpoint_seconds=0")
    with subprocess.Popen(
        command(project_root, *words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (
            list(tmp_path.rglob("run.json")) and list(tmp_path.rglob("last.ckpt"))
        ):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (grid,) = (tmp_path / "outputs/multirun").iterdir()
    finished = {path.parent: path.stat().st_mtime_ns for path in grid.rglob("run.json")}
    assert 0 < len(finished) < 6
    again = subprocess.run(
        command(project_root, *words, "resume=true"), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert f"going on in {grid.relative_to(tmp_path)}" in again.stdout
    assert again.stdout.splitlines()[-1] == f"run: {grid.relative_to(tmp_path)}"
    assert list((tmp_path / "outputs/multirun").iterdir()) == [grid]
    assert {path: (path / "run.json").stat().st_mtime_ns for path in finished} == finished
    whole = subprocess.run(
        command(project_root, *words, "hydra.sweep.dir=whole"), cwd=tmp_path, capture_output=True, timeout=300
    )
    assert whole.returncode == 0
    assert len(results_of(grid)) == 6
    assert results_of(grid) == results_of(tmp_path / "whole")


def test_a_failing_job_and_one_that_ends_its_process_leave_the_others(project_root: Path, tmp_path: Path) -> None:
    """An impossible slice length, a model that kills its process, and stacks of fits: all in one grid."""
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom genregrid.models.lda import LDA\n\n\n"
        "class Deadly(LDA):\n    def fit_estimator(self, *args, **kwargs):\n        os.kill(os.getpid(), 9)\n"
    )
    target = "model._target_=genregrid.models.lda.LDA,deadly.Deadly"
    done = subprocess.run(
        command(project_root, "model=lda", target, "slice=3,4", "split.fold=0,1", "hydra.sweep.dir=grid"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert "6 of 8 jobs failed:" in lines
    assert sum(" and 3 more: slice=4: this table can make slices" in line for line in lines) == 1
    assert sum(" and 1 more: its process ended: out of memory, or killed" in line for line in lines) == 1
    assert len(list((tmp_path / "grid").rglob("run.json"))) == 2
    assert "Traceback" not in done.stderr
    assert "grid: 2 of 8 jobs done, 6 failed" in done.stdout
    (output, *_) = [path for path in (tmp_path / "grid").rglob("output.txt") if (path.parent / "run.json").exists()]
    assert "accuracy" in output.read_text()
