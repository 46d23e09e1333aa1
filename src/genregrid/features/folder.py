"""Which recordings there are, what genre each has, and what each is called in a CSV."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genregrid.data.feature_csv import MISSING_WORDS
from genregrid.errors import UserError
from genregrid.features.audio import READABLE_SUFFIXES, UNREADABLE_SUFFIXES, why_unreadable

# what separates a name's parts, a path's or a CSV's cells, and what no text file holds
_UNFIT = re.compile(r'[./\\,"\x00-\x1f]')


@dataclass(frozen=True)
class TrackFile:
    """A recording to describe.

    Attributes:
        path: of the file.
        track: what its rows are called: ``rock.album_song``.
        genre: its label.
        artist: who plays, empty where unknown.
    """

    path: Path
    track: str
    genre: str
    artist: str = ""


@dataclass(frozen=True)
class Found:
    """What a folder or a list holds.

    Attributes:
        source: the folder or list.
        tracks: sorted by track name, each name once.
        skipped: (file, reason) of recordings that cannot be named or read.
        left_aside: how many files of each ending are no audio.
    """

    source: Path
    tracks: list[TrackFile]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    left_aside: Counter[str] = field(default_factory=Counter)


def find_tracks(source: Path) -> Found:
    """The recordings of a folder with one folder per genre, or of a CSV with the columns path, label and maybe artist.

    A track is called by its genre and its path within it: ``rock/Album/01 Song.mp3`` is ``rock.Album_01 Song``, and
    ``blues/blues.00012.wav`` keeps its name.

    Raises:
        UserError: the source is neither, or holds no recording with a genre.
    """
    if source.is_dir():
        found = _unique(source, _in_folder(source))
    elif source.suffix.lower() in READABLE_SUFFIXES | UNREADABLE_SUFFIXES:
        raise UserError(
            f"{source} is one recording: give a folder with a folder per genre, or a CSV of path and label."
        )
    elif source.is_file():
        found = _unique(source, _in_list(source))
    else:
        raise UserError(f"{source} does not exist: give a folder with a folder per genre, or a CSV of path and label.")
    if not found.tracks:
        wanted = "it should list recordings in the columns path and label."
        if source.is_dir():
            wanted = (
                f"put audio files into one folder per genre ({source}/rock/song.mp3), or give a CSV of path and label."
            )
        such = [f" {len(found.skipped)} skipped, such as {path}: {reason}." for path, reason in found.skipped[:1]]
        raise UserError(f"{source} holds no recording with a genre: {wanted}{''.join(such)}")
    return found


def audio_files(path: Path) -> list[Path]:
    """The audio file itself, or all of them below a folder, sorted; those that cannot be read among them.

    Raises:
        UserError: there is no such file, or no audio in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist: give an audio file or a folder of them.")
    files = [p for p in _files(path) if p.suffix.lower() in READABLE_SUFFIXES | UNREADABLE_SUFFIXES]
    if not files:
        raise UserError(f"{path} holds no audio file ({', '.join(sorted(READABLE_SUFFIXES))}).")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, sorted, but for those in hidden folders; links are followed, each folder entered once.

    Raises:
        UserError: a folder cannot be entered.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): allow it, or move it elsewhere.")

    entered = set()
    paths = []
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if os.path.realpath(here) in entered:
            folders.clear()
            continue
        entered.add(os.path.realpath(here))
        paths += [Path(here, name) for name in names if not _is_hidden(name)]
    yield from sorted(paths)


def _is_hidden(name: str) -> bool:
    """Whether a file is a system's own; a song may begin with dots."""
    return name.startswith("._") or (name.startswith(".") and Path(name).suffix.lower() not in READABLE_SUFFIXES)


def _in_folder(folder: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    for path in _files(folder):
        genre, *within = path.relative_to(folder).parts
        if within:
            if fault := _genre_fault(genre):
                raise UserError(f"{folder / genre}: {fault}; rename the folder.")
            yield TrackFile(path, track_name(genre, Path(*within)), genre)
        elif path.suffix.lower() in READABLE_SUFFIXES:
            yield path, "lies outside the folders of genres"
        else:
            yield TrackFile(path, "", "")  # no audio, and so left aside


def _in_list(csv_path: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in ("path", "label") if name not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise UserError(
                    f"{csv_path}, row 1: lacks the column '{missing[0]}'; it needs path and label, divided by commas; "
                    f"found: {found}."
                )
            for cells in reader:
                path, genre, artist = (str(cells.get(name) or "").strip() for name in ("path", "label", "artist"))
                is_path = Path(path).name and "\0" not in path
                fault = _genre_fault(genre) if is_path else f"'{path}' is no path of a file"
                if fault:
                    raise UserError(f"{csv_path}, row {reader.line_num}: {fault}.")
                within = Path(path)
                # where one machine has a file is no part of its name
                if within.is_absolute() or ".." in within.parts:
                    within = Path(within.name)
                track = TrackFile(csv_path.parent / path, track_name(genre, within), genre, artist)
                known = track.path.suffix.lower() in READABLE_SUFFIXES | UNREADABLE_SUFFIXES
                yield track if known else (track.path, "not an audio file by its ending")
    except UnicodeDecodeError:
        raise UserError(f"{csv_path} is not UTF-8 text: save the list of path and label as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{csv_path}, row {reader.line_num}: not a CSV ({error}).") from None
    except OSError as error:
        raise UserError(f"{csv_path} cannot be read ({error.strerror}).") from None


def _genre_fault(genre: str) -> str | None:
    """Why a feature CSV could not hold this label."""
    if not genre or genre.lower() in MISSING_WORDS:
        return f"the genre '{genre}' reads as a missing value"
    if "." in genre or _UNFIT.search(genre):
        return f"a genre's name has no full stop, comma, quote or line break, but {genre!r} has"
    return None


def track_name(genre: str, within: Path) -> str:
    """Name of a track: its genre, and its path within the genre's folder without what a CSV or a path divides by.

    >>> track_name("blues", Path("blues.00012.wav")), track_name("rock", Path("Album/01. Song.mp3"))
    ('blues.00012', 'rock.Album_01_ Song')
    >>> track_name("rock", Path("1999.flac"))
    'rock.01999'
    """
    if re.fullmatch(rf"{re.escape(genre)}\.\d{{5,}}", within.stem):
        return within.stem
    stem = _UNFIT.sub("_", str(within.with_suffix(""))).strip() or "_"
    return f"{genre}.{stem.zfill(5) if stem.isdecimal() else stem}"  # short numbers are those of slices


def _unique(source: Path, entries: Iterable[TrackFile | tuple[Path, str]]) -> Found:
    """Sort out what cannot be read or named, and name twins."""
    tracks: dict[str, TrackFile] = {}
    genre_of: dict[Path, str] = {}
    skipped, left_aside = [], Counter[str]()
    for entry in entries:
        path = entry.path if isinstance(entry, TrackFile) else entry[0]
        suffix = path.suffix.lower()
        if not isinstance(entry, TrackFile):
            skipped.append(entry)
        elif suffix in UNREADABLE_SUFFIXES:
            skipped.append((path, why_unreadable(path)))
        elif suffix not in READABLE_SUFFIXES:
            left_aside[suffix or "no ending"] += 1
        elif not _is_text(entry.track):
            skipped.append((path, "its name is not UTF-8; rename it"))
        elif genre_of.setdefault(path, entry.genre) != entry.genre:
            skipped.append((path, f"stands under two genres, {genre_of[path]} and {entry.genre}; keep one"))
        elif entry.track in tracks:
            first = tracks[entry.track].path
            skipped.append(
                (path, "is listed twice" if path == first else f"{first} is called {entry.track} already; rename one")
            )
        else:
            tracks[entry.track] = entry
    return Found(source, [tracks[name] for name in sorted(tracks)], skipped, left_aside)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
