"""Read the bytes of a CSV once: hash it, count its lines, and refuse what would take a reader without limit.

pandas keeps a whole line in memory, and after an open quotation mark the rest of the file. So length of lines, bytes
that are no text and quotation marks are checked before it reads. A pass over a file takes 2 to 4 % of the time that
pandas needs.
"""

import codecs
import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import UserError

#: Bytes of a line, and characters of a row: 20,000 columns of 25 characters need half of it.
MOST_LINE_BYTES = 1 << 20
# Lines without content, also within quotes: verses of texts have some. More take seconds to count rows past.
_MOST_BLANK_LINES = 2_000_000
_PIECE_BYTES = 1 << 20


def place(source: object, row: int, column: str | None = None) -> str:
    """Describe where a fault is; row 1 is the header.

    >>> place("mine.csv", 3, "tempo")
    "mine.csv, row 3, column 'tempo'"
    """
    return f"{source}, row {row}" + (f", column '{column}'" if column else "")


class Scan(NamedTuple):
    """What is known of a file before it is parsed."""

    sha256: str
    num_bytes: int
    num_commas: int
    num_lines: int  # an upper bound of the rows: blank lines and line breaks within quotes count
    longest_line: int  # bytes


def scan(file: BinaryIO, path: Path, num_skipped: int = 0) -> Scan:
    """Hash a CSV and count its commas and lines in one pass; quotation marks count after `num_skipped` lines.

    Raises:
        UserError: it is not text in UTF-8, a line or a row is too long, or a quotation mark is not closed.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    num_commas = num_lines = num_blank = num_quotes = longest = unfinished = 0
    ended_in_return = is_checked = False
    num_bytes = left = os.fstat(file.fileno()).st_size  # a file that grows meanwhile would have no end
    file.seek(0)
    while piece := file.read(min(_PIECE_BYTES, left)):
        left -= len(piece)
        digest.update(piece)
        _check_text(piece, decoder, num_lines, path, is_last=not left)
        num_commas += piece.count(b",")
        ends = _line_ends(piece)
        if num_quotes or b'"' in piece:
            quotes = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord('"'))
            if not is_checked and ((num_quotes + np.searchsorted(quotes, ends)) % 2).any():
                _check_records(file, path, num_skipped)  # a line ends within quotes
                is_checked = True
            num_quotes += len(quotes)
        lengths = np.diff(ends, prepend=-1 - unfinished)
        unfinished = len(piece) - 1 - int(ends[-1]) if len(ends) else unfinished + len(piece)
        longest = max(longest, unfinished, int(lengths.max(initial=0)))
        if longest > MOST_LINE_BYTES:
            row = num_lines + 1 + int((lengths > MOST_LINE_BYTES).argmax() if len(ends) else 0)
            problem = f"the line is longer than {MOST_LINE_BYTES} bytes, the most that a line may have"
            raise UserError(problem, key=place(path, row), hint="is it a feature CSV?")
        num_pairs = int(ended_in_return and piece.startswith(b"\n")) + (piece.count(b"\r\n") if b"\r" in piece else 0)
        num_lines += len(ends) - num_pairs
        num_blank += int(np.count_nonzero(lengths == 1)) - num_pairs
        if num_blank > _MOST_BLANK_LINES:
            raise UserError(f"it has more than {_MOST_BLANK_LINES} blank lines", key=path)
        ended_in_return = piece.endswith(b"\r")
    return Scan(digest.hexdigest(), num_bytes, num_commas, num_lines + (unfinished > 0), longest)


def _check_records(file: BinaryIO, path: Path, num_skipped: int) -> None:
    """Raise if a quotation mark is not closed, and return to the same position."""
    position = file.tell()
    try:
        for _ in records(file, path, num_skipped):
            pass
    except UnicodeDecodeError:
        pass  # the scan names the row
    file.seek(position)


def _line_ends(piece: bytes) -> NDArray[np.int64]:
    """Return positions of line feeds and carriage returns; a return without a line feed ends a line too."""
    array = np.frombuffer(piece, np.uint8)
    is_end = array == ord("\n")
    if b"\r" in piece:
        is_end |= array == ord("\r")
    return np.flatnonzero(is_end)


def _check_text(piece: bytes, decoder: codecs.IncrementalDecoder, num_lines: int, path: Path, *, is_last: bool) -> None:
    """Raise if a piece of a file has bytes that are no text in UTF-8."""
    if (start := piece.find(b"\0")) >= 0 and not piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        row = num_lines + piece.count(b"\n", 0, start) + 1
        problem = "it has a byte of value 0, which no text has"
        raise UserError(problem, key=place(path, row), hint="copy or extract the file again, or save it as UTF-8")
    try:
        if not piece.isascii() or decoder.getstate()[0] or is_last:
            decoder.decode(piece, is_last)
    except UnicodeDecodeError as error:
        row = num_lines + error.object.count(b"\n", 0, error.start) + 1
        problem = f"not UTF-8 text (byte {error.object[error.start]:#04x})"
        raise UserError(problem, key=place(path, row), hint="save the file as UTF-8") from None


def records(file: BinaryIO, path: Path, num_skipped: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Yield first line, last line and cells of each row that is not blank; slower than pandas, and exact about faults.

    The first `num_skipped` lines are passed over, and counted.

    Raises:
        UserError: a row or a cell is too long, as after a quotation mark that is not closed.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    file.seek(0)
    num_blank = num_characters = 0  # characters since the last row ended

    def lines() -> Iterator[str]:
        nonlocal num_characters
        with open(file.fileno(), encoding="utf-8-sig", newline="", closefd=False) as text:
            for _ in range(num_skipped):
                text.readline(MOST_LINE_BYTES + 1)
            while line := text.readline(MOST_LINE_BYTES + 1):
                num_characters += len(line)
                if num_characters > MOST_LINE_BYTES:
                    raise csv.Error
                yield line

    reader = csv.reader(lines())
    first = 1 + num_skipped
    try:
        for cells in reader:
            num_characters = 0
            num_blank += not cells
            if num_blank > _MOST_BLANK_LINES:
                raise UserError(f"it has more than {_MOST_BLANK_LINES} blank lines", key=path)
            if len(cells) > 1 or "".join(cells).strip():
                yield first, num_skipped + reader.line_num, cells
            first = num_skipped + reader.line_num + 1
    except csv.Error:
        problem = f"a cell has at most {csv.field_size_limit()} characters, and a row {MOST_LINE_BYTES}"
        raise UserError(problem, key=place(path, first), hint="is a quotation mark missing in this row?") from None
