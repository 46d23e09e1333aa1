"""Published figures to compare with, as printed; the README of each folder in ``tables/`` has the source."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genregrid.errors import UserError

_FOLDER = Path(__file__).parent / "tables"
#: Tracks whose recording or label a source doubts.
DOUBTS_FILE = _FOLDER / "doubts.csv"


class Line(NamedTuple):
    """An accuracy of others: `value` is a fraction, `caveat` says what keeps it from being compared."""

    label: str
    value: float
    caveat: str


@dataclass(frozen=True)
class Reference:
    """Figures of one publication.

    Attributes:
        name: the folder in ``tables/``.
        table: columns model, slice_seconds, level ("track" or "slice", what was counted), metric (accuracy, precision,
            recall, f1), genre ("all" for accuracy) and value, a fraction.
        certainty: columns model, slice_seconds, genre, certainty in decades, and recall, a fraction, as printed beside
            it.
        top: columns model, slice_seconds, top1 and top3, the shares of slices whose genre is the first, or among the
            first three, that the model names.
        named: columns corpus, track and taken_for: tracks that the publication discusses.
        lines: accuracies of others, each with its caveat.
    """

    name: str
    table: pd.DataFrame
    certainty: pd.DataFrame
    top: pd.DataFrame
    named: pd.DataFrame
    lines: tuple[Line, ...]

    @property
    def corpus(self) -> str:
        """Which corpus the figures are of."""
        return str(self.named["corpus"].iloc[0])

    def scores(self, model: str, slice_seconds: float, level: str = "track") -> dict[tuple[str, str], float]:
        """Figures of one column of `table`, by metric and genre; empty where there is no such column at this level."""
        table = self.table
        own = table[(table["model"] == model) & (table["slice_seconds"] == slice_seconds) & (table["level"] == level)]
        return dict(zip(zip(own["metric"], own["genre"], strict=True), own["value"], strict=True))


def read_reference(name: str = "paper") -> Reference:
    """The figures of one publication.

    Args:
        name: a folder in ``tables/``; "paper" is the one that this project rewrites.

    Raises:
        UserError: there is no such reference.
    """
    choices = sorted(path.name for path in _FOLDER.iterdir() if path.is_dir())
    if name not in choices:
        raise UserError(f"unknown reference '{name}': choose one of {', '.join(choices)}.")
    table, certainty, top, named, lines = (
        pd.read_csv(_FOLDER / name / f"{file}.csv") for file in ("table1", "certainty", "top", "named", "lines")
    )
    return Reference(name, table, certainty, top, named, tuple(Line(*row) for row in lines.itertuples(index=False)))
