"""Recipes: which descriptors are computed, how, and where slices start.

Rows of two recipes look similar but differ: the padding of the Fourier transform alone changes single cells by tens of
per cent. Every CSV and every checkpoint therefore names its recipe, and the names are compared.

A new recipe is a module with a subclass of `Recipe`, and a line in `known_recipe`.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genregrid.data.columns import SAMPLE_RATE_HZ

#: A clip this close to one slice's length is one row over all its samples: the "30 s" of corpora are 29.9 to 30.7 s.
WHOLE_CLIP_TOLERANCE = 0.025
#: The shortest slice of any recipe; mirroring half a frame needs more than 1024 samples.
MIN_SLICE_SECONDS = 0.05
#: The longest slice; it is analysed as a whole, which takes 3 MB of memory a second.
MAX_SLICE_SECONDS = 600.0


class Recipe(ABC):
    """Descriptors of slices: their names, the samples that they are computed from, and the computation.

    Subclasses are frozen dataclasses, which processes send to each other.

    Attributes:
        rate_hz: sample rate of the sound that is described.
        min_slice_seconds: length of the shortest slice in seconds.
        has_weights: whether it reads a file of weights.
        may_overlap: whether a network computes the descriptors that may have been trained on the music of a test, or
            on its artists: on commercial music with names of genres among its labels.
    """

    has_weights: bool = False

    @property
    def rate_hz(self) -> int:
        """See the attributes."""
        return SAMPLE_RATE_HZ

    @property
    def min_slice_seconds(self) -> float:
        """See the attributes."""
        return MIN_SLICE_SECONDS

    @property
    def may_overlap(self) -> bool:
        """See the attributes."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the recipe in CSVs, checkpoints and tables: ``kaggle-reflect``."""

    @property
    @abstractmethod
    def option(self) -> str:
        """Value of ``--recipe`` that chooses the recipe."""

    @property
    def more_options(self) -> str:
        """Other options that choose it: ``--padding reflect``."""
        return ""

    @property
    def file_ending(self) -> str:
        """What a CSV in a folder has between its name and ``.csv``, so that it can be beside those of the 57."""
        return f".{self.option}"

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature axis, in order."""

    @abstractmethod
    def describe_slices(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the descriptors of slices of equal length, (slice, sample) -> (slice, feature).

        Samples are mono at `rate_hz`, finite and nominally in [-1, 1].
        """

    @abstractmethod
    def num_together(self, num_samples: int) -> int:
        """Return how many slices of a length in samples are described at once, 1 or more."""

    @property
    def num_left_out(self) -> int:
        """Number of samples that a slice lacks at its end, and that must follow the last slice."""
        return 0

    def check(self) -> None:
        """Raise a UserError if something that the recipe needs is missing on this machine."""
        return

    def slice_bounds(self, num_samples: int, slice_seconds: float) -> list[tuple[int, int]]:
        """Return where the slices of a track start and stop, in samples at `rate_hz`.

        Slices follow each other from the first sample on; the rest at the end is in none. A track within 2.5 % of the
        length of one slice is one whole slice.
        """
        step = self.slice_samples(slice_seconds)
        if abs(num_samples - step) <= WHOLE_CLIP_TOLERANCE * step:
            return [(0, num_samples)]
        return self.whole_slices(num_samples, step)

    def whole_slices(self, num_samples: int, step: int) -> list[tuple[int, int]]:
        """Return the bounds of the slices of `step` samples that fit into a part of a track."""
        num_slices = (num_samples - self.num_left_out) // step
        return [(number * step, (number + 1) * step - self.num_left_out) for number in range(num_slices)]

    def slice_samples(self, slice_seconds: float) -> int:
        """Return the length of a slice in samples at `rate_hz`."""
        return round(slice_seconds * self.rate_hz)

    def describe(self, samples: NDArray[np.float32], slice_seconds: float) -> NDArray[np.float64]:
        """Compute the descriptors of a track's slices, (slice, feature); no rows for a track shorter than one slice.

        Samples are as in `describe_slices`, (sample,). The descriptors are finite too, except for samples so far beyond
        full scale that their squares overflow.
        """
        slices = SliceDescriber(self, slice_seconds)
        slices.add(samples)
        return np.concatenate([np.empty((0, 1 + len(self.feature_names))), *slices.finish()])[:, 1:]


class TableKey(NamedTuple):
    """What the rows of one CSV have in common."""

    recipe: Recipe
    slice_seconds: float


class SliceDescriber:
    """Describe the slices of a track whose samples arrive in blocks; memory does not grow with its length.

    The rows are those of the whole track in one block, to the last bit: slices are described in the same groups.

    Attributes:
        num_values: how many numbers the rows have so far.
    """

    def __init__(self, recipe: Recipe, slice_seconds: float) -> None:
        self.num_values = 0
        self._recipe = recipe
        self._slice_seconds = slice_seconds
        self._step = recipe.slice_samples(slice_seconds)
        self._held: list[NDArray[np.float32]] = []  # samples that are in no group yet
        self._num_held = 0
        self._rows: list[NDArray[np.float64]] = []
        self._group = recipe.num_together(self._step - recipe.num_left_out) * self._step
        # more samples than a track that is one whole slice has, and than one group has
        self._enough = max(self._group + recipe.num_left_out, int((1 + WHOLE_CLIP_TOLERANCE) * self._step) + 2)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, (sample,) float32 as in `Recipe.describe`, and describe groups that are complete."""
        self._held.append(samples)
        self._num_held += len(samples)
        if self._num_held < self._enough:
            return
        self._enough = self._group + self._recipe.num_left_out
        samples = self._joined()
        while len(samples) >= self._enough:
            bounds = self._recipe.whole_slices(self._group + self._recipe.num_left_out, self._step)
            self._describe(samples, bounds)
            samples = samples[self._group :]
        self._held, self._num_held = [samples.copy()], len(samples)  # a view would keep the whole block

    def finish(self) -> list[NDArray[np.float64]]:
        """Describe the last slices; return the rows of all slices as blocks of (slice, 1 + feature).

        The first column is the length of the slice in samples at 22 050 Hz, whatever the rate of the recipe is.
        """
        samples = self._joined()
        if self._rows:
            bounds = self._recipe.whole_slices(len(samples), self._step)
        else:
            bounds = self._recipe.slice_bounds(len(samples), self._slice_seconds)
        num_together = self._group // self._step
        for first in range(0, len(bounds), num_together):
            self._describe(samples, bounds[first : first + num_together])
        return self._rows

    def _joined(self) -> NDArray[np.float32]:
        return self._held[0] if len(self._held) == 1 else np.concatenate([np.empty(0, np.float32), *self._held])

    def _describe(self, samples: NDArray[np.float32], bounds: list[tuple[int, int]]) -> None:
        slices = np.stack([samples[start:stop] for start, stop in bounds])
        length = round(slices.shape[1] * SAMPLE_RATE_HZ / self._recipe.rate_hz)
        rows = np.column_stack([np.full(len(bounds), length), self._recipe.describe_slices(slices)])
        self._rows.append(rows)
        self.num_values += rows.size
