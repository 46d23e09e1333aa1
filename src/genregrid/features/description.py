"""Describe one recording at several slice lengths while it is read, in memory that does not grow with its length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genregrid.features.recipe import SliceDescriber, TableKey
from genregrid.recording.audio import AudioError, Recording, read_audio

#: The rows of a recording are kept until it is read to its end: 128 MiB. That is 19 days of slices of 3 s in the recipe
#: `kaggle`, 36 hours in `rich`.
MOST_VALUES = 1 << 24


@dataclass(frozen=True)
class Description:
    """A recording that was read, and its slices.

    Attributes:
        recording: its length and what is unusual about it.
        rows: for each table, blocks of (slice, 1 + feature): length in samples at 22 050 Hz, then descriptors.
    """

    recording: Recording
    rows: Mapping[TableKey, list[NDArray[np.float64]]]

    @property
    def is_finite(self) -> bool:
        """Whether all descriptors are finite; samples far beyond full scale have others."""
        return all(np.isfinite(block).all() for blocks in self.rows.values() for block in blocks)


def describe_recording(
    path: Path, tables: Sequence[TableKey], at_block: Callable[[], object] = lambda: None
) -> Description:
    """Read and describe a recording for several tables; `at_block` is called whenever a part of it has been read.

    It is decoded once, and resampled to the rate of each recipe.

    Raises:
        AudioError: the recording cannot be read, as in `read_audio`, or has more rows than memory should hold.
        UserError: something that a recipe needs is missing.
    """
    describers = {table: SliceDescriber(*table) for table in tables}
    rates_hz = list(dict.fromkeys(table.recipe.rate_hz for table in tables))

    def check_number() -> None:
        if sum(describer.num_values for describer in describers.values()) > MOST_VALUES:
            raise AudioError(f"has more than {MOST_VALUES} descriptors; cut it, or choose longer slices")

    def use(*at_rates: NDArray[np.float32]) -> None:
        at_block()
        for table, describer in describers.items():
            describer.add(at_rates[rates_hz.index(table.recipe.rate_hz)])
        check_number()

    recording = read_audio(path, use, rates_hz)
    rows = {table: describer.finish() for table, describer in describers.items()}
    check_number()
    return Description(recording, rows)
