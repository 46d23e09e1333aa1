"""Read published values to compare with, as printed. The README of each folder in ``tables/`` has the source."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genregrid.errors import UserError

_FOLDER = Path(__file__).parent / "tables"
#: Tracks with a recording or a label that a source doubts.
DOUBTS_FILE = _FOLDER / "doubts.csv"


@dataclass(frozen=True)
class Reference:
    """The values of one publication.

    Attributes:
        name: the folder in ``tables/``.
        table: columns model, slice_seconds, level ("track" or "slice", what was counted), metric (accuracy, precision,
            recall, f1), genre ("all" for accuracy) and value, a fraction.
        certainty: columns model, slice_seconds, genre, certainty in decades, and recall, a fraction, printed beside it.
        top: columns model, slice_seconds, top1 and top3: the shares of slices whose genre is the most probable one, or
            one of the three most probable.
        named: columns corpus, track and taken_for (predicted genres): tracks that the publication discusses.
        lines: columns label, value, a fraction, and caveat, why it does not compare: other published accuracies.
        brightness: columns genre and remark: its remarks on how bright genres are.
    """

    name: str
    table: pd.DataFrame
    certainty: pd.DataFrame
    top: pd.DataFrame
    named: pd.DataFrame
    lines: pd.DataFrame
    brightness: pd.DataFrame

    @property
    def corpus(self) -> str:
        """The corpus of the values."""
        return str(self.named["corpus"].iloc[0])

    def scores(self, model: str, slice_seconds: float, level: str = "track") -> dict[tuple[str, str], float]:
        """Return one column of `table` by metric and genre; empty if there is no such column at this level."""
        table = self.table
        own = table[(table["model"] == model) & (table["slice_seconds"] == slice_seconds) & (table["level"] == level)]
        return dict(zip(zip(own["metric"], own["genre"], strict=True), own["value"], strict=True))


def read_reference(name: str = "paper") -> Reference:
    """Read the values of one publication, a folder in ``tables/``; "paper" is the one that this project reproduces."""
    choices = sorted(path.name for path in _FOLDER.iterdir() if path.is_dir())
    if name not in choices:
        raise UserError("it is unknown", key="reference", value=name, hint=f"choose one of {', '.join(choices)}")
    files = ("table1", "certainty", "top", "named", "lines", "brightness")
    return Reference(name, *(pd.read_csv(_FOLDER / name / f"{file}.csv") for file in files))
