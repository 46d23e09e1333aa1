"""The scores, tables and pictures of runs that were tested, for a notebook."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genregrid.api.mistake import offered
from genregrid.errors import UserError
from genregrid.exhibit.figure import Caption, confusion_matrix
from genregrid.exhibit.table import Figure
from genregrid.files import replacing
from genregrid.report.ambiguity import confusion
from genregrid.report.cell import Cell, in_top_three
from genregrid.report.leaderboard import f1_macro
from genregrid.report.paper import genre_scores, learning_curve_figures


class Picture:
    """A picture that a notebook shows and that can be saved.

    Attributes:
        content: of the file.
        ending: ``svg`` or ``png``.
        alt: what it shows, in words.
    """

    def __init__(self, content: bytes, ending: str, alt: str) -> None:
        self.content = content
        self.ending = ending
        self.alt = alt

    @classmethod
    def of(cls, figure: Figure) -> "Picture":
        """Return the picture of a figure of a report."""
        return cls(figure.svg.encode(), "svg", figure.alt)

    @offered
    def save(self, path: str | Path) -> None:
        """Write the picture into a file, whose name ends in its `ending`.

        Raises:
            UserError: the name has another ending.
        """
        if Path(path).suffix != f".{self.ending}":
            raise UserError(f"the name of its file ends in .{self.ending}", key="path", value=str(path))
        with replacing(Path(path)) as part:
            part.write_bytes(self.content)

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        kind = {"svg": "image/svg+xml", "png": "image/png"}[self.ending]
        content: Any = self.content.decode() if self.ending == "svg" else self.content
        return {kind: content, "text/plain": repr(self)}, {kind: {"needs_background": "light"}}


class Outcome:
    """The test of one run or of several that differ in fold and seed only; test predictions are pooled.

    Attributes:
        name: of the model, with the settings that were given.
    """

    def __init__(self, name: str, cell: Cell) -> None:
        self.name = name
        self._cell = cell

    @property
    def title(self) -> str:
        """Name, corpus and protocol, with the marks of both."""
        return f"{self.name}, {self._cell.slice_seconds:g} s slices, {self._cell.dataset_title}, {self._cell.split}"

    @property
    def marks(self) -> list[str]:
        """Warnings that go with every number: LEAKS, SYNTHETIC, MAY-OVERLAP."""
        return [str(mark) for mark in self._cell.marks]

    @property
    def genres(self) -> list[str]:
        """Names of the genres."""
        return self._cell.genres

    @property
    def scores(self) -> pd.DataFrame:
        """Accuracy, top-3 accuracy and macro F1 of test tracks: value, and the 95 % interval low to high.

        An interval is NaN where too few groups of tracks were tested.
        """
        cell = self._cell
        estimates = {
            "accuracy": cell.bootstrap.mean(cell.correct),
            "top3": cell.bootstrap.mean(in_top_three(cell.predictions)),
            "f1_macro": f1_macro(cell),
        }
        rows = {name: (one.value, one.low, one.high) for name, one in estimates.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])

    @property
    def per_genre(self) -> pd.DataFrame:
        """Recall, precision and F1 of each genre with 95 % intervals, and num, its number of predictions."""
        cell = self._cell
        estimates = genre_scores(cell.predictions, cell.genres, cell.bootstrap)
        counts = cell.predictions["genre"].value_counts()
        rows = []
        for genre in cell.genres:
            row: dict[str, object] = {"genre": genre, "num": int(counts.get(genre, 0))}
            for score in ("recall", "precision", "f1"):
                one = estimates[score, genre]
                row |= {score: one.value, f"{score}_low": one.low, f"{score}_high": one.high}
            rows.append(row)
        return pd.DataFrame(rows).set_index("genre")

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per test track and run: track, genre, predicted, certainty, probabilities, fold and seed."""
        return self._cell.predictions.drop(columns=["part", "run"], errors="ignore")

    @property
    def confusion(self) -> pd.DataFrame:
        """Number of test tracks, true genre by predicted genre."""
        counts = pd.DataFrame(confusion(self._cell), self.genres, self.genres)
        return counts.rename_axis(index="true genre", columns="predicted genre")

    @property
    def curves(self) -> pd.DataFrame:
        """One row per epoch and run: scores of training and validation; empty for a model without epochs."""
        return self._cell.curves

    def plot_confusion(self) -> Picture:
        """Draw the confusion matrix."""
        caption = Caption("confusion", f"Confusion: {self.title}", self._cell.marks)
        return Picture.of(confusion_matrix(caption, np.asarray(self.confusion), self.genres))

    @offered
    def plot_curves(self) -> Picture:
        """Draw the accuracy in training and validation by epoch.

        Raises:
            UserError: the model has no epochs.
        """
        if not len(self.curves):
            hint = "networks have curves, such as lstm and set_mlp"
            raise UserError("the model is fitted at once, and so has no curves", key=self._cell.model, hint=hint)
        return Picture.of(learning_curve_figures([self._cell])[0])

    def __repr__(self) -> str:
        lines = self.scores.apply(_line, axis=1)
        return "\n".join([self.title, *(f"  {name:9} {text}" for name, text in lines.items())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{name}</th><td>{_line(row)}</td></tr>" for name, row in self.scores.iterrows())
        return f"<table><caption>{escape(self.title)}</caption>{rows}</table>"


def _line(row: "pd.Series[float]") -> str:
    interval = f" ({100 * row['low']:.1f} to {100 * row['high']:.1f})" if row.notna().all() else ""
    return f"{100 * row['value']:.1f} %{interval}"
