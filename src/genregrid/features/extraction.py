"""A corpus of recordings becomes feature CSVs: all cores, or a cluster; restartable; each file whole or not there."""

import csv
import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from genregrid.data.note import RecipeNote, note_path
from genregrid.errors import UserError
from genregrid.features.cluster import describe_on_cluster
from genregrid.features.folder import Found, TrackFile
from genregrid.features.journal import Described, Journal, seconds_key
from genregrid.features.recipe import Recipe
from genregrid.features.workers import describe_files


@dataclass(frozen=True)
class OutputPaths:
    """Where an extraction writes.

    Attributes:
        csvs: the CSV of each slice length in seconds.
    """

    csvs: dict[float, Path]

    @property
    def tracks(self) -> Path:
        """The list of what became of each recording."""
        first = next(iter(self.csvs.values()))
        return first.with_suffix(".tracks.csv") if len(self.csvs) == 1 else first.with_name("tracks.csv")

    @property
    def journal(self) -> Path:
        """The journal, while the extraction lasts."""
        return self.tracks.with_name(self.tracks.stem.removesuffix(".tracks") + ".partial")

    @property
    def all(self) -> list[Path]:
        """Every file that is written."""
        return [*self.csvs.values(), *map(note_path, self.csvs.values()), self.tracks, self.journal]


@dataclass(frozen=True)
class Written:
    """How much a CSV holds."""

    num_slices: int
    num_tracks: int
    num_genres: int


@dataclass(frozen=True)
class Extracted:
    """What an extraction has written.

    Attributes:
        written: what the CSV of each slice length in seconds holds; a length without rows has no CSV.
        num_tracks: recordings described.
        num_skipped: recordings that are in no CSV.
        tracks_path: the CSV that says what became of each recording.
    """

    written: dict[float, Written]
    num_tracks: int
    num_skipped: int
    tracks_path: Path


def extract(
    found: Found,
    outputs: Mapping[float, Path],
    recipe: Recipe,
    *,
    num_workers: int = 1,
    ray_address: str | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
    show_bar: bool | None = False,
) -> Extracted:
    """Describe recordings and write one CSV per slice length, the note of its recipe, and the list of tracks.

    A run that is stopped leaves a journal beside the first CSV; the same call goes on from it.

    Args:
        found: the recordings.
        outputs: path of the CSV of each slice length in seconds.
        recipe: how to describe them.
        num_workers: processes, at least 1.
        ray_address: of a Ray cluster that describes in their place, ``auto`` or ``HOST:PORT`` of its head.
        overwrite: whether CSVs that are there already are replaced.
        tell: is given one line for every recording that is skipped or odd.
        show_bar: whether to show a progress bar; ``None`` shows one on a terminal.

    Raises:
        UserError: an output is there already or cannot be written, no recording could be described, or there is no such
            cluster.
    """
    paths = OutputPaths(dict(outputs))
    there = [path for path in (*outputs.values(), paths.tracks) if path.exists()]
    if there and not overwrite and not paths.journal.exists():
        raise _there_already(there[0])
    if found.source.resolve() in {path.resolve() for path in paths.all}:
        raise UserError(f"{found.source} is the list itself and would be replaced: say another --out.")
    try:
        journal = Journal(paths.journal, found.source, recipe, list(outputs))
    except OSError as error:
        raise UserError(f"{paths.journal} cannot be written ({error.strerror}): say another --out.") from None
    try:
        if there and not overwrite and not journal.is_being_written_out:
            raise _there_already(there[0])
        todo = [track for track in found.tracks if not journal.has(track)]
        if ray_address is None or not todo:
            work = describe_files(todo, recipe, list(outputs), min(num_workers, max(len(todo), 1)))
        else:
            work = describe_on_cluster(todo, recipe, list(outputs), ray_address)
        skipped = _keep_all(work, found, len(todo), journal, tell, show_bar)
        kept = [track for track in found.tracks if track.track not in skipped]
        if not kept:
            journal.finish()
            raise UserError(f"none of {len(found.tracks)} recordings could be described, and nothing was written.")
        journal.write_out()
        written = {s: _write_features(path, journal, kept, recipe, s) for s, path in outputs.items()}
        _write_tracks(paths.tracks, found, journal)
        journal.finish()
    finally:
        journal.close()
    return Extracted(written, len(kept), len(skipped) + len(found.skipped), paths.tracks)


def _there_already(path: Path) -> UserError:
    return UserError(f"{path} is there already: say --overwrite to replace it, or another --out.")


def _keep_all(
    work: Generator[Described],
    found: Found,
    num_todo: int,
    journal: Journal,
    tell: Callable[[str], None],
    show_bar: bool | None,
) -> set[str]:
    """Write what the journal lacks into it, as it is described; the names of all tracks that were skipped."""
    num_done = len(found.tracks) - num_todo
    if num_done:
        tell(f"going on: {num_done} of {len(found.tracks)} recordings are in {journal.path} already")
    for path, reason in found.skipped:
        tell(f"skipped {path}: {reason}")
    skipped = set()
    disable = None if show_bar is None else not show_bar
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(found.tracks), initial=num_done, unit="track", disable=disable))
        for described in stack.enter_context(closing(work)):
            journal.add(described)
            if described.skipped:
                skipped.add(described.track)
                tell(f"skipped {described.path}: {described.skipped}")
            elif described.notes:
                tell(f"noted {described.path}: {'; '.join(described.notes)}")
            bar.update()
    return skipped


def _write_features(
    path: Path, journal: Journal, tracks: Sequence[TrackFile], recipe: Recipe, seconds: float
) -> Written:
    """Write the CSV of one slice length and the note of its recipe; where there are no rows, no file is left.

    Rows are called ``TRACK.SLICE.wav``, or ``TRACK.wav`` where no track has more than one.
    """
    num_slices = [journal.num_slices(track, seconds) for track in tracks]
    genres = {track.genre for track, num in zip(tracks, num_slices, strict=True) if num}
    written = Written(sum(num_slices), sum(num > 0 for num in num_slices), len(genres))
    if written.num_slices == 0:
        path.unlink(missing_ok=True)
        note_path(path).unlink(missing_ok=True)
        return written
    is_sliced = max(num_slices) > 1
    with _replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "length", *recipe.feature_names, "label"])
        for described in journal.entries(tracks):
            for index, (length, *features) in enumerate(described.rows[seconds_key(seconds)]):
                place = f".{index}" if is_sliced else ""
                writer.writerow([f"{described.track}{place}.wav", int(length), *features, described.genre])
    with path.open("rb") as whole:
        note = RecipeNote(recipe.name, seconds, hashlib.file_digest(whole, "sha256").hexdigest())
    with _replacing(note_path(path)) as file:
        file.write(note.to_json())
    return written


def _write_tracks(path: Path, found: Found, journal: Journal) -> None:
    """Write what became of every recording; with its columns track and artist it is an artist index too."""

    def cells(described: Described) -> list[Any]:
        d = described
        return [d.track, d.genre, d.artist, os.path.abspath(d.path), d.seconds, d.skipped, "; ".join(d.notes)]

    with _replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["track", "label", "artist", "path", "seconds", "skipped", "notes"])
        writer.writerows(cells(described) for described in journal.entries(found.tracks))
        writer.writerows(["", "", "", os.path.abspath(skipped), "", reason, ""] for skipped, reason in found.skipped)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A text file that takes the place of `path` once it is whole.

    Raises:
        UserError: it cannot be written; what stood there stays.
    """
    part = path.with_name(path.name + ".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # names of files may hold what is no UTF-8
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # whole before it takes the old one's place
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"{path} cannot be written ({error.strerror}): mend that and run the same command again; nothing that was "
            "described is lost."
        ) from None
