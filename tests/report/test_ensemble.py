"""Ensembles of runs: their members, the tracks of a vote, and the fitting of weights."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.report.cell import read_grid
from genregrid.report.ensemble import ensemble

Make = Callable[..., Path]


@pytest.fixture
def two(make_run: Make, tmp_path: Path) -> list[str]:
    """A good and a bad model, two folds each."""
    for model, skill in (("good", 3.0), ("bad", 0.0)):
        for fold in range(2):
            make_run(f"{model}/{fold}", model=model, skill=skill, fold=fold, tracks=40)
    return [str(tmp_path / "good"), str(tmp_path / "bad")]


def result(folder: Path, fold: int = 0) -> Path:
    return folder / f"drawn/ensemble-track-fold{fold}-seed0"


def facts(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "run.json").read_text())
    return content


def test_a_vote_is_written_as_a_run(two: list[str], tmp_path: Path) -> None:
    text = ensemble(two, tmp_path / "vote")
    assert "good 3 s" in text
    assert "2 votes on 120 tracks" in text
    (cell,) = read_grid(tmp_path / "vote")[0]
    assert (cell.model, len(cell.runs), cell.missing_folds) == ("ensemble", 2, 0)
    assert cell.corpus == "gtzan"
    assert len(cell.predictions) == 120
    assert len(cell.validation) > 0
    folder = result(tmp_path / "vote")
    names = {"metrics.json", "per_genre.csv", "predictions.csv", "predictions_val.csv", "confusion.csv", "split.csv"}
    assert names <= {path.name for path in folder.iterdir()}
    assert set(pd.read_csv(folder / "per_genre.csv")["level"]) == {"track"}
    assert not [name for name in json.loads((folder / "metrics.json").read_text()) if name.startswith("test_slice")]


def test_a_model_that_guesses_gets_little_weight(two: list[str], tmp_path: Path) -> None:
    ensemble(two, tmp_path / "vote")
    members = facts(result(tmp_path / "vote"))["members"]
    assert isinstance(members, list)
    weight = {member["model"]: member["weight"] for member in members}
    assert weight["good 3 s"] > 0.6
    assert sum(weight.values()) == pytest.approx(1, abs=1e-5)


def test_weights_and_temperatures_do_not_see_test_tracks(
    two: list[str], tmp_path: Path, change_run: Callable[..., None]
) -> None:
    """Other predictions for test tracks change the vote, but neither weights nor temperatures."""
    ensemble(two, tmp_path / "before")
    probs = ["p_blues", "p_jazz", "p_rock"]
    for folder in (tmp_path / "good").iterdir():
        change_run(folder, lambda frame: frame.assign(**dict(zip(probs, frame[probs[::-1]].to_numpy().T, strict=True))))
    ensemble(two, tmp_path / "after")
    before, after = (facts(result(tmp_path / name)) for name in ("before", "after"))
    assert before["members"] == after["members"]
    votes = [pd.read_csv(result(tmp_path / name) / "predictions.csv") for name in ("before", "after")]
    assert not votes[0].equals(votes[1])


def test_runs_of_one_model_are_averaged_before_they_vote(make_run: Make, tmp_path: Path) -> None:
    for number in range(3):
        folder = make_run(f"seeds/{number}", seed=number, tracks=40)
        content = facts(folder) | {"split_seed": 0}
        (folder / "run.json").write_text(json.dumps(content))
    ensemble([str(tmp_path / "seeds")], tmp_path / "vote")
    predictions = pd.read_csv(result(tmp_path / "vote") / "predictions.csv").set_index("track")
    runs = [pd.read_csv(tmp_path / f"seeds/{number}/predictions.csv").set_index("track") for number in range(3)]
    probs = ["p_blues", "p_jazz", "p_rock"]
    (member,) = facts(result(tmp_path / "vote"))["members"]  # type: ignore[misc]  # a list in JSON
    tempered = [run[probs] ** (1 / member["temperature"]) for run in runs]  # type: ignore[has-type]
    mean = sum(frame.div(frame.sum(axis=1), axis=0) for frame in tempered) / 3
    np.testing.assert_allclose(predictions[probs].to_numpy(), mean.loc[predictions.index].to_numpy(), atol=1e-4)


def test_a_track_that_one_member_did_not_test_is_left_out_with_a_note(
    two: list[str], tmp_path: Path, change_run: Callable[..., None]
) -> None:
    frame = pd.read_csv(Path(two[1]) / "0/predictions.csv")
    change_run(Path(two[1]) / "0", lambda frame: frame.iloc[1:])
    text = ensemble(two, tmp_path / "vote")
    assert "fold 0, split seed 0: tracks left out, as not every member tested them: 1" in text
    assert frame["track"].iloc[0] not in set(pd.read_csv(result(tmp_path / "vote") / "predictions.csv")["track"])


def test_a_fold_that_a_member_lacks_is_left_out_with_a_note(make_run: Make, two: list[str], tmp_path: Path) -> None:
    make_run("third/0", model="third", fold=0, tracks=40)
    text = ensemble([*two, str(tmp_path / "third")], tmp_path / "vote")
    assert "fold 1, split seed 0: third 3 s has no run" in text
    assert not result(tmp_path / "vote", 1).exists()


def test_cells_of_two_protocols_do_not_vote_together(make_run: Make, two: list[str], tmp_path: Path) -> None:
    make_run("artist/a", model="a", split="artist")
    make_run("artist/b", model="b", split="artist")
    text = ensemble([*two, str(tmp_path / "artist")], tmp_path / "vote")
    assert "split track" in text
    assert "split artist" in text
    members = facts(result(tmp_path / "vote"))["members"]
    assert [member["model"] for member in members] == ["good 3 s", "bad 3 s"]  # type: ignore[union-attr]


def test_a_folder_given_twice_counts_once_and_an_earlier_ensemble_not_at_all(two: list[str], tmp_path: Path) -> None:
    once = ensemble(two, tmp_path / "vote")
    again = ensemble([*two, two[0], str(tmp_path)], tmp_path / "again")
    assert again.startswith(once)
    assert "ensemble 3 s, drawn, track is an ensemble itself and is left out" in again


def test_runs_of_one_model_in_two_folders_are_one_member(make_run: Make, tmp_path: Path) -> None:
    for seed in range(2):
        folder = make_run(f"{seed}/run", seed=seed, tracks=40)
        (folder / "run.json").write_text(json.dumps(facts(folder) | {"split_seed": 0}))
    ensemble([str(tmp_path / "0"), str(tmp_path / "1")], tmp_path / "vote")
    assert len(facts(result(tmp_path / "vote"))["members"]) == 1  # type: ignore[arg-type]  # a list in JSON


def test_groups_with_different_numbers_of_folds_have_separate_folders(make_run: Make, tmp_path: Path) -> None:
    for folds in (2, 3):
        for model in ("a", "b"):
            make_run(f"{folds}/{model}", model=model, folds=folds, tracks=40)
    ensemble([str(tmp_path)], tmp_path / "vote")
    names = sorted(path.name for path in (tmp_path / "vote/drawn").iterdir())
    assert names == ["ensemble-track-fold0-seed0", "ensemble1-track-fold0-seed0"]


def test_a_member_that_is_never_wrong_on_validation_gives_finite_certainties(make_run: Make, tmp_path: Path) -> None:
    for model in ("a", "b"):
        make_run(f"sure/{model}", model=model, skill=60.0)
    ensemble([str(tmp_path / "sure")], tmp_path / "vote")
    predictions = pd.read_csv(result(tmp_path / "vote") / "predictions.csv")
    assert np.isfinite(predictions["certainty"]).all()


def test_a_vote_of_leaking_members_leaks(make_run: Make, tmp_path: Path) -> None:
    for model in ("a", "b"):
        make_run(f"leak/{model}", model=model, split="row-LEAKS")
    text = ensemble([str(tmp_path / "leak")], tmp_path / "vote")
    assert "row-LEAKS" in text
    assert facts(tmp_path / "vote/drawn/ensemble-row-LEAKS-fold0-seed0")["leaks"] is True


def test_runs_that_cannot_vote_are_reported_with_a_hint(
    make_run: Make, two: list[str], tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    vote, nothing = tmp_path / "vote", tmp_path / "nothing"
    nothing.mkdir()
    with user_error("ensemble", "nowhere", problem="not a folder"):
        ensemble(["nowhere"], vote)
    for wrong, value in ((5, 5), (True, True), ([1, 2], 1), ("", "")):
        with user_error("ensemble", value, problem="not a folder"):
            ensemble(wrong, vote)
    with user_error("ensemble", str(nothing), problem="no finished run"):
        ensemble([*two, str(nothing)], vote)
    with user_error("ensemble", ",".join(two), problem="not a folder", hint="[A,B]"):
        ensemble(",".join(two), vote)
    with user_error("ensemble", [], hint="folders of runs"):
        ensemble([], vote)
    with user_error("ensemble", problem="there is one run"):
        ensemble(str(make_run("alone/0")), vote)
    (Path(two[0]) / "0/predictions_val.csv").unlink()
    (Path(two[0]) / "1/predictions_val.csv").unlink()
    with user_error("good 3 s, drawn, track", problem="predictions_val.csv", hint="run it again"):
        ensemble(two, vote)


@pytest.mark.parametrize("damage", ["cut", "genre", "bytes"])
def test_damaged_validation_predictions_are_reported(
    two: list[str], tmp_path: Path, damage: str, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    path = Path(two[0]) / "0/predictions_val.csv"
    text = path.read_text()
    changed = {"cut": text[:-40], "genre": text.replace(",blues,", ",polka,", 1), "bytes": "\x00\x01,\n1,2,3"}
    path.write_text(changed[damage])
    with user_error(path, hint="run it again"):
        ensemble(two, tmp_path / "vote")


def test_a_label_that_turns_text_around_is_escaped(make_run: Make, tmp_path: Path) -> None:
    for model in ("a", "b"):
        make_run(f"runs/{model}", model=model, dataset="\u202e")
    assert all(line.isprintable() for line in ensemble(str(tmp_path / "runs"), tmp_path / "vote").split("\n"))
