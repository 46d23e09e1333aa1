"""A prediction as an answer: the genres that it can be, and the parts of a recording that differ in style."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genregrid.metrics.conformal import nonconformity

_MOST_NAMED = 4  # genres that a sentence names
#: A part of a recording is named if the model is sure of its genre for so long.
LEAST_SECTION_SECONDS = 20.0


@dataclass(frozen=True)
class Verdict:
    """The genres that a recording can be, most probable first.

    Attributes:
        genres: with a threshold, the conformal set: on music like that of the training it holds the right genre in 90 %
            of cases. Without one, the most probable genre alone.
        num_genres: that the model knows.
        has_set: whether there is a threshold.
    """

    genres: tuple[str, ...]
    num_genres: int
    has_set: bool

    @classmethod
    def of(cls, log_probs: NDArray[np.float64], genres: Sequence[str], threshold: float | None) -> "Verdict":
        """Decide from (genre,) calibrated log-probabilities.

        >>> Verdict.of(np.log([0.5, 0.4, 0.1]), ["jazz", "blues", "pop"], 0.7).text
        'unsure: jazz or blues'
        """
        inside = sets(log_probs[None], threshold)[0]
        order = np.argsort(-log_probs, kind="stable")
        return cls(tuple(genres[number] for number in order if inside[number]), len(genres), threshold is not None)

    @property
    def is_sure(self) -> bool:
        """Whether one genre is left."""
        return len(self.genres) == 1

    @property
    def text(self) -> str:
        """The answer in words: "jazz", or "unsure: jazz or classical"."""
        if self.is_sure:
            return self.genres[0]
        if len(self.genres) > _MOST_NAMED:
            return f"unsure: {len(self.genres)} of {self.num_genres} genres are possible, {self.genres[0]} most of all"
        *others, last = self.genres
        return f"unsure: {', '.join(others)} or {last}"


def sets(log_probs: NDArray[np.float64], threshold: float | None) -> NDArray[np.bool_]:
    """Return which genres are possible, (row, genre) bool from (row, genre) float64; the most probable always is."""
    best = log_probs >= log_probs.max(axis=1, keepdims=True)
    if threshold is None:
        return np.asarray(best & (np.cumsum(best, axis=1) == 1))
    return np.asarray(best | (nonconformity(log_probs, "lac", np.random.default_rng(0)) <= threshold))


class Section(NamedTuple):
    """A part of a recording of one style."""

    start_seconds: float
    stop_seconds: float
    genre: str


def sections(
    log_probs: NDArray[np.float64],
    genres: Sequence[str],
    slice_seconds: float,
    window_slices: int,
    threshold: float | None,
) -> list[Section]:
    """Find parts of a recording that differ in style; empty unless there are two or more.

    A part is named if one genre alone is possible in windows over 20 s or more. Windows of which the model is unsure
    belong to no part, and the boundary between two parts is in the middle of what lies between them.

    Args:
        log_probs: (slice, genre), calibrated, of the window that ends with each slice.
        genres: names in the order of the genre axis.
        slice_seconds: length of a slice.
        window_slices: longest window.
        threshold: of the conformal sets; without one nothing is sure.

    >>> sure = np.log([[0.98, 0.02]] * 10 + [[0.5, 0.5]] + [[0.02, 0.98]] * 10)
    >>> [tuple(one) for one in sections(sure, ["jazz", "rock"], 3.0, 1, 0.6)]
    [(0.0, 31.5, 'jazz'), (31.5, 63.0, 'rock')]
    """
    if threshold is None:
        return []
    inside = sets(log_probs, threshold)
    numbers = np.flatnonzero(inside.sum(axis=1) == 1)
    genre = inside[numbers].argmax(axis=1)
    found = list(_long_enough(numbers, genre, slice_seconds))
    if len({number for _, _, number in found}) < 2:
        return []
    total = len(log_probs) * slice_seconds
    # a window of w slices that ends with slice i is about the time of its middle
    middle = np.arange(len(log_probs)) + 1 - np.minimum(np.arange(len(log_probs)) + 1, window_slices) / 2
    ends = [slice_seconds * float(middle[last] + middle[first]) / 2 for (_, last, _), (first, _, _) in pairwise(found)]
    bounds = [0.0, *ends, total]
    return [Section(bounds[i], bounds[i + 1], genres[number]) for i, (_, _, number) in enumerate(found)]


def _long_enough(
    numbers: NDArray[np.int64], genre: NDArray[np.int64], slice_seconds: float
) -> Iterator[tuple[int, int, int]]:
    """Yield first and last slice and genre of runs of sure slices; neighbours of one genre are one run."""
    runs: list[tuple[int, int, int]] = []
    for number, group in groupby(zip(numbers.tolist(), genre.tolist(), strict=True), key=lambda pair: pair[1]):
        own = [position for position, _ in group]
        if len(own) * slice_seconds >= LEAST_SECTION_SECONDS:
            if runs and runs[-1][2] == number:
                runs[-1] = (runs[-1][0], own[-1], number)
            else:
                runs.append((own[0], own[-1], number))
    yield from runs
