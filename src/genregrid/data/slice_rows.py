"""Rows of slices of one source, file names of slices, and how to bring rows of several sources into one order.

Names are pandas categories, because a million strings take more memory than a million rows of features.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from genregrid.name import folded, one_form

#: `blues.00012` or `rock.Some Song`: a genre, then five digits or more, or a word. Fewer digits are a slice number.
TRACK_PATTERN = r"(?P<prefix>.+?)\.(?:\d{5,}|\d*[^.\d][^.]*)"
#: `blues.00012.3.wav` is slice 3 of track blues.00012; `blues.00012.wav` is the whole clip of that track. An ending has
#: a letter: `blues.00012.3` has none.
FILENAME_PATTERN = rf"^(?P<track>{TRACK_PATTERN})(?:\.(?P<slice>\d{{1,9}}))?\.[0-9]*[A-Za-z][A-Za-z0-9]*$"
_FILENAME = re.compile(FILENAME_PATTERN)
_TRACK = re.compile(TRACK_PATTERN)
_UNLABELLED = re.compile(r"^(?P<track>.+?)(?:\.\d{1,4})?\.[A-Za-z0-9]+$")
# Endings that lists of tracks have. Any other one may be part of a name.
_ENDINGS = frozenset(
    {"wav", "wave", "mp2", "mp3", "mp4", "flac", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "m4a", "m4b"}
    | {"m4p", "aac", "wma", "webm", "mka", "caf", "ape", "wv", "amr", "ac3", "ra", "rm"}
    | {"npy", "npz", "csv", "json", "txt", "mid", "midi", "png", "jpg", "jpeg"}
)
_MOST_SLICE_DIGITS = 9
# A number of fewer digits in a name is a slice.
_TRACK_DIGITS = 5
# Folders of a path that are tried as the genre's, from the last.
_MOST_FOLDERS = 8
#: Characters that the name of a track made from a path does not have: they separate the parts of a name, a path or a
#: CSV row, or are control characters.
SEPARATORS = re.compile(r'[./\\,"\x00-\x1f\x7f-\x9f\u2028\u2029]')
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
#: Rows to read or copy at once: 1 MB of features.
BLOCK_ROWS = 4096
#: Makes an array of the given shape, (row, feature) float32.
Allocate = Callable[[tuple[int, int]], NDArray[np.float32]]


@dataclass(frozen=True)
class SliceRows:
    """Rows of one source, in its order.

    Attributes:
        source: path of the file, or name of the frame, for messages.
        keys: columns `row`, the line of the file (row 1 is the header); `track` and `ending`, which together are the
            file name (the ending is empty if the name is not of `FILENAME_PATTERN`); and `label`.
        features: (row, feature) float32.
        length_samples: (row,) float32.
        sha256: of the source; empty if it was not read to its end.
        extra: names of the columns that were not read.
        has_length: whether the source has lengths; otherwise `length_samples` come from the settings.
    """

    source: str
    keys: pd.DataFrame
    features: NDArray[np.float32]
    length_samples: NDArray[np.float32]
    sha256: str
    extra: tuple[str, ...] = ()
    has_length: bool = True


def in_memory(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Make an array in memory; the system provides each page when it is first written."""
    return np.empty(shape, np.float32)


def name_keys(filenames: Iterable[str], labels: Iterable[str]) -> pd.DataFrame:
    """Convert file names and labels to the categories `track`, `ending` and `label` of `SliceRows`.

    The name of a track with an empty label needs no genre: `song.3.wav` is slice 3 of the track song.
    """
    names = [str(name) for name in filenames]
    tracks = []
    for name, label in zip(names, labels := [str(label) for label in labels], strict=True):
        match = _FILENAME.match(name) or (None if label else _UNLABELLED.match(name))
        tracks.append(match["track"] if match else name)
    endings = [name[len(track) :] for name, track in zip(names, tracks, strict=True)]
    categories = {"track": tracks, "ending": endings, "label": labels}
    return pd.DataFrame({column: pd.Categorical(values) for column, values in categories.items()})


def unquoted(text: str) -> str:
    """Return a text of a list without the blanks and the quotation marks around it.

    >>> unquoted(' "blues.00003" '), unquoted("'Til Tuesday")
    ('blues.00003', "'Til Tuesday")
    """
    text = text.strip().strip("\ufeff\u200b")
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


class TrackNames:
    """The tracks of a table, found by the names that lists and indices have for them.

    Such a name may have folders before it, divided by slashes or backslashes, the ending of a file, the number of a
    slice, blanks or quotation marks around it, capitals and another Unicode form. The name of a track as it is in the
    table is always that track. Case counts where tracks differ in nothing else.

    Args:
        tracks: of the table; without them, names are only brought into one form.

    >>> names = TrackNames(["blues.00003"])
    >>> names.find("Blues/BLUES.00003.0.WAV"), names.find("blues.00004")
    ('blues.00003', None)
    """

    def __init__(self, tracks: Iterable[str] = ()) -> None:
        self.tracks = {one_form(track) for track in tracks}
        self._folded: dict[str, str | None] = {}

    def find(self, written: str) -> str | None:
        """Return the track that a name means, in the form of `one_form`; ``None`` if it is no track of the table."""
        name = one_form(written)
        if name in self.tracks:
            return name
        readings = _readings(name)
        for reading in readings:
            if reading in self.tracks:
                return reading
        if not self._folded:
            for track in self.tracks:
                key = folded(track)
                self._folded[key] = None if key in self._folded else track
        readings += _in_folders(readings[0])
        return next(filter(None, (self._folded.get(folded(reading)) for reading in readings)), None)


def plain_track(written: str) -> str | None:
    """Return the track that a name means in any table, in the form of `one_form`; ``None`` if it has no such form.

    >>> plain_track("music/rock/rock.00001.2.mp3"), plain_track("rock.AC/DC"), plain_track("bogus")
    ('rock.00001', 'rock.AC/DC', None)
    """
    whole, *shorter = _readings(one_form(written))
    for reading in (*shorter, whole):
        if _TRACK.fullmatch(reading) and reading.rpartition(".")[2].lower() not in _ENDINGS:
            return reading
    return None


def _readings(name: str) -> list[str]:
    """Return what a name may mean: the name; then without folders, without ending and then without slice number.

    A backslash or a slash may belong to the name, as may what looks like an ending.
    """
    name = unquoted(name)
    found = [name]
    if "." not in name:  # as no name of a track
        return found
    after_slash = name[name.rfind("/") + 1 :]
    after_both = after_slash[after_slash.rfind("\\") + 1 :]
    for part in (name,) if after_both == name else dict.fromkeys((after_both, after_slash, name)):
        stem, _, ending = part.rpartition(".")
        bare = stem if ending.lower() in _ENDINGS else part
        stem, _, number = bare.rpartition(".")
        found.append(bare)
        if number.isdecimal() and len(number) <= _MOST_SLICE_DIGITS and stem:
            found.append(stem)
        if part != bare:
            found.append(part)
    return found


def _in_folders(path: str) -> list[str]:
    """Return the tracks that a file within folders may be: of each folder, if that is its genre.

    >>> _in_folders("music/rock/Album/01. Song.mp3")[1]
    'rock.Album_01_ Song'
    """
    if "/" not in path and "\\" not in path:
        return []
    *folders, file = re.split(r"[/\\]", path)
    stem, _, ending = file.rpartition(".")
    stem = stem if ending.lower() in _ENDINGS else file
    found = []
    for number in range(max(0, len(folders) - _MOST_FOLDERS), len(folders)):
        found.append(name_of_path(folders[number], "/".join([*folders[number + 1 :], stem])))
    return found


def name_of_path(genre: str, within: str) -> str:
    """Name a track by its genre and its path within the genre's folder, without the ending.

    >>> name_of_path("rock", "Album/01. Song"), name_of_path("rock", "1999")
    ('rock.Album_01_ Song', 'rock.01999')
    """
    name = SEPARATORS.sub("_", within).strip() or "_"
    return f"{genre}.{name.zfill(_TRACK_DIGITS) if name.isdecimal() else name}"  # short numbers are numbers of slices


def has_no_ending(name: str) -> bool:
    """Return whether a file name would be one of `FILENAME_PATTERN` if it had an ending such as ``.wav``.

    >>> has_no_ending("blues.00012.3"), has_no_ending("blues.00012.3.wav"), has_no_ending("bogus")
    (True, False, False)
    """
    last = name.rpartition(".")[2]
    is_ending = last.lower() in _ENDINGS or last.endswith(("/", "\\"))
    return not is_ending and not _FILENAME.match(name) and bool(_FILENAME.match(f"{name}.wav"))


def concatenated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate frames of the same columns. Categories stay categories; `pandas.concat` would make them strings."""
    joined = {}
    for name, dtype in frames[0].dtypes.items():
        parts = [frame[name] for frame in frames]
        joined[name] = union_categoricals(parts) if isinstance(dtype, pd.CategoricalDtype) else np.concatenate(parts)
    return pd.DataFrame(joined)


def slice_number(ending: str) -> int | None:
    """Return the slice number in the ending of a file name; ``None`` for a whole clip.

    >>> slice_number(".3.wav"), slice_number(".wav")
    (3, None)
    """
    return int(ending.split(".")[1]) if ending.count(".") == 2 else None


def file_numbers(keys: pd.DataFrame) -> NDArray[np.int64]:
    """Number the file names of rows, (row,) int64; rows of one file name have the same number."""
    track, ending = (keys[name].cat.codes.to_numpy(np.int64) for name in ("track", "ending"))
    return np.asarray(track * len(keys["ending"].cat.categories) + ending)


def rows_at(features: list[NDArray[np.float32]], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Take rows by position, (row, feature), from several arrays as if they were one."""
    start = np.cumsum([0, *map(len, features)])
    number = np.searchsorted(start, index, side="right") - 1
    found = np.empty((len(index), features[0].shape[1]), np.float32)
    for source in np.unique(number):
        found[number == source] = features[source][index[number == source] - start[source]]
    return found


def in_order(features: list[NDArray[np.float32]], order: NDArray[np.int64], allocate: Allocate) -> NDArray[np.float32]:
    """Return all rows in the given order. A file that is sorted already is not copied."""
    if len(features) == 1 and len(order) == len(features[0]) and (order[1:] > order[:-1]).all():
        return features[0]
    ordered = allocate((len(order), features[0].shape[1]))
    for start in range(0, len(order), BLOCK_ROWS):
        ordered[start : start + BLOCK_ROWS] = rows_at(features, order[start : start + BLOCK_ROWS])
    return ordered
