"""Claims about `genregrid.tablefile.scan`: a CSV is refused before a reader would take time or memory without limit."""

import csv
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genregrid.data.table import peek_slice_seconds, read_table
from genregrid.errors import UserError
from genregrid.tablefile.scan import MOST_LINE_BYTES, place, records, scan

Expect = Callable[..., Any]
Frames = Callable[..., pd.DataFrame]


@pytest.fixture
def good(make_frame: Frames) -> bytes:
    """A CSV of 12 rows in two genres."""
    return make_frame(genres=("blues", "rock"), tracks=2, slices=3).to_csv(index=False).encode()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    """`written(content)` is the path of a file with this content."""

    def write(content: bytes) -> Path:
        path = tmp_path / "mine.csv"
        path.write_bytes(content)
        return path

    return write


ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("is_ended", [True, False])
def test_lines_commas_and_hash_are_those_of_the_file(
    written: Callable[[bytes], Path], end: bytes, is_ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genregrid.tablefile.scan._PIECE_BYTES", 5)  # line ends and letters are cut
    content = "é,b\n,\n\n1,2\n".encode().replace(b"\n", end) + (b"x" if not is_ended else b"")
    path = written(content)
    with path.open("rb") as file:
        found = scan(file, path)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert (found.num_commas, found.num_lines) == (3, 4 if is_ended else 5)
    assert found.longest_line >= 4


HUGE = MOST_LINE_BYTES + 1
ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    "header of many columns": lambda good: b"".join(b"c%d," % number for number in range(30_000)) + good,
    "header of a million columns": lambda good: b"," * 1_000_000 + good,
    "header of megabytes": lambda good: b"x" * HUGE + b"," + good,
    "column name of 200 000 characters": lambda good: b"x" * 200_000 + b"," + good,
    "zeros": lambda good: b"\0" * 1_000_000,
    "zeros at the end": lambda good: good + b"\0" * 1_000_000,
    "line of megabytes": lambda good: good + b"1," * HUGE,
    "number of 200 000 characters": lambda good: good.replace(b",66149,", b"," + b"1" * 200_000 + b",", 1),
    "label of 200 000 characters": lambda good: good.replace(b",rock\n", b"," + b"r" * 200_000 + b"\n", 1),
    "track of 10 000 characters": lambda good: good.replace(b"rock.00001", b"rock." + b"a" * 10_000),
    "open quote": lambda good: good.replace(b"rock.00001.1", b'"rock.00001.1', 1),
    "open quote before megabytes": lambda good: good + b'"' + good * 200,
    "literal quote, then an open one": lambda good: good.replace(b"rock.00001.1", b'ro"ck', 1) + b'"' + good * 200,
    "a row of line breaks within quotes": lambda good: good + b'x,"\n",' * 300_000,
    "three million blank lines": lambda good: good + b"\n" * 3_000_000,
    "gzip": lambda good: b"\x1f\x8b\x08\x00" + good,
    "utf-16": lambda good: good.decode().encode("utf-16"),
    "utf-16 without mark": lambda good: good.decode().encode("utf-16-le"),
    "cut letter": lambda good: good + b"\xc3",
}


def sentence_of(read: Callable[[Path], object], path: Path) -> str | None:
    try:
        read(path)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("read", [lambda path: read_table([path]), peek_slice_seconds], ids=["read", "peek"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_hostile_files_end_in_one_short_sentence(
    good: bytes, written: Callable[[bytes], Path], attack: Callable[[bytes], bytes], read: Callable[[Path], object]
) -> None:
    path = written(attack(good))
    sentence = sentence_of(read, path)
    if sentence is None:
        assert read is peek_slice_seconds  # the fault is beyond the rows that it reads
    else:
        assert sentence.isprintable()
        assert len(sentence) - len(str(path)) < 400


@pytest.mark.parametrize("start", [b"", b"good"])
def test_a_sparse_file_takes_no_memory(good: bytes, written: Callable[[bytes], Path], start: bytes) -> None:
    path = written(good if start else b"")
    os.truncate(path, 10 * 2**30)
    tracemalloc.start()
    with pytest.raises(UserError):
        read_table([path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_pipes_and_devices_are_not_opened(tmp_path: Path, user_error: Expect) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        for read in (lambda path: read_table([path]), peek_slice_seconds):
            with user_error(path, problem="pipe, socket or device"):
                read(path)


def test_a_file_that_changes_while_it_is_read_is_refused(
    good: bytes, written: Callable[[bytes], Path], user_error: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(good)
    read_csv = pd.read_csv

    def grow(*args: Any, **kwargs: Any) -> Any:
        with path.open("ab") as file:
            file.write(good.partition(b"\n")[2])
        return read_csv(*args, **kwargs)

    monkeypatch.setattr(pd, "read_csv", grow)
    with user_error(path, problem="was changed while it was read"):
        read_table([path])


@pytest.mark.parametrize("line", [b"   \n", b"\n", b"\t\n", b"\r\n"])
def test_rows_past_blank_lines_keep_their_numbers(
    good: bytes, written: Callable[[bytes], Path], user_error: Expect, line: bytes
) -> None:
    lines = good.splitlines(keepends=True)
    lines[8] = b"bogus" + lines[8]
    path = written(b"".join([*lines[:4], line, *lines[4:]]))
    with user_error(place(path, 10, "label")):
        read_table([path])


def test_line_breaks_within_quotes_are_read(good: bytes, written: Callable[[bytes], Path]) -> None:
    lines = good.splitlines()
    quoted = b"\n".join(line + (b",text" if not number else b',"a\n""b"""') for number, line in enumerate(lines))
    table = read_table([written(quoted)])
    assert table.features.shape == (12, 57)
    assert table.notes[0] == "mine.csv: ignored the columns text"


def test_records_are_those_of_csv(good: bytes, written: Callable[[bytes], Path]) -> None:
    path = written(good)
    with path.open("rb") as file:
        found = list(records(file, path))
    assert [cells for *_, cells in found] == list(csv.reader(good.decode().splitlines()))
    assert [first for first, *_ in found] == list(range(1, 14))
