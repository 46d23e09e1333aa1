"""Music of one's own as a feature CSV, which is written once and used again until the recordings change."""

import csv
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from genregrid.data.note import read_note
from genregrid.data.table import peek_slice_seconds
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.spreadsheet import read_csv
from genregrid.features.extraction import extract
from genregrid.features.folder import Found, find_tracks
from genregrid.features.known_recipe import OPTIONS, Choice
from genregrid.features.level import check_level
from genregrid.features.recipe import Recipe, TableKey
from genregrid.parallel.pool import num_cores

_LEARNED = "musicnn-msd"  # the best one for new artists, docs/results.md
_USUAL_SECONDS = 3.0
_HEADER_BYTES = 1 << 16
_FEWEST_TRACKS = 3  # of a genre: one each for training, validation and test


class MusicTable(NamedTuple):
    """A table of music.

    Attributes:
        path: of the feature CSV.
        slice_seconds: length of its slices.
        artists: an artist index; ``None`` if artists are not known.
    """

    path: Path
    slice_seconds: float
    artists: Path | None


def music_table(music: Path, folder: Path, features: str | None, slice_seconds: float | None) -> MusicTable:
    """Return the table of music; recordings are described into `folder` first, if that was not done before.

    Args:
        music: a folder with one folder per genre, a CSV of path and label, or a feature CSV.
        folder: for the table of recordings.
        features: name of the recipe; ``None`` takes the learned one if its weights are here, otherwise `kaggle`.
        slice_seconds: ``None`` takes that of a table, and 3 s for recordings.

    Raises:
        UserError: it holds no music, the recipe is not known, or what it needs is missing.
    """
    if music.is_file() and not _is_list(music):
        note = read_note(music)
        return MusicTable(music, slice_seconds or (note.slice_seconds if note else peek_slice_seconds(music)), None)
    recipe, seconds = _recipe(features), slice_seconds or _USUAL_SECONDS
    found = find_tracks(music)
    check_level(found)
    _check_genres(found)
    path = folder / f"features_{seconds:g}_sec{recipe.file_ending or f'.{recipe.option}'}.csv"
    tracks = path.with_suffix(".tracks.csv")
    if _is_described(found, path, tracks):
        print(f"{printable(str(path))} has these recordings already", flush=True)
    else:
        extract(found, {TableKey(recipe, seconds): path}, num_workers=num_cores(), overwrite=True, show_bar=None)
    _print_lost(found, tracks)
    has_artists = any(track.artist for track in found.tracks)
    return MusicTable(path, seconds, tracks if has_artists else None)


def _recipe(features: str | None) -> Recipe:
    if features is not None and features not in OPTIONS:
        hint = f"choose one of {', '.join(OPTIONS)}"
        raise UserError("it is no recipe", key="features", value=features, hint=hint)
    recipe = OPTIONS[features or _LEARNED](Choice())
    if features is None:
        try:
            recipe.check()
        except UserError:
            return OPTIONS["kaggle"](Choice())
    return recipe


def _check_genres(found: Found) -> None:
    """Raise if no model can be scored on these genres, before the recordings are described, which may take hours."""
    count = Counter(track.genre for track in found.tracks)
    if len(count) == 1:
        problem = f"all its recordings are '{printable(next(iter(count)))}'"
        raise UserError(problem, key=found.source, hint="a model needs two genres or more: add one")
    genre, number = min(count.items(), key=lambda item: item[1])
    if number < _FEWEST_TRACKS:
        problem = f"the genre '{printable(genre)}' has only {counted(number, 'recording')}"
        hint = f"a genre needs {_FEWEST_TRACKS} or more: add some, or leave the genre out"
        raise UserError(problem, key=found.source, hint=hint)


def _print_lost(found: Found, tracks: Path) -> None:
    """Print which genres the model will not know, as no recording of theirs is there or could be described."""
    described = set(read_csv(tracks).query("track.notna() and skipped.isna()")["label"])
    lost = {track.genre for track in found.tracks} - described
    if found.is_by_folder:
        lost |= {path.name for path in found.source.iterdir() if path.is_dir() and path.name[0].isalnum()} - described
    if lost:
        names = ", ".join(printable(genre) for genre in sorted(lost))
        print(f"note: no recording of {names} could be used, so the model will not know it", flush=True)


def _is_list(path: Path) -> bool:
    """Return whether a file is a list of recordings: its header has the columns path and label."""
    with path.open("rb") as file:
        first = file.read(_HEADER_BYTES).decode("utf-8-sig", "replace").splitlines()[:1]
    header = next(csv.reader(first), [])
    return {"path", "label"} <= {name.strip().casefold() for name in header}


def _is_described(found: Found, path: Path, tracks: Path) -> bool:
    """Return whether a table was made of just these recordings, as they are now."""
    if not (path.is_file() and tracks.is_file()):
        return False
    known = read_csv(tracks)
    own = {track.track: os.path.abspath(track.path) for track in found.tracks}
    same = known.dropna(subset=["track"]).set_index("track")["path"].to_dict() == own
    return same and max(os.stat(one).st_mtime for one in own.values()) < path.stat().st_mtime
