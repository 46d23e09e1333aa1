"""Claims about `genregrid.data.window`: index arithmetic against plain slicing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genregrid.data.window import window_bounds, window_rows


def windows_by_slicing(num_slices: list[int], window: int | None, hop: int | None) -> list[list[tuple[int, int]]]:
    """Every window as the (sequence, slice) pairs that it holds, by cutting lists."""
    windows = []
    for sequence, count in enumerate(num_slices):
        slices = [(sequence, index) for index in range(count)]
        if window is None or count <= window:
            windows.append(slices)
            continue
        start = 0
        while len(slices[start : start + window]) == window:
            windows.append(slices[start : start + window])
            start += hop or window
    return windows


@given(
    num_slices=st.lists(st.integers(1, 12), max_size=8),
    window=st.none() | st.integers(1, 14),
    hop=st.none() | st.integers(1, 14),
)
def test_bounds_are_those_of_slicing(num_slices: list[int], window: int | None, hop: int | None) -> None:
    hop = hop if window is not None else None
    sequence, start, stop = window_bounds(np.array(num_slices, np.int64), window, hop)
    found = [[(s, i) for i in range(a, b)] for s, a, b in zip(sequence, start, stop, strict=True)]
    assert found == windows_by_slicing(num_slices, window, hop)
    for bounds in (sequence, start, stop):
        assert bounds.dtype == np.int64


@given(num_slices=st.lists(st.integers(1, 12), min_size=1, max_size=8), window=st.integers(1, 14))
def test_windows_without_hop_use_every_slice_at_most_once(num_slices: list[int], window: int) -> None:
    sequence, start, stop = window_bounds(np.array(num_slices), window)
    used = [(s, i) for s, a, b in zip(sequence, start, stop, strict=True) for i in range(a, b)]
    assert len(used) == len(set(used))
    assert {s for s, _ in used} == set(range(len(num_slices)))  # no sequence is lost


@given(
    rows=st.lists(st.integers(0, 1000), min_size=1, max_size=20),
    bounds=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=6),
)
def test_window_rows_hold_the_rows_and_then_padding(rows: list[int], bounds: list[tuple[int, int]]) -> None:
    bounds = [(min(a, b), max(a, b) + 1) for a, b in bounds if max(a, b) < len(rows)]
    start, stop = np.array(bounds, np.int64).reshape(-1, 2).T
    longest = max((b - a for a, b in bounds), default=0)
    expected = [rows[a:b] + [-1] * (longest - b + a) for a, b in bounds]
    found = window_rows(np.array(rows), start, stop)
    assert found.shape == (len(bounds), longest)
    assert found.tolist() == expected
