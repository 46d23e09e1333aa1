"""Feature CSVs become one validated table of slices; with `feature_csv` the only reader of them.

The contract of a CSV stands in ``data/README.md``: one row per slice, columns read by name, file names of the form
``genre.NNNNN[.S].wav``. Whatever breaks it ends in one sentence that names the file, the row and the column.
"""

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.feature_csv import (
    FEATURE_NAMES,
    FILENAME_PATTERN,
    SAMPLE_RATE_HZ,
    check_columns,
    read_feature_csv,
)
from genregrid.errors import UserError

# Extractions on different machines agree to about 3e-6 of a column's standard deviation; a thousandth is still no
# difference that a model could see.
_SAME_ROW_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FeatureTable:
    """Slices of tracks, sorted by (track, slice), with their features and genres.

    Attributes:
        features: (row, feature) float32, finite.
        feature_names: names of the feature axis.
        length_samples: (row,) float32, the CSV's `length` column in samples.
        tracks: track names, sorted; the track axis.
        track: (row,) int64, index into `tracks`; never decreasing.
        slice_index: (row,) int64, position of the slice in its track: 0, 1, ... without a gap.
        genre: (track,) int64, index into `genres`.
        genres: genre names in the order of the logits.
        slice_seconds: length of a slice in seconds.
        hashes: SHA-256 of every file read, by file name.
        notes: what was left out, ignored or made harmless, one sentence each.
    """

    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    length_samples: NDArray[np.float32]
    tracks: tuple[str, ...]
    track: NDArray[np.int64]
    slice_index: NDArray[np.int64]
    genre: NDArray[np.int64]
    genres: tuple[str, ...]
    slice_seconds: float
    hashes: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def num_slices(self) -> NDArray[np.int64]:
        """Slices of each track, (track,) int64."""
        return np.bincount(self.track, minlength=len(self.tracks))

    def with_length(self) -> "FeatureTable":
        """The table with `length`, the paper's 58th descriptor, as its last feature."""
        return replace(
            self,
            features=np.column_stack([self.features, self.length_samples]),
            feature_names=(*self.feature_names, "length"),
        )


def read_table(
    paths: Sequence[Path],
    *,
    genres: Sequence[str] | None = None,
    slice_seconds: float | None = None,
    feature_names: Sequence[str] = FEATURE_NAMES,
) -> FeatureTable:
    """Read one corpus from one or more CSVs of the same slice length.

    A row that stands in two files is kept once where both agree (to 1e-3 of the column's standard deviation).

    Args:
        paths: the CSV files, read in this order.
        genres: the genres in the order of the logits; ``None`` takes those of the files, sorted.
        slice_seconds: length of a slice in seconds; ``None`` reads it from the `length` column.
        feature_names: the feature columns to read.

    Raises:
        UserError: a file breaks the contract, or two files contradict each other.
    """
    frames = [read_feature_csv(path, feature_names) for path in paths]
    notes = [
        f"{path.name}: ignored the columns {', '.join(frame.attrs['extra'])}"
        for path, frame in zip(paths, frames, strict=True)
        if frame.attrs["extra"]
    ]
    names = [path.name if [p.name for p in paths].count(path.name) == 1 else str(path) for path in paths]
    hashes = {name: frame.attrs["sha256"] for name, frame in zip(names, frames, strict=True)}
    sources = [str(path) for path in paths]
    return _assemble(frames, sources, genres, slice_seconds, tuple(feature_names), hashes, notes)


def table_from_frame(
    frame: pd.DataFrame,
    *,
    source: str,
    genres: Sequence[str] | None = None,
    slice_seconds: float | None = None,
    feature_names: Sequence[str] = FEATURE_NAMES,
) -> FeatureTable:
    """Validate a frame of the CSV contract that is in memory already, exactly as `read_table` does.

    Args:
        frame: columns filename, length, label and the features.
        source: what to call the frame in messages.
        genres: see `read_table`.
        slice_seconds: see `read_table`.
        feature_names: see `read_table`.

    Raises:
        UserError: the frame breaks the contract.
    """
    check_columns(list(frame.columns), source, feature_names)
    if frame.empty:
        raise UserError(f"{source} has no rows: expected one row per slice.")
    finite = np.isfinite(frame[[*feature_names, "length"]].to_numpy(np.float64))
    if not finite.all():
        row, column = (int(axis[0]) for axis in np.nonzero(~finite))
        name = [*feature_names, "length"][column]
        raise UserError(f"{source}, row {row + 2}, column '{name}': expected a finite number.")
    frame = frame.assign(row=np.arange(2, len(frame) + 2))  # as in a file, where row 1 is the header
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    return _assemble([frame], [source], genres, slice_seconds, tuple(feature_names), {source: digest}, [])


def slice_seconds_of(length_samples: NDArray[np.floating], whole_clips: bool) -> float:
    """Slice length in seconds that a `length` column tells.

    The median is taken, and rounded to 0.05 s for slices (Kaggle's 3-second slices have 66149 samples, others up to
    66510) or to a second for whole clips (660000 to 675808 samples for 30 s).

    >>> slice_seconds_of(np.array([66149.0, 66149.0]), whole_clips=False)
    3.0
    >>> slice_seconds_of(np.array([661794.0, 660000.0, 675808.0]), whole_clips=True)
    30.0
    """
    seconds = float(np.median(length_samples)) / SAMPLE_RATE_HZ
    return float(round(seconds)) if whole_clips else round(round(seconds / 0.05) * 0.05, 2)


def peek_slice_seconds(path: Path) -> float:
    """Slice length in seconds of a CSV, from its first hundred rows.

    Raises:
        UserError: the file cannot be read or its `length` column tells no slice length.
    """
    frame = read_feature_csv(path, (), num_rows=100)
    whole_clips = bool(frame["filename"].str.extract(FILENAME_PATTERN)["slice"].isna().all())
    return _checked_slice_seconds(frame["length"].to_numpy(np.float64), whole_clips, str(path))


def _checked_slice_seconds(length_samples: NDArray[np.float64], whole_clips: bool, source: str) -> float:
    seconds = slice_seconds_of(length_samples, whole_clips)
    if seconds <= 0:
        raise UserError(
            f"{source}: the column 'length' should hold samples at {SAMPLE_RATE_HZ} Hz, but its median is "
            f"{np.median(length_samples):g}; set dataset.table_slice_seconds to the slice length of this file."
        )
    return seconds


def _assemble(
    frames: list[pd.DataFrame],
    sources: list[str],
    genres: Sequence[str] | None,
    slice_seconds: float | None,
    feature_names: tuple[str, ...],
    hashes: dict[str, str],
    notes: list[str],
) -> FeatureTable:
    keyed = [_keyed(frame, source) for frame, source in zip(frames, sources, strict=True)]
    _check_kinds(keyed, sources)
    rows, join_notes = _join(keyed, sources, feature_names)
    rows = rows.sort_values(["track", "slice"], kind="stable", ignore_index=True)
    tracks, track = _codes(rows["track"])
    _check_slices(rows, track)
    genres = _checked_genres(rows, genres)
    length_samples = rows["length"].to_numpy(np.float32)
    first_row = np.searchsorted(track, np.arange(len(tracks)))
    return FeatureTable(
        features=np.ascontiguousarray(rows[list(feature_names)].to_numpy(np.float32)),
        feature_names=feature_names,
        length_samples=length_samples,
        tracks=tracks,
        track=track,
        slice_index=rows["slice"].to_numpy(np.int64),
        genre=pd.Index(genres).get_indexer(rows["label"].to_numpy()[first_row]).astype(np.int64),
        genres=tuple(genres),
        slice_seconds=slice_seconds or _common_slice_seconds(rows, sources),
        hashes=hashes,
        notes=(*notes, *join_notes, *_constant_columns(rows, feature_names)),
    )


def _keyed(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """The frame with its keys parsed from the file names: track, slice, and row number in the file."""
    keys = frame["filename"].str.extract(FILENAME_PATTERN)
    row = frame["row"].to_numpy()

    def refuse(bad: "pd.Series[bool]", sentence: str) -> None:
        if bad.any():
            index = int(np.flatnonzero(bad.to_numpy())[0])
            values = {**frame.iloc[index][["filename", "label"]].to_dict(), **keys.iloc[index].to_dict()}
            raise UserError(f"{source}, row {row[index]}, {sentence.format(**values)}")

    refuse(
        keys["track"].isna(),
        "column 'filename': '{filename}' is not of the form genre.NNNNN.wav or genre.NNNNN.SLICE.wav.",
    )
    repeated = frame["filename"].duplicated()
    if repeated.any():
        name = frame["filename"][repeated].iloc[0]
        both = row[(frame["filename"] == name).to_numpy()]
        raise UserError(f"{source}, row {both[1]}, column 'filename': '{name}' stood in row {both[0]} already.")
    whole_clip = keys["slice"].isna()
    if 0 < whole_clip.mean() < 0.5:
        refuse(whole_clip, "column 'filename': '{filename}' is a whole clip in a file of slices; keep one kind.")
    elif whole_clip.any():
        refuse(~whole_clip, "column 'filename': '{filename}' is a slice in a file of whole clips; keep one kind.")
    first_label = frame["label"].groupby(keys["track"]).transform("first")
    refuse(frame["label"] != first_label, "column 'label': '{label}' is a second genre for the track {track}.")
    refuse(
        frame["label"] != keys["prefix"],
        "column 'label': '{label}' contradicts the genre '{prefix}' in the file name '{filename}'.",
    )
    return frame.assign(track=keys["track"], slice=keys["slice"].fillna("0").astype(np.int64), whole_clip=whole_clip)


def _check_kinds(frames: list[pd.DataFrame], sources: list[str]) -> None:
    """Slices and whole clips are not joined: a clip would count as one more slice of its track."""
    kinds = [bool(frame["whole_clip"].all()) for frame in frames]
    if len(set(kinds)) > 1:
        clips, slices = sources[kinds.index(True)], sources[kinds.index(False)]
        raise UserError(f"{clips} has a row per whole clip and {slices} a row per slice; join files of one kind.")


def _join(
    frames: list[pd.DataFrame], sources: list[str], feature_names: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """One frame of all rows; a row that stands in two files is kept once, if both say the same."""
    rows = pd.concat([f.assign(source=s) for f, s in zip(frames, sources, strict=True)], ignore_index=True)
    again = rows["filename"].duplicated()
    if not again.any():
        return rows, []
    first = rows[~again].set_index("filename")
    repeated = rows[again]
    features = list(feature_names)
    spread = first[features].to_numpy(np.float64).std(axis=0)
    mine = repeated[features].to_numpy(np.float64)
    other = first.loc[repeated["filename"], features].to_numpy(np.float64)
    differs = np.abs(mine - other) > _SAME_ROW_TOLERANCE * np.where(spread > 0, spread, 1.0)
    if differs.any():
        index, column = (int(axis[0]) for axis in np.nonzero(differs))
        bad = repeated.iloc[index]
        raise UserError(
            f"{bad['source']}, row {bad['row']}, column '{features[column]}': {bad['filename']} has "
            f"{mine[index, column]:g} here and {other[index, column]:g} in {first.loc[bad['filename'], 'source']}; "
            "files of different recipes cannot be joined."
        )
    return rows[~again], [f"{int(again.sum())} rows stood in two files, agreed, and were kept once"]


def _common_slice_seconds(rows: pd.DataFrame, sources: list[str]) -> float:
    """Slice length in seconds that all files tell alike."""
    known: dict[str, float] = {}
    for source, group in rows.groupby("source", sort=False):
        known[str(source)] = _checked_slice_seconds(
            group["length"].to_numpy(np.float64), bool(group["whole_clip"].all()), str(source)
        )
    first, seconds = next(iter(known.items()))
    for source, others in known.items():
        if others != seconds:
            raise UserError(
                f"{source} has slices of {others:g} s and {first} of {seconds:g} s; join files of one length."
            )
    return seconds


def _codes(names: "pd.Series[str]") -> tuple[tuple[str, ...], NDArray[np.int64]]:
    codes, unique = pd.factorize(names, sort=True)
    return tuple(str(name) for name in unique), codes.astype(np.int64)


def _check_slices(rows: pd.DataFrame, track: NDArray[np.int64]) -> None:
    """Slices of a track must be numbered 0, 1, ... without a gap."""
    again = rows.duplicated(["track", "slice"])
    if again.any():
        at = int(np.flatnonzero(again)[0])
        bad, first = rows.iloc[at], rows.iloc[at - 1]  # sorted, so the two stand side by side
        raise UserError(
            f"{bad['source']}, row {bad['row']}, column 'filename': '{bad['filename']}' is slice {bad['slice']} of "
            f"{bad['track']}, which row {first['row']} of {first['source']} is already."
        )
    first_row = np.searchsorted(track, track)
    expected = np.arange(len(rows)) - first_row
    found = rows["slice"].to_numpy()
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        bad = rows.iloc[int(wrong[0])]
        raise UserError(
            f"{bad['source']}, row {bad['row']}, column 'filename': the slices of {bad['track']} leave out number "
            f"{expected[wrong[0]]} before {bad['slice']}; add the missing row or leave the whole track out."
        )


def _checked_genres(rows: pd.DataFrame, genres: Sequence[str] | None) -> list[str]:
    found = sorted(rows["label"].unique())
    if genres is not None:
        unknown = rows[~rows["label"].isin(genres)]
        if len(unknown):
            bad = unknown.iloc[0]
            near = difflib.get_close_matches(bad["label"].lower(), genres, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the corpus has {', '.join(genres)}."
            raise UserError(
                f"{bad['source']}, row {bad['row']}, column 'label': unknown genre '{bad['label']}'; {hint}"
            )
    if len(found) < 2:
        raise UserError(
            f"{rows['source'].iloc[0]}: all tracks are '{found[0]}'; a classifier needs two genres or more."
        )
    return list(genres) if genres is not None else found


def _constant_columns(rows: pd.DataFrame, feature_names: Iterable[str]) -> list[str]:
    constant = [name for name in (*feature_names, "length") if rows[name].min() == rows[name].max()]
    if not constant:
        return []
    values = ", ".join(f"{name} = {cast(float, rows[name].iloc[0]):g}" for name in constant)
    return [f"constant, and so without information: {values}"]
