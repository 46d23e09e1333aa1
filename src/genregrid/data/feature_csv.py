"""Read one feature CSV, and describe its first fault with file, row and column."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.columns import (
    FEATURE_NAMES,
    KEY_COLUMNS,
    MISSING_WORDS,
    SAMPLE_RATE_HZ,
    SHOWN,
    check_columns,
    chosen_columns,
)
from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, SliceRows, concatenated, in_memory, name_keys
from genregrid.data.value_range import EXTRACT_AGAIN, range_fault, value_ranges
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import KIND_BYTES, text_kind
from genregrid.name import MOST_GENRE_CHARACTERS, MOST_GENRES, MOST_TRACK_CHARACTERS, folded, name_fault
from genregrid.tablefile.csv_file import CsvFile, opened_csv
from genregrid.tablefile.scan import place, records, scan

# Text that pandas reads at once, so that long lines take no more memory than many short ones.
_BLOCK_BYTES = 64 << 20
# Characters of the note about columns that were not read: 1000 names of 20 characters.
_NOTED = 20_000


def read_feature_csv(
    path: Path,
    feature_names: Sequence[str],
    allocate: Allocate = in_memory,
    slice_seconds: float | None = None,
    needs_labels: bool = True,
) -> SliceRows:
    """Read filename, length, label and the named features in blocks, so that memory holds little more than these.

    A few of the last rows of the allocated array may stay unused. A file without the column `length` is read if
    `slice_seconds` is known. Unless it `needs_labels`, labels may be missing, and are then empty.

    Raises:
        UserError: the file cannot be read, a cell breaks the contract, or the file changes meanwhile.
    """
    with opened_csv(path) as opened:
        file, num_skipped = opened.file, opened.num_skipped
        with _no_other_text(opened, path):
            try:
                found = scan(file, path, num_skipped)
            except OSError as error:  # of the disk or the network
                raise UserError(f"it cannot be read: {error.strerror}", key=path) from None
            columns = _header(opened, path)
            check_columns(columns, str(path), feature_names, slice_seconds, needs_labels, row=1 + num_skipped)
        numbers = [*feature_names, *(["length"] if "length" in columns else [])]
        # a row has a character for each number, and a separator for each column
        most_rows = min(found.num_lines, found.num_bytes // (len(columns) + len(numbers)))
        try:
            features = allocate((max(1, most_rows), len(feature_names)))
        except MemoryError:
            problem = f"{most_rows} rows of {len(feature_names)} numbers do not fit into memory"
            raise UserError(problem, key=path, hint="set dataset.cache to a folder on a disk with room") from None
        rows_at_once = max(1, min(BLOCK_ROWS, _BLOCK_BYTES // max(1, found.longest_line)))
        keys, length_samples, is_complete = _fill(features, opened, path, columns, numbers, rows_at_once, needs_labels)
        if not len(keys):
            raise UserError("it has a header but no rows; expected one row per slice", key=path)
        # pandas silently drops cells after the last column, and leaves the last ones empty where there are too few;
        # commas in quotes are no fault
        num_commas = found.num_commas - opened.num_commas
        if num_commas != (len(columns) - 1) * (len(keys) + 1) or not is_complete:
            for of_row in records(file, path, num_skipped):
                if fault := _num_fields_fault(path, *of_row, len(columns)):
                    raise fault
        row = np.arange(2, len(keys) + 2) + num_skipped
        if found.num_lines != len(keys) + 1 + num_skipped:  # blank lines, or line breaks within quotes
            row = np.fromiter((last for _, last, _ in records(file, path, num_skipped)), np.int64)[1:]
    if not (has_length := "length" in columns):
        length_samples = np.full(len(keys), round((slice_seconds or 0) * SAMPLE_RATE_HZ), np.float32)
    extra = tuple(n for n in columns if n.strip() and n not in {*FEATURE_NAMES, *numbers, *KEY_COLUMNS})
    sha256 = opened.sha256 or found.sha256
    keys = keys.assign(row=row)
    return SliceRows(str(path), keys, features[: len(keys)], length_samples, sha256, extra, has_length)


def peek_lengths(
    path: Path, most_rows: int, feature_names: Sequence[str] = (), needs_labels: bool = True
) -> tuple[list[str], list[float]]:
    """Read file names and lengths in samples of the first rows, `most_rows` at most; of features, only the names.

    Raises:
        UserError: as `read_feature_csv`, for these rows.
    """
    with opened_csv(path, first_rows_only=True) as opened, _no_other_text(opened, path):
        try:
            columns = _header(opened, path)
            check_columns(columns, str(path), feature_names, needs_labels=needs_labels, row=1 + opened.num_skipped)
            rows = list(islice(records(opened.file, path, opened.num_skipped), most_rows + 1))[1:]
        except UnicodeDecodeError:
            scan(opened.file, path)  # names the row
            raise UserError("it is not UTF-8 text", key=path) from None
    if not rows:
        raise UserError("it has a header but no rows; expected one row per slice", key=path)
    for row in rows:
        if fault := _row_fault(path, *row, columns, ["length"], needs_labels):
            raise fault
    name, length = columns.index("filename"), columns.index("length")
    return [unguarded(cells[name]) for *_, cells in rows], [float(cells[length]) for *_, cells in rows]


@contextmanager
def _no_other_text(opened: CsvFile, path: Path) -> Iterator[None]:
    """Refuse a file with the reason if it is another kind of text than a CSV, and a header that is a comment."""
    try:
        yield
    except UserError:
        opened.file.seek(0)
        if kind := text_kind(opened.file.read(KIND_BYTES)):
            raise UserError(f"it is {kind.name}, and a CSV is needed", key=path, hint=kind.hint) from None
        if {"filename", "label"} <= {folded(name) for name in opened.comment.lstrip('"# ').split(",")}:
            hint = "take the sign away"
            raise UserError("its header begins with #", key=place(path, opened.num_skipped), hint=hint) from None
        raise


def _fill(
    features: NDArray[np.float32],
    opened: CsvFile,
    path: Path,
    columns: list[str],
    numbers: list[str],
    rows_at_once: int,
    needs_labels: bool,
) -> tuple[pd.DataFrame, NDArray[np.float32], bool]:
    """Read a file's features into an array; return keys and lengths of the rows, and whether each has a last cell."""
    keys, lengths, is_complete = [], [], True
    genres: set[str] = set()
    start = 0
    least, largest = value_ranges(numbers)
    last, used = columns[-1], [name for name in ("filename", "label", *numbers) if name in columns]
    if last not in used:  # a row with too few cells lacks its last one; pandas renames other columns of that name
        is_complete = bool(last) and columns.count(last) == 1
        used += [last] if is_complete else []
    opened.file.seek(opened.skipped_bytes)
    try:
        with (
            warnings.catch_warnings(),
            pd.read_csv(
                opened.file,
                usecols=used,
                dtype=dict.fromkeys(numbers, np.float32) | dict.fromkeys({*used} - {*numbers}, str),
                chunksize=rows_at_once,
            ) as blocks,
        ):
            warnings.filterwarnings("ignore", "overflow encountered")  # 1e39 becomes infinite and is refused below
            for block in blocks:
                values = block[numbers].to_numpy(np.float32)
                if not ((values >= least) & (values <= largest)).all():  # so is NaN
                    raise ValueError("a number is missing or out of range")
                names = _names(block["filename"], MOST_TRACK_CHARACTERS)
                labels = _labels(block, needs_labels)
                if len(genres := genres.union(labels)) > MOST_GENRES:
                    hint = "is the column 'label' the genre, and not the name of each track?"
                    raise UserError(f"it has more than {MOST_GENRES} genres", key=path, hint=hint)
                features[start : start + len(block)] = values[:, : features.shape[1]]
                lengths.append(values[:, -1].copy() if numbers else np.empty(len(block), np.float32))
                keys.append(name_keys(names, labels))
                start += len(block)
                is_complete = is_complete and bool(block[used[-1]].notna().all())
    except UserError:
        raise
    except ValueError as error:  # so is pandas' ParserError
        unreadable = UserError(f"it is not a readable CSV: {error}", key=path)
        raise _first_fault(opened, path, columns, numbers, start, needs_labels) or unreadable from None
    if not keys:
        return pd.DataFrame(), np.empty(0, np.float32), is_complete
    return concatenated(keys), np.concatenate(lengths), is_complete


_NAME_LIMITS = {"filename": MOST_TRACK_CHARACTERS, "label": MOST_GENRE_CHARACTERS}


def _names(cells: "pd.Series[str]", most: int) -> list[str]:
    """Return names as they were before a spreadsheet's guard; raise ValueError if one is missing or unfit."""
    if cells.isna().any():
        raise ValueError("a name is missing")
    names = [name if name[0] != "'" else unguarded(name) for name in cells.tolist()]
    different = set(names)
    is_plain = all(map(str.isprintable, different)) and all(map(str.strip, different))  # as nearly always, and fast
    if not (is_plain and max(map(len, different), default=0) <= most) and any(
        name_fault(name, most) for name in different
    ):
        raise ValueError("a name is unfit")
    return names


def _labels(block: pd.DataFrame, needs_labels: bool) -> list[str]:
    """Return the labels of rows; unless they are needed, missing ones are empty."""
    if "label" not in block:
        return [""] * len(block)
    is_known = block["label"].notna()
    if needs_labels or is_known.all():
        return _names(block["label"], MOST_GENRE_CHARACTERS)
    known = iter(_names(block["label"][is_known], MOST_GENRE_CHARACTERS))
    return [next(known) if is_one else "" for is_one in is_known]


def choose_columns(path: Path, wanted: str | Sequence[str]) -> tuple[str, ...]:
    """Return the descriptors of a file that are wanted, as `chosen_columns` has them.

    Raises:
        UserError: nothing fits a name or a pattern, or the file cannot be read.
    """
    with opened_csv(path, first_rows_only=True) as opened, _no_other_text(opened, path):
        columns = _header(opened, path)
        check_columns(columns, str(path), (), 1.0, row=1 + opened.num_skipped, needs_labels=False)
        rows = list(islice(records(opened.file, path, opened.num_skipped), 2))
    return chosen_columns(columns, rows[1][2] if len(rows) > 1 else (), wanted, path)


def _header(opened: CsvFile, path: Path) -> list[str]:
    """Return the column names; raise if this is no comma-separated text."""
    row = 1 + opened.num_skipped
    first, _, columns = next(records(opened.file, path, opened.num_skipped), (0, 0, [""]))
    if first == 0:
        raise UserError("it is empty; expected a header and one row per slice", key=path)
    if first > row:
        raise UserError(
            "it is empty; expected the names of the columns", key=place(path, row), hint="delete empty lines"
        )
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(columns) == 1 and delimiter in columns[0]:
            problem = f"the columns are separated by {name}"
            raise UserError(problem, key=place(path, row), hint="save the file with commas")
    return columns


def extra_note(name: str, extra: Sequence[str]) -> str:
    """Return the note about columns that were not read."""
    return f"{printable(name)}: ignored the columns {printable(', '.join(extra), most=_NOTED)}"


def _first_fault(
    opened: CsvFile, path: Path, columns: list[str], numbers: Sequence[str], num_good: int, needs_labels: bool
) -> UserError | None:
    """Find the first cell after `num_good` rows that breaks the contract. It is slow, and pandas names no place."""
    rest = islice(records(opened.file, path, opened.num_skipped), 1 + num_good, None)
    return next(filter(None, (_row_fault(path, *row, columns, numbers, needs_labels) for row in rest)), None)


def _num_fields_fault(path: Path, first: int, last: int, cells: list[str], num_columns: int) -> UserError | None:
    if len(cells) == num_columns:
        return None
    hint = "is a quotation mark missing in this row?" if last > first else None
    return UserError(
        f"{counted(len(cells), 'field')}, but the header has {num_columns}", key=place(path, first), hint=hint
    )


def _row_fault(
    path: Path,
    first: int,
    last: int,
    cells: list[str],
    columns: list[str],
    numbers: Sequence[str],
    needs_labels: bool,
) -> UserError | None:
    """Return the first fault among the cells of a row of `records`; ``None`` if the row is good."""
    if fault := _num_fields_fault(path, first, last, cells, len(columns)):
        return fault
    for name in (*_NAME_LIMITS, *numbers):
        cell = cells[columns.index(name)] if name in columns else ""
        if name == "label" and not needs_labels and (not cell or cell.lower() in MISSING_WORDS):
            continue
        found = _number_fault(name, cell) if name in numbers else _name_cell_fault(cell, _NAME_LIMITS[name])
        if found:
            return UserError(found[0], key=place(path, last, name), hint=found[1])
    return None


def _name_cell_fault(cell: str, most: int) -> tuple[str, str | None] | None:
    """Return the problem of a name and a hint; ``None`` for a good name."""
    if not cell:
        return "the cell is empty", "fill it or leave the whole track out"
    if cell.lower() in MISSING_WORDS:
        return f"'{cell}' is read as a missing value", f"fill the cell, or write another name, such as '{cell}_'"
    fault = name_fault(unguarded(cell), most)
    return (f"'{printable(cell, SHOWN)}' cannot be a name: {fault}", "rename it") if fault else None


def _number_fault(name: str, cell: str) -> tuple[str, str | None] | None:
    """Return the problem of a number and a hint; ``None`` for a good number."""
    if not cell.strip():
        return "the cell is empty", "fill it or leave the whole track out"
    try:
        # Python accepts 1_000 and digits of other scripts; pandas does not
        value = float(cell.replace("_", "?").encode("ascii"))
    except ValueError:
        return f"expected a number, found '{printable(cell, SHOWN)}'", None
    if not math.isfinite(value):
        return f"expected a finite number, found '{printable(cell, SHOWN)}'", EXTRACT_AGAIN
    return range_fault(name, value)
