"""Recipes: which descriptors are computed, how, and where slices start.

Rows of two recipes look similar but differ: the padding of the Fourier transform alone changes single cells by tens of
per cent. Every CSV and every checkpoint therefore names its recipe, and the names are compared.

A new set of descriptors is a module with a function and its names, and a line in `DESCRIPTORS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from genregrid.data.feature_csv import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.errors import UserError
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.rich import RICH_FEATURE_NAMES, rich_descriptors
from genregrid.features.spectrum import Padding, num_frames

#: A clip this close to one slice's length is one row over all its samples: the "30 s" of corpora are 29.9 to 30.7 s.
WHOLE_CLIP_TOLERANCE = 0.025
#: The shortest slice; mirroring half a frame needs more than 1024 samples.
MIN_SLICE_SECONDS = 0.05
#: The longest slice; it is analysed as a whole, which takes 3 MB of memory a second.
MAX_SLICE_SECONDS = 600.0

#: Sets of descriptors: the names of the columns, and the function that computes them.
DESCRIPTORS: Mapping[str, tuple[tuple[str, ...], Callable[[Analysis], dict[str, NDArray[np.float64]]]]] = {
    "kaggle": (FEATURE_NAMES, kaggle_descriptors),
    "rich": (RICH_FEATURE_NAMES, rich_descriptors),
}
# 15 s of slices at a time: they fit in the cache, and long tracks need no more memory than short ones
_FRAMES_AT_ONCE = 650


@dataclass(frozen=True)
class Recipe:
    """A set of descriptors and the padding that they are computed with.

    Attributes:
        descriptors: ``kaggle``, the 57 of Kaggle's GTZAN files, or ``rich``, more than those.
        padding: ``reflect``, as librosa to 0.9 and Kaggle's files: slices lack their last sample, and the last slice
            exists only if more samples follow; ``constant``, as librosa from 0.10: whole slices.
    """

    descriptors: str = "kaggle"
    padding: Padding = "reflect"

    @property
    def name(self) -> str:
        """Name of the recipe in CSVs, checkpoints and tables: ``kaggle-reflect``."""
        return f"{self.descriptors}-{self.padding}"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature axis, in order."""
        return DESCRIPTORS[self.descriptors][0]

    def slice_bounds(self, num_samples: int, slice_seconds: float) -> list[tuple[int, int]]:
        """Return where the slices of a track start and stop, in samples at 22 050 Hz.

        Slices, of at least 0.05 s, follow each other from the first sample on; the rest at the end is in none. A track
        within 2.5 % of the length of one slice is one whole slice.

        >>> Recipe("kaggle", "reflect").slice_bounds(140_000, 3.0)
        [(0, 66149), (66150, 132299)]
        >>> Recipe("kaggle", "constant").slice_bounds(140_000, 3.0)
        [(0, 66150), (66150, 132300)]
        >>> Recipe().slice_bounds(661_794, 30.0), Recipe().slice_bounds(60_000, 3.0)
        ([(0, 661794)], [])
        """
        step = slice_samples(slice_seconds)
        if abs(num_samples - step) <= WHOLE_CLIP_TOLERANCE * step:
            return [(0, num_samples)]
        return self._bounds(num_samples, step)

    def _bounds(self, num_samples: int, step: int) -> list[tuple[int, int]]:
        num_slices = (num_samples - self.num_left_out) // step
        return [(number * step, (number + 1) * step - self.num_left_out) for number in range(num_slices)]

    @property
    def num_left_out(self) -> int:
        """Number of samples that a slice lacks at its end, and that must follow the last slice."""
        return 1 if self.padding == "reflect" else 0

    def describe(self, samples: NDArray[np.float32], slice_seconds: float) -> NDArray[np.float64]:
        """Compute the descriptors of a track's slices, (slice, feature); no rows for a track shorter than one slice.

        Samples are mono at 22 050 Hz, finite and nominally in [-1, 1]. The descriptors are finite too, except for
        samples so far beyond full scale that their squares overflow.
        """
        slices = SliceDescriber(self, slice_seconds)
        slices.add(samples)
        return np.concatenate([np.empty((0, 1 + len(self.feature_names))), *slices.finish()])[:, 1:]

    def _describe(self, samples: NDArray[np.float32], bounds: list[tuple[int, int]]) -> NDArray[np.float64]:
        """Compute the rows of slices of equal length, (slice, 1 + feature): number of samples, then descriptors."""
        analysis = Analysis(np.stack([samples[start:stop] for start, stop in bounds]), self.padding)
        with np.errstate(over="ignore", invalid="ignore"):
            columns = DESCRIPTORS[self.descriptors][1](analysis)
        lengths = np.full(len(bounds), analysis.samples.shape[1])
        return np.column_stack([lengths, *(columns[name] for name in self.feature_names)])


def slice_samples(slice_seconds: float) -> int:
    """Return the length of a slice in samples at 22 050 Hz."""
    return round(slice_seconds * SAMPLE_RATE_HZ)


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
        self._step = slice_samples(slice_seconds)
        self._held: list[NDArray[np.float32]] = []  # samples that are in no group yet
        self._num_held = 0
        self._rows: list[NDArray[np.float64]] = []
        num_together = max(1, _FRAMES_AT_ONCE // num_frames(self._step - recipe.num_left_out))
        self._group = num_together * self._step
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
            bounds = self._recipe._bounds(self._group + self._recipe.num_left_out, self._step)
            self._describe(samples, bounds)
            samples = samples[self._group :]
        self._held, self._num_held = [samples.copy()], len(samples)  # a view would keep the whole block

    def finish(self) -> list[NDArray[np.float64]]:
        """Describe the last slices; return the rows of all slices as blocks of (slice, 1 + feature).

        The first column is the number of samples of the slice.
        """
        samples = self._joined()
        if self._rows:
            bounds = self._recipe._bounds(len(samples), self._step)
        else:
            bounds = self._recipe.slice_bounds(len(samples), self._slice_seconds)
        num_together = self._group // self._step
        for first in range(0, len(bounds), num_together):
            self._describe(samples, bounds[first : first + num_together])
        return self._rows

    def _joined(self) -> NDArray[np.float32]:
        return self._held[0] if len(self._held) == 1 else np.concatenate([np.empty(0, np.float32), *self._held])

    def _describe(self, samples: NDArray[np.float32], bounds: list[tuple[int, int]]) -> None:
        self._rows.append(self._recipe._describe(samples, bounds))
        self.num_values += self._rows[-1].size


def recipe_named(name: str) -> Recipe | None:
    """Return the recipe with a name; ``None`` for names of features that were computed elsewhere."""
    known = {Recipe(d, p).name: Recipe(d, p) for d in DESCRIPTORS for p in get_args(Padding)}
    return known.get(name)


def columns_of(name: str) -> tuple[str, ...] | None:
    """Return the columns of a recipe in their order; ``None`` for features that were computed elsewhere."""
    if name in DESCRIPTORS:
        raise UserError("the padding is missing", key="dataset.recipe", value=name, hint=f"for example {name}-reflect")
    recipe = recipe_named(name)
    return recipe.feature_names if recipe else None
