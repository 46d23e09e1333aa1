"""The leaderboard: all cells of a grid in one table."""

from collections.abc import Sequence

import pandas as pd

from genregrid.exhibit.table import Column, Table, columns
from genregrid.metrics.interval import Estimate
from genregrid.report.cell import Cell, in_top_three
from genregrid.report.rows import CELL_COLUMNS, INTERVALS, one_hot


def leaderboard(cells: Sequence[Cell]) -> Table:
    """Make one row per cell, in the order given, with the scores of all folds and seeds together."""
    frame = pd.DataFrame([_row(cell) for cell in cells])
    shown = [
        *CELL_COLUMNS,
        *columns("seconds", slice_seconds="slice"),
        *(Column(name, name.replace("_", " ")) for name in ("settings", "trained_on") if (frame[name] != "").any()),
        *columns("percent", accuracy="accuracy %", top3="top-3 %", f1_macro="macro F1 %"),
        *columns("count", runs="runs", tracks="tracks"),
    ]
    note = (
        "Accuracy is the share of test tracks with the right genre, top-3 the share with the right genre among the "
        "three most probable, macro F1 the mean F1 of all genres. Test tracks of all folds and seeds are pooled. "
        f"{INTERVALS} They compare groups of tracks which the protocol keeps together, with all their seeds; under "
        "track a group is one track. Compare rows of one dataset and protocol only."
    )
    return Table("leaderboard", "Leaderboard", frame, tuple(shown), note, [cell.marks for cell in cells])


def _row(cell: Cell) -> dict[str, object]:
    frame = cell.predictions
    return {
        **{
            name: getattr(cell, name)
            for name in ("dataset", "split", "model", "slice_seconds", "trained_on", "settings")
        },
        "runs": len(cell.runs),
        "tracks": frame["track"].nunique(),
        **f1_macro(cell).columns("f1_macro"),
        "leaks": cell.leaks,
        **cell.bootstrap.mean(cell.correct).columns("accuracy"),
        **cell.bootstrap.mean(in_top_three(frame)).columns("top3"),
    }


def f1_macro(cell: Cell) -> Estimate:
    """Compute the mean F1 of the genres that occur as true or predicted genre."""
    true, predicted = (one_hot(cell.predictions[name], cell.genres) for name in ("genre", "predicted"))
    return cell.bootstrap.mean_ratio(2 * true * predicted, true + predicted)
