"""Claims about `genregrid.features.median`: its medians are NumPy's and SciPy's."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from genregrid.features.median import KERNEL, sliding_median


def median_by_windows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The definition: the median of every window over the mirrored axis."""
    padded = np.pad(values, ((KERNEL // 2, KERNEL // 2), (0, 0)), mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, KERNEL, axis=0), axis=2)


@given(
    num_positions=st.integers(1, 200),
    num_columns=st.integers(1, 70),
    num_levels=st.sampled_from([1, 2, 5, None]),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_the_median_of_every_window(
    num_positions: int, num_columns: int, num_levels: int | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (num_positions, num_columns)
    # few levels make ties, and one a constant array
    values = random.standard_normal(shape) if num_levels is None else random.integers(0, num_levels, shape) - 1.5
    values = values.astype(np.float32)
    before = values.copy()
    median = sliding_median(values)
    assert median.dtype == np.float32
    np.testing.assert_array_equal(median, median_by_windows(values))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("num_positions", [32, 47, 48, 49, 130, 1025])
def test_it_is_scipys_median_filter(num_positions: int) -> None:
    values = np.random.default_rng(num_positions).gamma(0.3, size=(num_positions, 40)).astype(np.float32)
    expected = scipy.ndimage.median_filter(values, size=(KERNEL, 1), mode="reflect")
    np.testing.assert_array_equal(sliding_median(values), expected)


# more columns than are worked on at once, 32768 / groups of 16 positions: one left over, and several times as many
@pytest.mark.parametrize(("num_positions", "num_columns"), [(40, 10924), (1025, 506), (1025, 1600), (3, 40000)])
def test_columns_do_not_mix_however_many_there_are(num_positions: int, num_columns: int) -> None:
    values = np.random.default_rng(0).standard_normal((num_positions, num_columns)).astype(np.float32)
    median = sliding_median(values)
    apart = np.hstack([sliding_median(some) for some in np.array_split(values, 90, axis=1)])
    np.testing.assert_array_equal(median, apart)
    np.testing.assert_array_equal(median[:, -3:], median_by_windows(values[:, -3:]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_count(order: str) -> None:
    values = np.random.default_rng(0).standard_normal((50, 2 * 33)).astype(np.float32)
    arranged = np.asarray(values, order=order)[:, ::2]  # type: ignore[call-overload]  # a str, not a Literal
    np.testing.assert_array_equal(sliding_median(arranged), median_by_windows(values[:, ::2]))
