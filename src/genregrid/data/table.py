"""Feature CSVs become one validated table of slices: the only reader of feature CSVs.

The contract of a CSV stands in ``data/README.md``: one row per slice, columns read by name, file names of the form
``genre.NNNNN[.S].wav``. Whatever breaks it ends in one sentence that names the file, the row and the column.
"""

import csv
import difflib
import hashlib
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.errors import UserError

_FRAME_DESCRIPTORS = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    "harmony",
    "perceptr",
)
_MFCCS = tuple(f"mfcc{number}" for number in range(1, 21))
#: The 57 descriptors in the order of Kaggle's GTZAN files; other orders are read by name and put into this one.
FEATURE_NAMES: tuple[str, ...] = (
    *(f"{name}_{statistic}" for name in _FRAME_DESCRIPTORS for statistic in ("mean", "var")),
    "tempo",
    *(f"{name}_{statistic}" for name in _MFCCS for statistic in ("mean", "var")),
)
KEY_COLUMNS = ("filename", "length", "label")
SAMPLE_RATE_HZ = 22_050
#: `blues.00012.3.wav` is slice 3 of track blues.00012; `blues.00012.wav` is that track's whole clip.
FILENAME_PATTERN = r"^(?P<track>(?P<prefix>.+?)\.\d{5,})(?:\.(?P<slice>\d{1,9}))?\.[A-Za-z0-9]+$"
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
    frames = [_read_csv(path, feature_names) for path in paths]
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
    _check_columns(list(frame.columns), source, feature_names)
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
    frame = _read_csv(path, (), num_rows=100)
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


# --- one file ---------------------------------------------------------------------------------------------------


def _read_csv(path: Path, feature_names: Sequence[str], num_rows: int | None = None) -> pd.DataFrame:
    """Read the named columns, and the row that each line of the file is; row 1 is the header.

    `attrs` has "extra", the names of the columns left aside, and "sha256".
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: give the path of a feature CSV (data/README.md says what it must hold).")
    columns = _header(path)
    _check_columns(columns, str(path), feature_names)
    numbers = [*feature_names, "length"]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow encountered")  # 1e39 becomes infinite, and is then refused
            frame = pd.read_csv(
                path,
                usecols=["filename", "label", *numbers],
                dtype=dict.fromkeys(numbers, np.float32) | {"filename": str, "label": str},
                nrows=num_rows,
            )
    except (ValueError, pd.errors.ParserError) as error:
        raise _first_fault(path, columns, numbers) or UserError(f"{path} is not a readable CSV: {error}.") from None
    if frame.empty:
        raise UserError(f"{path} has a header but no rows: expected one row per slice.")
    whole = frame[["filename", "label"]].notna().all(axis=None) and np.isfinite(frame[numbers].to_numpy()).all()
    if not whole:
        raise _first_fault(path, columns, numbers) or UserError(f"{path} holds cells that are not finite numbers.")
    row = np.arange(2, len(frame) + 2)
    if num_rows is None:
        scan = _scan(path)
        frame.attrs["sha256"] = scan.sha256
        if scan.num_commas != (len(columns) - 1) * (len(frame) + 1):
            # pandas drops what stands behind the last column without a word; commas in quotes are no fault
            fault = _first_fault(path, columns, numbers)
            if fault is not None:
                raise fault
        if scan.num_lines != len(frame) + 1:  # blank lines, or lines broken within quotes
            row = _row_numbers(path)
    frame.attrs["extra"] = [n for n in columns if n.strip() and n not in {*FEATURE_NAMES, *numbers, *KEY_COLUMNS}]
    return frame.assign(row=row)


@dataclass(frozen=True)
class _Scan:
    """A file's SHA-256, its commas and its lines, read in one pass."""

    sha256: str
    num_commas: int
    num_lines: int


def _scan(path: Path) -> _Scan:
    digest = hashlib.sha256()
    num_commas = num_lines = 0
    block = b""
    with path.open("rb") as file:
        while more := file.read(1 << 20):
            block = more
            digest.update(block)
            num_commas += block.count(b",")
            num_lines += block.count(b"\n")
    return _Scan(digest.hexdigest(), num_commas, num_lines + (not block.endswith(b"\n")))


def _row_numbers(path: Path) -> NDArray[np.int64]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        return np.array([reader.line_num for cells in reader if cells][1:])


def _header(path: Path) -> list[str]:
    """Column names, or a sentence on why this is no comma-separated UTF-8 text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if not line.strip():
        raise UserError(f"{path} is empty: expected a header and one row per slice.")
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if "," not in line and delimiter in line:
            raise UserError(f"{path}, row 1: the columns are separated by {name}; save the file with commas.")
    return next(csv.reader([line]))


def _not_utf8(path: Path) -> UserError:
    data = path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        return UserError(f"{path}, row {row}: not UTF-8 text (byte {data[error.start]:#04x}); save the file as UTF-8.")
    return UserError(f"{path} is not UTF-8 text; save the file as UTF-8.")


def _check_columns(columns: Sequence[str], source: str, feature_names: Sequence[str]) -> None:
    missing = [name for name in (*KEY_COLUMNS, *feature_names) if name not in columns]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing[:3]) + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        )
        unknown = [name for name in columns if name not in {*KEY_COLUMNS, *FEATURE_NAMES}]
        near = difflib.get_close_matches(missing[0], unknown, n=1)
        hint = f" (did you mean its '{near[0]}'?)" if near and len(missing) <= 3 else ""
        raise UserError(f"{source}, row 1: lacks the columns {named}{hint}; data/README.md lists what it must hold.")
    twice = sorted({name for name in columns if columns.count(name) > 1} & {*KEY_COLUMNS, *feature_names})
    if twice:
        raise UserError(f"{source}, row 1: the column '{twice[0]}' stands there more than once; keep one of them.")


def _first_fault(path: Path, columns: list[str], numbers: Sequence[str]) -> UserError | None:
    """The first cell that breaks the contract; slow, and only run where the fast reader stumbled."""
    where = {name: columns.index(name) for name in ("filename", "label", *numbers)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in filter(None, reader):
                place = f"{path}, row {reader.line_num}"
                if len(cells) != len(columns):
                    return UserError(f"{place}: {len(cells)} fields where the header has {len(columns)}.")
                for name, position in where.items():
                    if fault := _cell_fault(cells[position], name in numbers):
                        return UserError(f"{place}, column '{name}': {fault}.")
    except UnicodeDecodeError:
        return _not_utf8(path)
    return None


def _cell_fault(cell: str, is_number: bool) -> str | None:
    if not cell.strip():
        return "the cell is empty; fill it or leave the whole track out"
    if not is_number:
        # What pandas reads as a missing value.
        return f"'{cell}' reads as a missing value" if cell.lower() in {"nan", "n/a", "na", "null", "none"} else None
    try:
        value = float(
            cell.replace("_", "?").encode("ascii")
        )  # Python reads 1_000 and other scripts' digits; CSVs do not
    except ValueError:
        return f"expected a number, found '{cell}'"
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        return f"expected a finite number, found '{cell}'; leave the track out or extract it again"
    return None


# --- from rows to a table -----------------------------------------------------------------------------------------


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
    return [f"constant columns carry no information and are left unscaled: {values}"]
