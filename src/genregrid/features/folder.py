"""Find the recordings of a corpus, with the genre and the track name of each."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

from genregrid.data.columns import MISSING_WORDS
from genregrid.data.fma import fma_genre, read_fma
from genregrid.data.slice_rows import SEPARATORS, name_of_path
from genregrid.errors import UserError
from genregrid.exhibit.spreadsheet import unguarded
from genregrid.files import check_regular, home_expanded, read_bytes
from genregrid.name import MOST_GENRE_CHARACTERS, look_alikes, name_fault, shown_apart
from genregrid.recording.content import AUDIO_SUFFIXES, READABLE_SUFFIXES, is_recording

_WANTED = "give a folder with one folder per genre, or a CSV of path and label"
_NO_LABELS = "leave it out, as a CSV of path and label has the labels"
_OUTSIDE = "lies outside the folders of genres"
_MOST_LIST_BYTES = 1 << 28  # of a CSV of recordings: a million long paths
_MOST_LIST_COLUMNS = 1000
# What zip files of macOS, network storage and disks have beside one's own folders
_SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "RECYCLER", "lost+found"}
_SYSTEM_FOLDERS |= {"System Volume Information", "@Recycle", "@Recently-Snapshot"}


@dataclass(frozen=True)
class TrackFile:
    """A recording to describe, with its track name (``rock.album_song``); `artist` is empty if unknown."""

    path: Path
    track: str
    genre: str
    artist: str = ""


@dataclass(frozen=True)
class Found:
    """The contents of a folder or a list."""

    source: Path
    tracks: list[TrackFile]  # sorted by track name; each name occurs once
    skipped: list[tuple[Path, str]] = field(default_factory=list)  # with the reason
    ignored: Counter[str] = field(default_factory=Counter)  # number of files that are not audio, by suffix
    is_by_folder: bool = False  # whether the genres are names of folders


def find_tracks(source: Path, labels: Path | None = None) -> Found:
    """Find the recordings of a folder with one folder per genre, or of a CSV with path, label and optionally artist.

    With `labels`, FMA's tracks.csv, the recordings of a folder are named by their number and its genres: ``000182.mp3``
    is ``Rock.000182``.

    A track is named by its genre and its path within the genre's folder: ``rock/Album/01 Song.mp3`` is
    ``rock.Album_01 Song``, and ``blues/blues.00012.wav`` keeps its name.

    Raises:
        UserError: the source is neither of them, or has no recording with a genre.
    """
    if labels is not None:
        if not source.is_dir():
            raise UserError(
                "only the recordings of a folder take labels", key="--labels", value=labels, hint=_NO_LABELS
            )
        found = _unique(source, _in_fma(source, labels))
    elif source.is_dir():
        found = replace(_unique(source, _in_folder(source)), is_by_folder=True)
    elif source.suffix.lower() in AUDIO_SUFFIXES:
        raise UserError("is one recording", key=source, hint=_WANTED)
    else:
        found = _unique(source, _in_list(source))
    if not found.tracks:
        hint = f"put audio files into one folder per genre ({source}/rock/song.mp3), or give a CSV of path and label"
        if any(reason == _OUTSIDE for _, reason in found.skipped):
            name, parent = source.resolve().name, source.parent if source.name else source.resolve().parent
            hint = f"if '{name}' is a genre, give the folder of all genres, {parent}; otherwise {hint}"
        if not source.is_dir():
            hint = "list recordings in the columns path and label"
        such = [f" ({len(found.skipped)} skipped, such as {path}: {reason})" for path, reason in found.skipped[:1]]
        raise UserError(f"has no recording with a genre{''.join(such)}", key=source, hint=hint)
    _check_look_alikes(found)
    return found


def _check_look_alikes(found: Found) -> None:
    """Raise if two genres are one genre in two spellings; they would be two in the CSV."""
    if pair := look_alikes(dict.fromkeys(track.genre for track in found.tracks)):
        first, second = shown_apart(*pair)
        path = next(track.path for track in found.tracks if track.genre == pair[1])
        problem = f"'{second}', the genre of {path}, looks like another spelling of the genre '{first}'"
        which = "folder" if found.is_by_folder else "genre"
        hint = f"make them one {which}; if they are two genres, choose clearer names"
        raise UserError(problem, key=found.source, hint=hint)


def audio_files(path: Path) -> list[Path]:
    """List the audio file itself, or all audio files below a folder, sorted, including formats that need ffmpeg."""
    if not path.is_dir():
        check_regular(path, key=path, hint="give an audio file or a folder of them")
        return [path]
    files = list(filter(is_recording, _files(path)))
    if not files:
        raise UserError(f"holds no audio file ({', '.join(sorted(READABLE_SUFFIXES))})", key=path)
    return files


def recordings_in(paths: Sequence[Path]) -> list[Path]:
    """List recordings and those below folders, each once; errors as in `audio_files`."""
    return list(dict.fromkeys(file for path in paths for file in audio_files(path)))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted, without hidden folders and those of the system.

    Links are followed, and each folder is entered once.
    """

    def refuse(error: OSError) -> None:
        hint = "change its permissions, or move it elsewhere"
        raise UserError(f"cannot be read ({error.strerror})", key=error.filename, hint=hint)

    entered, paths = set(), []
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SYSTEM_FOLDERS]
        if os.path.realpath(here) in entered:
            folders.clear()
        else:
            entered.add(os.path.realpath(here))
            paths += [Path(here, name) for name in names if not _is_hidden(name)]
    yield from sorted(paths)


def _is_hidden(name: str) -> bool:
    """Return whether a file belongs to the system; names of recordings may start with a dot."""
    return name.startswith("._") or (name.startswith(".") and Path(name).suffix.lower() not in READABLE_SUFFIXES)


def _in_folder(folder: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    for path in _files(folder):
        genre, *within = path.relative_to(folder).parts
        if not is_recording(path):
            yield TrackFile(path, "", "")  # it will be ignored, and its folder may have any name
        elif within:
            if fault := _genre_fault(genre):
                raise UserError(fault, key=folder / genre, hint="rename the folder")
            yield TrackFile(path, track_name(genre, Path(*within)), genre)
        else:
            yield path, _OUTSIDE


def _in_fma(folder: Path, labels: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    table = read_fma(labels / "tracks.csv" if labels.is_dir() else labels)
    for path in _files(folder):
        number = int(path.stem) if re.fullmatch(r"[0-9]{1,9}", path.stem) else None
        track = table.get(number) if number is not None else None
        if not is_recording(path):
            yield TrackFile(path, "", "")  # it will be ignored
        elif track is None or number is None:
            yield path, f"its name is no number of a track in {labels.name}"
        elif not track.genre:
            yield path, f"has no top genre in {labels.name}"
        else:
            genre = fma_genre(track.genre)
            if fault := _genre_fault(genre):
                raise UserError(fault, key=labels)
            yield TrackFile(path, f"{genre}.{number:06d}", genre, track.artist)


def _in_list(csv_path: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    try:
        content = read_bytes(csv_path, most_bytes=_MOST_LIST_BYTES, hint=_WANTED)
        with io.StringIO(content.decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if len(reader.fieldnames or ()) > _MOST_LIST_COLUMNS:  # each row takes as long as the header is
                problem = f"has more than {_MOST_LIST_COLUMNS} columns"
                raise UserError(problem, key=csv_path, hint="give the columns path and label")
            missing = [name for name in ("path", "label") if name not in (reader.fieldnames or ())]
            if missing:
                problem = f"lacks the column '{missing[0]}'; found: {', '.join(reader.fieldnames or ()) or 'nothing'}"
                hint = "give the columns path and label, separated by commas"
                raise UserError(problem, key=f"{csv_path}, row 1", hint=hint)
            for cells in reader:
                if more := cells.get(None):  # cells beyond the header's
                    problem = f"it has {len(cells) - 1 + len(more)} cells, and the header has {len(cells) - 1}"
                    hint = 'put quotation marks around a path or label with a comma: "a, b.mp3"'
                    raise UserError(problem, key=f"{csv_path}, row {reader.line_num}", hint=hint)
                texts = (unguarded(str(cells.get(name) or "")) for name in ("path", "label", "artist"))
                path, genre, artist = (text.strip() for text in texts)
                is_path = Path(path).name and "\0" not in path
                if "\\" in path and not (is_path and os.path.exists(csv_path.parent / path)):
                    path = path.replace("\\", "/")  # a list that was made on Windows
                if path.startswith("~") and not os.path.exists(csv_path.parent / path):
                    path = home_expanded(path)
                fault = _genre_fault(genre) if is_path else f"'{path}' is not the path of a file"
                if fault:
                    raise UserError(fault, key=f"{csv_path}, row {reader.line_num}")
                within = Path(path)
                if within.is_absolute() or PureWindowsPath(path).is_absolute() or ".." in within.parts:
                    within = Path(within.name)  # the folders of one machine are not part of the name
                track = TrackFile(csv_path.parent / path, track_name(genre, within), genre, artist)
                yield track if is_recording(track.path) else (track.path, "not an audio file by its ending")
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text", key=csv_path, hint="save the list of path and label as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"not a CSV ({error})", key=f"{csv_path}, row {reader.line_num}") from None


def _genre_fault(genre: str) -> str | None:
    """Return why a feature CSV cannot hold this label, or ``None``."""
    if not genre or genre.lower() in MISSING_WORDS:
        return f"the genre '{genre}' reads as a missing value"
    if SEPARATORS.search(genre):
        return f"the genre {genre!r} contains a full stop, comma, quote, slash or control character"
    if fault := name_fault(genre, MOST_GENRE_CHARACTERS):
        return f"the genre {genre!r} cannot be used: {fault}"
    return None


def track_name(genre: str, within: Path) -> str:
    """Name a track by its genre and its path within the genre's folder, without separators of paths and CSVs.

    >>> track_name("blues", Path("blues.00012.wav")), track_name("rock", Path("Album/01. Song.mp3"))
    ('blues.00012', 'rock.Album_01_ Song')
    >>> track_name("rock", Path("1999.flac"))
    'rock.01999'
    >>> track_name("rock", Path("01. Song"))  # no ending of an audio file
    'rock.01_ Song'
    """
    if re.fullmatch(rf"{re.escape(genre)}\.\d{{5,}}", within.stem):
        return within.stem
    has_ending = within.suffix.lower() in AUDIO_SUFFIXES
    return name_of_path(genre, str(within.with_suffix("") if has_ending else within))


def _unique(source: Path, entries: Iterable[TrackFile | tuple[Path, str]]) -> Found:
    """Collect the tracks, and skip files that cannot be read or whose name is taken."""
    tracks: dict[str, TrackFile] = {}
    genre_of: dict[str, str] = {}
    skipped: list[tuple[int, Path, str]] = []
    ignored = Counter[str]()
    # of two files of one name, that of a format which needs no ffmpeg is taken
    for number, entry in sorted(enumerate(entries), key=lambda numbered: not _is_readable(numbered[1])):
        if not isinstance(entry, TrackFile):
            skipped.append((number, *entry))
            continue
        path, file = entry.path, os.path.abspath(entry.path)  # rock/../jazz/a.mp3 is jazz/a.mp3
        if not entry.track:
            ignored[path.suffix.lower() or "no ending"] += 1
        elif entry.track.encode(errors="replace").decode() != entry.track:
            skipped.append((number, path, "its name is not UTF-8; rename it"))
        elif genre_of.setdefault(file, entry.genre) != entry.genre:
            reason = f"is listed under two genres, {genre_of[file]} and {entry.genre}; keep one"
            skipped.append((number, path, reason))
        elif entry.track in tracks:
            first = tracks[entry.track].path
            reason = f"{first} has the same track name, {entry.track}; rename one"
            skipped.append((number, path, "is listed twice" if file == os.path.abspath(first) else reason))
        else:
            tracks[entry.track] = entry
    found = [(path, reason) for _, path, reason in sorted(skipped)]
    return Found(source, [tracks[name] for name in sorted(tracks)], found, ignored)


def _is_readable(entry: TrackFile | tuple[Path, str]) -> bool:
    return isinstance(entry, TrackFile) and entry.path.suffix.lower() in READABLE_SUFFIXES
