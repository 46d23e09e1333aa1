"""Run folders become cells: which runs are pooled, kept apart or skipped."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.mark import Mark
from genregrid.report.cell import read_grid

Expect = Callable[..., AbstractContextManager[None]]


def test_folds_and_seeds_are_pooled_and_models_are_not(make_grid: Callable[..., Path]) -> None:
    cells, notes = read_grid(make_grid({"model": "mlp"}, {"model": "lstm"}))
    assert notes == []
    assert sorted(cell.label for cell in cells) == ["lstm 3 s", "mlp 3 s"]
    for cell in cells:
        assert len(cell.runs) == 4
        assert cell.predictions["run"].nunique() == 4
        assert not cell.predictions.duplicated(["seed", "track"]).any()
        assert len(cell.curves) == 4 * 5
        assert len(cell.validation) > 0
        assert len(cell.timeline) == 4 * len(cell.predictions)


def test_the_most_accurate_cell_of_a_protocol_comes_first(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid({"model": "a", "skill": 0.0}, {"model": "b", "skill": 4.0}))
    assert [cell.model for cell in cells] == ["b", "a"]


def test_settings_keep_cells_of_one_model_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("grid/a", settings={"model.hidden_size": 8})
    make_run("grid/b", settings={"model.hidden_size": 16})
    cells, _ = read_grid(tmp_path / "grid")
    assert {cell.label for cell in cells} == {"lstm 3 s model.hidden_size=8", "lstm 3 s model.hidden_size=16"}


def test_features_keep_cells_apart_and_name_them_where_they_differ(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    make_run("grid/a", recipe="kaggle-reflect")
    (only,), _ = read_grid(tmp_path / "grid")
    assert (only.features, only.label) == ("kaggle-reflect", "lstm 3 s")
    make_run("grid/b", recipe="musicnn-msd", may_overlap=True)
    cells, _ = read_grid(tmp_path / "grid")
    assert {cell.label: cell.marks for cell in cells} == {
        "lstm 3 s kaggle-reflect": (),
        "lstm 3 s musicnn-msd": (Mark.MAY_OVERLAP,),
    }


def test_log_probabilities_are_those_of_the_file_and_finite_where_one_is_zero(
    make_run: Callable[..., Path], change_run: Callable[..., None]
) -> None:
    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, ["p_blues", "p_jazz", "p_rock"]] = [0.25, 0.75, 0.0]
        return frame

    folder = make_run("grid/a")
    change_run(folder, changed)
    (cell,), _ = read_grid(folder.parent)
    assert cell.log_probs[0].tolist() == pytest.approx([np.log(0.25), np.log(0.75), np.log(1e-300)])


def test_genres_called_none_stay_genres(make_run: Callable[..., Path]) -> None:
    (cell,), _ = read_grid(make_run("grid/a", genres=["None", "NA", "null"]).parent)
    assert cell.genres == ["None", "NA", "null"]
    assert cell.predictions["genre"].isin(cell.genres).all()
    assert cell.correct.mean() > 0.5


def test_a_damaged_run_is_named(make_run: Callable[..., Path], user_error: Expect) -> None:
    folder = make_run("grid/a")
    (folder / "predictions.csv").write_text("nothing\n1\n")
    with user_error(folder / "predictions.csv", problem="no column 'track'"):
        read_grid(folder.parent)


def test_a_run_without_a_fact_is_named_with_the_key(make_run: Callable[..., Path], user_error: Expect) -> None:
    folder = make_run("grid/a")
    facts = json.loads((folder / "run.json").read_text())
    del facts["folds"]
    (folder / "run.json").write_text(json.dumps(facts))
    with user_error(folder / "run.json", problem="'folds'"):
        read_grid(folder.parent)


def test_a_folder_without_finished_runs_is_refused(tmp_path: Path, user_error: Expect) -> None:
    with user_error("runs", tmp_path / "none"):
        read_grid(tmp_path / "none")
    with user_error("runs", str(tmp_path), problem="no finished run"):
        read_grid(tmp_path)


@pytest.mark.parametrize(("synthetic", "title"), [(True, "drawn (SYNTHETIC), row-LEAKS"), (False, "drawn, row-LEAKS")])
def test_the_title_of_a_cell_has_its_marks(make_run: Callable[..., Path], synthetic: bool, title: str) -> None:
    (cell,), _ = read_grid(make_run("grid/a", split="row-LEAKS", synthetic=synthetic).parent)
    assert cell.title == f"lstm 3 s, {title}"
    assert cell.dataset == "drawn"
    assert cell.marks == ((Mark.LEAKS, Mark.SYNTHETIC) if synthetic else (Mark.LEAKS,))


def test_runs_without_timelines_or_validation_are_read(make_run: Callable[..., Path]) -> None:
    folder = make_run("grid/a")
    for name in ("timeline.csv", "predictions_val.csv", "curves.csv", "config.yaml"):
        (folder / name).unlink()
    (cell,), _ = read_grid(folder.parent)
    assert cell.timeline.empty
    assert cell.validation.empty
    assert cell.curves.empty
    assert cell.config == {}


def test_names_that_look_like_numbers_stay_names(make_run: Callable[..., Path]) -> None:
    folder = make_run("grid/a", genres=["1970", "1980"])
    for name in ("predictions.csv", "split.csv", "timeline.csv", "predictions_val.csv"):
        frame = pd.read_csv(folder / name, dtype=str)
        frame["track"] = "0000" + frame["track"].str.replace(".", "")
        frame.to_csv(folder / name, index=False)
    (cell,), _ = read_grid(folder.parent)
    assert cell.genres == ["1970", "1980"]
    assert all(track.startswith("00001") for track in cell.tracks)
    assert cell.correct.mean() > 0.5
    assert cell.predictions["group"].notna().all()


def test_a_checkpoint_scored_on_another_split_is_a_cell_and_on_its_own_a_note(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    make_run("grid/trained")
    for name, split in (("home", "track"), ("elsewhere", "track-LEAKS")):
        folder = make_run(f"grid/{name}", split=split, seed=1)
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(facts | {"checkpoint": "x", "trained_on": "drawn (track)"}))
    cells, notes = read_grid(tmp_path / "grid")
    assert [(cell.split, cell.trained_on) for cell in cells] == [("track", ""), ("track-LEAKS", "drawn (track)")]
    assert [note for note in notes if "grid/home scores a checkpoint on its own split again" in note]


def test_cells_that_lack_folds_come_last_and_are_noted(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for fold in (0, 1):
        make_run(f"grid/whole{fold}", model="whole", fold=fold, skill=0.5)
    make_run("grid/part", model="part", fold=0, skill=9.0)
    cells, notes = read_grid(tmp_path / "grid")
    assert [cell.model for cell in cells] == ["whole", "part"]
    assert any("part 3 s, drawn, track: only 1 of 2 folds were tested" in note for note in notes)


def test_a_probability_that_is_not_a_number_is_a_damaged_run(make_run: Callable[..., Path], user_error: Expect) -> None:
    folder = make_run("grid/a")
    frame = pd.read_csv(folder / "predictions.csv")
    frame.loc[0, "p_jazz"] = np.nan
    frame.to_csv(folder / "predictions.csv", index=False)
    with user_error(folder / "predictions.csv", problem="no finite number in column 'p_jazz'"):
        read_grid(folder.parent)


@pytest.mark.parametrize(
    ("damage", "problem"), [("twice", "a track that is there twice"), ("unknown", "not in split.csv")]
)
def test_predictions_that_do_not_fit_their_split_are_a_damaged_run(
    make_run: Callable[..., Path], user_error: Expect, damage: str, problem: str
) -> None:
    folder = make_run("grid/a")
    frame = pd.read_csv(folder / "predictions.csv")
    frame.loc[0, "track"] = frame.loc[1, "track"] if damage == "twice" else "nobody.00000"
    frame.to_csv(folder / "predictions.csv", index=False)
    with user_error(folder / "predictions.csv", problem=problem):
        read_grid(folder.parent)


def test_a_setting_that_one_cell_does_not_have_keeps_it_apart(make_run: Callable[..., Path]) -> None:
    """None, numbers and lists are in one column, where pandas would read None as a missing number."""
    make_run("grid/a", settings={"model.whitening": None, "model.summary": ["mean"]})
    folder = make_run("grid/b", settings={"model.whitening": 0.2, "model.summary": ["pooled", "mean"]})
    cells, _ = read_grid(folder.parent)
    assert sorted(cell.settings for cell in cells) == [
        "model.whitening=0.2 model.summary=[pooled,mean]",
        "model.whitening=null model.summary=[mean]",
    ]
