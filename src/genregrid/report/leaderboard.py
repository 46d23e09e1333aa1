"""The cells of a grid in one table, and any two of them compared on the same tracks."""

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import Any

import numpy as np
import pandas as pd

from genregrid.metrics.comparison import corrected_t_test, holm, mcnemar
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.report.exhibit import Column, Table, written
from genregrid.report.grid import Cell

#: Two models differ where chance would give a difference as large in fewer than one of twenty cases.
_SIGNIFICANT = 0.05


#: The columns of `place`.
PLACE = (Column("dataset", "dataset"), Column("split", "protocol"), Column("model", "model"))


def leaderboard(cells: Sequence[Cell]) -> Table:
    """One row per cell, in the order given; scores of all test tracks of all folds and seeds together."""
    frame = pd.DataFrame([_row(cell) for cell in cells])
    columns = [
        Column("dataset", "dataset"),
        Column("split", "protocol"),
        Column("model", "model"),
        Column("slice_seconds", "slice", "seconds"),
        *(Column(name, name.replace("_", " ")) for name in ("settings", "trained_on") if (frame[name] != "").any()),
        Column("accuracy", "accuracy %", "percent"),
        Column("top3", "top-3 %", "percent"),
        Column("f1_macro", "macro F1 %", "percent"),
        Column("runs", "runs", "count"),
        Column("tracks", "tracks", "count"),
    ]
    note = (
        "Accuracy by track, test tracks of all folds and seeds pooled. 95 % intervals: bootstrap over groups of tracks "
        "that the protocol keeps together, so that a track scored under three seeds counts as one draw. Macro F1 is "
        "that of the pooled tracks."
    )
    return Table("leaderboard", "Leaderboard", frame, tuple(columns), note)


def leaderboard_text(table: Table) -> str:
    """The leaderboard as a screen shows it."""
    return str(pd.DataFrame(table.cells, columns=[column.title for column in table.columns]).to_string(index=False))


def _row(cell: Cell) -> dict[str, object]:
    frame = cell.predictions
    places = frame[["predicted", *(name for name in ("second", "third") if name in frame)]]
    top3 = places.eq(frame["genre"], axis=0).any(axis=1)
    accuracy, among = cell.bootstrap.mean(cell.correct), cell.bootstrap.mean(top3)
    return {
        "dataset": cell.dataset,
        "split": cell.split,
        "model": cell.model,
        "slice_seconds": cell.slice_seconds,
        "trained_on": cell.trained_on,
        "settings": cell.settings,
        "runs": len(cell.runs),
        "tracks": frame["track"].nunique(),
        "f1_macro": f1_macro(cell),
        "leaks": cell.leaks,
        **accuracy.columns("accuracy"),
        **among.columns("top3"),
    }


def f1_macro(cell: Cell) -> float:
    """Mean F1 over the genres that occur as truth or prediction."""
    counts = [
        cell.predictions[name].value_counts().reindex(cell.genres, fill_value=0) for name in ("genre", "predicted")
    ]
    hits = cell.predictions["genre"][cell.correct].value_counts().reindex(cell.genres, fill_value=0)
    total = counts[0] + counts[1]
    return float((2 * hits / total)[total > 0].mean())


def groups(cells: Sequence[Cell]) -> Iterator[tuple[tuple[str, str], list[Cell]]]:
    """Cells of one corpus and protocol together, in the order given."""
    for key, members in groupby(cells, lambda cell: (cell.dataset, cell.split)):
        yield key, list(members)


def best_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The most accurate cell of each corpus and protocol."""
    return [members[0] for _, members in groups(cells)]


def honest_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The most accurate cell of each corpus that does not leak, whatever its protocol."""
    honest = sorted((cell for cell in cells if not cell.leaks), key=lambda cell: -cell.correct.mean())
    return list({cell.dataset: cell for cell in reversed(honest)}.values())[::-1]


def place(cell: Cell) -> dict[str, Any]:
    """Where a cell stands: first columns of a table's row."""
    return {"dataset": cell.dataset, "split": cell.split, "model": cell.label}


def comparison(cells: Sequence[Cell]) -> Table | None:
    """Any two cells of a corpus and protocol on the tracks that both were tested on; none where there are no two."""
    frames = []
    for (dataset, split), members in groups(cells):
        pairs = [_compared(first, second) for first, second in combinations(members, 2)]
        if pairs := [pair for pair in pairs if pair]:
            frame = pd.DataFrame(pairs)
            frame.insert(0, "dataset", dataset)
            frame.insert(1, "split", split)
            frames.append(frame.assign(p_holm=holm(frame["p"])))
    if not frames:
        return None
    columns = (
        Column("dataset", "dataset"),
        Column("split", "protocol"),
        Column("first", "first"),
        Column("second", "second"),
        Column("difference", "difference, points", "points"),
        Column("only_first", "only first right", "count"),
        Column("only_second", "only second right", "count"),
        Column("p", "p (McNemar)", "p"),
        Column("p_holm", "p (Holm)", "p"),
        Column("t_difference", "by folds, points", "points"),
        Column("t_p", "p (corrected t)", "p"),
        Column("tracks", "tracks", "count"),
    )
    note = (
        "Accuracy of the first less that of the second on the same tracks under the same seeds; 95 % intervals by "
        "bootstrap. McNemar's test is exact where tracks are independent, else adjusted for what the protocol keeps "
        "together and for tracks scored under several seeds; Holm's correction is over the pairs of a corpus and "
        "protocol. The corrected resampled t-test (Nadeau and Bengio) compares folds, and needs two or more."
    )
    return Table("comparison", "Pairwise comparison", pd.concat(frames, ignore_index=True), columns, note)


def _compared(first: Cell, second: Cell) -> dict[str, object] | None:
    hits = pd.concat([_hits(first).rename("first"), _hits(second).rename("second")], axis=1, join="inner")
    if hits.empty:
        return None
    group = first.predictions.drop_duplicates("track").set_index("track")["group"]
    cluster = hits.index.get_level_values("track").map(group)
    test = mcnemar(hits["first"].to_numpy(), hits["second"].to_numpy(), cluster.to_numpy())
    difference = ClusterBootstrap(cluster).mean(hits["first"] - hits["second"])
    return {
        "first": first.label,
        "second": second.label,
        **difference.columns("difference"),
        "only_first": test.only_a,
        "only_second": test.only_b,
        "p": test.p_value,
        "tracks": hits.index.get_level_values("track").nunique(),
    } | _compared_by_folds(first, second)


def _hits(cell: Cell) -> "pd.Series[float]":
    """Share of right verdicts by track and seeds: 0 or 1 but where a leak tests a track in several folds."""
    frame = cell.predictions.assign(hit=cell.correct, split_seed=_split_seed(cell))
    return frame.groupby(["track", "split_seed", "seed"])["hit"].mean()


def _split_seed(cell: Cell) -> "pd.Series[int]":
    return cell.predictions["run"].map(cell.runs.set_index("run")["split_seed"])


def _compared_by_folds(first: Cell, second: Cell) -> dict[str, float]:
    key = ["fold", "seed", "split_seed"]
    runs = first.runs.merge(second.runs, on=key, suffixes=("", "_other"))
    missing = dict.fromkeys(("t_difference", "t_difference_low", "t_difference_high", "t_p"), np.nan)
    if len(runs) < 2 or runs["num_train"].eq(0).any():
        return missing
    difference = runs["accuracy"] - runs["accuracy_other"]
    test = corrected_t_test(difference.to_numpy(), runs["num_train"].mean(), runs["num_test"].mean())
    return {
        "t_difference": test.mean,
        "t_difference_low": test.low,
        "t_difference_high": test.high,
        "t_p": test.p_value,
    }


def comparison_matrix(table: Table) -> list[Table]:
    """The comparison as a matrix per corpus and protocol: row less column in points, a star where p (Holm) is small."""
    matrices = []
    for number, ((dataset, split), pairs) in enumerate(table.frame.groupby(["dataset", "split"], sort=False)):
        names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
        frame = pd.DataFrame("", index=names, columns=names)
        for pair in pairs.itertuples():
            star = "*" if pair.p_holm < _SIGNIFICANT else ""
            frame.loc[pair.first, pair.second] = written(pair.difference, "points") + star
            frame.loc[pair.second, pair.first] = written(-pair.difference, "points") + star
        columns = (Column("model", ""), *(Column(name, name) for name in names))
        title = f"Row less column, in points: {dataset}, {split}"
        note = f"A star: p (McNemar, Holm) below {_SIGNIFICANT}."
        name = f"comparison_matrix_{number}" if number else "comparison_matrix"
        matrices.append(Table(name, title, frame.rename_axis("model").reset_index(), columns, note))
    return matrices
