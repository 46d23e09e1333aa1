"""The paper's tables and figures for any grid: scores per genre, certainty, top three, learning curves.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", Table 1, Figure 1, and sections 6.1 and 6.2.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from genregrid.exhibit.figure import Caption, certainty_against_recall, learning_curves
from genregrid.exhibit.mark import union
from genregrid.exhibit.table import Column, Exhibit, Figure, Section, Table, columns
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell, in_top_three
from genregrid.report.rows import (
    CELL_COLUMNS,
    INTERVALS,
    caveat,
    cell_row,
    cell_table,
    datasets,
    groups,
    honest_cells,
    numbered,
    one_hot,
)

#: Largest number of models side by side in one table.
MOST_COLUMNS = 8
_SCORES = ("precision", "recall", "f1")


def paper_section(cells: Sequence[Cell], reference: Reference | None) -> Section:
    """Show Table 1, Figure 1, the top three (section 6.1) and certainty (6.2) of every corpus and protocol."""
    exhibits: list[Exhibit] = []
    for number, members in enumerate(groups(cells)):
        shown = sorted(members[:MOST_COLUMNS], key=partial(_rank, reference))
        where = f"{members[0].dataset_title}, {members[0].split}"
        exhibits.append(table1(shown, reference, numbered("table1", number), where))
    exhibits += learning_curve_figures(cells)
    exhibits += [top_table(cells, reference), certainty_table(cells, reference), correlation_table(cells, reference)]
    exhibits += [_certainty_figure(cell, reference, number) for number, cell in enumerate(honest_cells(cells))]
    text = (
        "The paper's Table 1 for this grid, the learning curves of its Figure 1, how often the true genre is among the "
        "most probable ones, and the certainty of predictions by true genre, compared with recall."
    )
    return Section("paper", "The paper's tables and figures", text, tuple(exhibits))


def _rank(reference: Reference | None, cell: Cell) -> int:
    """Return the position of a cell among the columns of the published table; others come last."""
    if reference is None:
        return 0
    order = list(dict.fromkeys(zip(reference.table["model"], reference.table["slice_seconds"], strict=True)))
    key = (cell.model, cell.slice_seconds)
    return order.index(key) if key in order else len(order)


def learning_curve_figures(cells: Sequence[Cell]) -> list[Figure]:
    """Draw Figure 1 for every corpus: its honest cells, or the leaking ones if there are no others."""
    figures: list[Figure] = []
    for own in datasets(cells).values():
        trained = [cell for cell in own if len(cell.curves)]
        shown = ([cell for cell in trained if not cell.leaks] or trained)[:MOST_COLUMNS]
        if shown:
            names = {"train/accuracy": "train", "val/accuracy": "val"}
            curves = {f"{cell.label}, {cell.split}": cell.curves.rename(columns=names) for cell in shown}
            name, title = numbered("learning_curves", len(figures)), f"Learning curves: {own[0].dataset_title}"
            figures.append(learning_curves(Caption(name, title, union(cell.marks for cell in shown)), curves))
    return figures


def genre_scores(
    frame: pd.DataFrame, genres: list[str], bootstrap: ClusterBootstrap
) -> dict[tuple[str, str], Estimate]:
    """Compute ("accuracy", "all"), and precision, recall and F1 of each genre.

    A score is NaN if its denominator is zero, and precision and F1 if all predictions are for tracks of one genre.
    """
    true, predicted = (one_hot(frame[name], genres) for name in ("genre", "predicted"))
    hit = true * predicted
    numerator = np.concatenate([hit, hit, 2 * hit], axis=1)
    denominator = np.concatenate([predicted, true, predicted + true], axis=1)
    estimates = bootstrap.ratios(numerator, denominator, is_share=True, subject=np.tile(true, len(_SCORES)))
    names = [(score, genre) for score in _SCORES for genre in genres]
    if frame["genre"].nunique() < 2:
        estimates = [one if score == "recall" else Estimate() for one, (score, _) in zip(estimates, names, strict=True)]
    accuracy = bootstrap.mean((frame["genre"] == frame["predicted"]).to_numpy())
    return {("accuracy", "all"): accuracy} | dict(zip(names, estimates, strict=True))


def _levels(cell: Cell) -> Iterator[tuple[str, pd.DataFrame, ClusterBootstrap]]:
    """Yield predictions by track and, if several single slices vote for a track, those by slice, with a bootstrap."""
    yield "track", cell.predictions, cell.bootstrap
    if cell.takes_single_slices and len(cell.timeline) > len(cell.predictions):
        yield "slice", cell.timeline, cell.bootstrap_of(cell.timeline)


def table1(cells: Sequence[Cell], reference: Reference | None, name: str, where: str) -> Table:
    """Show cells of one corpus and protocol side by side, with the paper's values if a reference has them.

    If the paper counted slices, ours are by slice too.
    """
    genres = list(dict.fromkeys(genre for cell in cells for genre in cell.genres))
    rows = [("accuracy", "all"), *((score, genre) for score in _SCORES for genre in genres)]
    frame = pd.DataFrame(rows, columns=["metric", "genre"])
    frame.insert(0, "dataset", cells[0].dataset)
    frame.insert(1, "split", cells[0].split)
    shown = columns(metric="score", genre="genre")
    for label, scores, printed in (column for cell in cells for column in _table1_columns(cell, reference)):
        known = [scores.get(row, Estimate()) for row in rows]
        frame[[label, f"{label}_low", f"{label}_high"]] = [(one.value, one.low, one.high) for one in known]
        if any(one.why for one in known):
            frame[f"{label}_why"] = [one.why for one in known]
        shown.append(Column(label, label, "percent"))
        if printed and reference is not None:
            frame[f"{label}_paper"] = [printed.get(row, np.nan) for row in rows]
            frame[f"{label}_less_paper"] = frame[label] - frame[f"{label}_paper"]
            shown.append(Column(f"{label}_paper", reference.name, "percent"))
            shown.append(Column(f"{label}_less_paper", f"minus {reference.name}", "points"))
    note = (
        "By track; test tracks of all folds and seeds are pooled. Precision is the share of right predictions among "
        "all predictions of the genre, recall the share of the genre's tracks that are recognised, F1 their harmonic "
        f"mean. {INTERVALS} {caveat(cells, reference)}"
    ).strip()
    marks = [union(cell.marks for cell in cells)] * len(rows)
    return Table(name, f"The paper's Table 1 for {where}", frame, tuple(shown), note, marks)


def _table1_columns(
    cell: Cell, reference: Reference | None
) -> Iterator[tuple[str, dict[tuple[str, str], Estimate], dict[tuple[str, str], float]]]:
    """Yield label, our scores and the printed ones by track, and by slice if the reference counted slices."""
    for level, frame, bootstrap in _levels(cell):
        printed = reference.scores(cell.model, cell.slice_seconds, level) if reference is not None else {}
        if level == "track" or printed:
            label = cell.label if level == "track" else f"{cell.label} by slice"
            yield label, genre_scores(frame, cell.genres, bootstrap), printed


def top_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """Show how often the true genre is the most probable, or among the three most probable, by track and by slice."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for cell in cells:
        for level, frame, bootstrap in _levels(cell):
            row = {"level": level, "num": len(frame)}
            row |= bootstrap.mean((frame["genre"] == frame["predicted"]).to_numpy()).columns("top1")
            row |= bootstrap.mean(in_top_three(frame)).columns("top3")
            top = reference.top if reference is not None and level == "slice" else None
            where: dict[str, object] = {"model": cell.model, "slice_seconds": cell.slice_seconds}
            rows.append((cell, row | _printed(top, where, "top1", "top3")))
    shown = columns(level="by") + columns("count", num="n")
    shown += columns("percent", top1="first %", top3="in first three %")
    note = (
        "The share of tracks (or slices) whose true genre is the most probable one, or one of the three most probable. "
        f"n counts a track or slice once per run that tested it. {INTERVALS}"
    )
    if reference is not None and any(row["top1_paper"] == row["top1_paper"] for _, row in rows):
        name = reference.name
        shown += columns("percent", top1_paper=f"{name}: first %", top3_paper=f"{name}: three %")
        note = f"{note} {caveat(cells, reference)}"
    return cell_table("top", "First and in the first three", rows, shown, note)


def _printed(table: pd.DataFrame | None, where: dict[str, object], *names: str) -> dict[str, float]:
    """Return values of the only row of a published table that matches, as ``<name>_paper``; NaN if there is none."""
    own = table[(table[list(where)] == pd.Series(where)).all(axis=1)] if table is not None else pd.DataFrame()
    return {f"{name}_paper": own[name].iloc[0] if len(own) else np.nan for name in names}


def certainty_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """Show mean certainty and recall of each true genre of every cell, beside those of section 6.2."""
    rows = [(cell, row) for cell in cells for row in _certainty(cell)]
    shown = columns(genre="genre") + columns("count", num="n")
    shown += columns("decimal", certainty="certainty, decades") + columns("percent", recall="recall %")
    note = (
        "Certainty is log10(p1 / p2) of the two largest probabilities, averaged over the tracks of each true genre: 1 "
        "decade means that the first genre is ten times as probable as the second. Recall is the share of the genre's "
        f"tracks that are recognised. n counts a track once per run that tested it. {INTERVALS}"
    )
    if reference is not None:
        for cell, row in rows:
            where = {"model": cell.model, "slice_seconds": cell.slice_seconds, "genre": row["genre"]}
            row |= _printed(reference.certainty, where, "certainty", "recall")
        if any(row["certainty_paper"] == row["certainty_paper"] for _, row in rows):
            shown += columns("decimal", certainty_paper=f"{reference.name}: certainty")
            shown += columns("percent", recall_paper=f"{reference.name}: recall %")
            note = f"{note} {caveat(cells, reference)}"
    return cell_table("certainty", "Certainty and recall by genre", rows, shown, note)


def _certainty(cell: Cell) -> list[dict[str, object]]:
    true = one_hot(cell.predictions["genre"], cell.genres)
    certainty = cell.bootstrap.ratios(true * cell.predictions["certainty"].to_numpy()[:, None], true)
    recall = cell.bootstrap.ratios(true * cell.correct[:, None], true, is_share=True)
    return [
        {"genre": genre, "num": num} | one.columns("certainty") | other.columns("recall")
        for genre, num, one, other in zip(cell.genres, true.sum(axis=0).astype(int), certainty, recall, strict=True)
    ]


def correlation_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """Show Spearman's rho over genres between mean certainty and recall, of every cell and of the paper."""
    rows = [
        cell_row(cell) | {"genres": len(cell.genres)} | _correlation(pd.DataFrame(_certainty(cell))).columns("rho")
        for cell in cells
    ]
    marks = [cell.marks for cell in cells]
    if reference is not None:
        about = {"dataset": reference.corpus, "split": "not described", "model": f"the {reference.name}'s"}
        rho = _correlation(reference.certainty).columns("rho")
        rows.append({**about, "genres": len(reference.certainty), **rho})
        marks.append(())
    shown = (*CELL_COLUMNS, *columns("count", genres="genres"), *columns("decimal", rho="Spearman's rho"))
    note = (
        "Rank correlation over genres between mean certainty and recall: 1 if the genres have the same order by both, "
        "0 if the orders are unrelated. The 95 % interval (Bonett and Wright 2000) treats genres as the sample; beyond "
        "0.95 it is only approximate. With few tracks a genre, noise in both means brings rho nearer to 0."
    )
    return Table("certainty_rho", "Does certainty grow with recall?", pd.DataFrame(rows), shown, note, marks)


def _correlation(frame: pd.DataFrame) -> Estimate:
    """Compute Spearman's rho of the columns `certainty` and `recall`, one row per genre; NaN if it is undefined.

    The interval treats genres as the sample. A bootstrap over tracks would add noise to their ranks and draw rho
    towards zero.

    Source: Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65, 2000.
    """
    known = frame[["certainty", "recall"]].dropna()
    if len(known) < 4 or known.nunique().min() < 2:
        return Estimate()
    rho = float(spearmanr(known["certainty"], known["recall"]).statistic)
    if abs(rho) > 1 - 1e-12:  # the formula has no bounds for a perfect order
        return Estimate(rho)
    centre = np.arctanh(rho)
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(known) - 3))
    return Estimate(rho, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def _certainty_figure(cell: Cell, reference: Reference | None, number: int) -> Exhibit:
    frame = certainty_table([cell], reference).frame
    title = f"Certainty against recall: {cell.title}, rho {_correlation(frame).value:.2f}"
    return certainty_against_recall(Caption(numbered("certainty_against_recall", number), title, cell.marks), frame)
