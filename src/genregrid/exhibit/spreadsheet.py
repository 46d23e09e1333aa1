"""CSV files whose text no spreadsheet runs as a formula, and which read back unchanged.

Spreadsheets run cells that begin with ``=``, ``+``, ``-``, ``@``, a tab or a line break, and hide an apostrophe at the
beginning. So each text with such a beginning gets an apostrophe in front, and so does a text of which apostrophes and
then such a character are the beginning, so that reading can always take one away.

Source: OWASP, "CSV injection".
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

_RUNS = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"''*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


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
    frame = _mapped(frame, guarded)
    frame.to_csv(path, **options)


def unguarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it was given to `write_csv`, from its columns as pandas reads them."""
    return _mapped(frame, unguarded)


def _mapped(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    def is_text(column: Hashable) -> bool:
        return not pd.api.types.is_numeric_dtype(frame[column].dtype)

    texts = {column: frame[column].map(changed) for column in frame.columns if is_text(column)}
    frame = frame.assign(**texts) if texts else frame.copy(deep=False)
    frame.columns = frame.columns.map(changed)
    if not pd.api.types.is_numeric_dtype(frame.index.dtype):
        frame.index = frame.index.map(changed)
    return frame
