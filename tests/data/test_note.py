"""Claims about `genregrid.data.note`: a note is read as it was written, and anything else is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genregrid.data.note import RecipeNote, note_path, read_note

Expect = Callable[..., Any]
NOTE = RecipeNote("kaggle-reflect", 3.0, "0" * 64)


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    return tmp_path / "features.csv"


def test_a_note_is_read_as_it_was_written(csv_path: Path) -> None:
    assert read_note(csv_path) is None
    note_path(csv_path).write_text(NOTE.to_json())
    assert read_note(csv_path) == NOTE


WRONG: dict[str, Any] = {
    "recipe": [None, 3, "", "  ", "a\nb", "\x1b[31m", "r" * 101, ["kaggle"], {}],
    "slice_seconds": [None, "3", True, 0, -3, float("nan"), float("inf"), 1e300, 10**400, [3]],
    "sha256": [None, 0, "", "0" * 63, "g" * 64, "0" * 64 + "\n"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_values_of_another_kind_are_refused(csv_path: Path, user_error: Expect, name: str, value: object) -> None:
    note_path(csv_path).write_text(json.dumps(json.loads(NOTE.to_json()) | {name: value}))
    with user_error(note_path(csv_path), problem="no note of a recipe", hint="set dataset.recipe"):
        read_note(csv_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"3", b"{}", b"\xff", b"\0" * 100, b"[" * 50_000, b'{"recipe": "a"', b" " * 100_000, b"9" * 5000],
)
def test_content_of_another_form_is_refused(csv_path: Path, user_error: Expect, content: bytes) -> None:
    note_path(csv_path).write_bytes(content)
    with user_error(note_path(csv_path), problem="no note of a recipe"):
        read_note(csv_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_is_refused(csv_path: Path, user_error: Expect, make: Callable[[Path], None]) -> None:
    make(note_path(csv_path))
    with user_error(note_path(csv_path), problem="no note of a recipe"):
        read_note(csv_path)
