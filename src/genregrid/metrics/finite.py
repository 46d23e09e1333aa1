"""Refuse NaN and infinity: a score made from them would look like any other number."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as float64, all finite; `name` is that of the argument, for the error.

    Raises:
        ValueError: a value is NaN or infinite.

    >>> finite("confidence", [0.5, 1])
    array([0.5, 1. ])
    """
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        position = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        row = f"row {position[0]}" if position else "it"
        raise ValueError(f"{name} must be finite numbers, and {row} has {array[position]}")
    return array
