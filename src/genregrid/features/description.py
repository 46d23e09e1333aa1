"""Describe one recording at several slice lengths while it is read, in memory that does not grow with its length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genregrid.features.audio import AudioError, Recording, read_audio
from genregrid.features.recipe import Recipe, SliceDescriber

#: The rows of a recording are kept until it is read to its end: 128 MiB. That is 19 days of slices of 3 s in the recipe
#: `kaggle`, 36 hours in `rich`.
MOST_VALUES = 1 << 24


@dataclass(frozen=True)
class Description:
    """A recording that was read, and its slices.

    Attributes:
        recording: its length and what is unusual about it.
        rows: for each slice length in seconds, blocks of (slice, 1 + feature): number of samples, then descriptors.
    """

    recording: Recording
    rows: Mapping[float, list[NDArray[np.float64]]]

    @property
    def is_finite(self) -> bool:
        """Whether all descriptors are finite; samples far beyond full scale have others."""
        return all(np.isfinite(block).all() for blocks in self.rows.values() for block in blocks)


def describe_recording(
    path: Path, recipe: Recipe, slice_seconds: Sequence[float], at_block: Callable[[], object] = lambda: None
) -> Description:
    """Read and describe a recording; `at_block` is called whenever a part of it has been read.

    Raises:
        AudioError: the recording cannot be read, as in `read_audio`, or has more rows than memory should hold.
    """
    describers = {seconds: SliceDescriber(recipe, seconds) for seconds in slice_seconds}

    def check_number() -> None:
        if sum(describer.num_values for describer in describers.values()) > MOST_VALUES:
            raise AudioError(f"has more than {MOST_VALUES} descriptors; cut it, or choose longer slices")

    def use(samples: NDArray[np.float32]) -> None:
        at_block()
        for describer in describers.values():
            describer.add(samples)
        check_number()

    recording = read_audio(path, use)
    rows = {seconds: describer.finish() for seconds, describer in describers.items()}
    check_number()
    return Description(recording, rows)
