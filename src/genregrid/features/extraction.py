"""Describe a corpus of recordings and write feature CSVs; an interrupted run resumes, and no CSV is half written."""

import csv
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from genregrid.data.note import RecipeNote, note_path
from genregrid.errors import UserError, printable
from genregrid.exhibit.spreadsheet import guarded
from genregrid.features.folder import Found, TrackFile
from genregrid.features.journal import Described, Journal, journal_errors
from genregrid.features.level import genre_lines
from genregrid.features.recipe import TableKey
from genregrid.features.workers import describe_files, describe_on_cluster
from genregrid.files import sha256_of

_LONGEST_PATH = 1000  # characters of a path that are printed; the list of tracks has all


@dataclass(frozen=True)
class Written:
    """How much a CSV holds."""

    num_slices: int
    num_tracks: int
    num_genres: int


@dataclass(frozen=True)
class Extracted:
    """The result of an extraction."""

    written: dict[TableKey, Written]  # the CSV of each table; a table without rows has none
    num_tracks: int  # recordings described
    num_skipped: int
    tracks_path: Path  # the CSV that lists the result of each recording


def extract(
    found: Found,
    outputs: Mapping[TableKey, Path],
    *,
    num_workers: int = 1,
    ray_address: str | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
    show_bar: bool | None = False,
) -> Extracted:
    """Describe recordings and write a CSV per recipe and slice length, the notes of recipes, and the list of tracks.

    An interrupted run leaves a journal beside the first CSV; the same call resumes from it.

    Args:
        found: the recordings.
        outputs: path of the CSV of each recipe and slice length.
        num_workers: processes, at least 1.
        ray_address: address of a Ray cluster that does the work instead, ``auto`` or ``HOST:PORT`` of its head node.
        overwrite: whether to replace CSVs that exist.
        report: is called with the genres before the work, and with one line for every recording that is skipped or
            unusual.
        show_bar: whether to show a progress bar; ``None`` shows one on a terminal.

    Raises:
        UserError: an output exists or cannot be written, no recording could be described, there is no such cluster, or
            something that a recipe needs is missing.
    """
    csvs, tables = list(outputs.values()), list(outputs)
    for recipe in {table.recipe for table in tables}:
        recipe.check()
    tracks_path = _tracks_path(outputs)
    journal_path = tracks_path.with_name(tracks_path.stem.removesuffix(".tracks") + ".partial")
    existing = [path for path in (*csvs, tracks_path) if path.exists()]
    if existing and not overwrite and not journal_path.exists():
        raise _exists(existing[0])
    written_paths = (*csvs, *map(note_path, csvs), tracks_path, journal_path)
    if found.source.resolve() in {path.resolve() for path in written_paths}:
        raise UserError("is the list itself and would be replaced", key=found.source, hint="choose another --out")
    with (
        journal_errors(journal_path),
        closing(Journal(journal_path, found.source, tables, report)) as journal,
    ):
        if existing and not overwrite and not journal.is_writing_csvs:
            raise _exists(existing[0])
        todo = [track for track in found.tracks if not journal.has(track)]
        if ray_address is None or not todo:
            work = describe_files(todo, tables, min(num_workers, max(len(todo), 1)))
        else:
            work = describe_on_cluster(todo, tables, ray_address)
        skipped = _describe_rest(work, found, len(todo), journal, report, show_bar)
        kept = [track for track in found.tracks if track.track not in skipped]
        if not kept:
            journal.finish()
            raise UserError(f"none of {len(found.tracks)} recordings could be described, and nothing was written")
        journal.start_writing_csvs()
        written = {table: _write_features(path, journal, kept, table) for table, path in outputs.items()}
        _write_tracks(tracks_path, found, journal)
        journal.finish()
    return Extracted(written, len(kept), len(skipped) + len(found.skipped), tracks_path)


def _tracks_path(outputs: Mapping[TableKey, Path]) -> Path:
    """Return the path of the list of tracks: named by the CSV if there is one, else by the recipe if there is one."""
    first = next(iter(outputs.values()))
    if len(outputs) == 1:
        return first.with_suffix(".tracks.csv")
    endings = {table.recipe.file_ending for table in outputs}
    return first.with_name(f"tracks{endings.pop() if len(endings) == 1 else ''}.csv")


def _exists(path: Path) -> UserError:
    return UserError("exists already", key=path, hint="give --overwrite to replace it, or another --out")


def _describe_rest(
    work: Generator[Described],
    found: Found,
    num_todo: int,
    journal: Journal,
    report: Callable[[str], None],
    show_bar: bool | None,
) -> set[str]:
    """Write each result into the journal as soon as it is ready; return the names of the skipped tracks."""
    for line in genre_lines(found):
        report(line)
    num_done = len(found.tracks) - num_todo
    if num_done:
        report(f"resuming: {num_done} of {len(found.tracks)} recordings are in {journal.path} already")
    for path, reason in found.skipped:
        report(_line("skipped", path, reason))
    skipped = set()
    disable = None if show_bar is None else not show_bar
    with closing(work), tqdm(total=len(found.tracks), initial=num_done, unit="track", disable=disable) as bar:
        for described in work:
            journal.add(described)
            if described.skipped:
                skipped.add(described.track)
                report(_line("skipped", described.path, described.skipped))
            elif described.notes:
                report(_line("noted", described.path, "; ".join(described.notes)))
            bar.update()
    return skipped


def _line(result: str, path: object, reason: str) -> str:
    return f"{result} {printable(str(path), _LONGEST_PATH)}: {printable(reason, _LONGEST_PATH)}"


def _write_features(path: Path, journal: Journal, tracks: Sequence[TrackFile], table: TableKey) -> Written:
    """Write the CSV of one recipe and slice length and the note of its recipe; without rows, delete both.

    Rows are named ``TRACK.SLICE.wav``, or ``TRACK.wav`` if no track has more than one.
    """
    num_slices = [journal.num_slices(track, table) for track in tracks]
    genres = {track.genre for track, num in zip(tracks, num_slices, strict=True) if num}
    written = Written(sum(num_slices), sum(num > 0 for num in num_slices), len(genres))
    if written.num_slices == 0:
        path.unlink(missing_ok=True)
        note_path(path).unlink(missing_ok=True)
        return written
    is_sliced = max(num_slices) > 1
    with _replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "length", *table.recipe.feature_names, "label"])
        for track in tracks:
            for index, (length, *features) in enumerate(journal.rows(track, table)):
                number = f".{index}" if is_sliced else ""
                name, genre = guarded(f"{track.track}{number}.wav"), guarded(track.genre)
                writer.writerow([name, int(length), *features, genre])
    with _replacing(note_path(path)) as file:
        file.write(RecipeNote(table.recipe.name, table.slice_seconds, sha256_of(path)).to_json())
    return written


def _write_tracks(tracks_path: Path, found: Found, journal: Journal) -> None:
    """Write the result of every recording; the columns track and artist make it an artist index too."""
    with _replacing(tracks_path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["track", "label", "artist", "path", "seconds", "skipped", "notes"])
        for d in map(journal.described, found.tracks):
            texts = (d.track, d.genre, d.artist, os.path.abspath(d.path), d.skipped, "; ".join(d.notes))
            track, genre, artist, path, skipped, notes = (guarded(text) for text in texts)
            writer.writerow([track, genre, artist, path, d.seconds, skipped, notes])
        for other, reason in found.skipped:
            writer.writerow(["", "", "", guarded(os.path.abspath(other)), "", guarded(reason), ""])


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """Open a text file that replaces `path` when it is complete; if it cannot be written, `path` is unchanged."""
    part = path.with_name(path.name + ".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # names of files may hold bytes that are not UTF-8
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # on the disk before it replaces the old file
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        problem = f"cannot be written ({error.strerror}); nothing that was described is lost"
        raise UserError(problem, key=path, hint="correct that and run the same command again") from None
