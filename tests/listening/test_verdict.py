"""An answer names every genre that is possible, and parts of a recording that differ."""

import numpy as np
import pytest

from genregrid.listening.verdict import Verdict, sections, sets

GENRES = ["blues", "jazz", "metal", "pop", "rock", "soul"]


@pytest.mark.parametrize(
    ("probs", "threshold", "text"),
    [
        ([0.03, 0.34, 0.01, 0.1, 0.21, 0.31], 0.8, "unsure: jazz, soul or rock"),
        ([0.02, 0.9, 0.02, 0.02, 0.02, 0.02], 0.8, "jazz"),
        ([0.2, 0.3, 0.1, 0.2, 0.1, 0.1], 0.95, "unsure: 6 of 6 genres are possible, jazz most of all"),
        ([0.2, 0.3, 0.1, 0.2, 0.1, 0.1], 0.5, "jazz"),  # the most probable genre is always possible
        ([0.2, 0.3, 0.1, 0.2, 0.1, 0.1], None, "jazz"),
    ],
)
def test_a_verdict_names_what_is_possible(probs: list[float], threshold: float | None, text: str) -> None:
    verdict = Verdict.of(np.log(probs), GENRES, threshold)
    assert verdict.text == text
    assert verdict.is_sure == (not text.startswith("unsure"))


def test_without_a_threshold_two_equal_genres_are_one_answer() -> None:
    assert sets(np.log([[0.5, 0.5]]), None).tolist() == [[True, False]]


def of(*parts: tuple[str, int]) -> np.ndarray:
    """Log-probabilities of slices: sure of a genre, or of none with an empty name."""
    rows = [
        np.where(np.array(GENRES) == genre, 0.9, 0.02) if genre else np.full(6, 1 / 6)
        for genre, n in parts
        for _ in range(n)
    ]
    return np.log(rows)


def test_a_change_of_style_is_found_between_sure_parts() -> None:
    found = sections(of(("jazz", 10), ("", 4), ("rock", 10)), GENRES, 3.0, 1, 0.5)
    assert [(one.start_seconds, one.stop_seconds, one.genre) for one in found] == [(0, 36, "jazz"), (36, 72, "rock")]


@pytest.mark.parametrize(
    "parts",
    [[("jazz", 30)], [("jazz", 10), ("rock", 2), ("jazz", 10)], [("", 30)], [("jazz", 10), ("", 10)]],
    ids=["one", "too short", "unsure", "half unsure"],
)
def test_a_recording_of_one_style_has_no_parts(parts: list[tuple[str, int]]) -> None:
    assert sections(of(*parts), GENRES, 3.0, 1, 0.5) == []


def test_long_windows_shift_boundaries_to_their_middle() -> None:
    first, second = sections(of(("jazz", 20), ("rock", 20)), GENRES, 3.0, 10, 0.5)
    assert first.stop_seconds == second.start_seconds == 60 - 15 + 1.5
