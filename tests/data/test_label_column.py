"""Columns that hold the answer are refused; descriptors that look a little like them are not."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pandas as pd
import pytest

from genregrid.data.table import table_from_frame

NAMES = ["e1", "e2"]
NUM_ROWS = 60


def frame(second: np.ndarray) -> pd.DataFrame:
    genre = np.repeat(["jazz", "metal", "pop"], NUM_ROWS // 3)
    return pd.DataFrame(
        {
            "filename": [f"{name}.{number:05d}.wav" for number, name in enumerate(genre)],
            "length": 66150.0,
            "e1": np.random.default_rng(0).standard_normal(NUM_ROWS),
            "e2": np.asarray(second, float),
            "label": genre,
        }
    )


@pytest.mark.parametrize(
    "column",
    [
        np.repeat([2, 0, 1], NUM_ROWS // 3),  # a label in numbers
        np.repeat([0.1, 0.7, 0.2], NUM_ROWS // 3),  # and scaled
        np.repeat([0, 1, 0], NUM_ROWS // 3),  # whether it is metal
        np.arange(NUM_ROWS),  # an index
        NUM_ROWS - np.arange(NUM_ROWS) // 2,  # numbers of tracks, downwards
    ],
)
def test_a_column_that_numbers_genres_tracks_or_rows_is_refused(
    column: np.ndarray, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error(key="frame, row 1, column 'e2'", problem="numbers genres"):
        table_from_frame(frame(column), source="frame", feature_names=NAMES)


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(NUM_ROWS),
        np.random.default_rng(1).integers(0, 3, NUM_ROWS),  # whole numbers, such as a beat count
        np.r_[
            np.zeros(NUM_ROWS // 3), np.random.default_rng(1).random(NUM_ROWS - NUM_ROWS // 3)
        ],  # silence in one genre
        np.sort(np.random.default_rng(1).random(NUM_ROWS)),  # rises, but counts nothing
        np.sort(np.random.default_rng(1).integers(0, 10_000, NUM_ROWS)),  # a table sorted by a whole number
    ],
)
def test_a_descriptor_is_no_label(column: np.ndarray) -> None:
    assert table_from_frame(frame(column), source="frame", feature_names=NAMES).num_slices.sum() == NUM_ROWS


def test_a_value_that_two_of_four_genres_share_tells_no_genre() -> None:
    table = pd.concat([frame(np.repeat([3, 2, 4], NUM_ROWS // 3)), frame(np.full(NUM_ROWS, 4)).head(NUM_ROWS // 3)])
    last = np.arange(len(table)) >= NUM_ROWS
    table["filename"] = table["filename"].where(~last, table["filename"].str.replace("jazz", "rock"))
    table["label"] = table["label"].where(~last, "rock")
    table["e1"] = np.random.default_rng(2).standard_normal(len(table))
    assert table_from_frame(table, source="frame", feature_names=NAMES).num_slices.sum() == len(table)
