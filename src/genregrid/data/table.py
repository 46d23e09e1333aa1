"""Read feature CSVs into one validated table of slices.

``data/README.md`` defines the contract of a CSV: one row per slice, columns read by name, file names of the form
``genre.NNNNN[.S].wav``. An error about a CSV names the file, the row and the column.
"""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ, check_columns
from genregrid.data.feature_csv import extra_note, peek_lengths, read_feature_csv
from genregrid.data.label_column import check_no_labels
from genregrid.data.slice_rows import (
    Allocate,
    SliceRows,
    concatenated,
    file_numbers,
    has_no_ending,
    in_memory,
    in_order,
    name_keys,
    rows_at,
    slice_number,
)
from genregrid.data.value_range import range_fault, value_ranges
from genregrid.errors import UserError, counted, printable
from genregrid.name import look_alikes, shown_apart
from genregrid.tablefile.scan import place

# of a column's standard deviation; extractions on two machines differ by 3e-6, and a thousandth matters to no model
_SAME_ROW_TOLERANCE = 1e-3
# of slices whose lengths are given in seconds, or in milliseconds; no slice has 1000 seconds
_LEAST_SECONDS, _LEAST_MILLISECONDS = 0.1, 1000
# By which share the lengths of slices may differ. Those of Kaggle's files differ by 0.5 % in slices of 3 s, and by
# 2.4 % in whole clips.
_LENGTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class FeatureTable:
    """Slices of tracks, sorted by (track, slice), with their features and genres.

    Attributes:
        features: (row, feature) float32, finite.
        feature_names: names of the feature axis.
        length_samples: (row,) float32, the CSV's `length` column in samples.
        tracks: track names, sorted; the track axis.
        track: (row,) int64, index into `tracks`, in ascending order.
        slice_index: (row,) int64, position of the slice in its track: 0, 1, ... without a gap.
        genre: (track,) int64, index into `genres`; -1 for all tracks if they have no labels.
        genres: genre names in the order of the logits.
        slice_seconds: length of a slice in seconds.
        hashes: SHA-256 of every file read, by file name.
        notes: what was left out or ignored, one sentence each; run.json keeps them, so their wording does not change.
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
    def is_unlabelled(self) -> bool:
        """Whether no track has a label."""
        return bool((self.genre < 0).all())

    @property
    def num_slices(self) -> NDArray[np.int64]:
        """Number of slices of each track, (track,) int64."""
        return np.bincount(self.track, minlength=len(self.tracks))

    def with_length(self, allocate: Allocate = in_memory) -> "FeatureTable":
        """Return the table with `length`, the paper's 58th descriptor, as its last feature."""
        features = allocate((len(self.features), len(self.feature_names) + 1))
        features[:, :-1] = self.features
        features[:, -1] = self.length_samples
        return replace(self, features=features, feature_names=(*self.feature_names, "length"))


def read_table(
    paths: Sequence[Path],
    *,
    genres: Sequence[str] | None = None,
    slice_seconds: float | None = None,
    feature_names: Sequence[str] = FEATURE_NAMES,
    needs_length: bool = False,
    needs_labels: bool = True,
    allocate: Allocate = in_memory,
) -> FeatureTable:
    """Read one corpus from one or more CSVs of the same slice length.

    A row that occurs in two files is kept once if both agree (to 1e-3 of the column's standard deviation).

    Args:
        paths: the CSV files.
        genres: the genres in the order of the logits; ``None`` takes those of the files, sorted.
        slice_seconds: length of a slice in seconds; ``None`` reads it from the `length` column. Files may lack that
            column if it is given.
        feature_names: the feature columns to read.
        needs_labels: refuse files without labels; otherwise `genres` is given, and all tracks or none have labels.
        needs_length: refuse files without the column `length` all the same.
        allocate: makes the arrays for features: one per file, and one more if rows must be sorted.

    Raises:
        UserError: a file breaks the contract, or two files contradict each other.
    """
    known_seconds = None if needs_length else slice_seconds
    sources = [read_feature_csv(path, feature_names, allocate, known_seconds, needs_labels) for path in paths]
    notes = [extra_note(path.name, rows.extra) for path, rows in zip(paths, sources, strict=True) if rows.extra]
    notes += [
        f"{printable(path.name)}: it has no column 'length'; its slices are taken as {slice_seconds:g} s"
        for path, rows in zip(paths, sources, strict=True)
        if not rows.has_length
    ]
    for path, rows in zip(paths, sources, strict=True):
        if slice_seconds is not None and rows.has_length:
            notes += _other_lengths(path.name, rows.length_samples, slice_seconds)
    names = [path.name if [p.name for p in paths].count(path.name) == 1 else str(path) for path in paths]
    hashes = {name: rows.sha256 for name, rows in zip(names, sources, strict=True)}
    return _assemble(sources, genres, slice_seconds, tuple(feature_names), hashes, notes, allocate)


def table_from_frame(
    frame: pd.DataFrame,
    *,
    source: str,
    genres: Sequence[str] | None = None,
    slice_seconds: float | None = None,
    feature_names: Sequence[str] = FEATURE_NAMES,
) -> FeatureTable:
    """Validate a frame of the CSV contract in memory, exactly as `read_table` validates a file.

    The frame has the columns filename, length, label and the features; `source` is its name in messages.
    """
    check_columns(list(frame.columns), source, feature_names)
    if frame.empty:
        raise UserError("it has no rows; expected one row per slice", key=source)
    numbers = [*feature_names, "length"]
    values = frame[numbers].to_numpy(np.float64)
    least, largest = value_ranges(numbers)
    fits = (values >= least) & (values <= largest)  # not NaN
    if not fits.all():
        row, column = (int(axis[0]) for axis in np.nonzero(~fits))
        problem, hint = range_fault(numbers[column], values[row, column]) or ("expected a finite number", None)
        raise UserError(problem, key=place(source, row + 2, numbers[column]), hint=hint)
    frame = frame.assign(row=np.arange(2, len(frame) + 2))  # as in a file, whose row 1 is the header
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    rows = SliceRows(
        source,
        name_keys(frame["filename"], frame["label"]).assign(row=frame["row"].to_numpy()),
        np.ascontiguousarray(frame[[*feature_names]].to_numpy(np.float32)),  # batches take rows
        frame["length"].to_numpy(np.float32),
        digest,
    )
    return _assemble([rows], genres, slice_seconds, tuple(feature_names), {source: digest}, [])


def peek_slice_seconds(path: Path, feature_names: Sequence[str] = (), needs_labels: bool = True) -> float:
    """Read the slice length of a CSV in seconds from its first hundred rows; of features, only names are checked."""
    names, lengths = peek_lengths(path, 100, feature_names, needs_labels)
    endings = name_keys(names, names if needs_labels else [""] * len(names))["ending"].cat.categories
    whole_clips = all(slice_number(ending) is None for ending in endings)
    return _slice_seconds(np.array(lengths), whole_clips, str(path))


def _slice_seconds(length_samples: NDArray[np.float64], whole_clips: bool, source: str) -> float:
    """Compute the slice length in seconds from a `length` column, and check it.

    It is the median, rounded to 0.05 s for slices (Kaggle's 3-second slices have 66149 samples, others up to 66510) or
    to a second for whole clips (660000 to 675808 samples for 30 s).

    >>> _slice_seconds(np.array([66149.0]), False, ""), _slice_seconds(np.array([661794.0, 675808.0]), True, "")
    (3.0, 30.0)
    """
    median = float(np.median(length_samples))
    seconds = median / SAMPLE_RATE_HZ
    seconds = float(round(seconds)) if whole_clips else round(round(seconds / 0.05) * 0.05, 2)
    if seconds <= 0:
        problem = f"lengths are in samples at {SAMPLE_RATE_HZ} Hz, but their median is {median:g}"
        hint = "set dataset.table_slice_seconds to the slice length of this file"
        if median >= _LEAST_SECONDS:
            unit, given = ("milliseconds", median / 1000) if median >= _LEAST_MILLISECONDS else ("seconds", median)
            hint = f"if they are in {unit}, set dataset.table_slice_seconds={given:g}"
        raise UserError(problem, key=f"{source}, column 'length'", hint=hint)
    return seconds


def _assemble(
    sources: list[SliceRows],
    genres: Sequence[str] | None,
    slice_seconds: float | None,
    feature_names: tuple[str, ...],
    hashes: dict[str, str],
    notes: list[str],
    allocate: Allocate = in_memory,
) -> FeatureTable:
    rows = concatenated([_keyed(source.keys, source.source) for source in sources])
    is_clips = rows.groupby("source", observed=True)["whole_clip"].all()
    if is_clips.nunique() > 1:  # a clip would count as one more slice of its track
        problem = f"it has a row per whole clip, and {is_clips.idxmin()} has a row per slice"
        raise UserError(problem, key=is_clips.idxmax(), hint="join files of one kind")
    length_samples = np.concatenate([source.length_samples for source in sources])
    kept, join_notes = _kept_once(rows, [source.features for source in sources], feature_names)
    tracks, track = _codes(rows["track"])
    order = kept[np.lexsort((rows["slice"].to_numpy()[kept], track[kept]))]
    rows, track, length_samples = rows.iloc[order], track[order], length_samples[order]
    _check_slices(rows, track)
    genres = _checked_genres(rows, genres)
    first_row = np.searchsorted(track, np.arange(len(tracks)))
    features = in_order([source.features for source in sources], order, allocate)
    genre = pd.Index(genres).get_indexer(rows["label"].iloc[first_row]).astype(np.int64)
    check_no_labels(features, rows, genre[track], feature_names)
    known_lengths = length_samples if all(source.has_length for source in sources) else None
    seconds = slice_seconds or _common_slice_seconds(rows, length_samples)
    if slice_seconds is None and is_clips.all():
        for source in sources:
            notes = [*notes, *_other_lengths(Path(source.source).name, source.length_samples, seconds)]
    return FeatureTable(
        features=features,
        feature_names=feature_names,
        length_samples=length_samples,
        tracks=tracks,
        track=track,
        slice_index=rows["slice"].to_numpy(np.int64),
        genre=genre,
        genres=tuple(genres),
        slice_seconds=seconds,
        hashes=hashes,
        notes=(*notes, *join_notes, *_constant_columns(features, known_lengths, feature_names)),
    )


def _keyed(keys: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check the keys of a source, and add `source`, `slice`, the slice number, and `whole_clip`: there is none."""
    track, ending, label = (keys[name].cat.codes.to_numpy() for name in ("track", "ending", "label"))
    tracks, endings, labels = (keys[name].cat.categories for name in ("track", "ending", "label"))

    def refuse(bad: NDArray[np.bool_], column: str, problem: str, hint: str | None = None) -> None:
        if bad.any():
            row = keys.iloc[int(bad.argmax())]
            prefix = row["track"].rpartition(".")[0]
            names = {"track": row["track"], "filename": row["track"] + row["ending"]}
            names["label"], names["prefix"] = shown_apart(row["label"], prefix)
            problem = problem.format(**{name: _shown(text) for name, text in names.items()})
            hint = hint and hint.format(filename=_shown(names["filename"]))
            raise UserError(problem, key=place(source, row["row"], column), hint=hint)

    form = "'{filename}' is not of the form genre.NNNNN.wav or genre.NNNNN.SLICE.wav"
    unlike = (endings == "")[ending]
    if unlike.any() and has_no_ending(tracks[track[int(unlike.argmax())]]):
        form = "'{filename}' has no ending such as .wav"
        refuse(unlike, "filename", form, "add one to each: {filename}.wav")
    refuse(unlike, "filename", form)
    again = pd.Series(file_numbers(keys)).duplicated()
    if again.any():
        bad = keys.iloc[int(again.argmax())]
        first = keys.iloc[int(((track == track[again.argmax()]) & (ending == ending[again.argmax()])).argmax())]
        problem = f"'{_shown(bad['track'] + bad['ending'])}' is in row {first['row']} already"
        raise UserError(problem, key=place(source, bad["row"], "filename"))
    numbers = [slice_number(name) for name in endings]
    whole_clip = np.array([number is None for number in numbers])[ending]
    if 0 < whole_clip.mean() < 0.5:
        refuse(whole_clip, "filename", "'{filename}' is a whole clip in a file of slices", "keep one kind")
    elif whole_clip.any():
        refuse(~whole_clip, "filename", "'{filename}' is a slice in a file of whole clips", "keep one kind")
    has_label = (labels != "")[label]
    if has_label.any():
        hint = "fill it in, or leave the column out to predict genres without scores"
        refuse(~has_label, "label", "the cell is empty, and other tracks have a label", hint)
    first_label = label[np.unique(track, return_index=True)[1]]
    refuse(label != first_label[track], "label", "'{label}' is a second genre for the track {track}")
    prefix = labels.get_indexer([name.rpartition(".")[0] for name in tracks])
    contradiction = "'{label}' contradicts the genre '{prefix}' in the file name '{filename}'"
    has_folders = any(re.search(r"[/\\].*\.", name) for name in tracks)
    contradicts = has_label & (label != prefix[track])
    hint = "leave folders out of file names" if has_folders else "write the genre in one way in both"
    refuse(contradicts, "label", contradiction, hint)
    slices = np.array([number or 0 for number in numbers])[ending]
    return keys.assign(source=pd.Categorical([source]).repeat(len(keys)), slice=slices, whole_clip=whole_clip)


def _kept_once(
    rows: pd.DataFrame, features: list[NDArray[np.float32]], feature_names: Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return positions of the rows to keep, and notes. A row that occurs in two files is kept once if both agree."""
    number = file_numbers(rows)
    again = pd.Series(number).duplicated().to_numpy()
    kept = np.flatnonzero(~again)
    if len(kept) == len(rows):
        return kept, []
    repeated = np.flatnonzero(again)
    first = kept[pd.Index(number[kept]).get_indexer(number[repeated])]
    columns = range(len(feature_names))
    spread = np.array([np.concatenate([f[:, c] for f in features])[kept].std(dtype=np.float64) for c in columns])
    mine, other = (rows_at(features, at).astype(np.float64) for at in (repeated, first))
    differs = np.abs(mine - other) > _SAME_ROW_TOLERANCE * np.where(spread > 0, spread, 1.0)
    if differs.any():
        index, column = (int(axis[0]) for axis in np.nonzero(differs))
        bad, source = rows.iloc[repeated[index]], rows.iloc[first[index]]["source"]
        name, here, there = _shown(bad["track"] + bad["ending"]), mine[index, column], other[index, column]
        problem = f"{name} has {here:g} here and {there:g} in {source}"
        key = place(bad["source"], bad["row"], feature_names[column])
        raise UserError(problem, key=key, hint="files of different recipes cannot be joined")
    forms = "row stood in two files, agreed, and was", "rows stood in two files, agreed, and were"
    return kept, [f"{counted(len(repeated), *forms)} kept once"]


def _common_slice_seconds(rows: pd.DataFrame, length_samples: NDArray[np.float32]) -> float:
    """Return the slice length in seconds; raise if the files differ in it."""
    known: dict[str, float] = {}
    for source in rows["source"].cat.categories:
        own = (rows["source"] == source).to_numpy()
        if own.any():  # otherwise all its rows were in other files
            whole_clips = bool(rows["whole_clip"].to_numpy()[own].all())
            lengths = length_samples[own].astype(np.float64)
            known[source] = _slice_seconds(lengths, whole_clips, source)
            if not whole_clips:  # whole recordings may have any length
                _check_one_length(rows, np.flatnonzero(own), lengths, known[source])
    first, seconds = next(iter(known.items()))
    for source, others in known.items():
        if others != seconds:
            problem = f"it has slices of {others:g} s, and {first} has slices of {seconds:g} s"
            raise UserError(problem, key=source, hint="join files of one length")
    return seconds


def _check_one_length(
    rows: pd.DataFrame, own: NDArray[np.int64], length_samples: NDArray[np.float64], slice_seconds: float
) -> None:
    """Raise if one of a file's `own` rows is much shorter or longer than most; its lengths are (own row,)."""
    median = np.median(length_samples)
    far = np.abs(length_samples - median) > _LENGTH_TOLERANCE * median
    if far.any():
        bad, length = rows.iloc[own[far.argmax()]], length_samples[far.argmax()]
        problem = f"its {length:g} samples are {length / SAMPLE_RATE_HZ:.3g} s, and most rows have {slice_seconds:g} s"
        hint = "give each length of slices a table of its own, or set dataset.table_slice_seconds to take all as one"
        raise UserError(problem, key=place(bad["source"], bad["row"], "length"), hint=hint)


def _other_lengths(name: str, length_samples: NDArray[np.float32], slice_seconds: float) -> list[str]:
    """Return a note if lengths of a file contradict the slice length that is given for it."""
    seconds = length_samples.astype(np.float64) / SAMPLE_RATE_HZ
    far = np.abs(seconds - slice_seconds) > _LENGTH_TOLERANCE * slice_seconds
    if not far.any():
        return []
    found = f"{int(far.sum())} of {len(far)} rows have another length than {slice_seconds:g} s"
    found += f", such as {seconds[far.argmax()]:.3g} s"
    by = f"{printable(name)}: by its column 'length' at {SAMPLE_RATE_HZ} Hz"
    return [f"{by}, {found}; all are taken as {slice_seconds:g} s"]


def _codes(names: "pd.Series[str]") -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the sorted categories of a column, and the index of each row's category, (row,) int64."""
    ordered = names.cat.categories.sort_values()
    number: NDArray[np.int64] = ordered.get_indexer(names.cat.categories).astype(np.int64)
    return tuple(str(name) for name in ordered), number[names.cat.codes]


def _check_slices(rows: pd.DataFrame, track: NDArray[np.int64]) -> None:
    """Raise unless the slices of each track are numbered 0, 1, ... without a gap."""
    found = rows["slice"].to_numpy()
    again = np.flatnonzero((track[1:] == track[:-1]) & (found[1:] == found[:-1]))
    if len(again):
        first, bad = rows.iloc[again[0]], rows.iloc[again[0] + 1]  # sorted, so the two are neighbours
        track_name, file_name = _shown(bad["track"]), _shown(bad["track"] + bad["ending"])
        problem = f"'{file_name}' is slice {bad['slice']} of {track_name}, which is in row "
        problem += f"{first['row']} of {first['source']} already"
        raise UserError(problem, key=place(bad["source"], bad["row"], "filename"))
    expected = np.arange(len(rows)) - np.searchsorted(track, track)
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        bad = rows.iloc[int(wrong[0])]
        problem = f"slice {expected[wrong[0]]} of {_shown(bad['track'])} is missing before slice {bad['slice']}"
        hint = "add the missing row or leave the whole track out"
        raise UserError(problem, key=place(bad["source"], bad["row"], "filename"), hint=hint)


def _checked_genres(rows: pd.DataFrame, genres: Sequence[str] | None) -> list[str]:
    found = sorted(rows["label"].cat.categories)
    if genres is not None and found == [""]:
        return list(genres)
    if "" in found:
        source = rows["source"][rows["label"] == ""].iloc[0]
        hint = "read tables with and without labels one by one"
        raise UserError("it has no labels, and another table has", key=source, hint=hint)
    _check_look_alikes(rows, found)
    if genres is not None:
        unknown = ~rows["label"].isin(genres).to_numpy()
        if unknown.any():
            bad = rows.iloc[int(unknown.argmax())]
            label = bad["label"]
            alike = next((genre for genre in genres if look_alikes([genre, label])), None)
            near = [alike] if alike else difflib.get_close_matches(label.lower(), genres, n=1)
            hint = f"the corpus has {printable(', '.join(genres))}"
            if near:
                label, other = shown_apart(label, near[0])
                hint = f"did you mean '{_shown(other)}'?"
            problem = f"unknown genre '{_shown(label)}'"
            raise UserError(problem, key=place(bad["source"], bad["row"], "label"), hint=hint)
    if genres is None and len(found) < 2:
        problem = f"all tracks are '{_shown(found[0])}'; a classifier needs two genres or more"
        raise UserError(problem, key=rows["source"].iloc[0])
    return list(genres) if genres is not None else found


def _check_look_alikes(rows: pd.DataFrame, genres: Sequence[str]) -> None:
    """Raise if two genres are one genre in two spellings, which a model would learn to tell apart."""
    if (pair := look_alikes(genres)) is None:
        return
    found = rows[rows["label"].isin(pair)].sort_values(["source", "row"]).drop_duplicates("label")
    first, bad = (row for _, row in found.iterrows())
    other, here = map(_shown, shown_apart(first["label"], bad["label"]))
    where = f"row {first['row']}" + ("" if first["source"] == bad["source"] else f" of {first['source']}")
    problem = f"'{here}' looks like another spelling of '{other}', the genre in {where}"
    hint = "write one of them everywhere, in the file names too; if they are two genres, choose clearer names"
    raise UserError(problem, key=place(bad["source"], bad["row"], "label"), hint=hint)


def _shown(name: str) -> str:
    """Return a name as part of a sentence."""
    return printable(name, most=100)


def _constant_columns(
    features: NDArray[np.float32], length_samples: NDArray[np.float32] | None, feature_names: tuple[str, ...]
) -> list[str]:
    constant = np.flatnonzero(features.min(axis=0) == features.max(axis=0))
    values = [f"{feature_names[column]} = {features[0, column]:g}" for column in constant]
    if length_samples is not None and np.ptp(length_samples) == 0:
        values.append(f"length = {length_samples[0]:g}")
    return [f"constant, and so without information: {', '.join(values)}"] if values else []
