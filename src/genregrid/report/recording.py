"""Find the recordings of a grid's tracks, so that a report can play them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from genregrid.errors import UserError
from genregrid.program import install_command
from genregrid.report.cell import Cell
from genregrid.report.rows import datasets

#: URLs of recordings by corpus (`Cell.dataset`) and track name: two corpora may use the same names.
Recordings = Mapping[str, Mapping[str, str]]


def recording_urls(cells: Sequence[Cell], folder: Path | None, page_folder: Path) -> Recordings:
    """Find recordings of tracks of the grid, and return their URLs, relative to the page if possible.

    `folder` has a folder of recordings per genre, which is searched for tracks of every corpus; ``None`` searches
    the folder `audio` beside the feature CSVs of each corpus. A synthetic corpus has no recordings.

    Raises:
        UserError: `folder` has no recording of a track of the grid, or a package for reading folders is missing.
    """
    real = datasets([cell for cell in cells if not cell.facts.synthetic])
    if folder is None:
        roots = {name: own[-1].config.get("dataset", {}).get("root") for name, own in real.items()}
        found = {name: _tracks_or_none(Path(root) / "audio") for name, root in roots.items() if root is not None}
    else:
        found = dict.fromkeys(real, _tracks_in(folder))
    tracks = {name: frozenset[str]().union(*(cell.tracks for cell in own)) for name, own in real.items()}
    urls = {
        name: {track: url_from(page_folder, path) for track, path in paths.items() if track in tracks[name]}
        for name, paths in found.items()
    }
    if folder is not None and not any(urls.values()):
        known = min((track for names in tracks.values() for track in names), default="-")
        raise UserError(f"no recording of a track of these runs, such as {known}", key="audio", value=folder)
    return urls


def _tracks_or_none(folder: Path) -> dict[str, Path]:
    try:
        return _tracks_in(folder)
    except (UserError, OSError):  # of a run folder from elsewhere, whose root may be no path here
        return {}


def _tracks_in(folder: Path) -> dict[str, Path]:
    try:
        from genregrid.features.folder import find_tracks
    except ModuleNotFoundError as error:
        hint = f"`{install_command('audio')}` lets a report find recordings"
        raise UserError("this package is not installed", key=error.name, hint=hint) from None
    return {track.track: track.path for track in find_tracks(folder).tracks}


def url_from(page_folder: Path, path: Path) -> str:
    """Return the URL of a file as a page in a folder links to it: a relative one if possible."""
    try:
        return quote(os.fsencode(Path(os.path.relpath(path.absolute(), page_folder.absolute())).as_posix()))
    except ValueError:  # another drive
        return path.absolute().as_uri()
