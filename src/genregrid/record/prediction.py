"""Read the tables of a run folder that numbers are made of, and refuse values that no run can have written.

Hashes find a file that was changed (`genregrid.record.folder`). These checks hold for runs without hashes too.
"""

from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from genregrid.data.split import PARTS
from genregrid.errors import UserError, counted, printable
from genregrid.files import parse_json
from genregrid.record.folder import REPAIR, RunFolder

# Probabilities are written to six digits, and are sums of float32.
_TOLERANCE = 1e-3
_ROUNDED = 1e-5
# Columns and values of curves.csv; a run has some ten curves, and a drawing of larger values overflows.
_MOST_CURVES, _MOST_EPOCHS, _LARGEST = 100, 2**53, 1e100
# A smaller second probability may be zero in a file; the certainty is then known to be at least, and at most, so many
# decades: logits are float32.
_LEAST_WRITTEN, _LEAST_DECADES, _MOST_DECADES = 1e-290, 280.0, 1e30
_RANKS = ("predicted", "second", "third")  # the most probable genres, where the file has them


def genres_of(frame: pd.DataFrame) -> list[str]:
    """Return the genres with a column ``p_<genre>``, in order."""
    return [name[2:] for name in frame if name.startswith("p_")]


class RunTables:
    """The checked tables of a run folder.

    Attributes:
        folder: of the run.
        genres: names in the order of the logits.
        split: split.csv, a row per track and part.
        predictions: predictions.csv, with the column group of split.csv.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Read split.csv and predictions.csv.

        Raises:
            UserError: a file is missing or damaged, or a value is one that no run can have written.
        """
        self.folder = folder
        self.split = self._split()
        self.predictions = self._predictions("predictions.csv", "test")
        self.genres = genres_of(self.predictions)
        self.predictions["group"] = self._group[self._tracks.get_indexer(self.predictions["track"])]

    def accuracy(self) -> float:
        """Return the accuracy of metrics.json, a fraction, as runs are sorted by it.

        Raises:
            UserError: it is missing, or differs from the accuracy of the predictions.
        """
        name = "metrics.json"
        content = parse_json(self.folder.read(name), self.folder.path / name, hint=REPAIR)
        value = content.get("test/accuracy")
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(name, "its key 'test/accuracy' is missing or no number")
        if abs(value - (self.predictions["genre"] == self.predictions["predicted"]).mean()) > _ROUNDED:
            self._refuse(name, f"its test/accuracy, {value:g}, is not that of predictions.csv")
        return float(value)

    def validation(self) -> pd.DataFrame:
        """Read predictions_val.csv; errors as for predictions.csv."""
        return self._predictions("predictions_val.csv", "val", self.genres)

    def timeline(self) -> pd.DataFrame:
        """Read timeline.csv.

        Raises:
            UserError: as for predictions.csv, or a slice has wrong times or is there twice.
        """
        name = "timeline.csv"
        frame = self._predicted(name, ("slice", "start_seconds", "stop_seconds"), self.genres)
        times = self._numbers(frame, name, ["slice", "start_seconds", "stop_seconds"])
        self._refuse_rows(frame, name, (times[:, 1] < 0) | (times[:, 1] >= times[:, 2]), "a slice without a duration")
        self._refuse_rows(frame, name, frame.duplicated(["track", "slice"]), "a slice that is there twice")
        self._check_slices(frame, name)
        step = frame.sort_values(["track", "slice"]).groupby("track")["start_seconds"].diff()
        self._refuse_rows(frame, name, step.reindex(frame.index) <= 0, "a slice that starts too early")
        return frame

    def curves(self) -> pd.DataFrame:
        """Read curves.csv.

        Raises:
            UserError: an epoch is not a number above 0, or a value is neither missing nor a finite number.
        """
        name = "curves.csv"
        frame = self.folder.csv(name, ("epoch",))
        if frame.shape[1] > _MOST_CURVES:
            self._refuse(name, f"it has {frame.shape[1]} columns, and {_MOST_CURVES} are the most")
        epoch = self._numbers(frame, name, ["epoch"])[:, 0]
        wrong = (epoch < 0) | (epoch != epoch.round()) | (epoch > _MOST_EPOCHS)
        self._refuse_rows(frame, name, wrong, "an epoch that is no number of epochs")
        for column in frame:
            kept = frame[frame[column].notna()]
            large = abs(self._numbers(kept, name, [column])[:, 0]) > _LARGEST
            self._refuse_rows(kept, name, large, f"a value in column '{column}' that cannot be drawn")
        return frame

    def _split(self) -> pd.DataFrame:
        name = "split.csv"
        frame = self.folder.csv(name, ("track", "part", "genre", "group"))
        track, tracks = pd.factorize(frame["track"])
        genre, genres = pd.factorize(frame["genre"])
        part = pd.Index(PARTS).get_indexer(frame["part"])
        self._refuse_rows(frame, name, (track < 0) | (genre < 0), "a row without a track or genre")
        self._refuse_rows(frame, name, part < 0, "an unknown part")
        group = self._numbers(frame, name, ["group"])[:, 0]
        self._refuse_rows(frame, name, (group != group.round()) | (abs(group) > 2**53), "a group that is no integer")
        twice = pd.Series(track * len(PARTS) + part).duplicated()
        self._refuse_rows(frame, name, twice, "a track that is in a part twice")
        first = np.unique(track, return_index=True)[1]  # row of each track
        several = np.bincount(track, genre != genre[first][track], len(tracks)) > 0
        self._refuse_rows(frame, name, several[track], "a track with two genres")
        self._tracks, self._group = pd.Index(tracks), group[first].astype(np.int64)
        self._genre = np.asarray(genres, object)[genre[first]]
        self._num_tracks = dict(zip(PARTS, np.bincount(part, minlength=len(PARTS)).tolist(), strict=True))
        stated: dict[str, int] = self.folder.content.get("num_tracks", {})  # `RunFacts` has checked its type
        for one, num in stated.items():
            if self._num_tracks.get(one, 0) != num:
                problem = f"its num_tracks has {num} for {printable(one)}, and split.csv {self._num_tracks.get(one, 0)}"
                self._refuse("run.json", problem)
        return frame.assign(group=group.astype(np.int64))

    def _predictions(self, name: str, part: str, genres: list[str] | None = None) -> pd.DataFrame:
        frame = self._predicted(name, (), genres)
        self._refuse_rows(frame, name, frame["track"].duplicated(), "a track that is there twice")
        num = self._num_tracks[part]
        if (
            not self.folder.content.get("leaks") and len(frame) != num
        ):  # a leak has slices of one track in several parts
            self._refuse(name, f"it has {counted(len(frame), 'track')}, and split.csv has {num} of the part {part}")
        if "part" in frame:
            self._refuse_rows(frame, name, frame["part"] != part, f"a track of another part than {part}")
        return frame

    def _predicted(self, name: str, needed: tuple[str, ...], genres: list[str] | None) -> pd.DataFrame:
        """Read a table with the columns of `genregrid.record.result.prediction_columns`."""
        frame = self.folder.csv(name, ("track", "genre", "predicted", "certainty", *needed))
        columns = genres_of(frame)
        if not len(frame):
            self._refuse(name, "it has no rows")
        if len(columns) < 2 or (genres is not None and columns != genres):
            self._refuse(name, "its columns p_GENRE are not those of two or more genres of the run")
        probs = self._numbers(frame, name, [f"p_{genre}" for genre in columns])
        certainty = self._numbers(frame, name, ["certainty"])[:, 0]
        self._refuse_rows(frame, name, (probs < 0).any(axis=1), "a probability below 0")
        self._refuse_rows(frame, name, abs(probs.sum(axis=1) - 1) > _TOLERANCE, "probabilities that do not add up to 1")
        self._refuse_rows(frame, name, ~frame["genre"].isin(columns), "a genre without a column of probabilities")
        ranked = -np.sort(-probs, axis=1)
        self._refuse_rows(
            frame, name, _ranked_wrongly(frame, columns, probs, ranked), "genres that do not fit their ranks"
        )
        self._refuse_rows(frame, name, _is_wrong(certainty, ranked), "a certainty that its probabilities do not have")
        track = self._tracks.get_indexer(frame["track"])
        self._refuse_rows(frame, name, track < 0, "a track that is not in split.csv")
        self._refuse_rows(frame, name, self._genre[track] != frame["genre"].to_numpy(), "another genre than split.csv")
        return frame

    def _check_slices(self, frame: pd.DataFrame, name: str) -> None:
        """Refuse a timeline that has not all test slices; a leak has slices of one track in several parts."""
        if self.folder.content.get("leaks") or "num_slices" not in self.split:
            return
        test = self.split[self.split["part"] == "test"].set_index("track")["num_slices"]
        found = frame["track"].value_counts().reindex(test.index, fill_value=0)
        if (wrong := (found != test).to_numpy()).any():
            track = printable(test.index[wrong.argmax()])
            num, expected = counted(int(found.iloc[wrong.argmax()]), "slice"), test.iloc[wrong.argmax()]
            self._refuse(name, f"it has {num} of {track}, and split.csv has {expected}")
        if len(frame) != found.sum():
            self._refuse(name, "it has a track that is not of the part test")

    def _numbers(self, frame: pd.DataFrame, name: str, columns: list[str]) -> NDArray[np.float64]:
        """Return columns as (row, column) float64, all finite."""
        kinds = frame.dtypes[columns]
        are_numbers = [is_numeric_dtype(kind) and not is_bool_dtype(kind) for kind in kinds]
        if all(are_numbers):
            values: NDArray[np.float64] = frame[columns].to_numpy(np.float64)
            if np.isfinite(values).all():
                return values
        for column, is_number in zip(columns, are_numbers, strict=True):  # the first fault
            found = frame[column] if is_number else pd.to_numeric(frame[column].astype(str), errors="coerce")
            self._refuse_rows(frame, name, ~np.isfinite(found), f"no finite number in column '{column}'")
            if not is_number and len(frame):
                self._refuse(name, f"its column '{column}' has numbers of too many digits")
        return np.empty((0, len(columns)))  # no row, so no column of numbers

    def _refuse_rows(self, frame: pd.DataFrame, name: str, wrong: Any, problem: str) -> None:
        """Refuse the table because of the first row that is wrong, if there is one; `wrong` is (row,) bool."""
        rows = np.flatnonzero(np.asarray(wrong, bool))
        if len(rows):
            self._refuse(name, f"row {int(frame.index[rows[0]]) + 1} has {problem}")

    def _refuse(self, name: str, problem: str) -> NoReturn:
        raise UserError(problem, key=self.folder.path / name, hint=REPAIR)


def _ranked_wrongly(
    frame: pd.DataFrame, genres: list[str], probs: NDArray[np.float64], ranked: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return where the most probable genres, by name, do not have the largest probabilities, (row,) bool."""
    known, row = pd.Index(genres), np.arange(len(frame))
    wrong = np.zeros(len(frame), bool)
    for rank, name in enumerate(_RANKS):
        if name in frame and rank < len(genres):
            index = known.get_indexer(frame[name])
            wrong |= (index < 0) | (abs(probs[row, index] - ranked[:, rank]) > _ROUNDED)
    return wrong


def _is_wrong(certainty: NDArray[np.float64], ranked: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a certainty is not log10(p1 / p2) of the ranked probabilities, (row,) bool."""
    first, second = ranked[:, 0], ranked[:, 1]
    is_written = second > _LEAST_WRITTEN
    exact = np.log10(first / np.where(is_written, second, 1.0))
    least, largest = np.where(is_written, exact, _LEAST_DECADES), np.where(is_written, exact, _MOST_DECADES)
    margin = _ROUNDED * 10 * (1 + certainty)
    return np.asarray((certainty < 0) | (certainty < least - margin) | (certainty > largest + margin))
