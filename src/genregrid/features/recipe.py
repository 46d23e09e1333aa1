"""How descriptors are computed: the recipe in force, and where its slices start.

Rows of two recipes look alike and are not: the padding of the Fourier transform alone moves single cells by tens of
per cent. So a recipe has a name, the name is written beside every CSV and into every checkpoint, and they are compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from genregrid.data.feature_csv import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.errors import UserError
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.rich import RICH_FEATURE_NAMES, rich_descriptors
from genregrid.features.spectrum import Padding, num_frames

DescriptorSet = Literal["kaggle", "rich"]
Describe = Callable[[Analysis], dict[str, NDArray[np.float64]]]

#: A clip this close to one slice's length is one row over all its samples: corpora ship "30 s" of 29.9 to 30.7 s.
WHOLE_CLIP_TOLERANCE = 0.025
#: The shortest slice; mirrored half a frame needs more than 1024 samples.
MIN_SLICE_SECONDS = 0.05

_DESCRIPTORS: Mapping[str, tuple[tuple[str, ...], Describe]] = {
    "kaggle": (FEATURE_NAMES, kaggle_descriptors),
    "rich": (RICH_FEATURE_NAMES, rich_descriptors),
}
# 15 s of slices: a block stays in the cache, and a long track takes no more than a short one
_FRAMES_AT_ONCE = 650


@dataclass(frozen=True)
class Recipe:
    """Which descriptors, and how they are computed.

    Attributes:
        descriptors: ``kaggle``, the 57 of Kaggle's GTZAN files, or ``rich``, more than those.
        padding: ``reflect``, as librosa to 0.9 and Kaggle's files: slices without their last sample, of which one
            stands only where more samples follow; ``constant``, as librosa from 0.10 on: whole slices.
    """

    descriptors: DescriptorSet = "kaggle"
    padding: Padding = "reflect"

    @property
    def name(self) -> str:
        """What CSVs, checkpoints and tables call the recipe: ``kaggle-reflect``."""
        return f"{self.descriptors}-{self.padding}"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature axis, in order."""
        return _DESCRIPTORS[self.descriptors][0]

    def slice_bounds(self, num_samples: int, slice_seconds: float) -> list[tuple[int, int]]:
        """Where the slices of a track start and stop, in samples at 22 050 Hz.

        They follow each other from the first sample on; what is left over at the end is in none. A track within 2.5 %
        of one slice's length is one slice, whole.

        Args:
            num_samples: of the track.
            slice_seconds: slice length in seconds, at least 0.05.

        >>> Recipe("kaggle", "reflect").slice_bounds(140_000, 3.0)
        [(0, 66149), (66150, 132299)]
        >>> Recipe("kaggle", "constant").slice_bounds(140_000, 3.0)
        [(0, 66150), (66150, 132300)]
        >>> Recipe().slice_bounds(661_794, 30.0), Recipe().slice_bounds(60_000, 3.0)
        ([(0, 661794)], [])
        """
        step = round(slice_seconds * SAMPLE_RATE_HZ)
        if abs(num_samples - step) <= WHOLE_CLIP_TOLERANCE * step:
            return [(0, num_samples)]
        left_out = 1 if self.padding == "reflect" else 0
        num_slices = (num_samples - left_out) // step
        return [(number * step, (number + 1) * step - left_out) for number in range(num_slices)]

    def describe(self, samples: NDArray[np.float32], slice_seconds: float) -> NDArray[np.float64]:
        """Descriptors of a track's slices, (slice, feature); no rows for a track shorter than one slice.

        They are finite, but for samples so far beyond full scale that their squares overflow.

        Args:
            samples: (sample,) float32 at 22 050 Hz, mono, in [-1, 1], finite.
            slice_seconds: slice length in seconds, at least 0.05.
        """
        bounds = self.slice_bounds(len(samples), slice_seconds)
        if not bounds:
            return np.empty((0, len(self.feature_names)))
        num_together = max(1, _FRAMES_AT_ONCE // num_frames(bounds[0][1] - bounds[0][0]))
        blocks = [bounds[first : first + num_together] for first in range(0, len(bounds), num_together)]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.concatenate([self._describe(samples, block) for block in blocks])

    def _describe(self, samples: NDArray[np.float32], bounds: list[tuple[int, int]]) -> NDArray[np.float64]:
        analysis = Analysis(np.stack([samples[start:stop] for start, stop in bounds]), self.padding)
        columns = _DESCRIPTORS[self.descriptors][1](analysis)
        return np.column_stack([columns[name] for name in self.feature_names])


def recipe_named(name: str) -> Recipe | None:
    """The recipe of that name; ``None`` for names of other people's extractions."""
    known = {Recipe(d, p).name: Recipe(d, p) for d in get_args(DescriptorSet) for p in get_args(Padding)}
    return known.get(name)


def columns_of(name: str) -> tuple[str, ...] | None:
    """Names of the descriptors of a recipe, in the order of its CSVs; ``None`` for other people's extractions.

    Raises:
        UserError: the name lacks its padding.
    """
    if name in get_args(DescriptorSet):
        raise UserError(f"dataset.recipe={name}: a recipe's name has its padding too, such as {name}-reflect.")
    recipe = recipe_named(name)
    return recipe.feature_names if recipe else None
