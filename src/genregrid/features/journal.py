"""Record every described track in an SQLite file, so that an interrupted extraction can resume."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import genregrid
from genregrid.errors import UserError
from genregrid.features.folder import TrackFile
from genregrid.features.recipe import Recipe


@dataclass(frozen=True)
class Described:
    """The result of one recording: its rows, or the reason why it has none."""

    path: str
    size_bytes: int
    modified_ns: int  # with the size it shows whether the file is still the same
    track: str
    genre: str
    artist: str = ""  # empty if unknown
    seconds: float = 0.0  # length of the recording; 0 if it could not be read
    skipped: str = ""  # why it is in no CSV
    notes: tuple[str, ...] = ()  # what is unusual about it
    #: For each slice length in seconds (`seconds_key`), the number of samples and the descriptors of each slice.
    rows: dict[str, list[list[float]]] = field(default_factory=dict)


def started(track: TrackFile) -> Described:
    """Return what is known of a recording before it is read; its size and time are -1 if it has no file."""
    try:
        state = track.path.stat()
        size, modified = state.st_size, state.st_mtime_ns
    except OSError:
        size, modified = -1, -1
    return Described(str(track.path), size, modified, track.track, track.genre, track.artist)


def seconds_key(slice_seconds: float) -> str:
    """Write a slice length as a key.

    >>> seconds_key(3.0), seconds_key(0.5)
    ('3', '0.5')
    """
    return f"{slice_seconds:g}"


_APPLICATION_ID = 0x67677264  # "ggrd" marks an SQLite file as a journal
_TABLES = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    "CREATE TABLE run (settings TEXT, is_writing_csvs INTEGER)",
    "CREATE TABLE described (track TEXT PRIMARY KEY, facts TEXT)",
    "CREATE TABLE slices (track TEXT, seconds TEXT, num INTEGER, rows TEXT, PRIMARY KEY (track, seconds))",
)
_NO_JOURNAL = (
    "is no journal of an extraction, or one of an earlier genregrid",
    "move or delete it, or choose another --out",
)
_MISTAKES = {
    sqlite3.SQLITE_BUSY: ("is used by another run", "wait, or choose another --out"),
    sqlite3.SQLITE_NOTADB: _NO_JOURNAL,
    sqlite3.SQLITE_CORRUPT: ("is damaged ({error})", "delete it to start again"),
}


class Journal:
    """An SQLite file with the settings of an extraction and one transaction per described track.

    A transaction that has returned survives the end of the process. Values are JSON, because paths may hold characters
    that SQLite's text cannot. No other process can open the file meanwhile. It is created if missing, else resumed.

    Raises:
        UserError: the file cannot be created, is no journal, or belongs to other settings.
        sqlite3.Error: it is used by another run, or damaged; `journal_errors` makes it a `UserError`.
    """

    def __init__(self, path: Path, source: Path, recipe: Recipe, slice_seconds: Sequence[float]) -> None:
        self.path = path
        lengths = ",".join(seconds_key(seconds) for seconds in sorted(slice_seconds))
        settings = {
            "source": str(source.absolute()),
            "options": f"--slice {lengths} --recipe {recipe.descriptors} --padding {recipe.padding}",
            "made_by": f"genregrid {genregrid.__version__}",
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise UserError(problem, key=path, hint="choose another --out") from None
        self._db = sqlite3.connect(path, timeout=0)
        try:
            self._open(settings)
        except BaseException:
            self._db.close()
            raise

    def _open(self, settings: dict[str, str]) -> None:
        """Lock the file, and write the settings or compare them with those in the file."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # until the file is closed or the process ends
        self._db.execute("BEGIN EXCLUSIVE")
        if not self._one("SELECT count(*) FROM sqlite_master"):
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute("INSERT INTO run VALUES (?, 0)", [json.dumps(settings)])
        elif self._one("PRAGMA application_id") != _APPLICATION_ID:
            problem, hint = _NO_JOURNAL
            raise UserError(problem, key=self.path, hint=hint)
        found = json.loads(self._one("SELECT settings FROM run"))
        if found != settings:
            raise UserError(
                f"was started for {found['source']} with {found['options']} by {found['made_by']}",
                key=self.path,
                hint="use those to resume, or delete it to start again",
            )
        self._db.commit()
        # One write per transaction, without waiting for the disk: only a power cut can lose the last transactions
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")

    def has(self, track: TrackFile) -> bool:
        """Return whether this same file was described, with the same label and artist.

        Skipped recordings are described again, as they may have been repaired, and so are those with damaged values.
        """
        query = """SELECT count(*) FROM described WHERE track = ? AND json_valid(facts)
                   AND NOT EXISTS (SELECT * FROM slices WHERE track = described.track AND NOT json_valid(rows))"""
        if self._one(query, track.track) == 0:
            return False
        return replace(self.described(track), seconds=0.0, notes=()) == started(track)

    def add(self, described: Described) -> None:
        """Write the result of one track in place of an earlier one."""
        facts = dict(vars(described))
        track, rows = described.track, facts.pop("rows")
        try:
            with self._db:
                self._db.execute("REPLACE INTO described VALUES (?, ?)", (track, json.dumps(facts)))
                self._db.execute("DELETE FROM slices WHERE track = ?", [track])
                self._db.executemany(
                    "INSERT INTO slices VALUES (?, ?, ?, ?)",
                    [(track, seconds, len(values), json.dumps(values)) for seconds, values in rows.items()],
                )
        except sqlite3.Error as error:
            kept = self._one("SELECT count(*) FROM described")
            raise UserError(
                f"cannot be written ({error}); {kept} tracks are kept in it",
                key=self.path,
                hint="make room and run the same command again to resume",
            ) from None

    @property
    def is_writing_csvs(self) -> bool:
        """Whether the run was stopped while it wrote CSVs: CSVs that exist are then its own."""
        return bool(self._one("SELECT is_writing_csvs FROM run"))

    def start_writing_csvs(self) -> None:
        """Record that CSVs are written from now on."""
        with self._db:
            self._db.execute("UPDATE run SET is_writing_csvs = 1")

    def described(self, track: TrackFile) -> Described:
        """Return the result of a track, without its rows."""
        facts = json.loads(self._one("SELECT facts FROM described WHERE track = ?", track.track))
        return Described(**{**facts, "notes": tuple(facts["notes"])})

    def num_slices(self, track: TrackFile, slice_seconds: float) -> int:
        """Return how many slices of a length in seconds a track has."""
        return self._of_length("num", track, slice_seconds) or 0

    def rows(self, track: TrackFile, slice_seconds: float) -> list[list[float]]:
        """Return the rows of a track, (slice, number of samples and descriptors)."""
        rows: list[list[float]] = json.loads(self._of_length("rows", track, slice_seconds) or "[]")
        return rows

    def _of_length(self, column: str, track: TrackFile, slice_seconds: float) -> Any:
        query = f"SELECT {column} FROM slices WHERE track = ? AND seconds = ?"
        return self._one(query, track.track, seconds_key(slice_seconds))

    def _one(self, query: str, *values: str) -> Any:
        """Return the first column of the first row; ``None`` if there is no row."""
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the file and keep it."""
        with contextlib.suppress(sqlite3.Error):  # a full disk; nothing that was written is lost
            self._db.close()

    def finish(self) -> None:
        """Delete the journal after the CSVs are written."""
        self.close()
        self.path.unlink()


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as a `UserError` about the journal at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        other = ("cannot be used ({error})", "make room, or choose another --out")
        problem, hint = _MISTAKES.get(error.sqlite_errorcode & 0xFF, other)  # the higher bits are details
        raise UserError(problem.format(error=error), key=path, hint=hint) from None
