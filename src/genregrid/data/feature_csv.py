"""One feature CSV: its columns, its cells, and the sentence of its first fault."""

import csv
import difflib
import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, SliceRows, in_memory, name_keys, stacked
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
#: The 57 descriptors in the order of Kaggle's GTZAN files; other orders are read by name and put into this one.
FEATURE_NAMES: tuple[str, ...] = (
    *(f"{name}_{statistic}" for name in _FRAME_DESCRIPTORS for statistic in ("mean", "var")),
    "tempo",
    *(f"{name}_{statistic}" for name in _MFCCS for statistic in ("mean", "var")),
)
#: What pandas reads as a missing value, in lower case.
MISSING_WORDS = frozenset({"nan", "n/a", "na", "null", "none"})
KEY_COLUMNS = ("filename", "length", "label")
SAMPLE_RATE_HZ = 22_050


def read_feature_csv(
    path: Path, feature_names: Sequence[str], num_rows: int | None = None, allocate: Allocate = in_memory
) -> SliceRows:
    """Read the named columns, block by block, so that memory holds little more than the features.

    Args:
        path: the file.
        feature_names: the feature columns to read, besides filename, length and label.
        num_rows: how many rows to read; ``None`` reads all and then counts commas and lines too.
        allocate: makes the array for features, of which a few last rows may stay unused.

    Raises:
        UserError: the file cannot be read or a cell breaks the contract.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: give the path of a feature CSV (data/README.md says what it must hold).")
    columns = _header(path)
    check_columns(columns, str(path), feature_names)
    numbers = [*feature_names, "length"]
    scan = _scan(path) if num_rows is None else None
    features = allocate((max(1, scan.most_rows) if scan else num_rows or 1, len(feature_names)))
    try:
        read = _fill(features, path, numbers, num_rows)
    except (ValueError, pd.errors.ParserError) as error:
        raise _first_fault(path, columns, numbers) or UserError(f"{path} is not a readable CSV: {error}.") from None
    if read is None:
        raise _first_fault(path, columns, numbers) or UserError(f"{path} holds cells that are not finite numbers.")
    keys, length_samples = read
    if keys.empty:
        raise UserError(f"{path} has a header but no rows: expected one row per slice.")
    row = np.arange(2, len(keys) + 2)
    if scan:
        if scan.num_commas != (len(columns) - 1) * (len(keys) + 1):
            # pandas drops what stands behind the last column without a word; commas in quotes are no fault
            fault = _first_fault(path, columns, numbers)
            if fault is not None:
                raise fault
        if scan.num_lines != len(keys) + 1:  # blank lines, or lines broken within quotes
            row = _row_numbers(path)
    extra = tuple(n for n in columns if n.strip() and n not in {*FEATURE_NAMES, *numbers, *KEY_COLUMNS})
    sha256 = scan.sha256 if scan else ""
    return SliceRows(keys.assign(row=row), features[: len(keys)], length_samples, sha256, extra)


def _fill(
    features: NDArray[np.float32], path: Path, numbers: list[str], num_rows: int | None
) -> tuple[pd.DataFrame, NDArray[np.float32]] | None:
    """Read a file's features into an array; its keys and lengths, or ``None`` if some cell is missing or not finite."""
    keys, lengths = [], []
    start = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "overflow encountered")  # 1e39 becomes infinite, and is then refused
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
                    return None
                features[start : start + len(block)] = values[:, :-1]
                lengths.append(values[:, -1].copy())
                keys.append(name_keys(block["filename"], block["label"]))
                start += len(block)
    return stacked(keys), np.concatenate(lengths)


@dataclass(frozen=True)
class _Scan:
    """A file's SHA-256, its commas and its lines, read in one pass; a lone carriage return may end a line too."""

    sha256: str
    num_commas: int
    num_lines: int
    most_rows: int


def _scan(path: Path) -> _Scan:
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
    """Column names, or a sentence on why this is no comma-separated UTF-8 text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if not line.strip():
        raise UserError(f"{path} is empty: expected a header and one row per slice.")
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if "," not in line and delimiter in line:
            raise UserError(f"{path}, row 1: the columns are separated by {name}; save the file with commas.")
    return next(csv.reader([line]))


def _not_utf8(path: Path) -> UserError:
    data = path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        return UserError(f"{path}, row {row}: not UTF-8 text (byte {data[error.start]:#04x}); save the file as UTF-8.")
    return UserError(f"{path} is not UTF-8 text; save the file as UTF-8.")


def check_columns(columns: Sequence[str], source: str, feature_names: Sequence[str]) -> None:
    """Refuse columns that are missing or stand there twice, with the name that was probably meant."""
    missing = [name for name in (*KEY_COLUMNS, *feature_names) if name not in columns]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing[:3]) + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        )
        unknown = [name for name in columns if name not in {*KEY_COLUMNS, *FEATURE_NAMES}]
        near = difflib.get_close_matches(missing[0], unknown, n=1)
        hint = f" (did you mean its '{near[0]}'?)" if near and len(missing) <= 3 else ""
        raise UserError(f"{source}, row 1: lacks the columns {named}{hint}; data/README.md lists what it must hold.")
    twice = sorted({name for name in columns if columns.count(name) > 1} & {*KEY_COLUMNS, *feature_names})
    if twice:
        raise UserError(f"{source}, row 1: the column '{twice[0]}' stands there more than once; keep one of them.")


def _first_fault(path: Path, columns: list[str], numbers: Sequence[str]) -> UserError | None:
    """The first cell that breaks the contract; slow, and only run where the fast reader stumbled."""
    where = {name: columns.index(name) for name in ("filename", "label", *numbers)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in filter(None, reader):
                place = f"{path}, row {reader.line_num}"
                if len(cells) != len(columns):
                    return UserError(f"{place}: {len(cells)} fields where the header has {len(columns)}.")
                for name, position in where.items():
                    if fault := _cell_fault(cells[position], name in numbers):
                        return UserError(f"{place}, column '{name}': {fault}.")
    except UnicodeDecodeError:
        return _not_utf8(path)
    return None


def _cell_fault(cell: str, is_number: bool) -> str | None:
    if not cell.strip():
        return "the cell is empty; fill it or leave the whole track out"
    if not is_number:
        return f"'{cell}' reads as a missing value" if cell.lower() in MISSING_WORDS else None
    try:
        value = float(
            cell.replace("_", "?").encode("ascii")
        )  # Python reads 1_000 and other scripts' digits; CSVs do not
    except ValueError:
        return f"expected a number, found '{cell}'"
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        return f"expected a finite number, found '{cell}'; leave the track out or extract it again"
    return None
