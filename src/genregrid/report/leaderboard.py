"""The leaderboard: all cells of a grid in one table."""

import math
from collections.abc import Sequence

import pandas as pd

from genregrid.exhibit.table import Column, Table, columns
from genregrid.metrics.interval import Estimate
from genregrid.report.cell import Cell, in_top_three
from genregrid.report.rows import CELL_COLUMNS, INTERVALS, groups, one_hot

_ON_CHOOSING = (
    "Rows are sorted by test accuracy, so the first of many looks better than it is: on 1000 single tracks the best of "
    "21 equally good settings is 1.2 points above their mean, on tracks by artists 1.7 (simulated). Choose by the "
    "accuracy on validation tracks, and report the test accuracy of the row that is marked as chosen. Validation "
    "tracks also chose the epoch of a network, which favours it a little over a model without epochs."
)


def leaderboard(cells: Sequence[Cell]) -> Table:
    """Make one row per cell, in the order given, with the scores of all folds and seeds together."""
    frame = pd.DataFrame([_row(cell) for cell in cells])
    best = {id(cell) for cell in chosen(cells)}
    frame["chosen"] = ["yes" if id(cell) in best else "" for cell in cells]
    shown = [
        *CELL_COLUMNS,
        *columns("seconds", slice_seconds="slice"),
        *(Column(name, name.replace("_", " ")) for name in ("settings", "trained_on") if (frame[name] != "").any()),
        *columns("percent", accuracy="accuracy %", top3="top-3 %", f1_macro="macro F1 %"),
        *columns("count", runs="runs", tracks="tracks"),
        *(columns("percent", validation="validation %") + columns(chosen="chosen") if best else ()),
    ]
    note = (
        "Accuracy is the share of test tracks with the right genre, top-3 the share with the right genre among the "
        "three most probable, macro F1 the mean F1 of all genres. Test tracks of all folds and seeds are pooled. "
        f"{INTERVALS} Intervals come from the spread between groups of tracks that the protocol keeps together, with "
        "all their seeds; under track a group is one track. They hold for these trained models; the table 'training' "
        "has intervals for a method that is trained anew. Compare rows of one dataset and protocol only."
    )
    if best:
        note += f" {_ON_CHOOSING}"
    return Table("leaderboard", "Leaderboard", frame, tuple(shown), note, [cell.marks for cell in cells])


def chosen(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cell with the best validation accuracy of each corpus and honest protocol with several candidates.

    Candidates tested as many folds as any other cell, and have validation predictions of every run.
    """
    best = []
    for members in groups(cells):
        fewest = min(cell.missing_folds for cell in members)
        complete = [cell for cell in members if cell.missing_folds == fewest and not cell.leaks]
        known = [cell for cell in complete if not math.isnan(validation_accuracy(cell))]
        if len(known) > 1:
            best.append(max(known, key=validation_accuracy))
    return best


def validation_accuracy(cell: Cell) -> float:
    """Compute the mean accuracy of the runs on their validation tracks; NaN if a run has no predictions for them."""
    frame = cell.validation
    if not len(frame) or frame["run"].nunique() < len(cell.runs):
        return math.nan
    return float((frame["genre"] == frame["predicted"]).groupby(frame["run"]).mean().mean())


def _row(cell: Cell) -> dict[str, object]:
    frame = cell.predictions
    return {
        **{
            name: getattr(cell, name)
            for name in ("dataset", "split", "features", "model", "slice_seconds", "trained_on", "settings")
        },
        "runs": len(cell.runs),
        "tracks": frame["track"].nunique(),
        **f1_macro(cell).columns("f1_macro"),
        "leaks": cell.leaks,
        **cell.bootstrap.mean(cell.correct).columns("accuracy"),
        **cell.bootstrap.mean(in_top_three(frame)).columns("top3"),
        "validation": validation_accuracy(cell),
    }


def f1_macro(cell: Cell) -> Estimate:
    """Compute the mean F1 of the genres that occur as true or predicted genre; NaN if all tracks are of one genre."""
    if cell.predictions["genre"].nunique() < 2:  # then precision is 1, whatever the model predicts
        return Estimate()
    true, predicted = (one_hot(cell.predictions[name], cell.genres) for name in ("genre", "predicted"))
    return cell.bootstrap.mean_ratio(2 * true * predicted, true + predicted)
