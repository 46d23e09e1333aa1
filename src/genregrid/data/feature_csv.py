"""Read one feature CSV, and describe its first fault with file, row and column."""

import difflib
import fnmatch
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.csv_file import CsvFile, opened_csv
from genregrid.data.scan import place, records, scan
from genregrid.data.slice_rows import BLOCK_ROWS, Allocate, SliceRows, concatenated, in_memory, name_keys
from genregrid.data.value_range import EXTRACT_AGAIN, range_fault, value_ranges
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import text_kind
from genregrid.name import MOST_COLUMNS, MOST_GENRE_CHARACTERS, MOST_GENRES, MOST_TRACK_CHARACTERS, folded, name_fault

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
# Text that pandas reads at once, so that long lines take no more memory than many short ones.
_BLOCK_BYTES = 64 << 20
# Characters of a cell or a name within a sentence.
_SHOWN = 60
# Characters of the note about columns that were not read: 1000 names of 20 characters.
_NOTED = 20_000
SAMPLE_RATE_HZ = 22_050
# So many missing columns are named one by one; and so many means without their endings are a table of means only.
_MOST_MISSING = 5
# What other tables call our columns, in lower case and without signs; the first that a table has is meant.
_OTHER_NAMES = {
    "label": ("genre", "genres", "class", "labels", "genreinferred", "genretop", "target", "category", "style", "y"),
    "filename": (
        "file",
        "path",
        "filepath",
        "track",
        "trackid",
        "trackname",
        "song",
        "songname",
        "name",
        "audio",
        "id",
    ),
    "length": ("numsamples", "nsamples", "samples"),
}
# Bytes in which text that is no table is recognised.
_KIND_BYTES = 512


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
        if kind := text_kind(opened.file.read(_KIND_BYTES)):
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
                lengths.append(values[:, -1].copy())
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
    """Return the descriptors of a table that are wanted: names, patterns such as ``e*``, or ``all``.

    Names keep the order that they are wanted in; those of a pattern are in the order of the file. A pattern, and
    ``all``, take only columns whose first cell is a number or missing, and no index that pandas wrote.

    Raises:
        UserError: nothing fits a name or a pattern, or the file cannot be read.
    """
    with opened_csv(path, first_rows_only=True) as opened, _no_other_text(opened, path):
        columns = _header(opened, path)
        check_columns(columns, str(path), (), 1.0, row=1 + opened.num_skipped, needs_labels=False)
        rows = list(islice(records(opened.file, path, opened.num_skipped), 2))
    cells = rows[1][2] if len(rows) > 1 else []
    names = [name for name in columns if name.strip() and name not in KEY_COLUMNS]
    numbers = [
        name
        for name, cell in zip(columns, cells, strict=False)
        if name in names
        and not re.fullmatch(r"Unnamed: \d+|index|level_\d+", name)
        and (_is_number(cell) or not cell.strip() or cell.lower() in MISSING_WORDS)  # a missing one is refused later
    ]
    chosen: dict[str, None] = {}
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        fitting = [pattern] if pattern in names else fnmatch.filter(numbers, "*" if pattern == "all" else pattern)
        if not fitting:
            near = difflib.get_close_matches(pattern, names, n=1)
            problem = f"no column of numbers in {path} fits '{printable(pattern, _SHOWN)}'"
            shown = printable(", ".join(names), 200)
            hint = f"is it {near[0]}?" if near else f"choose from {shown}" if names else None
            raise UserError(problem, key="dataset.features", hint=hint)
        chosen |= dict.fromkeys(fitting)
    return tuple(chosen)


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


def check_columns(
    columns: Sequence[str],
    source: str,
    feature_names: Sequence[str],
    slice_seconds: float | None = None,
    needs_labels: bool = True,
    row: int = 1,
) -> None:
    """Raise if columns are missing, all at once, or one occurs twice; suggest what was probably meant.

    `length` is not needed where `slice_seconds` is known, nor `label` unless it `needs_labels`.
    """
    if len(columns) > MOST_COLUMNS:
        problem = f"it has {len(columns)} columns, and {MOST_COLUMNS} can be read"
        raise UserError(problem, key=place(source, row), hint="leave out columns that are not needed")
    counts = Counter(columns)
    needless = {"length"} if slice_seconds else set()
    needless |= set() if needs_labels else {"label"}
    wanted = [name for name in (*KEY_COLUMNS, *feature_names) if name not in needless or counts[name]]
    missing = [name for name in wanted if name not in counts]
    if missing:
        raise _missing_columns(missing, counts, place(source, row))
    twice = sorted(name for name in wanted if counts[name] > 1)
    if twice:
        raise UserError("the column occurs more than once", key=place(source, row, twice[0]), hint="keep one of them")


def _missing_columns(missing: list[str], counts: Counter[str], key: str) -> UserError:
    """Return the mistake of a table that lacks columns; its hint is what can be done with those that it has."""
    if 2 * sum(count for name, count in counts.items() if _is_number(name)) > counts.total():
        problem = "it has numbers in place of the names of columns"
        return UserError(problem, key=key, hint="write a header above it; data/README.md lists the columns")
    keys = [name for name in missing if name in KEY_COLUMNS]
    rest = missing[len(keys) :]
    shown = rest if len(missing) <= _MOST_MISSING else rest[: max(0, 3 - len(keys))]
    named = ", ".join(f"'{name}'" for name in [*keys, *shown])
    more = f" and {len(rest) - len(shown)} more" if len(rest) > len(shown) else ""
    form = "column {} is" if len(missing) == 1 else "columns {} are"
    problem = f"the {form.format(named + more)} missing"
    hint = "data/README.md lists the columns"
    known = {*KEY_COLUMNS, *FEATURE_NAMES}
    unknown = [name for name in counts if len(name) <= _SHOWN and name not in known]
    means = [name for name in rest if name.endswith("_mean") and name.removesuffix("_mean") in counts]
    if renames := _renames(missing, unknown):
        pairs = [f"'{printable(old, _SHOWN)}' to '{new}'" for new, old in renames.items()]
        others = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
        hint = f"rename {', '.join(pairs[:3])}{others}" + ("" if len(renames) == len(missing) else f"; {hint}")
    elif len(missing) <= 3 and (near := difflib.get_close_matches(missing[0], unknown, n=1)):
        problem += f" (is it '{near[0]}'?)"
    if len(means) >= _MOST_MISSING:
        problem += f": it has means only, such as '{means[0].removesuffix('_mean')}', and no variances"
        hint = "extract the features again: python -m genregrid.features"
        if renames:
            hint += f"; rename {', '.join(pairs[:3])}"
    return UserError(problem, key=key, hint=hint)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _renames(missing: Sequence[str], unknown: Sequence[str]) -> dict[str, str]:
    """Return the column that each missing one is called in other tables, or but for case, blanks and signs."""
    plain = {name: re.sub(r"[\W_]+", "", folded(name)) for name in unknown}
    found: dict[str, str] = {}
    for name in missing:
        own = re.sub(r"[\W_]+", "", folded(name))
        same = [other for other, letters in plain.items() if letters == own]
        others = [other for usual in _OTHER_NAMES.get(name, ()) for other, letters in plain.items() if letters == usual]
        if same or others:
            found[name] = (same or others)[0]
    return found


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
