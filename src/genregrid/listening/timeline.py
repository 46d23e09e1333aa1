"""What a model says of one recording: genre, certainty, and how both run along the recording."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from genregrid.exhibit.drawing import stack
from genregrid.record.result import said_columns

_MOST_SPANS = 12  # in a printed timeline


@dataclass(frozen=True)
class Heard:
    """What a model says of one recording.

    Attributes:
        file: its path.
        genres: names in the order of the genre axis.
        slice_seconds: slice length in seconds.
        log_probs: (slice, genre) float32, what the model says once it has heard that slice.
        total: (genre,) float32, log-probabilities of the whole recording.
        seconds: its length.
        notes: what is odd about it.
    """

    file: str
    genres: list[str]
    slice_seconds: float
    log_probs: NDArray[np.float32]
    total: NDArray[np.float32]
    seconds: float
    notes: list[str] = field(default_factory=list)

    def verdict(self) -> dict[str, Any]:
        """One row on the whole recording: genre, certainty, the next two, a probability per genre (``p_<genre>``)."""
        said: dict[str, Any] = self._said(self.total[None]).iloc[0].to_dict()
        about = {"num_slices": len(self.log_probs), "notes": "; ".join(self.notes)}
        return {"file": self.file, "seconds": round(self.seconds, 2)} | said | about

    def timeline(self) -> pd.DataFrame:
        """One row per slice: where it starts and stops in seconds, and the same columns as the verdict's."""
        number = np.arange(len(self.log_probs))
        start = self.slice_seconds * number
        place = {"file": self.file, "slice": number, "start_seconds": start, "stop_seconds": start + self.slice_seconds}
        return pd.concat([pd.DataFrame(place), self._said(self.log_probs)], axis=1)

    def _said(self, log_probs: NDArray[np.float32]) -> pd.DataFrame:
        """Columns genre, certainty, second, third and ``p_<genre>`` of (row, genre)."""
        said = pd.DataFrame(said_columns(log_probs, self.genres)).rename(columns={"predicted": "genre"})
        probs = [f"p_{name}" for name in self.genres]
        return said[[*said.columns.difference(probs, sort=False), *probs]]

    def summary(self) -> str:
        """The verdict with its top three, and the timeline in spans of one genre."""
        verdict = self.verdict()
        best = np.argsort(-self.total, kind="stable")[:3]
        shares = ", ".join(f"{self.genres[number]} {100 * np.exp(self.total[number]):.1f} %" for number in best)
        spans = [f"{_clock(a)}-{_clock(b)}  {genre}  {mean:.2f}" for a, b, genre, mean in self._spans()]
        if len(spans) > _MOST_SPANS:
            spans[_MOST_SPANS:] = [f"... and {len(spans) - _MOST_SPANS} spans more in timeline.csv"]
        length = f"{_clock(self.seconds)} long, {len(self.log_probs)} slices of {self.slice_seconds:g} s"
        lines = [
            f"{shares}; certainty {verdict['certainty']:.2f} decades",
            f"{length}; as it goes on, with mean certainty:",
            *spans,
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n  ".join([f"{self.file}: {verdict['genre']}", *lines])

    def _spans(self) -> Iterator[tuple[float, float, str, float]]:
        """Start and stop in seconds, genre and mean certainty of slices that follow each other with one genre."""
        for genre, group in groupby(self.timeline().itertuples(), key=lambda row: row.genre):
            rows = list(group)
            certainty = float(np.mean([row.certainty for row in rows]))
            yield rows[0].start_seconds, rows[-1].stop_seconds, str(genre), certainty

    def draw(self, path: Path) -> None:
        """Draw the probability of each genre along the recording as a picture (PNG)."""
        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots()
        edges = self.slice_seconds * np.arange(len(self.log_probs) + 1)
        probs = np.exp(self.log_probs)
        order = np.argsort(-probs.mean(axis=0), kind="stable").tolist()
        stack(axes, edges, probs, self.genres, order)
        verdict = self.verdict()
        title = f"{Path(self.file).name}: {verdict['genre']}, certainty {verdict['certainty']:.2f} decades"
        axes.set_title(title, parse_math=False)  # a dollar sign in a name is no formula
        figure.legend(loc="outside right upper", frameon=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that matplotlib's font lacks
            figure.savefig(path, dpi=120)


def _clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> _clock(0.0), _clock(75.5)
    ('0:00', '1:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
