"""CSV files whose text no spreadsheet runs as a formula, and which read back unchanged.

Spreadsheets run cells that begin with ``=``, ``+``, ``-``, ``@``, their wide forms, a tab or a line break, and hide an
apostrophe at the beginning. So each text with such a beginning gets an apostrophe in front, and so does a text of which
apostrophes and then such a character are the beginning, so that reading can always take one away.

`read_csv` reads a table back whatever the file holds: a fault is a sentence with the line, and no header, cell or quote
takes more than bounded time and memory.

Source: OWASP, "CSV injection".
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from genregrid.errors import UserError
from genregrid.files import read_bytes

_STARTS = "=+@\t\r\n\uff1d\uff0b\uff0d\uff20-"  # the last four but one are the wide forms of East Asian keyboards
_RUNS = re.compile(f"'*[{_STARTS}]")
_GUARDED = re.compile(f"''*[{_STARTS}]")
# nothing else is in front, so that a large file is searched fast; \xef is the first byte of the wide forms
_GUARDED_CELL = re.compile(rb"'[=+@\t\r\n\xef-]")
MOST_BYTES = 2**31  # of a CSV; the largest of an honest run, a timeline of 100,000 tracks, has a tenth
_MOST_COLUMNS = 10_000
_LONGEST_LINE = 2**20  # bytes
_LONGEST_TEXT = 4096  # characters of a cell; a path has no more
# a number, and stars of significance after it, run nothing
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\**", re.ASCII)


def guarded(text: str) -> str:
    """Put an apostrophe in front of a text that a spreadsheet would run as a formula.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("rock"), guarded("'rock"), guarded("-3.5")
    ("'=1+1", "''=1+1", 'rock', "'rock", '-3.5')
    """
    return f"'{text}" if _RUNS.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was called with.

    >>> [unguarded(guarded(text)) for text in ("=1+1", "'=1+1", "'rock", "-3.5")]
    ['=1+1', "'=1+1", "'rock", '-3.5']
    """
    return text[1:] if _GUARDED.match(text) else text


def write_csv(frame: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a table as CSV with guarded text: cells, index and names of columns; `options` are those of `to_csv`."""
    _mapped(frame, guarded).to_csv(path, **options)


def read_csv(
    path: Path, *, text: Iterable[str] = (), needed: Iterable[str] = (), hint: str | None = None
) -> pd.DataFrame:
    """Read a CSV file; arguments and errors as in `parse_csv`."""
    return parse_csv(read_bytes(path, most_bytes=MOST_BYTES, hint=hint), path, text, needed, hint=hint)


def parse_csv(
    content: bytes, source: object, text: Iterable[str] = (), needed: Iterable[str] = (), *, hint: str | None = None
) -> pd.DataFrame:
    """Read a CSV with a header, and return its texts as they were given to `write_csv`.

    Args:
        content: of the file.
        source: what an error names.
        text: columns that hold text, so that names such as `None`, `NA` or `000010` stay text; other columns hold
            numbers if all their cells do. Only an empty cell is missing.
        needed: columns that must be there.
        hint: what the user can do about an error.

    Raises:
        UserError: it is empty, not UTF-8 or not a CSV, lacks a column, has a column twice, or is beyond a limit.
    """

    def refuse(problem: str) -> NoReturn:
        raise UserError(problem, key=source, hint=hint)

    if not content.strip():
        refuse("it is empty")
    if b"\0" in content:
        refuse("it is not text in UTF-8")
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    lengths = np.diff(ends, prepend=-1, append=len(content))
    if lengths.max() > _LONGEST_LINE:
        refuse(f"line {lengths.argmax() + 1} has more than {_LONGEST_LINE} bytes")
    columns = _header(content, refuse)
    if missing := [name for name in needed if name not in columns]:
        refuse(f"it has no column '{missing[0]}'")
    kinds: dict[Hashable, Any] = {number: str for number, name in enumerate(columns) if name in set(text)}
    try:
        frame = pd.read_csv(
            io.BytesIO(content), header=0, names=range(len(columns)), dtype=kinds, keep_default_na=False, na_values=[""]
        )
    except (ValueError, OverflowError) as error:  # pandas raises ValueErrors, of several classes
        refuse(_problem(error))
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first cell of longer rows for a name of the row
        refuse(f"its rows have more cells than its header, which has {len(columns)}")
    frame.columns = pd.Index(columns)
    if lengths.max() > _LONGEST_TEXT:
        for name in columns:
            if not pd.api.types.is_numeric_dtype(frame[name].dtype) and frame[name].str.len().max() > _LONGEST_TEXT:
                refuse(f"a cell of column '{name}' has more than {_LONGEST_TEXT} characters")
    return _mapped(frame, unguarded) if _GUARDED_CELL.search(content) else frame


def _header(content: bytes, refuse: Any) -> list[str]:
    """Return the names of columns."""
    try:
        start = content[:_LONGEST_LINE].decode("utf-8-sig", "ignore" if len(content) > _LONGEST_LINE else "strict")
        columns = next(csv.reader(io.StringIO(start, newline="")))
    except UnicodeDecodeError:
        refuse("it is not text in UTF-8")
    except (csv.Error, StopIteration):
        refuse("its header is no line of a CSV")
    if len(columns) > _MOST_COLUMNS:
        refuse(f"it has more than {_MOST_COLUMNS} columns")
    if len(set(columns)) < len(columns):
        refuse(f"it has the column '{Counter(columns).most_common(1)[0][0]}' twice")
    return columns


def _problem(error: Exception) -> str:
    """Return what pandas found in a file, in plain words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if cells := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
        return f"line {cells[2]} has {cells[3]} cells, and the header {cells[1]}"
    if "EOF inside string" in str(error):
        return "a quote is opened and not closed"
    return "it is no CSV that can be read"


def _mapped(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    def is_text(column: Hashable) -> bool:
        return not pd.api.types.is_numeric_dtype(frame[column].dtype)

    frame = frame.copy(deep=False)
    for column in filter(is_text, frame.columns):
        # names repeat, so that their distinct values are checked in a fraction of the time
        if any(changed(value) is not value for value in frame[column].unique()):
            frame[column] = frame[column].map(changed)
    frame.columns = frame.columns.map(changed)
    if not pd.api.types.is_numeric_dtype(frame.index.dtype):
        frame.index = frame.index.map(changed)
    return frame
