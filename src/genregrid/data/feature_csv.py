"""Read one feature CSV, and describe its first fault with file, row and column."""

import difflib
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.scan import place, records, scan
from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, SliceRows, concatenated, in_memory, name_keys
from genregrid.data.value_range import EXTRACT_AGAIN, range_fault, value_ranges
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import check_regular
from genregrid.name import MOST_GENRE_CHARACTERS, MOST_GENRES, MOST_TRACK_CHARACTERS, name_fault

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
MISSING_WORDS = frozenset(
    {"nan", "n/a", "na", "null", "none", "-nan", "<na>", "#n/a", "#na", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan"}
    | {"-1.#qnan"}
)
KEY_COLUMNS = ("filename", "length", "label")
#: Columns of a file. Learned descriptors have some thousands, and a million would take minutes to look through.
MOST_COLUMNS = 20_000
# Text that pandas reads at once, so that long lines take no more memory than many short ones.
_BLOCK_BYTES = 64 << 20
# Characters of a cell or a name within a sentence.
_SHOWN = 60
# Characters of the note about columns that were not read: 1000 names of 20 characters.
_NOTED = 20_000
SAMPLE_RATE_HZ = 22_050


def read_feature_csv(path: Path, feature_names: Sequence[str], allocate: Allocate = in_memory) -> SliceRows:
    """Read filename, length, label and the named features in blocks, so that memory holds little more than these.

    A few of the last rows of the allocated array may stay unused.

    Raises:
        UserError: the file cannot be read, a cell breaks the contract, or the file changes meanwhile.
    """
    numbers = [*feature_names, "length"]
    with _opened(path) as file:
        try:
            found = scan(file, path)
        except OSError as error:  # of the disk or the network
            raise UserError(f"it cannot be read: {error.strerror}", key=path) from None
        columns = _header(file, path)
        check_columns(columns, str(path), feature_names)
        # a row has a character for each number, and a separator for each column
        most_rows = min(found.num_lines, found.num_bytes // (len(columns) + len(numbers)))
        try:
            features = allocate((max(1, most_rows), len(feature_names)))
        except MemoryError:
            problem = f"{most_rows} rows of {len(feature_names)} numbers do not fit into memory"
            raise UserError(problem, key=path, hint="set dataset.cache to a folder on a disk with room") from None
        rows_at_once = max(1, min(BLOCK_ROWS, _BLOCK_BYTES // max(1, found.longest_line)))
        keys, length_samples, is_complete = _fill(features, file, path, columns, numbers, rows_at_once)
        if not len(keys):
            raise UserError("it has a header but no rows; expected one row per slice", key=path)
        # pandas silently drops cells after the last column, and leaves the last ones empty where there are too few;
        # commas in quotes are no fault
        if found.num_commas != (len(columns) - 1) * (len(keys) + 1) or not is_complete:
            for of_row in records(file, path):
                if fault := _num_fields_fault(path, *of_row, len(columns)):
                    raise fault
        row = np.arange(2, len(keys) + 2)
        if found.num_lines != len(keys) + 1:  # blank lines, or line breaks within quotes
            row = np.fromiter((last for _, last, _ in records(file, path)), np.int64)[1:]
    extra = tuple(n for n in columns if n.strip() and n not in {*FEATURE_NAMES, *numbers, *KEY_COLUMNS})
    return SliceRows(str(path), keys.assign(row=row), features[: len(keys)], length_samples, found.sha256, extra)


def peek_lengths(path: Path, most_rows: int) -> tuple[list[str], list[float]]:
    """Read file names and lengths in samples of the first rows, `most_rows` at most; nothing else is read.

    Raises:
        UserError: as `read_feature_csv`, for these rows.
    """
    with _opened(path) as file:
        try:
            columns = _header(file, path)
            check_columns(columns, str(path), ())
            rows = list(islice(records(file, path), most_rows + 1))[1:]
        except UnicodeDecodeError:
            scan(file, path)  # names the row
            raise UserError("it is not UTF-8 text", key=path) from None
    if not rows:
        raise UserError("it has a header but no rows; expected one row per slice", key=path)
    for row in rows:
        if fault := _row_fault(path, *row, columns, ["length"]):
            raise fault
    name, length = columns.index("filename"), columns.index("length")
    return [unguarded(cells[name]) for *_, cells in rows], [float(cells[length]) for *_, cells in rows]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a CSV, and raise if it is not the same file with the same content at the end."""
    check_regular(path, key=path, hint="give the path of a feature CSV (data/README.md describes its columns)")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}", key=path) from None
    with file:
        before = _state(file)
        try:
            yield file
        finally:
            if _state(file) != before:
                hint = "wait until it is written, and start again"
                raise UserError("it was changed while it was read", key=path, hint=hint)


def _state(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _fill(
    features: NDArray[np.float32],
    file: BinaryIO,
    path: Path,
    columns: list[str],
    numbers: list[str],
    rows_at_once: int,
) -> tuple[pd.DataFrame, NDArray[np.float32], bool]:
    """Read a file's features into an array; return keys and lengths of the rows, and whether each has a last cell."""
    keys, lengths, is_complete = [], [], True
    genres: set[str] = set()
    start = 0
    least, largest = value_ranges(numbers)
    last, used = columns[-1], ["filename", "label", *numbers]
    if last not in used:  # a row with too few cells lacks its last one; pandas renames other columns of that name
        is_complete = bool(last) and columns.count(last) == 1
        used += [last] if is_complete else []
    file.seek(0)
    try:
        with (
            warnings.catch_warnings(),
            pd.read_csv(
                file,
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
                names, labels = (_names(block[name], most) for name, most in _NAME_LIMITS.items())
                if len(genres := genres.union(labels)) > MOST_GENRES:
                    hint = "is the column 'label' the genre, and not the name of each track?"
                    raise UserError(f"it has more than {MOST_GENRES} genres", key=path, hint=hint)
                features[start : start + len(block)] = values[:, :-1]
                lengths.append(values[:, -1].copy())
                keys.append(name_keys(names, labels))
                start += len(block)
                is_complete = is_complete and bool(block[used[-1]].notna().all())
    except UserError:
        raise
    except ValueError as error:  # so is pandas' ParserError
        unreadable = UserError(f"it is not a readable CSV: {error}", key=path)
        raise _first_fault(file, path, columns, numbers, start) or unreadable from None
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


def _header(file: BinaryIO, path: Path) -> list[str]:
    """Return the column names; raise if this is no comma-separated text."""
    first, _, columns = next(records(file, path), (0, 0, [""]))
    if first == 0:
        raise UserError("it is empty; expected a header and one row per slice", key=path)
    if first > 1:
        raise UserError("it is empty; expected the names of the columns", key=place(path, 1), hint="delete empty lines")
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(columns) == 1 and delimiter in columns[0]:
            problem = f"the columns are separated by {name}"
            raise UserError(problem, key=place(path, 1), hint="save the file with commas")
    return columns


def check_columns(columns: Sequence[str], source: str, feature_names: Sequence[str]) -> None:
    """Raise if a column is missing or occurs twice; suggest the column that was probably meant."""
    if len(columns) > MOST_COLUMNS:
        problem = f"it has {len(columns)} columns, and {MOST_COLUMNS} can be read"
        raise UserError(problem, key=place(source, 1), hint="leave out columns that are not needed")
    wanted = (*KEY_COLUMNS, *feature_names)
    counts = Counter(columns)
    missing = [name for name in wanted if name not in counts]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = ", ".join(f"'{name}'" for name in missing[:3]) + more
        known = {*KEY_COLUMNS, *FEATURE_NAMES}
        unknown = [name for name in counts if len(name) <= _SHOWN and name not in known]
        near = difflib.get_close_matches(missing[0], unknown, n=1) if len(missing) <= 3 else []
        meant = f" (is it '{near[0]}'?)" if near else ""
        hint = "data/README.md lists the columns"
        raise UserError(f"the columns {named} are missing{meant}", key=place(source, 1), hint=hint)
    twice = sorted(name for name in wanted if counts[name] > 1)
    if twice:
        raise UserError("the column occurs more than once", key=place(source, 1, twice[0]), hint="keep one of them")


def extra_note(name: str, extra: Sequence[str]) -> str:
    """Return the note about columns that were not read."""
    return f"{printable(name)}: ignored the columns {printable(', '.join(extra), most=_NOTED)}"


def _first_fault(
    file: BinaryIO, path: Path, columns: list[str], numbers: Sequence[str], num_good: int
) -> UserError | None:
    """Find the first cell after `num_good` rows that breaks the contract. It is slow, and pandas names no place."""
    rest = islice(records(file, path), 1 + num_good, None)
    return next(filter(None, (_row_fault(path, *row, columns, numbers) for row in rest)), None)


def _num_fields_fault(path: Path, first: int, last: int, cells: list[str], num_columns: int) -> UserError | None:
    if len(cells) == num_columns:
        return None
    hint = "is a quotation mark missing in this row?" if last > first else None
    return UserError(
        f"{counted(len(cells), 'field')}, but the header has {num_columns}", key=place(path, first), hint=hint
    )


def _row_fault(
    path: Path, first: int, last: int, cells: list[str], columns: list[str], numbers: Sequence[str]
) -> UserError | None:
    """Return the first fault among the cells of a row of `records`; ``None`` if the row is good."""
    if fault := _num_fields_fault(path, first, last, cells, len(columns)):
        return fault
    for name in (*_NAME_LIMITS, *numbers):
        cell = cells[columns.index(name)]
        found = _number_fault(name, cell) if name in numbers else _name_cell_fault(cell, _NAME_LIMITS[name])
        if found:
            return UserError(found[0], key=place(path, last, name), hint=found[1])
    return None


def _name_cell_fault(cell: str, most: int) -> tuple[str, str | None] | None:
    """Return the problem of a name and a hint; ``None`` for a good name."""
    if not cell:
        return "the cell is empty", "fill it or leave the whole track out"
    if cell.lower() in MISSING_WORDS:
        return f"'{cell}' is read as a missing value", None
    fault = name_fault(unguarded(cell), most)
    return (f"'{printable(cell, _SHOWN)}' cannot be a name: {fault}", "rename it") if fault else None


def _number_fault(name: str, cell: str) -> tuple[str, str | None] | None:
    """Return the problem of a number and a hint; ``None`` for a good number."""
    if not cell.strip():
        return "the cell is empty", "fill it or leave the whole track out"
    try:
        # Python accepts 1_000 and digits of other scripts; pandas does not
        value = float(cell.replace("_", "?").encode("ascii"))
    except ValueError:
        return f"expected a number, found '{printable(cell, _SHOWN)}'", None
    if not math.isfinite(value):
        return f"expected a finite number, found '{printable(cell, _SHOWN)}'", EXTRACT_AGAIN
    return range_fault(name, value)
