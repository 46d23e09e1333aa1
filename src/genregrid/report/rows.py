"""Which cells a section shows, in which order, and tables with a row per cell."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit.table import Column, Table, columns
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell

#: What a note says about the brackets of a table.
INTERVALS = (
    "Brackets hold 95 % intervals. They hold the number of artists or tracks instead where it is too small for an "
    "interval, or where most tracks are of one artist."
)
#: The shown columns of `cell_row`.
CELL_COLUMNS = tuple(columns(dataset="dataset", split="protocol", features="features", model="model"))


def cell_row(cell: Cell) -> dict[str, object]:
    """Return the first columns of a row about a cell: dataset, split, features, model."""
    return {"dataset": cell.dataset, "split": cell.split, "features": cell.features, "model": cell.label}


def cell_table(
    name: str,
    title: str,
    rows: Iterable[tuple[Cell, Mapping[str, object]]],
    more: Sequence[Column],
    note: str = "",
    *,
    first: Sequence[Column] = (),
) -> Table:
    """Make a table of cells and more columns of each; `first` are shown before `CELL_COLUMNS`, `more` after."""
    rows, shown = list(rows), (*first, *CELL_COLUMNS, *more)
    records = [{column.name: row[column.name] for column in first} | cell_row(cell) | dict(row) for cell, row in rows]
    frame = pd.DataFrame(records, columns=None if rows else [column.name for column in shown])
    return Table(name, title, frame, shown, note, [cell.marks for cell, _ in rows])


def numbered(name: str, number: int) -> str:
    """Name the exhibits of one kind.

    >>> numbered("audit", 0), numbered("audit", 2)
    ('audit', 'audit_2')
    """
    return f"{name}_{number}" if number else name


def datasets(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Group cells by the label of their corpus, in the order given."""
    return {name: [cell for cell in cells if cell.dataset == name] for name in dict.fromkeys(c.dataset for c in cells)}


def groups(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Group cells by corpus and protocol, in the order given."""
    yield from (list(members) for _, members in groupby(cells, lambda cell: (cell.dataset, cell.split)))


def best_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the most accurate cell of each corpus and protocol."""
    return [members[0] for members in groups(cells)]


def honest_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the most accurate cell of each corpus that does not leak, under any protocol."""
    honest = [[cell for cell in own if not cell.leaks] for own in datasets(cells).values()]
    return [min(own, key=lambda cell: (cell.missing_folds > 0, -cell.correct.mean())) for own in honest if own]


def one_hot(names: "pd.Series[str]", genres: list[str]) -> NDArray[np.float64]:
    """Encode genre names as (row, genre) float64, 0 or 1."""
    return np.asarray(names.to_numpy()[:, None] == np.array(genres, dtype=object)[None], np.float64)


def caveat(cells: Sequence[Cell], reference: Reference | None) -> str:
    """Return a warning for published values beside cells of another corpus or cells that leak; empty for others."""
    if reference is None or all(cell.corpus == reference.corpus and not cell.leaks for cell in cells):
        return ""
    return f"The {reference.name}'s values are for {reference.corpus}; how its tracks were divided is not described."
