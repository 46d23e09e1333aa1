"""The cells of a grid in one table, and any two of them compared on the same tracks."""

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit.table import Column, Table, written
from genregrid.metrics.comparison import corrected_t_test, holm, mcnemar
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell, in_top_three

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
        "that the protocol keeps together, so that a track scored under three seeds counts as one draw; under track "
        "these are single tracks, as if artists did not repeat. Macro F1 is that of the pooled tracks."
    )
    return Table("leaderboard", "Leaderboard", frame, tuple(columns), note)


def _row(cell: Cell) -> dict[str, object]:
    frame = cell.predictions
    accuracy, among = cell.bootstrap.mean(cell.correct), cell.bootstrap.mean(in_top_three(frame))
    return {
        "dataset": cell.dataset,
        "split": cell.split,
        "model": cell.model,
        "slice_seconds": cell.slice_seconds,
        "trained_on": cell.trained_on,
        "settings": cell.settings,
        "runs": len(cell.runs),
        "tracks": frame["track"].nunique(),
        **f1_macro(cell).columns("f1_macro"),
        "leaks": cell.leaks,
        **accuracy.columns("accuracy"),
        **among.columns("top3"),
    }


def f1_macro(cell: Cell) -> Estimate:
    """Mean F1 over the genres that occur as truth or prediction."""
    true, said = one_hot(cell.predictions["genre"], cell.genres), one_hot(cell.predictions["predicted"], cell.genres)
    occurs = (true + said).any(axis=0)
    hits, total = (true * said)[:, occurs], (true + said)[:, occurs]

    def score(weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """(resample,) from weights (resample, prediction)."""
        count = weights @ total
        f1 = np.divide(2 * (weights @ hits), count, out=np.full(count.shape, np.nan), where=count > 0)
        return np.asarray(np.nanmean(f1, axis=1))

    return cell.bootstrap.statistic(score)


def one_hot(names: "pd.Series[str]", genres: list[str]) -> NDArray[np.float64]:
    """(prediction, genre) 0 or 1."""
    return np.asarray(names.to_numpy()[:, None] == np.array(genres, dtype=object)[None], np.float64)


def groups(cells: Sequence[Cell]) -> Iterator[tuple[tuple[str, str], list[Cell]]]:
    """Cells of one corpus and protocol together, in the order given."""
    for key, members in groupby(cells, lambda cell: (cell.dataset, cell.split)):
        yield key, list(members)


def best_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The most accurate cell of each corpus and protocol."""
    return [members[0] for _, members in groups(cells)]


def honest_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Of each corpus the most accurate cell that does not leak, whatever its protocol; corpora in the order given."""
    best: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.missing_folds > 0, -cell.correct.mean())):
        if not cell.leaks:
            best.setdefault(cell.dataset, cell)
    return [best[dataset] for dataset in datasets(cells) if dataset in best]


def datasets(cells: Sequence[Cell]) -> list[str]:
    """Labels of the corpora, in the order given."""
    return list(dict.fromkeys(cell.dataset for cell in cells))


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
        "together and for tracks scored under several seeds, each counted as a verdict; Holm's correction is over the "
        "pairs of a corpus and protocol. McNemar's takes the trained models as they are; the corrected resampled "
        "t-test (Nadeau and Bengio), over two folds or more, asks whether other training tracks would have told the "
        "same."
    )
    return Table("comparison", "Pairwise comparison", pd.concat(frames, ignore_index=True), columns, note)


def _compared(first: Cell, second: Cell) -> dict[str, object] | None:
    hits, cluster = paired(first, second)
    if hits.empty:
        return None
    test = mcnemar(hits["first"].to_numpy(), hits["second"].to_numpy(), cluster)
    return {
        "first": first.label,
        "second": second.label,
        **ClusterBootstrap(cluster).mean((hits["first"] - hits["second"]).to_numpy()).columns("difference"),
        "only_first": test.only_a,
        "only_second": test.only_b,
        "p": test.p_value,
        "exact": test.exact,
        "tracks": hits.index.get_level_values("track").nunique(),
    } | _compared_by_folds(first, second)


def paired(first: Cell, second: Cell) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Both cells' share of right verdicts on the tracks and seeds that both have, and what is resampled with each.

    Returns:
        Columns first and second, indexed by track and seeds; and (row,) int64, groups of the cell that keeps more
        tracks together, such as artists.
    """
    hits = pd.concat([_hits(first).rename("first"), _hits(second).rename("second")], axis=1, join="inner")
    tracks = hits.index.get_level_values("track")
    kept_together = [tracks.map(cell.group_of_track) for cell in (first, second)]
    return hits, np.asarray(min(kept_together, key=lambda group: group.nunique()), np.int64)


def _hits(cell: Cell) -> "pd.Series[float]":
    """Share of right verdicts by track and seeds: 0 or 1 but where a leak or validation folds test a track again."""
    frame = cell.predictions.assign(hit=cell.correct, split_seed=_split_seed(cell))
    return frame.groupby(["track", "split_seed", "seed"])["hit"].mean()


def _split_seed(cell: Cell) -> "pd.Series[int]":
    return cell.predictions["run"].map(cell.runs.set_index("run")["split_seed"])


def _compared_by_folds(first: Cell, second: Cell) -> dict[str, float]:
    """The corrected resampled t-test over folds that both have; NaN where they are no folds of one division."""
    # validation folds share their test part and are no further resamples
    parts = [
        cell.runs.groupby(["fold", "seed", "split_seed"], as_index=False)["accuracy"].mean() for cell in (first, second)
    ]
    runs = parts[0].merge(parts[1], on=["fold", "seed", "split_seed"], suffixes=("", "_other"))
    folds, val_folds = first.facts.folds, first.facts.val_folds
    if second.facts.folds != folds or val_folds is None or runs["fold"].nunique() < 2:
        return dict.fromkeys(("t_difference", "t_difference_low", "t_difference_high", "t_p"), np.nan)
    difference = runs["accuracy"] - runs["accuracy_other"]
    # shares of units, not of tracks: under a leak a track stands in several parts
    test = corrected_t_test(difference.to_numpy(), (1 - 1 / folds) * (1 - 1 / val_folds), 1 / folds)
    return Estimate(test.mean, test.low, test.high).columns("t_difference") | {"t_p": test.p_value}


def comparison_matrix(table: Table) -> list[Table]:
    """The comparison as a matrix per corpus and protocol: row less column in points, a star where p is small."""
    matrices = []
    for number, ((dataset, split), pairs) in enumerate(table.frame.groupby(["dataset", "split"], sort=False)):
        names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
        frame = pd.DataFrame("", index=names, columns=names)
        for pair in pairs.itertuples():
            star = "" if pair.p_holm >= _SIGNIFICANT else "**" if pair.t_p < _SIGNIFICANT else "*"
            frame.loc[pair.first, pair.second] = written(pair.difference, "points") + star
            frame.loc[pair.second, pair.first] = written(-pair.difference, "points") + star
        frame.insert(0, "dataset", dataset)
        frame.insert(1, "split", split)
        columns = (Column("model", ""), *(Column(name, name) for name in names))
        title = f"Row less column, in points: {dataset}, {split}"
        note = f"A star: p (McNemar, Holm) below {_SIGNIFICANT}; two: that of the corrected t-test too."
        name = f"comparison_matrix_{number}" if number else "comparison_matrix"
        matrices.append(Table(name, title, frame.rename_axis("model").reset_index(), columns, note))
    return matrices


def caveat(cells: Sequence[Cell], reference: Reference | None) -> str:
    """What to say beside published figures that stand by cells of another corpus, or by leaking ones."""
    if reference is None or all(cell.corpus == reference.corpus and not cell.leaks for cell in cells):
        return ""
    return (
        f"The {reference.name}'s figures are of {reference.corpus}, whatever corpus and protocol stand beside them; "
        "how its tracks were divided is not told."
    )
