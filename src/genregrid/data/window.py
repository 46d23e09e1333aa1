"""Windows: ranges of consecutive slices that make one sample. Only index arithmetic, no features."""

import numpy as np
from numpy.typing import NDArray

#: `sequence`, `start`, `stop`, each (window,) int64: a window is slices `start` to `stop - 1` of its sequence.
Bounds = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def window_bounds(num_slices: NDArray[np.int64], window: int | None, hop_slices: int | None = None) -> Bounds:
    """Compute where the windows of each sequence start and stop.

    Windows start at slice 0, `hop_slices`, `2 * hop_slices`, ... as long as they fit. A sequence shorter than the
    window has one window, as long as the sequence; the batch pads it. Slices after the last window are in no window.

    Args:
        num_slices: (sequence,) int64, slices of each sequence, all at least 1.
        window: window length in slices, at least 1; ``None`` takes each sequence whole.
        hop_slices: step between windows in slices, at least 1; ``None`` takes windows without overlap. It has no effect
            without `window`.

    >>> sequence, start, stop = window_bounds(np.array([5, 2]), window=3, hop_slices=1)
    >>> sequence.tolist(), start.tolist(), stop.tolist()
    ([0, 0, 0, 1], [0, 1, 2, 0], [3, 4, 5, 2])
    >>> sequence, start, stop = window_bounds(np.array([5, 2]), window=None)
    >>> sequence.tolist(), start.tolist(), stop.tolist()
    ([0, 1], [0, 0], [5, 2])
    """
    length = num_slices if window is None else np.full_like(num_slices, window)
    hop = 1 if window is None else hop_slices or window
    num_windows = np.maximum(num_slices - length, 0) // hop + 1
    sequence = np.repeat(np.arange(len(num_slices)), num_windows)
    first = np.cumsum(num_windows) - num_windows
    start = (np.arange(len(sequence)) - first[sequence]) * hop
    return sequence, start, np.minimum(start + length[sequence], num_slices[sequence])


def growing_windows(num_slices: NDArray[np.int64], longest: int) -> Bounds:
    """Compute one window for every slice of each sequence: the `longest` slices that end with it, or all before it.

    >>> sequence, start, stop = growing_windows(np.array([3, 1]), longest=2)
    >>> sequence.tolist(), start.tolist(), stop.tolist()
    ([0, 0, 0, 1], [0, 0, 1, 0], [1, 2, 3, 1])
    """
    sequence = np.repeat(np.arange(len(num_slices)), num_slices)
    first = np.cumsum(num_slices) - num_slices
    stop = np.arange(len(sequence)) - first[sequence] + 1
    return sequence, np.maximum(stop - longest, 0), stop


def window_rows(rows: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the table row of every slice of every window, (window, slice) int64; -1 is padding of a short window.

    Windows are the positions `start` to `stop - 1`, both (window,), in the table rows `rows`, (position,).

    >>> window_rows(np.array([7, 8, 9]), np.array([0, 2]), np.array([2, 3])).tolist()
    [[7, 8], [9, -1]]
    """
    longest = int((stop - start).max(initial=0))
    position = start[:, None] + np.arange(longest)
    inside = position < stop[:, None]
    return np.where(inside, rows[np.where(inside, position, 0)], -1)
