"""Compare every two cells of a corpus and protocol on the same tracks."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit.mark import union
from genregrid.exhibit.table import Section, Table, columns, written
from genregrid.metrics.comparison import corrected_t_test, holm, mcnemar
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.report.cell import Cell
from genregrid.report.rows import groups, numbered

#: A difference is starred if chance would give one as large in fewer than one of twenty cases.
_SIGNIFICANT = 0.05
_PART = ["fold", "split_seed"]  # runs of which share a test part


def comparison_section(cells: Sequence[Cell]) -> Section:
    """Compare all pairs of cells, as matrices and as one table."""
    pairs = comparison(cells)
    text = "Every two models of a corpus and protocol, compared on the same test tracks."
    text += "" if pairs else " There is no such pair here."
    exhibits = (*comparison_matrices(cells, pairs), pairs) if pairs else ()
    return Section("comparison", "Which differences are real", text, exhibits)


def comparison(cells: Sequence[Cell]) -> Table | None:
    """Compare every two cells of a corpus and protocol on common test tracks; ``None`` if there is no pair."""
    frames, marks = [], []
    for members in groups(cells):
        pairs = [(pair, compared(*pair)) for pair in combinations(members, 2)]
        if rows := [row for _, row in pairs if row]:
            frame = pd.DataFrame(rows)
            frame.insert(0, "dataset", members[0].dataset)
            frame.insert(1, "split", members[0].split)
            frames.append(frame.assign(p_holm=holm(frame["p"])))
            marks += [union(cell.marks for cell in pair) for pair, row in pairs if row]
    if not frames:
        return None
    shown = [
        *columns(dataset="dataset", split="protocol", first="first", second="second"),
        *columns("points", difference="difference, points"),
        *columns("count", only_first="only first right", only_second="only second right"),
        *columns("p", p="p (McNemar)", p_holm="p (Holm)"),
        *columns("points", t_difference="by folds, points"),
        *columns("p", t_p="p (corrected t)"),
        *columns("count", tracks="tracks"),
    ]
    note = (
        "Accuracy of the first model minus that of the second, in percentage points, on the same tracks and seeds, "
        "with 95 % bootstrap intervals. A p-value is the probability of a difference at least as large if the models "
        "were equally good. McNemar's test compares the trained models; it is adjusted for tracks that the protocol "
        "keeps together and for tracks with several seeds. Holm's correction is for the number of pairs of a corpus "
        "and protocol. The corrected resampled t-test (Nadeau and Bengio), for two folds or more, asks whether other "
        "training tracks would give the same difference; seeds of a fold are averaged. Two folds have no interval. "
        "A conclusion about algorithms needs the t-test: at 0.05, McNemar's test finds a difference in 7.5 to 11 % of "
        "pairs of equally good algorithms, not in 5 %, if they change much with their training tracks, as trees do. "
        "Neither intervals nor p of the t-test are corrected for the number of pairs."
    )
    return Table("comparison", "Pairwise comparison", pd.concat(frames, ignore_index=True), tuple(shown), note, marks)


def compared(first: Cell, second: Cell) -> dict[str, object] | None:
    """Return the row of `comparison` about two cells, without Holm's correction; ``None`` without common tracks."""
    hits, cluster = paired(first, second)
    if hits.empty:
        return None
    test = mcnemar(hits["first"].to_numpy(), hits["second"].to_numpy(), cluster)
    return {
        "first": first.label,
        "second": second.label,
        **difference(hits, cluster).columns("difference"),
        "only_first": test.only_a,
        "only_second": test.only_b,
        "p": test.p_value,
        "exact": test.exact,
        "tracks": hits.index.get_level_values("track").nunique(),
        **_compared_by_folds(first, second),
    }


def paired(first: Cell, second: Cell) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Match the predictions of two cells: columns first and second, the share of right ones, by track and seeds.

    The second result, (row,) int64, are the groups to resample, of the cell that keeps more tracks together.
    """
    hits = pd.concat([_hits(first).rename("first"), _hits(second).rename("second")], axis=1, join="inner")
    tracks = hits.index.get_level_values("track")
    kept_together = [tracks.map(cell.group_of_track) for cell in (first, second)]
    return hits, np.asarray(min(kept_together, key=lambda group: group.nunique()), np.int64)


def difference(hits: pd.DataFrame, cluster: NDArray[np.int64]) -> Estimate:
    """Estimate the difference of the accuracies of two cells, from the results of `paired`."""
    return ClusterBootstrap(cluster).difference(hits["first"], hits["second"])


def _hits(cell: Cell) -> "pd.Series[float]":
    """Return the share of right predictions by track and seeds: 0 or 1 unless a track is tested more than once."""
    split_seed = cell.predictions["run"].map(cell.runs.set_index("run")["split_seed"])
    frame = cell.predictions.assign(hit=cell.correct, split_seed=split_seed)
    return frame.groupby(["track", "split_seed", "seed"])["hit"].mean()


def _compared_by_folds(first: Cell, second: Cell) -> dict[str, object]:
    """Run the corrected resampled t-test over common folds; NaN if there are fewer than two of one division."""
    # runs of one fold and division share their test part, so that other seeds and validation folds are no further runs
    parts = [_accuracies(first), _accuracies(second)]
    runs = parts[0].merge(parts[1], on=[*_PART, "seed"], suffixes=("", "_other"))
    folds, val_folds = first.facts.folds, first.facts.val_folds
    if second.facts.folds != folds or val_folds is None or runs["fold"].nunique() < 2:
        return Estimate().columns("t_difference") | {"t_p": np.nan}
    runs["difference"] = runs["accuracy"] - runs["accuracy_other"]
    difference = runs.groupby(_PART)["difference"].mean().to_numpy()
    # shares of the divided units, not of tracks: under a leak a track is in several parts
    test = corrected_t_test(difference, (1 - 1 / folds) * (1 - 1 / val_folds), 1 / folds)
    why = "" if np.isfinite(test.low) else f"{len(difference)} folds"
    low, high = np.clip([test.low, test.high], -1, 1).tolist()
    return Estimate(test.mean, low, high, why).columns("t_difference") | {"t_p": test.p_value}


def _accuracies(cell: Cell) -> pd.DataFrame:
    """Return the mean accuracy of the runs of each fold, division and seed; metrics.json has only six digits of it."""
    accuracy = cell.predictions.assign(accuracy=cell.correct).groupby("run")["accuracy"].mean()
    return (
        cell.runs.assign(accuracy=cell.runs["run"].map(accuracy))
        .groupby([*_PART, "seed"], as_index=False)["accuracy"]
        .mean()
    )


def comparison_matrices(cells: Sequence[Cell], pairs: Table) -> list[Table]:
    """Make a matrix of accuracy differences per corpus and protocol, in points, starred where they are significant."""
    matrices: list[Table] = []
    note = (
        "The accuracy of the row's model minus that of the column's, in percentage points. One star: p (McNemar, Holm) "
        f"is below {_SIGNIFICANT}. Two stars: p of the corrected t-test is too. Holm's "
        "correction is for the pairs of this corpus and protocol; several such tables are a larger family."
    )
    for members in groups(cells):
        dataset, split = members[0].dataset, members[0].split
        own = pairs.frame[(pairs.frame["dataset"] == dataset) & (pairs.frame["split"] == split)]
        if own.empty:
            continue
        names = list(dict.fromkeys([*own["first"], *own["second"]]))
        frame = pd.DataFrame("", index=names, columns=names)
        for pair in own.itertuples():
            star = ""
            if pair.p_holm < _SIGNIFICANT:
                star = "**" if pair.t_p < _SIGNIFICANT else "*"
            frame.loc[pair.first, pair.second] = written(pair.difference, "points") + star
            frame.loc[pair.second, pair.first] = written(-pair.difference, "points") + star
        frame.insert(0, "dataset", dataset)
        frame.insert(1, "split", split)
        shown = tuple(columns(model="", **{name: name for name in names}))
        title = f"Row minus column, in points: {members[0].dataset_title}, {split}"
        frame = frame.rename_axis("model").reset_index()
        name = numbered("comparison_matrix", len(matrices))
        matrices.append(Table(name, title, frame, shown, note, [union(cell.marks for cell in members)] * len(names)))
    return matrices
