"""The paper's tables and figures of any grid: scores per genre, certainty, top three, learning curves.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", Table 1, Figure 1, and sections 6.1 and 6.2.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from genregrid.exhibit.figure import certainty_against_recall, learning_curves
from genregrid.exhibit.table import Column, Exhibit, Figure, Section, Table
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell, in_top_three
from genregrid.report.leaderboard import PLACE, caveat, groups, honest_cells, one_hot, place

#: Models side by side in one table; more are no longer read.
MOST_COLUMNS = 8
_SCORES = ("precision", "recall", "f1")
_TABLE1_NOTE = (
    "By track, in per cent; all folds and seeds pooled, 95 % intervals in brackets. F1 is that of the pooled tracks."
)


def paper_section(cells: Sequence[Cell], reference: Reference | None) -> Section:
    """Table 1, certainty (section 6.2), the top three (6.1) and Figure 1, of every corpus and protocol."""
    exhibits: list[Exhibit] = []
    for number, ((dataset, split), members) in enumerate(groups(cells)):
        suffix = f"_{number}" if number else ""
        shown = sorted(members[:MOST_COLUMNS], key=partial(_rank, reference))
        exhibits.append(table1(shown, reference, f"table1{suffix}", f"{dataset}, {split}"))
    exhibits += learning_curve_figures(cells)
    exhibits.append(top_table(cells, reference))
    exhibits.append(certainty_table(cells, reference))
    exhibits.append(correlation_table(cells, reference))
    exhibits += [_certainty_figure(cell, reference, number) for number, cell in enumerate(honest_cells(cells))]
    text = (
        "Table 1 of the paper on this grid: accuracy, and precision, recall and F1 of each genre; the learning curves "
        "of its Figure 1, with one standard deviation over runs; how often the genre is the first, or among the first "
        "three, that a model names; and its certainty, log10 of the ratio of the two most probable genres, averaged "
        "by true genre and set beside recall."
    )
    return Section("paper", "The paper's tables and figures", text, tuple(exhibits))


def _rank(reference: Reference | None, cell: Cell) -> int:
    """Where a cell stands among the columns of a published table; behind them where it has none."""
    if reference is None:
        return 0
    columns = list(dict.fromkeys(zip(reference.table["model"], reference.table["slice_seconds"], strict=True)))
    return columns.index(key) if (key := (cell.model, cell.slice_seconds)) in columns else len(columns)


def learning_curve_figures(cells: Sequence[Cell]) -> list[Figure]:
    """Figure 1 of every corpus: its honest cells in panels, and where there is none, the leaking ones."""
    figures: list[Figure] = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        trained = [cell for cell in cells if cell.dataset == dataset and len(cell.curves)]
        shown = [cell for cell in trained if not cell.leaks] or trained
        if shown:
            curves = {f"{cell.label}, {cell.split}": _curves(cell) for cell in shown[:MOST_COLUMNS]}
            name = f"learning_curves_{len(figures)}" if figures else "learning_curves"
            figures.append(learning_curves(name, curves, title=f"Learning curves: {dataset}"))
    return figures


def genre_scores(
    frame: pd.DataFrame, genres: list[str], bootstrap: ClusterBootstrap
) -> dict[tuple[str, str], Estimate]:
    """Accuracy, under ("accuracy", "all"), and precision, recall and F1 of each genre, of pooled tracks or slices.

    A score whose denominator is zero is NaN here: nothing was predicted, so nothing is known.

    Args:
        frame: columns genre and predicted.
        genres: names.
        bootstrap: of the frame's rows.
    """
    true, said = one_hot(frame["genre"], genres), one_hot(frame["predicted"], genres)
    hit = true * said
    estimates = bootstrap.ratios(
        np.concatenate([hit, hit, 2 * hit], axis=1), np.concatenate([said, true, said + true], axis=1), is_share=True
    )
    names = [(score, genre) for score in _SCORES for genre in genres]
    accuracy = bootstrap.mean((frame["genre"] == frame["predicted"]).to_numpy())
    return {("accuracy", "all"): accuracy} | dict(zip(names, estimates, strict=True))


def _by_slice(cell: Cell) -> tuple[pd.DataFrame, ClusterBootstrap]:
    """What a model of single slices says of each test slice, and the bootstrap over groups of tracks."""
    return cell.timeline, ClusterBootstrap(cell.timeline["track"].map(cell.group_of_track).to_numpy())


def _votes(cell: Cell) -> bool:
    """Whether single slices are heard, and a track has several of them to vote."""
    return cell.takes_single_slices and len(cell.timeline) > len(cell.predictions)


def table1(cells: Sequence[Cell], reference: Reference | None, name: str, where: str) -> Table:
    """Cells of one corpus and protocol side by side, with the paper's figures where a reference has them.

    Columns of the frame are dataset, split, metric, genre, and for each cell its label, with ``_low``, ``_high``, and
    where there is a reference ``_paper`` and ``_less_paper``. Where the paper counted slices, ours are by slice too.
    """
    genres = list(dict.fromkeys(genre for cell in cells for genre in cell.genres))
    rows = [("accuracy", "all"), *((score, genre) for score in _SCORES for genre in genres)]
    frame = pd.DataFrame(rows, columns=["metric", "genre"])
    frame.insert(0, "dataset", cells[0].dataset)
    frame.insert(1, "split", cells[0].split)
    columns = [Column("metric", "score"), Column("genre", "genre")]
    for label, scores, printed in (column for cell in cells for column in _table1_columns(cell, reference)):
        known = [scores.get(row, Estimate(np.nan, np.nan, np.nan)) for row in rows]
        frame[label] = [estimate.value for estimate in known]
        frame[f"{label}_low"] = [estimate.low for estimate in known]
        frame[f"{label}_high"] = [estimate.high for estimate in known]
        columns.append(Column(label, label, "percent"))
        if printed and reference is not None:
            frame[f"{label}_paper"] = [printed.get(row, np.nan) for row in rows]
            frame[f"{label}_less_paper"] = frame[label] - frame[f"{label}_paper"]
            columns.append(Column(f"{label}_paper", reference.name, "percent"))
            columns.append(Column(f"{label}_less_paper", f"less {reference.name}", "points"))
    note = " ".join([_TABLE1_NOTE, caveat(cells, reference)]).strip()
    return Table(name, f"The paper's Table 1 on {where}", frame, tuple(columns), note)


def _table1_columns(
    cell: Cell, reference: Reference | None
) -> Iterator[tuple[str, dict[tuple[str, str], Estimate], dict[tuple[str, str], float]]]:
    """Label, our scores and the printed ones, by track, and by slice where the reference counted slices."""
    printed = reference.scores(cell.model, cell.slice_seconds) if reference is not None else {}
    yield cell.label, genre_scores(cell.predictions, cell.genres, cell.bootstrap), printed
    if reference is not None and _votes(cell):
        printed = reference.scores(cell.model, cell.slice_seconds, "slice")
        if printed:
            frame, bootstrap = _by_slice(cell)
            yield f"{cell.label} by slice", genre_scores(frame, cell.genres, bootstrap), printed


def _curves(cell: Cell) -> pd.DataFrame:
    return cell.curves.rename(columns={"train/accuracy": "train", "val/accuracy": "val"})[
        ["run", "epoch", "train", "val"]
    ]


def top_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """How often the true genre is the first, or among the first three, by track and, where slices vote, by slice."""
    rows = []
    for cell in cells:
        levels = [("track", cell.predictions, cell.bootstrap)]
        levels += [("slice", *_by_slice(cell))] if _votes(cell) else []
        for level, frame, bootstrap in levels:
            first = (frame["genre"] == frame["predicted"]).to_numpy()
            rows.append(place(cell) | {"level": level, "num": len(frame)} | bootstrap.mean(first).columns("top1"))
            rows[-1] |= bootstrap.mean(in_top_three(frame)).columns("top3") | _printed_top(cell, level, reference)
    columns = [*PLACE, Column("level", "by"), Column("num", "n", "count")]
    columns += [Column("top1", "first %", "percent"), Column("top3", "among first three %", "percent")]
    frame = pd.DataFrame(rows)
    note = "n counts every track or slice once per run that tested it; 95 % intervals resample tracks or artists."
    if reference is not None and frame["top1_paper"].notna().any():
        columns.append(Column("top1_paper", f"{reference.name}: first %", "percent"))
        columns.append(Column("top3_paper", f"{reference.name}: three %", "percent"))
        note = f"{note} {caveat(cells, reference)}"
    return Table("top", "First and among the first three", frame, tuple(columns), note)


def _printed_top(cell: Cell, level: str, reference: Reference | None) -> dict[str, float]:
    if reference is not None and level == "slice":
        own = reference.top[
            (reference.top["model"] == cell.model) & (reference.top["slice_seconds"] == cell.slice_seconds)
        ]
        if len(own):
            return {"top1_paper": own["top1"].iloc[0], "top3_paper": own["top3"].iloc[0]}
    return {"top1_paper": np.nan, "top3_paper": np.nan}


def certainty_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """Mean certainty and recall of each true genre of every cell, with n and intervals; section 6.2's beside it."""
    frame = pd.concat([_certainty(cell) for cell in cells], ignore_index=True)
    columns = [*PLACE, Column("genre", "genre"), Column("num", "n", "count")]
    columns += [Column("certainty", "certainty, decades", "decimal"), Column("recall", "recall %", "percent")]
    note = (
        "Certainty is log10(p1 / p2) of the two most probable genres, in decades, averaged over the tracks of each "
        "true genre. n counts a track once per run that tested it."
    )
    if reference is not None:
        printed = reference.certainty.set_index(["model", "slice_seconds", "genre"])
        keys = [(cell.model, cell.slice_seconds, genre) for cell in cells for genre in cell.genres]
        found = printed.reindex(pd.MultiIndex.from_tuples(keys))
        frame["certainty_paper"] = found["certainty"].to_numpy()
        frame["recall_paper"] = found["recall"].to_numpy()
        if frame["certainty_paper"].notna().any():
            columns.append(Column("certainty_paper", f"{reference.name}: certainty", "decimal"))
            columns.append(Column("recall_paper", f"{reference.name}: recall %", "percent"))
            note = f"{note} {caveat(cells, reference)}"
    return Table("certainty", "Certainty and recall by genre", frame, tuple(columns), note)


def _certainty(cell: Cell) -> pd.DataFrame:
    true = one_hot(cell.predictions["genre"], cell.genres)
    sure = cell.bootstrap.ratios(true * cell.predictions["certainty"].to_numpy()[:, None], true)
    recall = cell.bootstrap.ratios(true * cell.correct[:, None], true, is_share=True)
    rows = [
        place(cell) | {"genre": genre, "num": num} | one.columns("certainty") | other.columns("recall")
        for genre, num, one, other in zip(cell.genres, true.sum(axis=0).astype(int), sure, recall, strict=True)
    ]
    return pd.DataFrame(rows)


def correlation_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """Spearman's rho over genres between mean certainty and recall, of every cell and of the paper."""
    rows = [
        place(cell) | {"genres": len(cell.genres)} | _correlation(_certainty(cell)).columns("rho") for cell in cells
    ]
    if reference is not None:
        printed = {"dataset": reference.corpus, "split": "not told", "model": f"the {reference.name}'s"}
        rows.append(printed | {"genres": len(reference.certainty)} | _correlation(reference.certainty).columns("rho"))
    columns = (*PLACE, Column("genres", "genres", "count"), Column("rho", "Spearman's rho", "decimal"))
    note = (
        "Rank correlation over genres between certainty and recall. The 95 % interval (Bonett and Wright 2000) takes "
        "genres for what is sampled; ten are few, and beyond 0.95 it is rough."
    )
    return Table("certainty_rho", "Does certainty go with recall?", pd.DataFrame(rows), columns, note)


def _correlation(frame: pd.DataFrame) -> Estimate:
    """Spearman's rho of the columns `certainty` and `recall`, one row a genre; NaN where it is undefined.

    Genres are what is sampled. A bootstrap over tracks adds its own noise to their ranks and draws rho towards zero:
    of ten genres with 19 tracks each it gave 0.30 to 0.90 for a rho of 0.91.

    Source: Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65, 2000.
    """
    known = frame[["certainty", "recall"]].dropna()
    if len(known) < 4 or known.nunique().min() < 2:
        return Estimate(np.nan, np.nan, np.nan)
    rho = float(spearmanr(known["certainty"], known["recall"]).statistic)
    if abs(rho) > 1 - 1e-12:  # a perfect order has no bounds here
        return Estimate(rho, np.nan, np.nan)
    centre = np.arctanh(rho)
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(known) - 3))
    return Estimate(rho, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def _certainty_figure(cell: Cell, reference: Reference | None, number: int) -> Exhibit:
    frame = certainty_table([cell], reference).frame
    name = f"certainty_against_recall_{number}" if number else "certainty_against_recall"
    title = f"Certainty against recall: {cell.label}, {cell.dataset}, {cell.split}, rho {_correlation(frame).value:.2f}"
    return certainty_against_recall(name, frame, title=title)
