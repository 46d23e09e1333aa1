"""Columns that number genres, tracks or rows instead of describing sound: a model would read its answers there."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.errors import UserError
from genregrid.tablefile.scan import place

# In fewer rows a descriptor may be the same, or only rise, by chance.
_ROWS = 20


def check_no_labels(
    features: NDArray[np.float32], rows: pd.DataFrame, genre: NDArray[np.int64], feature_names: Sequence[str]
) -> None:
    """Refuse a column that is the genre in numbers, the mark of one genre, or counts tracks or rows.

    Args:
        features: (row, feature).
        rows: the file and the row of each, in the columns `source` and `row`.
        genre: (row,) number of the genre; negative: unknown.
        feature_names: names of the feature axis.

    Raises:
        UserError: there is such a column; labels of genres, numbers of tracks and indexes of rows are like that.
    """
    for name in [*_of_genres(features, genre, feature_names), *_of_rows(features, rows, feature_names)][:1]:
        source = rows["source"].iloc[0]
        hint = "take it out of the table, or choose the descriptors: dataset.features=[A,B] or a pattern such as e*"
        raise UserError(
            "it numbers genres, tracks or rows, and describes no sound", key=place(source, 1, name), hint=hint
        )


def _of_genres(features: NDArray[np.float32], genre: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """Return the columns with one value in each genre that tells all genres apart, or one genre from all others."""
    numbers, counts = np.unique(genre[genre >= 0], return_counts=True)
    if len(numbers) < 2 or counts.max() < _ROWS:
        return []
    most = np.flatnonzero(genre == numbers[counts.argmax()])[:_ROWS]  # nearly every column varies here
    found = []
    for column in map(int, np.flatnonzero(np.ptp(features[most], axis=0) == 0)):
        values = pd.Series(features[:, column]).groupby(genre)
        if (values.min() == values.max()).all():
            counts_of_value = values.min().value_counts()
            is_mark = len(counts_of_value) == 2 and counts_of_value.min() == 1  # of one genre, such as is_rock
            if len(counts_of_value) == len(numbers) or is_mark:
                found.append(names[column])
    return found


def _of_rows(features: NDArray[np.float32], rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the columns that count up or down, by 0 or 1 from row to row of the first file, and do not stay."""
    own = np.flatnonzero((rows["source"] == rows["source"].iloc[0]).to_numpy())
    if len(own) < _ROWS:
        return []
    row = rows["row"].to_numpy()
    some_rows = own[np.linspace(0, len(own) - 1, _ROWS).astype(np.int64)]  # nearly no column passes with these
    some = features[some_rows]
    may_count = (some == np.rint(some)).all(axis=0) & (np.ptp(some, axis=0) > 0)
    if not may_count.any():
        return []
    order = own[np.argsort(row[own])]
    steps = {int(c): np.diff(features[order, c]) for c in np.flatnonzero(may_count)}
    return [names[c] for c, step in steps.items() if np.isin(step, (0, 1)).all() or np.isin(step, (0, -1)).all()]
