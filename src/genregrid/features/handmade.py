"""Recipes of descriptors that people defined: the 57 of Kaggle's GTZAN files, and the 368 of `rich`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.recipe import Recipe
from genregrid.features.rich import RICH_FEATURE_NAMES, rich_descriptors
from genregrid.features.spectrum import Padding, num_frames

#: Sets of descriptors: the names of the columns, and the function that computes them.
DESCRIPTORS: Mapping[str, tuple[tuple[str, ...], Callable[[Analysis], dict[str, NDArray[np.float64]]]]] = {
    "kaggle": (FEATURE_NAMES, kaggle_descriptors),
    "rich": (RICH_FEATURE_NAMES, rich_descriptors),
}
# 15 s of slices at a time: they fit in the cache, and long tracks need no more memory than short ones
_FRAMES_AT_ONCE = 650


@dataclass(frozen=True)
class HandmadeRecipe(Recipe):
    """A set of descriptors and the padding that they are computed with.

    Attributes:
        descriptors: ``kaggle``, the 57 of Kaggle's GTZAN files, or ``rich``, more than those.
        padding: ``reflect``, as librosa to 0.9 and Kaggle's files: slices lack their last sample, and the last slice
            exists only if more samples follow; ``constant``, as librosa from 0.10: whole slices.

    >>> HandmadeRecipe("kaggle", "reflect").slice_bounds(140_000, 3.0)
    [(0, 66149), (66150, 132299)]
    >>> HandmadeRecipe("kaggle", "constant").slice_bounds(140_000, 3.0)
    [(0, 66150), (66150, 132300)]
    >>> HandmadeRecipe().slice_bounds(661_794, 30.0), HandmadeRecipe().slice_bounds(60_000, 3.0)
    ([(0, 661794)], [])
    """

    descriptors: str = "kaggle"
    padding: Padding = "reflect"

    @property
    def name(self) -> str:
        """Name of the recipe: ``kaggle-reflect``."""
        return f"{self.descriptors}-{self.padding}"

    @property
    def option(self) -> str:
        """Value of ``--recipe``: ``kaggle``."""
        return self.descriptors

    @property
    def more_options(self) -> str:
        """The padding as an option."""
        return f" --padding {self.padding}"

    @property
    def file_ending(self) -> str:
        """Nothing: the files of a folder are called as Kaggle's."""
        return ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature axis, in order."""
        return DESCRIPTORS[self.descriptors][0]

    @property
    def num_left_out(self) -> int:
        """Number of samples that a slice lacks at its end, and that must follow the last slice."""
        return 1 if self.padding == "reflect" else 0

    def num_together(self, num_samples: int) -> int:
        """Return how many slices of a length in samples are described at once."""
        return max(1, _FRAMES_AT_ONCE // num_frames(num_samples))

    def describe_slices(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the descriptors of slices of equal length, (slice, sample) -> (slice, feature)."""
        analysis = Analysis(samples, self.padding)
        with np.errstate(over="ignore", invalid="ignore"):
            columns = DESCRIPTORS[self.descriptors][1](analysis)
        return np.column_stack([columns[name] for name in self.feature_names])
