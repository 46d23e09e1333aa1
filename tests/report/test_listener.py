"""A listening test plays slices of a model, and its answers become a person's row beside the model's."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from genregrid.report.cell import Cell, read_grid
from genregrid.report.listener import listening_items, people_table, read_answers
from genregrid.report.recording import Recordings, recording_urls
from genregrid.report.writer import write_report

MLP = {"model": "mlp", "window": 1, "tracks": 14}


@pytest.fixture
def cells(make_grid: Callable[..., Path]) -> list[Cell]:
    return read_grid(make_grid({"model": "lstm", "skill": 5.0}, MLP, {**MLP, "split": "row-LEAKS", "skill": 9.0}))[0]


@pytest.fixture
def audio(cells: list[Cell]) -> Recordings:
    tracks = {track for cell in cells for track in cell.tracks}
    return {"drawn": {track: f"audio/{track}.wav" for track in tracks}}


def answered(items: list[dict[str, Any]], tmp_path: Path, right: float = 1.0) -> Path:
    """Write answers as the page exports them, with a share of right ones."""
    frame = pd.DataFrame(items).drop(columns="audio")
    wrong = frame["genre"].map({"blues": "jazz", "jazz": "rock", "rock": "blues"})
    frame["guess"] = np.where(np.arange(len(frame)) < right * len(frame), frame["genre"], wrong)
    frame.insert(0, "person", "Ann")
    frame.assign(seconds_taken=4.2).to_csv(tmp_path / "answers.csv", index=False)
    return tmp_path / "answers.csv"


def test_slices_belong_to_an_honest_model_of_single_slices(cells: list[Cell], audio: Recordings) -> None:
    items = listening_items(cells, audio)
    assert {item["model"] for item in items} == {"mlp 3 s, drawn, track"}
    assert pd.DataFrame(items)["genre"].value_counts().to_dict() == {"blues": 10, "jazz": 10, "rock": 10}
    assert len({item["track"] for item in items}) == len(items)
    assert len({item["start_seconds"] for item in items}) == 4  # not introductions only
    assert listening_items(cells, audio) == items


def test_for_a_model_of_sequences_the_first_slice_is_played(cells: list[Cell], audio: Recordings) -> None:
    items = listening_items([cell for cell in cells if cell.model == "lstm"], audio)
    assert {item["start_seconds"] for item in items} == {0}


def test_the_models_prediction_is_that_for_the_played_slice(cells: list[Cell], audio: Recordings) -> None:
    (mlp,) = [cell for cell in cells if cell.model == "mlp" and not cell.leaks]
    for item in listening_items(cells, audio)[:5]:
        slices = mlp.timeline[
            (mlp.timeline["track"] == item["track"]) & (mlp.timeline["start_seconds"] == item["start_seconds"])
        ]
        assert (item["predicted"], item["certainty"]) in set(zip(slices["predicted"], slices["certainty"], strict=True))


def test_there_is_no_test_without_recordings_or_without_an_honest_model(cells: list[Cell], audio: Recordings) -> None:
    assert listening_items(cells, {}) == []
    assert listening_items([cell for cell in cells if cell.leaks], audio) == []


def test_answers_become_a_row_beside_the_model(cells: list[Cell], audio: Recordings, tmp_path: Path) -> None:
    items = listening_items(cells, audio)
    answers, notes = read_answers(answered(items, tmp_path, right=0.5), cells)
    assert notes == []
    (row,) = people_table(answers).frame.to_dict(orient="records")
    assert (row["person"], row["num"], row["accuracy"]) == ("Ann", 30, 0.5)
    assert row["model_accuracy"] == pytest.approx(np.mean([item["predicted"] == item["genre"] for item in items]))
    assert row["accuracy_low"] < 0.5 < row["accuracy_high"]
    assert row["difference"] == pytest.approx(0.5 - row["model_accuracy"])
    assert 0 <= row["p"] <= 1


def test_a_person_who_is_always_right_may_be_wrong_on_other_tracks(
    cells: list[Cell], audio: Recordings, tmp_path: Path
) -> None:
    answers, _ = read_answers(answered(listening_items(cells, audio), tmp_path, right=1.0), cells)
    (row,) = people_table(answers).frame.to_dict(orient="records")
    assert (row["accuracy"], row["accuracy_high"]) == (1.0, 1.0)
    assert row["accuracy_low"] == pytest.approx(0.025 ** (1 / 30))


def test_true_genre_and_prediction_are_taken_from_the_runs_not_from_the_answers(
    cells: list[Cell], audio: Recordings, tmp_path: Path
) -> None:
    path = answered(listening_items(cells, audio), tmp_path)
    expected, _ = read_answers(path, cells)
    frame = pd.read_csv(path)
    frame.assign(genre="rock", predicted="rock").to_csv(path, index=False)
    forged, _ = read_answers(path, cells)
    pd.testing.assert_frame_equal(forged, expected)


def test_a_slice_answered_twice_counts_once(cells: list[Cell], audio: Recordings, tmp_path: Path) -> None:
    path = answered(listening_items(cells, audio), tmp_path)
    frame = pd.read_csv(path)
    pd.concat([frame, frame.assign(guess="blues")]).to_csv(path, index=False)
    answers, notes = read_answers(path, cells)
    assert len(answers) == 30
    assert (answers["guess"] == answers["genre"]).all()
    assert "30 slices" in notes[0]


def test_answers_of_more_people_than_a_report_can_show_are_refused(
    cells: list[Cell],
    audio: Recordings,
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    path = answered(listening_items(cells, audio), tmp_path)
    frame = pd.read_csv(path).iloc[[0]]
    pd.concat([frame.assign(person=f"person {number}") for number in range(101)]).to_csv(path, index=False)
    with user_error("human", path, problem="answers of 101 people"):
        read_answers(path, cells)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"track": "nobody.00001"}, "no slice of nobody.00001 at"),
        ({"guess": "polka"}, "'polka' is not one of the genres blues, jazz, rock"),
        ({"model": "gru"}, "no model 'gru'"),
        ({"start_seconds": 1.5}, "at 1.5 s"),
        ({"start_seconds": "early"}, "line 2 has no start_seconds"),
        ({"guess": None}, "line 2 has no guess"),
    ],
)
def test_answers_that_do_not_fit_are_reported(
    cells: list[Cell],
    audio: Recordings,
    tmp_path: Path,
    change: dict[str, Any],
    problem: str,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    path = answered(listening_items(cells, audio), tmp_path)
    pd.read_csv(path).assign(**change).to_csv(path, index=False)
    with user_error("human", path, problem=problem):
        read_answers(path, cells)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("a,b\n1,2\n", "no column 'person'"),
        ("person,track,start_seconds,guess,model\n", "no answers"),
        (b"\x00\xff\xfe\x80", "not text in UTF-8"),
    ],
)
def test_files_without_answers_are_reported(
    cells: list[Cell],
    tmp_path: Path,
    content: str | bytes | None,
    problem: str,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    path = tmp_path / "answers.csv"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with user_error("human", path, problem=problem):
        read_answers(path, cells)


@pytest.mark.slow
def test_a_report_has_the_persons_section_and_both_confusions(
    cells: list[Cell], audio: Recordings, tmp_path: Path
) -> None:
    path = answered(listening_items(cells, audio), tmp_path, right=0.8)
    report = write_report(tmp_path / "grid", tmp_path / "report", human=path)
    (section,) = [section for section in report.sections if section.name == "people"]
    assert [exhibit.name for exhibit in section.exhibits] == ["people", "listener_1", "listener_2"]
    counts = pd.read_csv(report.folder / "listener_1.csv").set_index("genre")
    assert counts.loc["blues", "as blues_num"] == 10
    assert "Ann" in report.text


def make_audio(folder: Path, *tracks: str) -> Path:
    for track in tracks:
        genre = track.split(".", maxsplit=1)[0]
        (folder / genre).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / genre / f"{track}.wav", np.zeros(100), 22050)
    return folder


def test_recordings_are_found_by_name_with_urls_relative_to_the_page(cells: list[Cell], tmp_path: Path) -> None:
    folder = make_audio(tmp_path / "my music", "blues.00000", "jazz.00003", "polka.00001")
    urls = recording_urls(cells, folder, tmp_path / "out" / "report")
    assert urls == {
        "drawn": {
            "blues.00000": "../../my%20music/blues/blues.00000.wav",
            "jazz.00003": "../../my%20music/jazz/jazz.00003.wav",
        }
    }


def test_recordings_beside_the_feature_csv_are_found_by_default(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_audio(tmp_path / "corpus" / "audio", "blues.00000")
    cells, _ = read_grid(make_run("grid/a", root=str(tmp_path / "corpus")).parent)
    assert list(recording_urls(cells, None, tmp_path)["drawn"]) == ["blues.00000"]
    synthetic, _ = read_grid(make_run("twin/a", root=str(tmp_path / "corpus"), synthetic=True).parent)
    assert recording_urls(synthetic, None, tmp_path) == {}


def test_a_folder_without_the_grids_recordings_is_reported(
    cells: list[Cell], tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error("audio", tmp_path / "other", problem="such as blues.00000"):
        recording_urls(cells, make_audio(tmp_path / "other", "polka.00001"), tmp_path)
    with user_error(tmp_path / "nowhere"):
        recording_urls(cells, tmp_path / "nowhere", tmp_path)
