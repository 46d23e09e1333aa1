"""Scores of one recording: the prediction, the rows of the timeline, its spans, and the picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from genregrid.exhibit.mark import Mark
from genregrid.listening.timeline import ScoredRecording


def scored(
    probs: list[list[float]], genres: list[str], *, file: str = "song.wav", slice_seconds: float = 3.0
) -> ScoredRecording:
    log_probs = np.log(np.array(probs, np.float32))
    return ScoredRecording(file, genres, slice_seconds, log_probs, log_probs[-1], 10.0, notes=["odd"])


THREE = ["blues", "jazz", "rock"]
PROBS = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.09, 0.81]]


def test_the_prediction_is_that_of_the_whole_recording_with_certainty_in_decades() -> None:
    prediction = scored(PROBS, THREE).prediction()
    assert (prediction["genre"], prediction["second"], prediction["third"]) == ("rock", "blues", "jazz")
    assert prediction["certainty"] == pytest.approx(np.log10(0.81 / 0.1), rel=1e-5)
    assert prediction["p_jazz"] == pytest.approx(0.09)
    assert prediction["notes"] == "odd"


def test_a_prediction_has_the_marks_of_its_model() -> None:
    recording = scored(PROBS, THREE)
    assert "marks" not in recording.prediction()
    marked = replace(recording, marks=(Mark.LEAKS, Mark.SYNTHETIC))
    assert marked.prediction()["marks"] == "LEAKS SYNTHETIC"


def test_the_timeline_has_a_row_for_every_slice() -> None:
    timeline = scored(PROBS, THREE, slice_seconds=2.5).timeline()
    assert timeline["start_seconds"].tolist() == [0, 2.5, 5, 7.5]
    assert timeline["stop_seconds"].tolist() == [2.5, 5, 7.5, 10]
    assert timeline["genre"].tolist() == ["blues", "blues", "jazz", "rock"]
    assert timeline[["p_blues", "p_jazz", "p_rock"]].sum(axis=1).to_numpy() == pytest.approx(1, rel=1e-5)


def test_the_summary_joins_slices_of_one_genre() -> None:
    lines = scored(PROBS, THREE).summary().splitlines()
    assert lines[0] == "song.wav: rock"
    assert "rock 81.0 %, blues 10.0 %, jazz 9.0 %" in lines[1]
    mean = (np.log10(7 / 2) + np.log10(2)) / 2
    assert lines[3:] == [
        f"  0:00-0:06  blues  {mean:.2f}",
        "  0:06-0:09  jazz  0.90",
        "  0:09-0:12  rock  0.91",
        "  note: odd",
    ]


def test_a_summary_of_many_changes_is_short() -> None:
    lines = scored([[0.9, 0.1], [0.1, 0.9]] * 40, ["blues", "rock"]).summary().splitlines()
    assert lines[-2] == "  ... and 68 more spans in timeline.csv"
    assert len(lines) == 3 + 12 + 2


def test_the_picture_shows_every_genre_in_a_colour_of_its_own(tmp_path: Path) -> None:
    genres = [f"genre {number}" for number in range(12)]
    scored([[1 / 12] * 12] * 3, genres, file="$a$b_{ 音.wav").draw(tmp_path / "a.png")
    middle = imread(tmp_path / "a.png")[:, 400, :3]
    bands = {tuple(pixel) for pixel in np.round(middle, 2)[60:-60]}
    assert len(bands) >= 12


def test_a_picture_of_hours_has_steps_that_are_wide_enough_to_see(tmp_path: Path) -> None:
    """Two hours of blues and two of jazz, whose every second slice is rock: all three are shown."""
    probs = [[0.98, 0.01, 0.01], [0.01, 0.01, 0.98]] * 1200 + [[0.01, 0.98, 0.01], [0.01, 0.01, 0.98]] * 1200
    recording = replace(scored(probs, THREE), seconds=14_400.0)
    recording.draw(tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")[..., :3]
    width = picture.shape[1]
    left, right = (picture[60:-60, round(share * width)] for share in (0.25, 0.6))
    for column in (left, right):
        assert len({tuple(pixel) for pixel in np.round(column, 2)}) >= 2
    first, second = picture[60:-60, 300:320], picture[60:-60, 700:720]
    assert all((np.ptp(area, axis=1) < 0.02).all() for area in (first, second))  # no stripes
    assert "4:00:00 long, 4800 slices of 3 s" in recording.summary()


def test_names_of_genres_and_files_are_shown_as_they_are(tmp_path: Path) -> None:
    genres = ["$a_{", "b\x1b[31m", "_c"]
    recording = scored(PROBS, genres, file="$\x1b]0;{_\udcff.wav")
    recording.draw(tmp_path / "a.png")
    assert "\x1b" not in recording.summary()
    assert "b\\x1b[31m" in recording.summary()
