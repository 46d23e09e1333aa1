"""Read artist indices and published lists of tracks."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from genregrid.data.scan import place
from genregrid.data.slice_rows import TRACK_PATTERN
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import read_bytes
from genregrid.name import MOST_TRACK_CHARACTERS, one_form

# A million tracks with 250 bytes each; the largest public index, of the Million Song Dataset, has 84 MB.
_MOST_BYTES = 250_000_000
# Characters of a line or a name within a sentence.
_SHOWN = 60
_AUDIO_ENDING = re.compile(r"\.(wav|mp3|flac|ogg|au|aiff?)$", re.IGNORECASE)


def read_artists(path: Path) -> dict[str, str]:
    """Read the artist of each track, by track name in the form of `one_form`; tracks of unknown artist are missing.

    The file has one of two forms: a CSV with the columns `track` and `artist`, or lines `FILE ::: ARTIST ::: TITLE`
    and comments that start with ``##``.

    Source: the second form is B. L. Sturm's GTZANindex, "An Analysis of the GTZAN Music Genre Dataset", MIRUM 2012.

    Raises:
        UserError: the file is missing or has neither form.
    """
    text = _text(path, "an artist index")
    header = text.partition("\n")[0].strip()
    if ":::" not in text or {"track", "artist"} <= {name.strip('"') for name in header.split(",")}:
        return _artists_from_csv(text, path)
    artists: dict[str, str] = {}
    for row, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.startswith("##") or not line.strip():
            continue
        fields = [field.strip() for field in line.split(":::")]
        if len(fields) < 2:
            found = printable(line.strip(), _SHOWN)
            raise UserError(f"expected `FILE ::: ARTIST ::: TITLE`, found '{found}'", key=place(path, row))
        if artist := _name(fields[1]):
            track = _track_name(fields[0], path, row)
            if artists.setdefault(track, artist) != artist:
                first = printable(artists[track], _SHOWN)
                raise UserError(f"{_shown(track)} has the artist '{first}' already", key=place(path, row))
    return artists


def read_lists(paths: Mapping[str, Path]) -> dict[str, str]:
    r"""Read the part of each track, by track name in the form of `one_form`, from the list of each part.

    Lines are ``blues/blues.00029.wav``, ``blues\blues.00029.wav`` or ``blues.00029``; parts are named as in "train".

    Raises:
        UserError: a list is missing, a line names no track, or a track is in two lists.
    """
    part_of: dict[str, str] = {}
    for part, path in paths.items():
        text = _text(path, f"the list of the part '{part}'")
        for row, line in enumerate(io.StringIO(text, newline=None), start=1):
            if not line.strip():
                continue
            track = _track_name(line.strip(), path, row)
            if part_of.setdefault(track, part) != part:
                problem = f"{_shown(track)} is in the list of '{part_of[track]}' already"
                raise UserError(problem, key=place(path, row))
    return part_of


def _text(path: Path, what: str) -> str:
    content = read_bytes(path, most_bytes=_MOST_BYTES, hint=f"it should be {what}")
    try:
        if b"\0" not in content:
            return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise UserError("it is not UTF-8 text", key=path, hint=f"save {what} as UTF-8")


def _shown(name: str) -> str:
    """Return a name as part of a sentence."""
    return printable(name, _SHOWN)


def _name(text: str) -> str:
    """Return the name of an artist or a track in one form, so that one artist does not become two."""
    return one_form(unguarded(text).strip())


def _track_name(text: str, path: Path, row: int) -> str:
    track = _without_folders(_AUDIO_ENDING.sub("", unguarded(text).rpartition("/")[2]))
    if len(track) > MOST_TRACK_CHARACTERS or re.fullmatch(TRACK_PATTERN, track) is None:
        raise UserError(f"'{_shown(text)}' names no track of the form genre.NNNNN", key=place(path, row))
    return one_form(track)


def _without_folders(track: str) -> str:
    r"""Return a track's name without the folders before it, which slashes or backslashes divide.

    Other systems than Windows allow a backslash in a name: what follows it must have the form of a track's name.

    >>> print(_without_folders("C:\\music\\rock\\rock.00001"), _without_folders("rock.AC\\DC"))
    rock.00001 rock.AC\DC
    """
    last = re.split(r"[/\\]", track)[-1]
    return last if re.fullmatch(TRACK_PATTERN, last) else track


def _artists_from_csv(text: str, path: Path) -> dict[str, str]:
    artists: dict[str, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # a quotation mark that is not closed is an error
    try:
        columns = next(reader, [])
        if text.strip() and not columns:
            raise UserError("it is empty; expected track,artist", key=place(path, 1), hint="delete empty lines")
        track_at, artist_at = columns.index("track"), columns.index("artist")
        if columns.count("track") + columns.count("artist") > 2:
            raise UserError("it has the column 'track' or 'artist' twice", key=path)
        for cells in reader:
            if len(cells) <= max(track_at, artist_at):
                if not any(map(str.strip, cells)):
                    continue
                problem = f"{counted(len(cells), 'field')}, but the header has {len(columns)}"
                raise UserError(problem, key=place(path, reader.line_num))
            if any(map(str.strip, cells[len(columns) :])):
                problem = f"{counted(len(cells), 'field')}, but the header has {len(columns)}"
                hint = "put quotation marks around a name with a comma"
                raise UserError(problem, key=place(path, reader.line_num), hint=hint)
            track, artist = _name(_without_folders(unguarded(cells[track_at]).strip())), _name(cells[artist_at])
            if artist and artists.setdefault(track, artist) != artist:
                raise UserError(f"{_shown(track)} has two artists", key=path, hint="keep one line of each track")
    except UserError:
        raise
    except (ValueError, csv.Error):
        problem = "it is no artist index; expected a CSV with the columns track and artist, or lines "
        raise UserError(f"{problem}`FILE ::: ARTIST ::: TITLE`", key=path) from None
    return artists
