"""Where the recordings of a grid's tracks lie, so that a report can play them."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from genregrid.errors import UserError
from genregrid.report.grid import Cell


def recording_urls(cells: Sequence[Cell], folder: Path | None, page_folder: Path) -> dict[str, str]:
    """URLs of recordings by track name, relative to the page where they can be.

    Args:
        cells: of the grid.
        folder: a folder with a folder of recordings per genre; ``None`` looks for a folder `audio` beside the feature
            CSVs of the grid's corpora.
        page_folder: where the page will lie.

    Returns:
        URLs of tracks of the grid; empty where there are none. A synthetic corpus has no recordings, whatever its
        tracks are called.

    Raises:
        UserError: `folder` holds no recording of a track of the grid, or reading folders of music is not installed.
    """
    real = [cell for cell in cells if not cell.facts["synthetic"]]
    tracks = {track for cell in real for track in cell.predictions["track"]}
    roots = {str(cell.config["dataset"]["root"]) for cell in real if "dataset" in cell.config}
    folders = [folder] if folder is not None else [Path(root) / "audio" for root in sorted(roots)]
    found: dict[str, Path] = {}
    for place in folders:
        try:
            found |= _tracks_in(place)
        except UserError:
            if folder is not None:  # else nobody asked for players
                raise
    urls = {track: _url(path, page_folder) for track, path in found.items() if track in tracks}
    if folder is not None and not urls:
        raise UserError(f"audio={folder} holds no recording of these runs' tracks, such as {min(tracks, default='-')}.")
    return urls


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
