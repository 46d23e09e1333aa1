"""The columns of a feature table: their names, which may be missing, and which are descriptors."""

import difflib
import fnmatch
import math
import re
from collections import Counter
from collections.abc import Sequence

from genregrid.errors import UserError, printable
from genregrid.name import MOST_COLUMNS, folded
from genregrid.program import command_name
from genregrid.tablefile.scan import place

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
SAMPLE_RATE_HZ = 22_050
#: Characters of a cell or a name within a sentence.
SHOWN = 60
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
    unknown = [name for name in counts if len(name) <= SHOWN and name not in known]
    means = [name for name in rest if name.endswith("_mean") and name.removesuffix("_mean") in counts]
    if renames := _renames(missing, unknown):
        pairs = [f"'{printable(old, SHOWN)}' to '{new}'" for new, old in renames.items()]
        others = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
        hint = f"rename {', '.join(pairs[:3])}{others}" + ("" if len(renames) == len(missing) else f"; {hint}")
    elif len(missing) <= 3 and (near := difflib.get_close_matches(missing[0], unknown, n=1)):
        problem += f" (is it '{near[0]}'?)"
    if "length" in missing and "length" not in renames:
        seconds = "if its slices have 3 s, set dataset.table_slice_seconds=3 (dataset.include_length needs the column)"
        hint = seconds if missing == ["length"] else f"{seconds}; {hint}"
    if len(means) >= _MOST_MISSING:
        problem += f": it has means only, such as '{means[0].removesuffix('_mean')}', and no variances"
        hint = f"extract the features again: {command_name('features')}"
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


def chosen_columns(
    columns: Sequence[str], first_row: Sequence[str], wanted: str | Sequence[str], source: object
) -> tuple[str, ...]:
    """Choose the descriptors that are wanted: names, patterns such as ``e*``, or ``all``.

    Names keep the order that they are wanted in; those of a pattern are in the order of the table. A pattern, and
    ``all``, take only columns whose cell of the first row is a number or missing, and no index that pandas wrote.

    Args:
        columns: names of the table's columns.
        first_row: cells of the first row; empty if the table has no rows.
        wanted: a name or a pattern, or a list of them.
        source: the table, for the error.

    Raises:
        UserError: nothing fits a name or a pattern.
    """
    names = [name for name in columns if name.strip() and name not in KEY_COLUMNS]
    numbers = [
        name
        for name, cell in zip(columns, first_row, strict=False)
        if name in names
        and not re.fullmatch(r"Unnamed: \d+|index|level_\d+", name)
        and (_is_number(cell) or not cell.strip() or cell.lower() in MISSING_WORDS)  # a missing one is refused later
    ]
    chosen: dict[str, None] = {}
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        fitting = [pattern] if pattern in names else fnmatch.filter(numbers, "*" if pattern == "all" else pattern)
        if not fitting:
            near = difflib.get_close_matches(pattern, numbers, n=1)
            problem = f"no column of numbers in {source} fits '{printable(pattern, SHOWN)}'"
            shown = printable(", ".join(numbers), 200)
            hint = f"is it {near[0]}?" if near else f"choose from {shown}" if numbers else None
            raise UserError(problem, key="dataset.features", hint=hint)
        chosen |= dict.fromkeys(fitting)
    return tuple(chosen)
