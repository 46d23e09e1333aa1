"""Where the recordings of a grid's tracks lie, so that a report can play them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from genregrid.errors import UserError
from genregrid.report.cell import Cell

#: URLs of recordings by corpus (`Cell.dataset`) and track name: two corpora may call their tracks alike.
Recordings = Mapping[str, Mapping[str, str]]


def recording_urls(cells: Sequence[Cell], folder: Path | None, page_folder: Path) -> Recordings:
    """URLs of recordings, relative to the page where they can be.

    Args:
        cells: of the grid.
        folder: a folder with a folder of recordings per genre, in which tracks of every corpus are looked for by name;
            ``None`` looks for a folder `audio` beside the feature CSVs of each corpus.
        page_folder: where the page will lie.

    Returns:
        Recordings of tracks of the grid. A synthetic corpus has none, whatever its tracks are called.

    Raises:
        UserError: `folder` holds no recording of a track of the grid, or reading folders of music is not installed.
    """
    real = {cell.dataset: cell for cell in cells if not cell.facts.synthetic}
    if folder is None:
        roots = {name: Path(cell.config["dataset"]["root"]) for name, cell in real.items() if "dataset" in cell.config}
        found = {name: _tracks_unasked(root / "audio") for name, root in roots.items()}
    else:
        found = dict.fromkeys(real, _tracks_in(folder))
    tracks = {name: {track for cell in cells if cell.dataset == name for track in cell.tracks} for name in real}
    urls = {
        name: {track: _url(path, page_folder) for track, path in paths.items() if track in tracks[name]}
        for name, paths in found.items()
    }
    if folder is not None and not any(urls.values()):
        known = min((track for names in tracks.values() for track in names), default="-")
        raise UserError(f"audio={folder} holds no recording of these runs' tracks, such as {known}.")
    return urls


def _tracks_unasked(folder: Path) -> dict[str, Path]:
    try:
        return _tracks_in(folder)
    except UserError:
        return {}


def _tracks_in(folder: Path) -> dict[str, Path]:
    try:
        from genregrid.features.folder import find_tracks
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error.name} is not installed: `pip install -e ".[audio]"` lets a report find recordings.'
        ) from None
    return {track.track: track.path for track in find_tracks(folder).tracks}


def _url(path: Path, page_folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(path.absolute(), page_folder.absolute())).as_posix())
    except ValueError:  # another drive
        return path.absolute().as_uri()
