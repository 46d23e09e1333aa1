"""Read `tracks.csv` of the Free Music Archive's metadata: genre, artist and official part of each track.

Source: M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: A Dataset for Music Analysis", ISMIR 2017.
"""

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genregrid.errors import UserError
from genregrid.files import check_regular
from genregrid.name import folded, one_form

_MOST_BYTES = 1 << 30  # the whole file of 106,574 tracks has 260 MB
_HEADER_BYTES = 1 << 16
_ROWS_AT_ONCE = 20_000
# Columns by the first two rows of the header; the third row has the name of the index, track_id.
_COLUMNS = {
    "genre": ("track", "genre_top"),
    "artist_id": ("artist", "id"),
    "artist": ("artist", "name"),
    "part": ("set", "split"),
}
_PARTS = {"training": "train", "validation": "val", "test": "test"}
_HINT = "give tracks.csv of fma_metadata.zip"
_TRACK = re.compile(r"(?P<genre>.+?)\.(?:.*\D)?(?P<number>\d{5,9})", re.DOTALL)


class FmaTrack(NamedTuple):
    """What the table has about a track; texts are empty where it has nothing.

    Attributes:
        genre: its top genre.
        artist: name and number of the artist; two artists may have one name.
        part: of the official split: "train", "val" or "test".
    """

    genre: str
    artist: str
    part: str


def is_fma(path: Path) -> bool:
    """Return whether a file is the table, by its header of three rows."""
    try:
        return set(_COLUMNS.values()) <= set(_header(path))
    except OSError:
        return False


def read_fma(path: Path) -> Mapping[int, FmaTrack]:
    """Read the table, by number of the track. The last one that was read is kept.

    Raises:
        UserError: it is missing, is another table, or is damaged.
    """
    check_regular(path, key=path, hint=_HINT)
    state = os.stat(path)
    return _read(path, state.st_size, state.st_mtime_ns)


def fma_genre(text: str) -> str:
    """Return a genre as folders and file names may have it.

    >>> fma_genre("Old-Time / Historic"), fma_genre("Hip-Hop")
    ('Old-Time-Historic', 'Hip-Hop')
    """
    return re.sub(r"\s*[./\\,\"]\s*", "-", text.strip())


def fma_artists(path: Path, tracks: Collection[str]) -> dict[str, str]:
    """Return the artist of each track of a feature table, by its name; tracks of unknown artist are missing.

    Raises:
        UserError: as in `read_fma`, or the table has less than half of the tracks.
    """
    return {name: track.artist for name, track in _found(path, tracks).items() if track.artist}


def fma_parts(path: Path, tracks: Collection[str]) -> dict[str, str]:
    """Return the official part of each track of a feature table, by its name.

    Raises:
        UserError: as in `fma_artists`.
    """
    return {name: track.part for name, track in _found(path, tracks).items() if track.part}


def _found(path: Path, tracks: Collection[str]) -> dict[str, FmaTrack]:
    """Find tracks of a feature table by the number that their names end in, and their genre."""
    table = read_fma(path)
    found = {}
    for name in tracks:
        match = _TRACK.fullmatch(name)
        track = table.get(int(match["number"])) if match else None
        if match and track is not None and folded(fma_genre(track.genre)) == folded(match["genre"]):
            found[one_form(name)] = track
    if 2 * len(found) < len(tracks):
        other = min(name for name in tracks if one_form(name) not in found)
        problem = f"it has {len(found)} of the {len(tracks)} tracks, and not such as '{other}'"
        raise UserError(problem, key=path, hint="FMA's tracks are called by genre and number, Rock.000182")
    return found


def _header(path: Path) -> list[tuple[str, str]]:
    """Return the first two cells of each column of the header."""
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode("utf-8-sig", "replace")
    try:
        first, second = islice(csv.reader(io.StringIO(text, newline="")), 2)
    except (ValueError, csv.Error):
        return []
    return [(one.strip(), two.strip()) for one, two in zip(first, second, strict=False)]


@lru_cache(maxsize=1)
def _read(path: Path, size: int, _: int) -> Mapping[int, FmaTrack]:
    if size > _MOST_BYTES:
        raise UserError(f"it has more than {_MOST_BYTES} bytes", key=path, hint=_HINT)
    header = _header(path)
    if missing := [" ".join(column) for column in _COLUMNS.values() if column not in header]:
        problem = f"it is not FMA's table of tracks: its header of three rows lacks {', '.join(missing)}"
        raise UserError(problem, key=path, hint=_HINT)
    places = {name: header.index(column) for name, column in _COLUMNS.items()}
    tracks = {}
    try:
        for frame in _frames(path, [0, *places.values()]):
            cells = (frame[place].fillna("") for place in (0, *places.values()))
            for number, genre, artist_id, artist, part in zip(*cells, strict=True):
                if not number.isdecimal():  # the third row of the header
                    continue
                known = f"{artist.strip()} ({artist_id})".strip() if artist_id else artist.strip()
                tracks[int(number)] = FmaTrack(genre.strip(), known, _PARTS.get(part.strip(), ""))
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"it is damaged ({error})", key=path, hint="download it again") from None
    return tracks


def _frames(path: Path, places: list[int]) -> Iterator[pd.DataFrame]:
    """Yield some columns as text, a few thousand rows at a time; other columns have whole biographies."""
    with pd.read_csv(
        path,
        header=None,
        skiprows=2,
        usecols=places,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8",
        chunksize=_ROWS_AT_ONCE,
    ) as frames:
        yield from frames
