"""The paper's tables and figures of any grid: scores per genre, certainty, top three, learning curves.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", Table 1, Figure 1, and sections 6.1 and 6.2.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from genregrid.metrics.interval import Estimate
from genregrid.report.exhibit import Column, Exhibit, Figure, Section, Table
from genregrid.report.figure import certainty_against_recall, learning_curves
from genregrid.report.grid import Cell
from genregrid.report.leaderboard import PLACE, groups, honest_cells, place
from genregrid.report.reference import Reference

#: Models side by side in one table; more are no longer read.
MOST_COLUMNS = 8
_SCORES = ("precision", "recall", "f1")
_TABLE1_NOTE = (
    "By track, in per cent; all folds and seeds pooled, 95 % intervals in brackets. F1 is that of the pooled tracks."
)
_PAPER_NOTE = " 'Paper' is as printed, of a single division that is not told; 'less paper' in points."


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


def genre_scores(cell: Cell) -> dict[tuple[str, str], Estimate]:
    """Accuracy, under ("accuracy", "all"), and precision, recall and F1 of each genre, of the pooled test tracks.

    A score whose denominator is zero is NaN here: nothing was predicted, so nothing is known.
    """
    true = _one_hot(cell.predictions["genre"], cell.genres)
    said = _one_hot(cell.predictions["predicted"], cell.genres)
    hit = true * said
    estimates = cell.bootstrap.ratios(
        np.concatenate([hit, hit, 2 * hit], axis=1), np.concatenate([said, true, said + true], axis=1)
    )
    names = [(score, genre) for score in _SCORES for genre in cell.genres]
    return {("accuracy", "all"): cell.bootstrap.mean(cell.correct)} | dict(zip(names, estimates, strict=True))


def _one_hot(names: "pd.Series[str]", genres: list[str]) -> NDArray[np.float64]:
    """(prediction, genre) 0 or 1."""
    return np.asarray(names.to_numpy()[:, None] == np.array(genres, dtype=object)[None], np.float64)


def table1(cells: Sequence[Cell], reference: Reference | None, name: str, where: str) -> Table:
    """Cells of one corpus and protocol side by side, with the paper's figures where a reference has them.

    Columns of the frame are metric, genre, and for each cell its label, with ``_low``, ``_high``, and where there is a
    reference ``_paper`` and ``_less_paper``.
    """
    genres = list(dict.fromkeys(genre for cell in cells for genre in cell.genres))
    rows = [("accuracy", "all"), *((score, genre) for score in _SCORES for genre in genres)]
    frame = pd.DataFrame(rows, columns=["metric", "genre"])
    columns = [Column("metric", "score"), Column("genre", "genre")]
    for cell in cells:
        scores = genre_scores(cell)
        known = [scores.get(row, Estimate(np.nan, np.nan, np.nan)) for row in rows]
        frame[cell.label] = [estimate.value for estimate in known]
        frame[f"{cell.label}_low"] = [estimate.low for estimate in known]
        frame[f"{cell.label}_high"] = [estimate.high for estimate in known]
        columns.append(Column(cell.label, cell.label, "percent"))
        printed = reference.scores(cell.model, cell.slice_seconds) if reference is not None else {}
        if printed:
            frame[f"{cell.label}_paper"] = [printed.get(row, np.nan) for row in rows]
            frame[f"{cell.label}_less_paper"] = frame[cell.label] - frame[f"{cell.label}_paper"]
            columns.append(Column(f"{cell.label}_paper", "paper", "percent"))
            columns.append(Column(f"{cell.label}_less_paper", "less paper", "points"))
    note = _TABLE1_NOTE
    if any(column.title == "paper" for column in columns):
        note += _PAPER_NOTE
        if reference is not None and cells[0].corpus != reference.corpus:
            note += f" It is of another corpus, {reference.corpus}: differences are between corpora as well as models."
    return Table(name, f"The paper's Table 1 on {where}", frame, tuple(columns), note)


def _curves(cell: Cell) -> pd.DataFrame:
    return cell.curves.rename(columns={"train/accuracy": "train", "val/accuracy": "val"})[
        ["run", "epoch", "train", "val"]
    ]


def top_table(cells: Sequence[Cell], reference: Reference | None) -> Table:
    """How often the true genre is the first, or among the first three, by track and, where slices vote, by slice."""
    rows = []
    for cell in cells:
        group = cell.predictions.drop_duplicates("track").set_index("track")["group"]
        votes = cell.hears_slices and len(cell.timeline) > len(cell.predictions)
        for level, frame in [("track", cell.predictions), *([("slice", cell.timeline)] if votes else [])]:
            first = (frame["genre"] == frame["predicted"]).to_numpy()
            places = [name for name in ("predicted", "second", "third") if name in frame]
            among = frame[places].eq(frame["genre"], axis=0).any(axis=1).to_numpy()
            bootstrap = type(cell.bootstrap)(frame["track"].map(group).to_numpy())
            rows.append(place(cell) | {"level": level, "num": len(frame)} | bootstrap.mean(first).columns("top1"))
            rows[-1] |= bootstrap.mean(among).columns("top3") | _printed_top(cell, level, reference)
    columns = [*PLACE, Column("level", "by"), Column("num", "n", "count")]
    columns += [Column("top1", "first %", "percent"), Column("top3", "among first three %", "percent")]
    frame = pd.DataFrame(rows)
    if reference is not None and frame[["top1_paper"]].notna().any(axis=None):
        columns += [
            Column("top1_paper", "paper: first %", "percent"),
            Column("top3_paper", "paper: three %", "percent"),
        ]
    note = "n counts every track or slice once per run that tested it; 95 % intervals resample tracks or artists."
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
    columns += [Column("certainty", "certainty, decades", "decades"), Column("recall", "recall %", "percent")]
    if reference is not None:
        printed = reference.certainty.set_index(["model", "slice_seconds", "genre"])
        keys = [(cell.model, cell.slice_seconds, genre) for cell in cells for genre in cell.genres]
        found = printed.reindex(pd.MultiIndex.from_tuples(keys))
        frame["certainty_paper"] = found["certainty"].to_numpy()
        frame["recall_paper"] = found["recall"].to_numpy()
        if frame["certainty_paper"].notna().any():
            columns += [
                Column("certainty_paper", "paper: certainty", "decades"),
                Column("recall_paper", "paper: recall %", "percent"),
            ]
    note = (
        "Certainty is log10(p1 / p2) of the two most probable genres, in decades, averaged over the tracks of each "
        "true genre. n counts a track once per run that tested it. The paper's belong to its MLP at 30 s."
    )
    return Table("certainty", "Certainty and recall by genre", frame, tuple(columns), note)


def _certainty(cell: Cell) -> pd.DataFrame:
    true = _one_hot(cell.predictions["genre"], cell.genres)
    sure = cell.bootstrap.ratios(true * cell.predictions["certainty"].to_numpy()[:, None], true)
    recall = cell.bootstrap.ratios(true * cell.correct[:, None], true)
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
    columns = (*PLACE, Column("genres", "genres", "count"), Column("rho", "Spearman's rho", "decades"))
    note = (
        "Rank correlation over genres between certainty and recall. The 95 % interval (Bonett and Wright 2000) takes "
        "genres for what is sampled; ten are few."
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
    centre = np.arctanh(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(known) - 3))
    return Estimate(rho, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def _certainty_figure(cell: Cell, reference: Reference | None, number: int) -> Exhibit:
    frame = certainty_table([cell], reference).frame
    name = f"certainty_against_recall_{number}" if number else "certainty_against_recall"
    title = f"Certainty against recall: {cell.label}, {cell.dataset}, {cell.split}, rho {_correlation(frame).value:.2f}"
    return certainty_against_recall(name, frame, title=title)
