"""Resumed runs: which run is finished already, and that a stopped run gives the same bytes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from omegaconf import DictConfig

from genregrid.models.network import Network
from genregrid.record.facts import identity
from genregrid.record.folder import ERROR_FILE, finished_run
from genregrid.report.cell import read_grid
from genregrid.training.run import finished_before, train

QUICK = ("logger=none", "trainer.accelerator=cpu", "split.folds=3", "dataset=csv")


@pytest.fixture
def make_cfg(write_csv: Callable[..., Path], composed: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    path = write_csv(tracks=9, slices=4)
    return lambda *overrides: composed(*QUICK, f"dataset.path={path}", *overrides)


def test_a_finished_run_is_recognised_by_its_settings_and_data(
    make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
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
    config = {"dataset": {"path": "a.csv", "name": "csv"}, "model": {"_target_": "x"}, "seed": 0}
    moved = config | {"dataset": {"path": "b.csv", "name": "csv"}}
    assert identity("lstm", config, {"a.csv": "12"}) == identity("lstm", moved, {"b.csv": "12"})
    assert identity("lstm", config, {"a.csv": "12"}) != identity("lstm", config, {"a.csv": "13"})


def test_a_run_without_an_identity_does_not_count_as_finished(tmp_path: Path) -> None:
    run = tmp_path / "lstm-job0"
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert finished_run(run, "abc") is None


@pytest.mark.parametrize(
    "model", ["lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("set_mlp", "lstm_svm"))]
)
def test_a_run_that_is_stopped_and_resumed_gives_the_same_bytes(
    model: str, make_cfg: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"model={model}", "trainer.max_epochs=5", "trainer.checkpoint_seconds=0", "logger=csv", "batch_size=4")
    train(make_cfg(*overrides), tmp_path / "whole", model)
    with monkeypatch.context() as patched:

        def stopped(self: Network) -> None:
            if self.current_epoch == 3:
                raise RuntimeError("stopped")
            end_epoch(self)

        end_epoch = Network.on_train_epoch_end
        patched.setattr(Network, "on_train_epoch_end", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            train(make_cfg(*overrides), tmp_path / "stopped", model)
    assert (tmp_path / "stopped/last.ckpt").is_file()
    assert not (tmp_path / "stopped/run.json").exists()
    epochs: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(
            Network, "on_train_epoch_end", lambda self: (epochs.append(self.current_epoch), end_epoch(self))[1]
        )
        train(make_cfg(*overrides, "resume=true"), tmp_path / "stopped", model)
    assert epochs == [3, 4]
    assert not (tmp_path / "stopped/last.ckpt").exists()
    for name in ("curves.csv", "predictions.csv", "predictions_val.csv", "timeline.csv", "metrics.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    logged = [(tmp_path / kind / "metrics.csv").read_text().count("\n") for kind in ("stopped", "whole")]
    assert abs(logged[0] - logged[1]) <= 6  # epochs that ran twice are logged twice


def test_a_checkpoint_of_other_settings_is_not_resumed(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    overrides = ("model=lstm", "trainer.max_epochs=2", "trainer.checkpoint_seconds=0")
    train(make_cfg(*overrides), tmp_path / "whole", "lstm")
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "whole/checkpoint.ckpt").rename(run / "last.ckpt")
    result = train(make_cfg(*overrides, "resume=true", "model.hidden_size=8"), run, "lstm")
    assert len(result.curves) == 2


def test_resuming_does_not_replace_a_finished_run(
    make_cfg: Callable[..., DictConfig], tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    train(make_cfg("model=lda"), tmp_path / "run", "lda")
    before = (tmp_path / "run/predictions.csv").read_bytes()
    with user_error("resume", True, problem="holds a finished run of other settings or data"):
        train(make_cfg("model=lda", "model.transform=standardise", "resume=true"), tmp_path / "run", "lda")
    assert (tmp_path / "run/predictions.csv").read_bytes() == before


def test_a_report_of_a_running_grid_skips_unfinished_runs(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    train(make_cfg("model=lda"), tmp_path / "grid/done-job0", "lda")
    for number, names in ((1, ["config.yaml"]), (2, ["config.yaml", ERROR_FILE]), (3, ["config.yaml", "metrics.json"])):
        folder = tmp_path / f"grid/lda-job{number}"
        folder.mkdir()
        for name in names:
            (folder / name).write_text("slice=4: too short.\n" if name == ERROR_FILE else "{}")
    cells, notes = read_grid(tmp_path / "grid")
    assert [len(cell.runs) for cell in cells] == [1]
    assert any("lda-job1 has no result yet" in note for note in notes)
    assert any("lda-job2 failed and was skipped: slice=4: too short." in note for note in notes)
    (tmp_path / f"grid/lda-job2/{ERROR_FILE}").write_text("")  # the state while it is being written
    assert any("lda-job2 failed and was skipped: failed" in note for note in read_grid(tmp_path / "grid")[1])
