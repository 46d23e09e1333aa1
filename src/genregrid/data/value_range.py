"""Ranges of the descriptors: values outside them come from damage, another unit or a table that was standardised."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Descriptors reach 2e7 for samples from -1 to 1, and 1e9 times more only for integers. Squares
# of larger values overflow single precision in models.
_LARGEST = 1e12
# A mean of float32 may exceed its largest value by rounding.
_LARGEST_SHARE = 1.001
_SHARES = frozenset({"chroma_stft_mean", "zero_crossing_rate_mean"})
_NOT_NEGATIVE = _SHARES | {
    "rms_mean",
    "spectral_centroid_mean",
    "spectral_bandwidth_mean",
    "rolloff_mean",
    "tempo",
}
#: What a user can do about a value that is damaged.
EXTRACT_AGAIN = "leave the track out or extract it again"
_SMALLEST_LENGTH = float(np.finfo(np.float32).tiny)


def value_ranges(names: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and the largest value of each column, both (column,) float32."""
    ranges = np.array([_range(name) for name in names], np.float32).reshape(-1, 2)  # there may be no names
    return ranges[:, 0], ranges[:, 1]


def _range(name: str) -> tuple[float, float]:
    """Return the least and the largest value of a column.

    >>> _range("rms_var"), _range("chroma_stft_mean"), _range("mfcc1_mean")
    ((0.0, 1000000000000.0), (0.0, 1.001), (-1000000000000.0, 1000000000000.0))
    """
    if name == "length":
        return _SMALLEST_LENGTH, _LARGEST
    least = 0.0 if name.endswith("_var") or name in _NOT_NEGATIVE else -_LARGEST
    return least, _LARGEST_SHARE if name in _SHARES else _LARGEST


def range_fault(name: str, value: float) -> tuple[str, str | None] | None:
    """Return the problem of a value and a hint; ``None`` for a value that the column can have.

    >>> range_fault("length", 9e15)
    ('a slice has at most 1e12 samples, found 9e+15', 'give the length in samples at 22050 Hz')
    """
    if not math.isfinite(value):
        return "expected a finite number", EXTRACT_AGAIN
    least, largest = (float(bound[0]) for bound in value_ranges([name]))
    with np.errstate(over="ignore"):
        if least <= float(np.float32(value)) <= largest:
            return None
    if name == "length":
        allowed = "a slice has at most 1e12 samples" if value > _LARGEST else "a slice has 1 sample or more"
        return f"{allowed}, found {value:g}", "give the length in samples at 22050 Hz"
    if abs(value) > _LARGEST:
        return f"no descriptor is beyond 1e12, found {value:g}", EXTRACT_AGAIN
    kind = "a variance" if name.endswith("_var") else f"'{name}'"
    allowed = "from 0 to 1" if largest == float(np.float32(_LARGEST_SHARE)) else "0 or more"
    hint = "give descriptors in their own units: models scale them, so a standardised table is of no use"
    return f"{kind} is {allowed}, found {value:g}", hint
