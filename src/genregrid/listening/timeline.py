"""The scores of one recording: genre and certainty, as a whole and slice by slice, as tables, text and a picture."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.errors import counted, printable
from genregrid.exhibit.mark import Mark
from genregrid.listening.verdict import Section, Verdict, sections
from genregrid.record.result import prediction_columns

_MOST_SPANS = 12  # in a printed timeline
_MOST_STEPS = 500  # in a picture, whose axis has some 700 pixels
_LONG_SECONDS = 1800.0  # from here on a picture has a clock instead of seconds
_MANY_DECADES = 3  # from here on the ratio is not printed exactly
_LONGEST_PATH, _LONGEST_TITLE = 1000, 80  # characters of a file's path that are printed, and of its name in a picture


@dataclass(frozen=True)
class ScoredRecording:
    """A model's predictions for one recording."""

    file: str  # path of the recording
    genres: list[str]  # names in the order of the genre axis
    slice_seconds: float  # slice length in seconds
    log_probs: NDArray[np.float32]  # (slice, genre), log-probabilities of the window that ends with that slice
    total: NDArray[np.float32]  # (genre,), log-probabilities of the whole recording
    seconds: float  # length of the recording
    marks: tuple[Mark, ...] = ()  # warnings about the model's training
    notes: list[str] = field(default_factory=list)  # warnings about the recording
    window_slices: int = 1  # longest window
    threshold: float | None = None  # of the sets of possible genres; None for a model that has no card
    near: tuple[str, ...] = ()  # names of the training tracks that are nearest, nearest first; empty if not known
    features: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)  # (slice, feature), raw

    @cached_property
    def verdict(self) -> Verdict:
        """The genres that the whole recording can be."""
        return Verdict.of(self.total.astype(np.float64), self.genres, self.threshold)

    @cached_property
    def sections(self) -> list[Section]:
        """Parts that differ in style; empty if there are no two of which the model is sure."""
        log_probs = self.log_probs.astype(np.float64)
        return sections(log_probs, self.genres, self.slice_seconds, self.window_slices, self.threshold)

    def prediction(self) -> dict[str, Any]:
        """Return the row of the whole recording: the columns of `_columns`, its length, notes and marks."""
        row: dict[str, Any] = {"file": self.file, "seconds": round(self.seconds, 2)}
        row |= self._columns(self.total[None]).iloc[0].to_dict()
        if self.verdict.has_set:
            row["possible"] = "; ".join(self.verdict.genres)
        row |= {"num_slices": len(self.log_probs), "notes": "; ".join(self.notes)}
        return row | ({"marks": " ".join(self.marks)} if self.marks else {})

    def timeline(self) -> pd.DataFrame:
        """Return one row per slice: its start and stop in seconds, and the columns of `prediction`."""
        number = np.arange(len(self.log_probs))
        start = self.slice_seconds * number
        stop = start + self.slice_seconds
        position = {"file": self.file, "slice": number, "start_seconds": start, "stop_seconds": stop}
        return pd.concat([pd.DataFrame(position), self._columns(self.log_probs)], axis=1)

    def _columns(self, log_probs: NDArray[np.float32]) -> pd.DataFrame:
        """Return the columns genre, certainty, second, third and ``p_<genre>`` of (row, genre)."""
        frame = pd.DataFrame(prediction_columns(log_probs, self.genres)).rename(columns={"predicted": "genre"})
        probs = [f"p_{name}" for name in self.genres]
        return frame[[*frame.columns.difference(probs, sort=False), *probs]]

    def summary(self) -> str:
        """Describe the prediction with its top three genres, and the timeline in spans of one genre."""
        spans = [f"{clock(a)}-{clock(b)}  {genre}  {mean:.2f}" for a, b, genre, mean in self._spans()]
        if len(spans) > _MOST_SPANS:
            spans[_MOST_SPANS:] = [f"... and {len(spans) - _MOST_SPANS} more spans in timeline.csv"]
        length = f"{clock(self.seconds)} long, {counted(len(self.log_probs), 'slice')} of {self.slice_seconds:g} s"
        lines = [
            f"{self.shares}; {self.certainty}",
            *self.style_lines,
            f"{length}; predictions along it, with mean certainty:",
            *spans,
            *(f"note: {note}" for note in self.notes),
        ]
        first = f"{printable(self.file, _LONGEST_PATH)}: {printable(self.verdict.text)}"
        return "\n  ".join([first, *(printable(line, _LONGEST_PATH) for line in lines)])

    @property
    def style_lines(self) -> list[str]:
        """A line that names the parts of a recording whose style changes; none for other recordings."""
        if not self.sections:
            return []
        parts = [f"{one.genre} {clock(one.start_seconds)}-{clock(one.stop_seconds)}" for one in self.sections]
        return [f"its style changes: {', then '.join(parts)}"]

    @property
    def shares(self) -> str:
        """The three most probable genres with their probabilities."""
        best = np.argsort(-self.total, kind="stable")[:3]
        return ", ".join(f"{self.genres[number]} {100 * np.exp(self.total[number]):.1f} %" for number in best)

    @property
    def certainty(self) -> str:
        """The certainty, and what it means, such as "certainty 0.30 decades, 2.0 times as probable as the second"."""
        first, second = np.sort(self.total.astype(np.float64))[::-1][:2]
        decades = (first - second) / np.log(10)
        times = f"{10**decades:.1f}" if decades < _MANY_DECADES else f"over {10**_MANY_DECADES:.0f}"
        return f"certainty {decades:.2f} decades: {times} times as probable as the second"

    def _spans(self) -> Iterator[tuple[float, float, str, float]]:
        """Yield start and stop in seconds, genre and mean certainty of consecutive slices with one predicted genre."""
        for genre, group in groupby(self.timeline().itertuples(), key=lambda row: row.genre):
            rows = list(group)
            certainty = float(np.mean([row.certainty for row in rows]))
            yield rows[0].start_seconds, rows[-1].stop_seconds, str(genre), certainty

    def draw(self, path: Path) -> None:
        """Draw the probability of each genre along the recording as a picture (PNG)."""
        import matplotlib  # takes half a second, and a printed answer needs no picture

        with matplotlib.rc_context({"text.parse_math": False}):  # a dollar sign in a name does not start a formula
            self._draw(path)

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        from genregrid.exhibit.drawing import name_areas, stacked_areas

        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots()
        # slices of a long recording are narrower than a pixel: the mean of neighbours is drawn
        num_slices = len(self.log_probs)
        bounds = np.append(np.arange(0, num_slices, -(-num_slices // _MOST_STEPS)), num_slices)
        edges = self.slice_seconds * bounds
        probs = np.add.reduceat(np.exp(self.log_probs), bounds[:-1]) / np.diff(bounds)[:, None].astype(np.float32)
        order = np.argsort(-probs.mean(axis=0), kind="stable").tolist()
        areas = stacked_areas(axes, edges, probs, self.genres, order[::-1])[::-1]  # the most probable one on top
        prediction = self.prediction()
        name, genre = (printable(str(text), _LONGEST_TITLE) for text in (Path(self.file).name, prediction["genre"]))
        title = f"{name}: {genre}, certainty {prediction['certainty']:.2f} decades"
        title += f" ({' '.join(self.marks)})" if self.marks else ""
        axes.set_title(title)
        if edges[-1] > _LONG_SECONDS:
            axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 3, 6, 10]))
            axes.xaxis.set_major_formatter(lambda seconds, _: clock(seconds))
            axes.set_xlabel("time")
        figure.legend(handles=areas, loc="outside right upper", frameon=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # matplotlib's font lacks some scripts
            figure.draw_without_rendering()  # the layout gives the axes their size
            name_areas(axes, edges, probs, self.genres, order[::-1])
            figure.savefig(path, dpi=120)


def clock(seconds: float) -> str:
    """Format a time as minutes and seconds, from an hour on with hours.

    >>> clock(0.0), clock(75.5), clock(3 * 3600 + 125)
    ('0:00', '1:15', '3:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, of_hour = divmod(minutes, 60)
    return f"{hours}:{of_hour:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
