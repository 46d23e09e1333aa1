"""Which recordings there are, what genre each has, and what each is called in a CSV."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genregrid.data.feature_csv import TRACK_PATTERN
from genregrid.errors import UserError
from genregrid.features.audio import READABLE_SUFFIXES, UNREADABLE_SUFFIXES


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
        tracks: sorted by track name, each name once.
        skipped: (file, reason) of recordings that cannot be named or read.
        left_aside: how many files of each ending are no audio.
    """

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
        found = _unique(_in_folder(source))
    elif source.is_file():
        found = _unique(_in_list(source))
    else:
        raise UserError(
            f"{source} does not exist: give a folder with one folder per genre, or a CSV of path and label."
        )
    if not found.tracks:
        raise UserError(
            f"{source} holds no recording with a genre: put audio files into one folder per genre "
            f"({source}/rock/song.mp3), or give a CSV with the columns path and label."
        )
    return found


def audio_files(path: Path) -> list[Path]:
    """The audio file itself, or all of them below a folder, sorted.

    Raises:
        UserError: there is no such file, or no audio in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist: give an audio file or a folder of them.")
    files = [p for p in _files(path) if p.suffix.lower() in READABLE_SUFFIXES]
    if not files:
        raise UserError(f"{path} holds no audio file ({', '.join(sorted(READABLE_SUFFIXES))}).")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder but for hidden ones, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _in_folder(folder: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    for path in _files(folder):
        genre, *within = path.relative_to(folder).parts
        if not within and path.suffix.lower() in READABLE_SUFFIXES:
            yield path, "lies outside the folders of genres"
        elif "." in genre and within:
            raise UserError(f"{folder / genre}: a genre's name has no full stop; rename the folder.")
        else:
            yield TrackFile(path, _track_name(genre, Path(*within) if within else Path(genre)), genre)


def _in_list(csv_path: Path) -> Iterator[TrackFile | tuple[Path, str]]:
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("path", "label") if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{csv_path}, row 1: lacks the column '{missing[0]}'; it needs path and label.")
            for cells in reader:
                path, genre = (str(cells[name] or "").strip() for name in ("path", "label"))
                if not path or not genre or "." in genre:
                    raise UserError(
                        f"{csv_path}, row {reader.line_num}: expected a path and a label without a full stop, found "
                        f"'{path}' and '{genre}'."
                    )
                artist = str(cells.get("artist") or "").strip()
                track = TrackFile(csv_path.parent / path, _track_name(genre, Path(path)), genre, artist)
                known = track.path.suffix.lower() in READABLE_SUFFIXES | UNREADABLE_SUFFIXES
                yield track if known else (track.path, "not an audio file by its ending")
    except UnicodeDecodeError:
        raise UserError(f"{csv_path} is not UTF-8 text: save the list of path and label as UTF-8.") from None


def _track_name(genre: str, within: Path) -> str:
    """Name of a track.

    >>> _track_name("blues", Path("blues.00012.wav")), _track_name("rock", Path("Album/01. Song.mp3"))
    ('blues.00012', 'rock.Album_01_ Song')
    >>> _track_name("rock", Path("1999.flac"))
    'rock.01999'
    """
    stem = str(within.with_suffix(""))
    if stem.startswith(f"{genre}.") and re.fullmatch(TRACK_PATTERN, stem):
        return stem
    # what separates a name's parts, a path's or a CSV's cells, and what no text file holds
    stem = re.sub(r'[./\\,"\x00-\x1f]', "_", stem).strip()
    return f"{genre}.{stem.zfill(5) if stem.isdigit() else stem}"  # short numbers are those of slices


def _unique(entries: Iterable[TrackFile | tuple[Path, str]]) -> Found:
    """Sort out what cannot be read or named, and name twins."""
    tracks: dict[str, TrackFile] = {}
    skipped, left_aside = [], Counter[str]()
    for entry in entries:
        path = entry.path if isinstance(entry, TrackFile) else entry[0]
        suffix = path.suffix.lower()
        if not isinstance(entry, TrackFile):
            skipped.append(entry)
        elif suffix in UNREADABLE_SUFFIXES:
            skipped.append((path, f"{suffix} is not read; convert it to wav, flac, ogg or mp3"))
        elif suffix not in READABLE_SUFFIXES:
            left_aside[suffix or "no ending"] += 1
        elif not _is_text(entry.track):
            skipped.append((path, "its name is not UTF-8; rename it"))
        elif entry.track in tracks:
            skipped.append((path, f"would be called {entry.track}, as {tracks[entry.track].path} is; rename one"))
        else:
            tracks[entry.track] = entry
    return Found([tracks[name] for name in sorted(tracks)], skipped, left_aside)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
