"""genregrid.files: documents as plain data in bounded time, and names of folders."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genregrid.files import folder_name, parse_json, parse_yaml, read_json, remove_parts, replacing

Expect = Callable[..., AbstractContextManager[None]]
BOMB = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, *a]\n" for n in range(40))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
        b'{"a": "\\ud800"}',
        b"\xff",
    ],
)
def test_what_is_no_plain_json_object_is_refused(content: bytes, user_error: Expect) -> None:
    with user_error("file"):
        parse_json(content, "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a",
        b"a: [1",
        BOMB.encode(),
        b"a: !!python/name:os.system x",
        b"a: \t1\n\tb: 2",
        b"a: 1\n---\nb: 2\n",
        b"a: " + b"[" * 10**6,
        b"\n".join(b" " * n + b"a:" for n in range(1000)),
        b"a: 2020-13-45",
        b"a: " + b"9" * 10**4,
        b"\x00",
        "a: 1".encode("utf-16"),
        b"a: x" * 10**6,
    ],
)
def test_what_is_no_plain_yaml_mapping_is_refused(content: bytes, user_error: Expect) -> None:
    with user_error("file"):
        parse_yaml(content, "file")


def test_pipes_and_folders_are_no_documents(tmp_path: Path, user_error: Expect) -> None:
    for path in (tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with user_error(path):
            read_json(path)


@given(st.text(), st.text())
def test_a_folders_name_is_one_part_of_a_path_and_distinct(text: str, other: str) -> None:
    name = folder_name(text)
    assert name
    assert not name.startswith(".")
    assert "/" not in name
    assert len(name.encode()) <= 255
    assert (name == folder_name(other)) == (text == other)


def test_processes_that_write_one_file_at_once_replace_it_by_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    with replacing(path) as part:
        part.write_text("first")
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with replacing(path) as other:
            other.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_complete_replaces_nothing_and_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with suppress(ZeroDivisionError), replacing(path) as part:
        part.write_text("ne")
        raise ZeroDivisionError
    (tmp_path / "file.1.writing").write_text("of a killed process")
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"
