"""Read one feature CSV, and describe its first fault with file, row and column."""

import csv
import difflib
import hashlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, SliceRows, concatenated, in_memory, name_keys
from genregrid.errors import UserError

_FRAME_DESCRIPTORS = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    "harmony",
    "perceptr",
)
_MFCCS = tuple(f"mfcc{number}" for number in range(1, 21))
#: The 57 descriptors in the order of Kaggle's GTZAN files; columns are read by name, so a file may have another order.
FEATURE_NAMES: tuple[str, ...] = (
    *(f"{name}_{statistic}" for name in _FRAME_DESCRIPTORS for statistic in ("mean", "var")),
    "tempo",
    *(f"{name}_{statistic}" for name in _MFCCS for statistic in ("mean", "var")),
)
#: What pandas reads as a missing value, in lower case.
MISSING_WORDS = frozenset({"nan", "n/a", "na", "null", "none"})
KEY_COLUMNS = ("filename", "length", "label")
SAMPLE_RATE_HZ = 22_050


def place(source: object, row: int, column: str | None = None) -> str:
    """Describe where a fault is; row 1 is the header.

    >>> place("mine.csv", 3, "tempo")
    "mine.csv, row 3, column 'tempo'"
    """
    return f"{source}, row {row}" + (f", column '{column}'" if column else "")


def read_feature_csv(
    path: Path, feature_names: Sequence[str], num_rows: int | None = None, allocate: Allocate = in_memory
) -> SliceRows:
    """Read filename, length, label and the named features in blocks, so that memory holds little more than these.

    Without `num_rows` all rows are read, and commas and lines are counted to find faults. A few of the last rows of the
    allocated array may stay unused.

    Raises:
        UserError: the file cannot be read or a cell breaks the contract.
    """
    if not path.is_file():
        problem = "it is a folder, not a file" if path.is_dir() else "it does not exist"
        hint = "give the path of a feature CSV (data/README.md describes its columns)"
        raise UserError(problem, key=path, hint=hint)
    columns = _header(path)
    check_columns(columns, str(path), feature_names)
    numbers = [*feature_names, "length"]
    scan = _scan(path) if num_rows is None else None
    features = allocate((max(1, scan.most_rows) if scan else num_rows or 1, len(feature_names)))
    try:
        keys, length_samples = _fill(features, path, numbers, num_rows)
    except ValueError as error:  # so is pandas' ParserError
        unreadable = UserError(f"it is not a readable CSV: {error}", key=path)
        raise _first_fault(path, columns, numbers) or unreadable from None
    if keys.empty:
        raise UserError("it has a header but no rows; expected one row per slice", key=path)
    row = np.arange(2, len(keys) + 2)
    if scan:
        # pandas silently drops cells after the last column; commas in quotes are no fault
        has_surplus = scan.num_commas != (len(columns) - 1) * (len(keys) + 1)
        if has_surplus and (fault := _first_fault(path, columns, numbers)):
            raise fault
        if scan.num_lines != len(keys) + 1:  # blank lines, or line breaks within quotes
            row = _row_numbers(path)
    extra = tuple(n for n in columns if n.strip() and n not in {*FEATURE_NAMES, *numbers, *KEY_COLUMNS})
    sha256 = scan.sha256 if scan else ""
    return SliceRows(str(path), keys.assign(row=row), features[: len(keys)], length_samples, sha256, extra)


def _fill(
    features: NDArray[np.float32], path: Path, numbers: list[str], num_rows: int | None
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Read a file's features into an array, and return keys and lengths of the rows."""
    keys, lengths = [], []
    start = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "overflow encountered")  # 1e39 becomes infinite and is refused below
        with pd.read_csv(
            path,
            usecols=["filename", "label", *numbers],
            dtype=dict.fromkeys(numbers, np.float32) | {"filename": str, "label": str},
            nrows=num_rows,
            chunksize=BLOCK_ROWS,
        ) as blocks:
            for block in blocks:
                values = block[numbers].to_numpy(np.float32)
                if not (block[["filename", "label"]].notna().all(axis=None) and np.isfinite(values).all()):
                    raise ValueError("a cell is missing or not a finite number")
                features[start : start + len(block)] = values[:, :-1]
                lengths.append(values[:, -1].copy())
                keys.append(name_keys(block["filename"], block["label"]))
                start += len(block)
    return concatenated(keys), np.concatenate(lengths)


class _Scan(NamedTuple):
    sha256: str
    num_commas: int
    num_lines: int
    most_rows: int  # an upper bound, since a carriage return without a line feed may end a line too


def _scan(path: Path) -> _Scan:
    """Hash a file and count its commas and lines in one pass."""
    digest = hashlib.sha256()
    num_commas = num_lines = num_returns = 0
    block = b""
    with path.open("rb") as file:
        while more := file.read(1 << 20):
            block = more
            digest.update(block)
            num_commas += block.count(b",")
            num_lines += block.count(b"\n")
            num_returns += block.count(b"\r")
    last = not block.endswith(b"\n")
    return _Scan(digest.hexdigest(), num_commas, num_lines + last, num_lines + num_returns)


def _row_numbers(path: Path) -> NDArray[np.int64]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        return np.fromiter((reader.line_num for cells in reader if cells), np.int64)[1:]


def _header(path: Path) -> list[str]:
    """Return the column names; raise if this is no comma-separated UTF-8 text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}", key=path) from None
    if not line.strip():
        raise UserError("it is empty; expected a header and one row per slice", key=path)
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if "," not in line and delimiter in line:
            problem = f"the columns are separated by {name}"
            raise UserError(problem, key=place(path, 1), hint="save the file with commas")
    return next(csv.reader([line]))


def _not_utf8(path: Path) -> UserError:
    data = path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problem = f"not UTF-8 text (byte {data[error.start]:#04x})"
        return UserError(problem, key=place(path, row), hint="save the file as UTF-8")
    return UserError("it is not UTF-8 text", key=path, hint="save the file as UTF-8")


def check_columns(columns: Sequence[str], source: str, feature_names: Sequence[str]) -> None:
    """Raise if a column is missing or occurs twice; suggest the column that was probably meant."""
    missing = [name for name in (*KEY_COLUMNS, *feature_names) if name not in columns]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = ", ".join(f"'{name}'" for name in missing[:3]) + more
        unknown = [name for name in columns if name not in {*KEY_COLUMNS, *FEATURE_NAMES}]
        near = difflib.get_close_matches(missing[0], unknown, n=1)
        meant = f" (is it '{near[0]}'?)" if near and len(missing) <= 3 else ""
        hint = "data/README.md lists the columns"
        raise UserError(f"the columns {named} are missing{meant}", key=place(source, 1), hint=hint)
    twice = sorted({name for name in columns if columns.count(name) > 1} & {*KEY_COLUMNS, *feature_names})
    if twice:
        raise UserError("the column occurs more than once", key=place(source, 1, twice[0]), hint="keep one of them")


def _first_fault(path: Path, columns: list[str], numbers: Sequence[str]) -> UserError | None:
    """Find the first cell that breaks the contract. It is slow and only used after the fast reader failed."""
    where = {name: columns.index(name) for name in ("filename", "label", *numbers)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in filter(None, reader):
                row = reader.line_num
                if len(cells) != len(columns):
                    return UserError(f"{len(cells)} fields, but the header has {len(columns)}", key=place(path, row))
                for name, position in where.items():
                    if fault := _cell_fault(cells[position], name in numbers):
                        return UserError(fault[0], key=place(path, row, name), hint=fault[1])
    except UnicodeDecodeError:
        return _not_utf8(path)
    return None


def _cell_fault(cell: str, is_number: bool) -> tuple[str, str | None] | None:
    """Return the problem of a cell and a hint; ``None`` for a good cell."""
    if not cell.strip():
        return "the cell is empty", "fill it or leave the whole track out"
    if not is_number:
        return (f"'{cell}' is read as a missing value", None) if cell.lower() in MISSING_WORDS else None
    try:
        # Python accepts 1_000 and digits of other scripts; pandas does not
        value = float(cell.replace("_", "?").encode("ascii"))
    except ValueError:
        return f"expected a number, found '{cell}'", None
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        return f"expected a finite number, found '{cell}'", "leave the track out or extract it again"
    return None
