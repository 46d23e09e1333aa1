"""genregrid.files: what is read, and how files are replaced."""

import os
from pathlib import Path

import pytest

from genregrid.errors import UserError
from genregrid.files import check_regular, read_text, sha256_of, write_text


@pytest.mark.parametrize(("kind", "problem"), [("missing", "exist"), ("folder", "folder"), ("pipe", "pipe")])
def test_only_regular_files_are_read(tmp_path: Path, kind: str, problem: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UserError) as caught:
        check_regular(path, key="audio")
    assert caught.value.key == "audio"
    assert problem in caught.value.problem
    with pytest.raises(UserError):
        read_text(path, most_bytes=10)


def test_text_beyond_the_limit_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_text(path, most_bytes=5) == "12345"
    with pytest.raises(UserError):
        read_text(path, most_bytes=4)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError):
        read_text(path, most_bytes=5)


def test_a_written_file_replaces_the_old_one_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    write_text(path, "é")
    assert read_text(path, most_bytes=10) == "é"
    assert [other.name for other in tmp_path.iterdir()] == ["x.json"]
    assert sha256_of(path) == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
