"""Read artist indices and published lists of tracks."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from genregrid.data.slice_rows import TrackNames, plain_track, unquoted
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import KIND_BYTES, file_kind, read_bytes
from genregrid.name import MOST_TRACK_CHARACTERS, folded, one_form
from genregrid.tablefile.scan import place

# A million tracks with 250 bytes each; the largest public index, of the Million Song Dataset, has 84 MB.
_MOST_BYTES = 250_000_000
# Characters of a line or a name within a sentence.
_SHOWN = 60
# Lines above the header of a CSV: comments, and the separator that spreadsheets write.
_ABOVE = re.compile(r'#|"?sep=.?"?\r?$', re.IGNORECASE | re.MULTILINE)
# Columns of a CSV that name a track; the first of them that it has is read.
_TRACK_COLUMNS = ("track", "filename", "file", "path")


def read_artists(path: Path, tracks: Iterable[str] = ()) -> dict[str, str]:
    """Read the artist of each track, by track name in the form of `one_form`; tracks of unknown artist are missing.

    The file has one of two forms: a CSV with the columns `track` (or `filename`, `file`, `path`) and `artist`, or lines
    `FILE ::: ARTIST ::: TITLE` and comments that start with ``##``. In both, names may be those of files: `TrackNames`
    finds the tracks.

    Args:
        path: of the file.
        tracks: of the table. Names that are none of them stay in the result.

    Source: the second form is B. L. Sturm's GTZANindex, "An Analysis of the GTZAN Music Genre Dataset", MIRUM 2012.

    Raises:
        UserError: the file is missing or has neither form, a track has two artists, or the file names less than half of
            the tracks while most of its own names are no tracks of the table.
    """
    text = _text(path, "an artist index")
    header = text.partition("\n")[0].strip()
    is_csv = ":::" not in text or "artist" in {folded(name.strip('"')) for name in header.split(",")}
    names = TrackNames(tracks)
    artists: dict[str, str] = {}
    rows: dict[str, int] = {}  # the first of each track
    num_named = num_others = 0
    other = ""
    for row, written, artist in (_csv_rows if is_csv else _index_rows)(text, path):
        track = names.find(written)
        if track is not None:
            num_named += track not in rows
        else:
            track = plain_track(written)
            if track is None:
                if not is_csv:
                    raise _no_track(written, path, row)
                track = one_form(unquoted(written))
            if names.tracks and track not in rows:
                num_others += 1
                other = other or written
        first_row = rows.setdefault(track, row)
        if artist and folded(artists.setdefault(track, artist)) != folded(artist):
            problem = f"{_shown(track)} has the artist '{_shown(artist)}' here and '{_shown(artists[track])}' in row "
            raise UserError(problem + str(first_row), key=place(path, row), hint="keep one artist of each track")
    if 2 * num_named < len(names.tracks) and num_others > num_named:
        problem = (
            f"it names {num_named} of the {len(names.tracks)} tracks, and {num_others} of its names are no tracks: "
        )
        problem += f"it has such as '{_shown(other)}', and the table '{_shown(min(names.tracks - rows.keys()))}'"
        raise UserError(problem, key=path, hint="write the names as in the table, or leave rows of other tracks out")
    return artists


def read_lists(paths: Mapping[str, Path], tracks: Iterable[str] = ()) -> dict[str, str]:
    r"""Read the part of each track, by track name in the form of `one_form`, from the list of each part.

    Lines are ``blues/blues.00029.wav``, ``blues\blues.00029.wav`` or ``blues.00029``; parts are named as in "train".
    With the `tracks` of the table, `TrackNames` finds them, also where a genre or its number follows the name; names
    that are none of them stay in the result.

    Raises:
        UserError: a list is missing, a line names no track, or a track is in two lists.
    """
    names = TrackNames(tracks)
    part_of: dict[str, str] = {}
    for part, path in paths.items():
        text = _text(path, f"the list of the part '{part}'")
        for row, line in enumerate(io.StringIO(text, newline=None), start=1):
            if not (written := unguarded(line.strip())):
                continue
            track = names.find(written) or _before_label(written, names) or plain_track(written)
            if track is None and (written.startswith("#") or (row == 1 and folded(written) in _TRACK_COLUMNS)):
                continue  # a comment, or a header
            if track is None or len(track) > MOST_TRACK_CHARACTERS:
                raise _no_track(written, path, row)
            if part_of.setdefault(track, part) != part:
                problem = f"{_shown(track)} is in the list of '{part_of[track]}' already"
                raise UserError(problem, key=place(path, row))
    return part_of


def _before_label(written: str, names: TrackNames) -> str | None:
    """Return the track of a line that has a name and its label; ``None`` if the rest is neither genre nor number."""
    for separator in "\t,; ":
        name, found, label = written.partition(separator)
        if found and (track := names.find(name.strip())) is not None:
            label = folded(label.strip("\t,; "))
            if label.isdecimal() or folded(track).startswith(f"{label}."):
                return track
    return None


def _text(path: Path, what: str) -> str:
    content = read_bytes(path, most_bytes=_MOST_BYTES, hint=f"it should be {what}")
    if kind := file_kind(content[:KIND_BYTES]):
        raise UserError(f"it is {kind.name}, and text in UTF-8 is needed", key=path, hint=f"save {what} as UTF-8 text")
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
    """Return the name of an artist in one form, so that one artist does not become two."""
    return one_form(unquoted(unguarded(text.strip())))


def _no_track(written: str, path: Path, row: int) -> UserError:
    return UserError(f"'{_shown(written)}' names no track of the form genre.NNNNN", key=place(path, row))


def _index_rows(text: str, path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and artist, which may be empty, of each line of an index."""
    for row, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.startswith("##") or not line.strip():
            continue
        fields = [field.strip() for field in line.split(":::")]
        if len(fields) < 2:
            found = _shown(line.strip())
            raise UserError(f"expected `FILE ::: ARTIST ::: TITLE`, found '{found}'", key=place(path, row))
        written = unguarded(fields[0])
        if len(written) > MOST_TRACK_CHARACTERS:
            raise _no_track(written, path, row)
        yield row, written, _name(fields[1])


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield row, name and artist, which may be empty, of each row of a CSV that has a name."""
    num_skipped = start = 0
    while _ABOVE.match(text, start) and (end := text.find("\n", start) + 1):
        if "artist" in {folded(unquoted(name)) for name in text[start:end].split(",")}:
            break  # the sign is the name of a column
        num_skipped, start = num_skipped + 1, end
    # a quotation mark that is not closed is an error; one after a blank is one too
    reader = csv.reader(io.StringIO(text[start:], newline=""), strict=True, skipinitialspace=True)
    try:
        columns = next(reader, [])
        if text[start:].strip() and not columns:
            key = place(path, 1 + num_skipped)
            raise UserError("it is empty; expected track,artist", key=key, hint="delete empty lines")
        columns = [folded(unquoted(name)) for name in columns]
        named = next((name for name in _TRACK_COLUMNS if name in columns), None)
        if named is None or "artist" not in columns:
            raise _no_index(path, columns)
        track_at, artist_at = columns.index(named), columns.index("artist")
        if columns.count(named) + columns.count("artist") > 2:
            raise UserError(f"it has the column '{named}' or 'artist' twice", key=path)
        for cells in reader:
            if len(cells) <= max(track_at, artist_at):
                if not any(map(str.strip, cells)):
                    continue
                problem = f"{counted(len(cells), 'field')}, but the header has {len(columns)}"
                raise UserError(problem, key=place(path, num_skipped + reader.line_num))
            if any(map(str.strip, cells[len(columns) :])):
                problem = f"{counted(len(cells), 'field')}, but the header has {len(columns)}"
                hint = "put quotation marks around a name with a comma"
                raise UserError(problem, key=place(path, num_skipped + reader.line_num), hint=hint)
            if written := unguarded(cells[track_at].strip()):
                yield num_skipped + reader.line_num, written, _name(cells[artist_at])
    except UserError:
        raise
    except csv.Error:
        raise _no_index(path, []) from None


def _no_index(path: Path, columns: list[str]) -> UserError:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in columns[0]:
            return UserError(f"its columns are separated by {name}", key=path, hint="save it with commas")
    problem = "it is no artist index; expected a CSV with the columns track and artist, or lines "
    problem += "`FILE ::: ARTIST ::: TITLE`"
    has = f"its columns are {printable(', '.join(columns), _SHOWN)}" if len(columns) > 1 else None
    return UserError(problem, key=path, hint=has)
