"""Read artist indices and published lists of tracks."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from genregrid.data.scan import place
from genregrid.data.slice_rows import TRACK_PATTERN
from genregrid.errors import UserError

_AUDIO_ENDING = re.compile(r"\.(wav|mp3|flac|ogg|au|aiff?)$", re.IGNORECASE)


def read_artists(path: Path) -> dict[str, str]:
    """Read the artist of each track, by track name; tracks of unknown artist are missing.

    The file has one of two forms: a CSV with the columns `track` and `artist`, or lines `FILE ::: ARTIST ::: TITLE`
    and comments that start with ``##``.

    Source: the second form is B. L. Sturm's GTZANindex, "An Analysis of the GTZAN Music Genre Dataset", MIRUM 2012.

    Raises:
        UserError: the file is missing or has neither form.
    """
    lines = _lines(path, "an artist index")
    if ":::" not in "".join(lines) or {"track", "artist"} <= set(lines[0].split(",")):
        return _artists_from_csv(path)
    artists: dict[str, str] = {}
    for row, line in enumerate(lines, start=1):
        if line.startswith("##") or not line.strip():
            continue
        fields = [field.strip() for field in line.split(":::")]
        if len(fields) < 2:
            raise UserError(f"expected `FILE ::: ARTIST ::: TITLE`, found '{line.strip()}'", key=place(path, row))
        if fields[1]:
            track = _track_name(fields[0], path, row)
            if artists.setdefault(track, fields[1]) != fields[1]:
                raise UserError(f"{track} has the artist '{artists[track]}' already", key=place(path, row))
    return artists


def read_lists(paths: Mapping[str, Path]) -> dict[str, str]:
    """Read the part of each track, by track name, from the list of each part.

    Lines are ``blues/blues.00029.wav`` or ``blues.00029``; parts are named as in "train".

    Raises:
        UserError: a list is missing, a line names no track, or a track is in two lists.
    """
    part_of: dict[str, str] = {}
    for part, path in paths.items():
        for row, line in enumerate(_lines(path, f"the list of the part '{part}'"), start=1):
            if not line.strip():
                continue
            track = _track_name(line.strip(), path, row)
            if part_of.setdefault(track, part) != part:
                raise UserError(f"{track} is in the list of '{part_of[track]}' already", key=place(path, row))
    return part_of


def _lines(path: Path, what: str) -> list[str]:
    if not path.is_file():
        raise UserError(f"it does not exist; it should be {what}", key=path)
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError("it is not UTF-8 text", key=path, hint=f"save {what} as UTF-8") from None


def _track_name(text: str, path: Path, row: int) -> str:
    track = _AUDIO_ENDING.sub("", text.rpartition("/")[2])
    if re.fullmatch(TRACK_PATTERN, track) is None:
        raise UserError(f"'{text}' names no track of the form genre.NNNNN", key=place(path, row))
    return track


def _artists_from_csv(path: Path) -> dict[str, str]:
    try:
        frame = pd.read_csv(path, usecols=["track", "artist"], dtype=str, keep_default_na=False)
    except ValueError:
        problem = "it is no artist index; expected a CSV with the columns track and artist, or lines "
        raise UserError(f"{problem}`FILE ::: ARTIST ::: TITLE`", key=path) from None
    known = frame.apply(lambda column: column.str.strip())
    known = known[known["artist"] != ""].drop_duplicates()
    twice = known["track"][known["track"].duplicated()]
    if len(twice):
        raise UserError(f"{twice.iloc[0]} has two artists", key=path, hint="keep one line of each track")
    return dict(zip(known["track"], known["artist"], strict=True))
