"""Find the whole numbers that a printed table of rounded scores was computed from.

Recall, precision and F1 of a genre are quotients of three whole numbers: its test tracks, its hits (tracks of the genre
that were predicted as it) and its predictions (tracks of any genre that were predicted as it)::

    recall = hits / tracks    precision = hits / predictions    f1 = 2 hits / (tracks + predictions)

A score in whole per cents leaves few candidates, and three sums connect the genres: their tracks add up to the size of
the test set, their predictions to the same number, and their hits to the accuracy. Columns that were scored on one test
set have the same tracks. The search lists the candidates of each genre. It then adds one genre after the other, and
keeps every possible sum and the number of ways to reach it.

``python tools/forensic.py [FILE]`` searches the paper's Table 1, or a CSV of the same columns.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from genregrid.errors import Options, UserError, command
from genregrid.published.reference import read_reference

Column = tuple[str, float]  # model, slice_seconds
_NAMES = ["model", "slice_seconds", "metric", "genre", "value"]
_CELL = ["model", "slice_seconds", "genre"]
_SCORES = ["precision", "recall", "f1"]
_ALL = "all"  # the genre of an accuracy
_LIMIT = 300  # tracks: three tenths of GTZAN, searched in some seconds
_MOST_SUMS = 2_000_000  # in memory at once: about a quarter of a gigabyte
_HONEST = 0.75  # accuracy of the paper's other LSTM columns, and of models on honest splits of the same features


@dataclass(frozen=True)
class Counts:
    """The whole numbers that give the scores of some columns, if these were scored on one test set.

    Attributes:
        smallest_total: the sum of every genre's smallest number of tracks; no test set is smaller. ``None`` if a genre
            has no number up to the limit.
        solutions: one row per size of the test set and hits in each column: tracks, ``hits 1``, ``hits 2``, ... in the
            order of the columns, and ways, the number of sets of numbers with these sums.
        numbers: if one set of numbers is the only solution, a row per genre and column: genre, model, slice_seconds,
            tracks, hits, predictions; otherwise empty.
    """

    smallest_total: int | None
    solutions: pd.DataFrame
    numbers: pd.DataFrame

    @property
    def is_unique(self) -> bool:
        """Whether one set of numbers is the only solution."""
        return len(self.numbers) > 0


class _Scores(NamedTuple):
    """The scores of one genre in one column in whole per cents, and how many of them must be met."""

    needed: int
    precision: int
    recall: int
    f1: int


def contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """Find F1 scores that cannot follow from their precision and recall, for any unrounded values.

    Args:
        table: columns model, slice_seconds, metric, genre, value, as `read_table` gives.

    Returns:
        Columns model, slice_seconds, genre, precision, recall, f1 (whole per cents), and lowest and highest, the F1 in
        per cent that precision and recall allow.
    """
    rows = _per_genre(table)
    for name, edge in (("lowest", -0.5), ("highest", 0.5)):
        precision, recall = (np.clip(rows[score] + edge, 1e-9, 100) for score in ("precision", "recall"))
        rows[name] = 2 * precision * recall / (precision + recall)
    outside = (rows["f1"] + 0.5 < rows["lowest"]) | (rows["f1"] - 0.5 > rows["highest"])
    return rows[outside].reset_index()


def class_counts(
    table: pd.DataFrame, columns: Sequence[Column], *, limit: int = _LIMIT, as_printed: bool = False
) -> Counts:
    """Find every set of whole numbers that gives the scores of some columns, if these were scored on one test set.

    Exact halves may have been rounded up or down. If precision, recall and F1 contradict each other, any one of them
    may be a misprint.

    Args:
        table: columns model, slice_seconds, metric, genre, value, as `read_table` gives.
        columns: (model, slice_seconds) of each column, at least one.
        limit: the largest test set to try, in tracks.
        as_printed: do not allow misprints.

    Raises:
        UserError: too many numbers fit.
    """
    rows = _scores(table, columns, as_printed)
    smallest = [
        next((tracks for tracks in range(1, limit + 1) if len(_choices(row, tracks, limit))), 0) for row in rows
    ]
    total = sum(smallest) if all(smallest) else None
    names = ["tracks", *(f"hits {number + 1}" for number in range(len(columns))), "ways"]
    if total is None or total > limit:
        return Counts(total, pd.DataFrame(columns=names, dtype=np.int64), pd.DataFrame())
    choices = [  # a genre has at most the tracks that the smallest numbers of the others leave
        np.vstack([_choices(row, tracks, limit) for tracks in range(fewest, fewest + limit - total + 1)])
        for row, fewest in zip(rows, smallest, strict=True)
    ]
    sums, ways, path = _add_up(choices, limit)
    accuracy = _percent(table[table["metric"] == "accuracy"].set_index(_CELL[:2])["value"]).loc[list(columns)]
    tracks, hits, predictions = sums[:, :1], sums[:, 1::2], sums[:, 2::2]
    fits = ((predictions == tracks) & _rounds_to(hits, tracks, accuracy.to_numpy())).all(axis=1)
    solutions = pd.DataFrame(np.column_stack([tracks, hits, ways])[fits], columns=names)
    numbers = pd.DataFrame()
    if solutions["ways"].sum() == 1:
        chosen = [options[index] for options, index in zip(choices, path[fits][0], strict=True)]
        numbers = _numbers(table, columns, chosen)
    return Counts(total, solutions, numbers)


def misprints(table: pd.DataFrame, counts: Counts) -> pd.DataFrame:
    """Find printed scores that differ from those of a unique set of numbers.

    Returns:
        Columns model, slice_seconds, genre, metric, printed (whole per cents) and counted (per cent).
    """
    numbers = counts.numbers.set_index(_CELL)
    hits, tracks, predictions = numbers["hits"], numbers["tracks"], numbers["predictions"]
    quotients = {"precision": (hits, predictions), "recall": (hits, tracks), "f1": (2 * hits, tracks + predictions)}
    rows = []
    for metric, (part, whole) in quotients.items():
        printed = _per_genre(table).loc[numbers.index, metric]
        row = pd.DataFrame({"metric": metric, "printed": printed, "counted": 100 * part / whole})
        rows.append(row[~_rounds_to(part, whole, printed)])
    return pd.concat(rows).reset_index()


def misfits(table: pd.DataFrame, column: Column, counts: Counts) -> list[str]:
    """Find genres with scores in another column that are impossible on the test set of a unique set of numbers."""
    tracks = counts.numbers.groupby("genre", sort=False)["tracks"].first()
    rows = dict(zip(_genres(table), _scores(table, [column], False), strict=True))
    return [genre for genre in tracks.index if not len(_choices(rows[genre], tracks[genre], tracks.sum()))]


def odds(hits: int, tracks: int, rate: float) -> float:
    """Compute the probability of `hits` or more among `tracks`, each a hit with the probability `rate`, in [0, 1]."""
    return float(binom.sf(hits - 1, tracks, rate))


def largest_p_value(counts: Counts, first: Column, second: Column) -> tuple[int, int, float]:
    """Compute the largest p of McNemar's exact test that the hits of two columns on the same tracks allow.

    Hits do not show which tracks both columns have right. In each genre, the more tracks only one column has right, the
    larger is p. This needs neither a true accuracy nor a guess of how often the columns agree. It takes the tracks as
    independent, like `odds`.

    Returns:
        Tracks that only the first has right, tracks that only the second has right, and the two-sided p.
    """
    numbers = counts.numbers.set_index(_CELL[:2]).sort_index()
    one, two = (numbers.loc[column].set_index("genre") for column in (first, second))
    only_first = int(np.minimum(one["hits"], one["tracks"] - two["hits"]).sum())
    only_second = int(np.minimum(two["hits"], one["tracks"] - one["hits"]).sum())
    both = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, both).pvalue) if both else 1.0


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of scores: a CSV with the columns model, slice_seconds, metric, genre, value.

    Each model and slice length has one accuracy, with the genre "all", and precision, recall and f1 of every genre, as
    fractions in [0, 1], rounded to hundredths.

    Raises:
        UserError: the file is missing, is no such CSV, or a score is missing.
    """
    try:
        table = pd.read_csv(path, dtype={"model": str, "metric": str, "genre": str})
    except (OSError, ValueError) as error:
        raise UserError(f"it cannot be read as a CSV ({type(error).__name__})", key=path) from None
    missing = [name for name in _NAMES if name not in table.columns]
    if missing or table.empty:
        problem = f"it has no column {', '.join(missing)}" if missing else "it has no rows"
        raise UserError(problem, key=path, hint=f"a table of scores has the columns {', '.join(_NAMES)}")
    table = table[_NAMES].copy()
    for name in ("slice_seconds", "value"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    percent = 100 * table["value"]
    wrong = table.isna().any(axis=1) | ~percent.between(0, 100) | ((percent - percent.round()).abs() > 1e-6)
    if wrong.any():
        line = table.index[wrong][0] + 2
        raise UserError("a value must be in whole hundredths from 0 to 1, such as 0.83", key=f"{path}, line {line}")
    genres = _genres(table)
    needed = {("accuracy", _ALL), *product(_SCORES, genres)}
    for (model, seconds), column in table.groupby(_CELL[:2], sort=False):
        given = list(zip(column["metric"], column["genre"], strict=True))
        if set(given) != needed or len(given) != len(needed) or not genres:
            problem = (
                f"{model} at {seconds:g} s needs one accuracy of '{_ALL}', and one precision, recall and f1 per genre"
            )
            raise UserError(problem, key=path)
    return table


# --- the search ----------------------------------------------------------------------------------------------------


def _scores(table: pd.DataFrame, columns: Sequence[Column], as_printed: bool) -> list[list[_Scores]]:
    """Return the scores of each genre in each column."""
    rows = _per_genre(table)
    doubtful = set() if as_printed else {tuple(key) for key in contradictions(table)[_CELL].to_numpy()}
    return [
        [_Scores(2 if (*key, genre) in doubtful else 3, *rows.loc[(*key, genre)]) for key in columns]
        for genre in _genres(table)
    ]


def _choices(row: Sequence[_Scores], tracks: int, limit: int) -> NDArray[np.int64]:
    """List what fits, (choice, 1 + 2 * column): a genre's tracks, and its hits and predictions in each column."""
    pairs = []
    for figures in row:
        hits = np.arange(tracks + 1)[:, None]
        if figures.needed == len(_SCORES):
            hits = hits[_rounds_to(hits[:, 0], tracks, figures.recall)]  # others cannot fit
        predictions = np.arange(limit + 1)
        met = (
            _rounds_to(hits, predictions, figures.precision).astype(int)
            + _rounds_to(hits, tracks, figures.recall)
            + _rounds_to(2 * hits, tracks + predictions, figures.f1)
        )
        at, called = np.nonzero((met >= figures.needed) & (hits <= predictions))
        pairs.append(np.column_stack([hits[at, 0], called]))
    rows = [[tracks, *np.concatenate(choice)] for choice in product(*pairs)]
    return np.array(rows, np.int64).reshape(-1, 1 + 2 * len(row))


def _add_up(
    choices: list[NDArray[np.int64]], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sum one choice per genre: return sums (sum, number), their ways (sum,), and one way of each (sum, genre)."""
    sums = np.zeros((1, choices[0].shape[1]), np.int64)
    ways, path = np.ones(1, np.int64), np.empty((1, 0), np.int64)
    left = sum(int(options[:, 0].min()) for options in choices)
    for options in choices:
        left -= int(options[:, 0].min())
        if len(sums) * len(options) > _MOST_SUMS:
            hint = f"try test sets of fewer than {limit} tracks"
            raise UserError("too many numbers fit to list them", key="--limit", value=limit, hint=hint)
        added = (sums[:, None] + options).reshape(-1, sums.shape[1])
        kept = np.flatnonzero(added[:, 0] <= limit - left)
        sums, first, same = np.unique(added[kept], axis=0, return_index=True, return_inverse=True)
        before, chosen = np.divmod(kept, len(options))
        ways = np.bincount(same.ravel(), ways[before]).astype(np.int64)
        path = np.column_stack([path[before[first]], chosen[first]])
    return sums, ways, path


def _numbers(table: pd.DataFrame, columns: Sequence[Column], chosen: Sequence[NDArray[np.int64]]) -> pd.DataFrame:
    rows = [
        (genre, *key, choice[0], choice[1 + 2 * number], choice[2 + 2 * number])
        for genre, choice in zip(_genres(table), chosen, strict=True)
        for number, key in enumerate(columns)
    ]
    return pd.DataFrame(rows, columns=["genre", "model", "slice_seconds", "tracks", "hits", "predictions"])


def _rounds_to(part: Any, whole: Any, percent: Any) -> Any:
    """Test in whole numbers whether part / whole may be printed as `percent`; 0 is printed if `whole` is 0."""
    return (np.abs(200 * part - 2 * percent * whole) <= whole) & ((whole > 0) | (percent == 0))


def _percent(value: "pd.Series[float]") -> "pd.Series[int]":
    return (100 * value).round().astype(np.int64)


def _per_genre(table: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall and f1 in whole per cents, by model, slice_seconds and genre."""
    rows = table[table["metric"].isin(_SCORES)].pivot(index=_CELL, columns="metric", values="value")[_SCORES]
    return rows.apply(_percent)


def _genres(table: pd.DataFrame) -> list[str]:
    return [genre for genre in table["genre"].unique() if genre != _ALL]


# --- the text -------------------------------------------------------------------------------------------------------


def report(table: pd.DataFrame, limit: int = _LIMIT) -> str:
    """Describe all findings: each model's columns together as scores of one test set, or else each column alone."""
    lines = [
        f"{_named([(row.model, row.slice_seconds)])}, {row.genre}: precision {row.precision} % and recall {row.recall} "
        f"% allow F1 from {row.lowest:.1f} to {row.highest:.1f} %, printed is {row.f1} %; one is a misprint"
        for row in contradictions(table).itertuples()
    ]
    columns = list(table[_CELL[:2]].drop_duplicates().itertuples(index=False, name=None))
    groups = [[column for column in columns if column[0] == model] for model in table["model"].unique()]
    found, others = [], []
    while groups:
        group = groups.pop(0)
        text, counts = _searched(table, group, limit)
        lines += ["", *text]
        if counts is not None and counts.is_unique:
            found.append((group, counts))
        elif len(group) > 1:
            groups = [[column] for column in group] + groups
        else:
            others += group
    for group, counts in found:
        for column in others:
            wrong = misfits(table, column, counts)
            result = f"{len(wrong)} genres do not fit: {', '.join(wrong)}" if wrong else "every genre fits"
            lines += ["", f"{_named([column])} on the test set of {_named(group)}: {result}"]
    return "\n".join(lines).strip()


def _searched(table: pd.DataFrame, columns: list[Column], limit: int) -> tuple[list[str], Counts | None]:
    """Describe the solutions for some columns in lines, and return them if they could be listed."""
    start = f"{_named(columns)}, as scored on one test set of at most {limit} tracks:"
    try:
        counts = class_counts(table, columns, limit=limit)
    except UserError as error:
        return [f"{start} {error}"], None
    sizes = counts.solutions["tracks"]
    if not len(sizes):
        least = f"at least {counts.smallest_total} tracks" if counts.smallest_total else "a genre has no solution"
        return [f"{start} no whole numbers give these scores ({least})"], counts
    if not counts.is_unique:
        num = counts.solutions["ways"].sum()
        return [f"{start} {num} sets of whole numbers, with {sizes.min()} tracks or more; not unique"], counts
    return [f"{start} one set of whole numbers", "", *_described(table, counts)], counts


def _described(table: pd.DataFrame, counts: Counts) -> list[str]:
    """Describe a unique set of numbers: by genre, its sums, its misprints, and the probability of the best column."""
    cells = counts.numbers["hits"].astype(str) + "/" + counts.numbers["predictions"].astype(str)
    shown = counts.numbers.assign(cell=cells).pivot(index=["genre", "tracks"], columns="slice_seconds", values="cell")
    shown.columns = pd.Index([f"{seconds:g} s" for seconds in shown.columns])
    total = int(counts.solutions["tracks"].item())
    hits = counts.numbers.groupby("slice_seconds")["hits"].sum()
    right = [f"{seconds:g} s {number} = {100 * number / total:.1f} %" for seconds, number in hits.items()]
    lines = [shown.reset_index().to_string(index=False), f"hits/predictions; right of {total}: {', '.join(right)}"]
    lines += [
        f"misprint: {_named([(row.model, row.slice_seconds)])}, {row.genre}: {row.metric} {row.printed} %, but "
        f"{row.counted:.1f} % by these numbers"
        for row in misprints(table, counts).itertuples()
    ]
    chance = odds(int(hits.max()), total, _HONEST)
    lines.append(f"with a true accuracy of {100 * _HONEST:g} %, {hits.max()} or more have the probability {chance:.1e}")
    best, *others = counts.numbers.groupby(_CELL[:2])["hits"].sum().sort_values(ascending=False).items()
    for column, right_of_other in others[:1]:
        only_best, only_other, p_value = largest_p_value(counts, best[0], column)
        hits_of_both = f"{best[1]} and {right_of_other} of the same {total} tracks"
        only = f"{only_best} tracks that only the first has right, {only_other} only the second"
        names = f"{best[0][1]:g} s against {column[1]:g} s"
        lines.append(f"{names}, {hits_of_both}: p is at most {p_value:.1e} (McNemar; {only})")
    return lines


def _named(columns: Sequence[Column]) -> str:
    return f"{columns[0][0]} at {', '.join(f'{seconds:g}' for _, seconds in columns)} s"


@command()
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the findings about a table."""
    parser = Options(
        prog="python tools/forensic.py",
        description="Find the whole numbers that a table of rounded scores was computed from.",
    )
    parser.add_argument("file", type=Path, nargs="?", help=f"a CSV of {', '.join(_NAMES)} (the paper's Table 1)")
    parser.add_argument("--limit", type=int, default=_LIMIT, help=f"the largest test set to try, in tracks ({_LIMIT})")
    given = parser.parse_args(arguments)
    if given.limit < 1:
        raise UserError("a test set has 1 track or more", key="--limit", value=given.limit)
    print(report(read_reference().table if given.file is None else read_table(given.file), given.limit))


if __name__ == "__main__":
    sys.exit(main())
