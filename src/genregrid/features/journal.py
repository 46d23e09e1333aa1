"""Record every described track in an SQLite file, so that an interrupted extraction can resume.

A journal is optional: a file that cannot be used is set aside, and what can be read of it is kept. Every value has a
hash, so that no number of a damaged file is used.
"""

import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import genregrid
from genregrid.errors import UserError, counted
from genregrid.features.folder import TrackFile
from genregrid.features.recipe import TableKey
from genregrid.files import check_regular


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
    #: For each table (`row_keys`), blocks of (slice, 1 + feature): length in samples at 22 050 Hz, descriptors.
    rows: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)


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


def row_keys(tables: Iterable[TableKey]) -> dict[TableKey, str]:
    """Write each table of an extraction as a key: its slice length, with the recipe's name if there are several."""
    tables = list(tables)
    is_one = len({table.recipe for table in tables}) == 1
    return {
        table: seconds_key(table.slice_seconds) if is_one else f"{table.recipe.name} {seconds_key(table.slice_seconds)}"
        for table in tables
    }


_APPLICATION_ID = 0x67677265  # marks an SQLite file as a journal with these tables
_TABLES = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    "CREATE TABLE run (settings TEXT, stage TEXT, hash BLOB)",
    "CREATE TABLE described (track TEXT PRIMARY KEY, facts TEXT, hash BLOB) WITHOUT ROWID",
    "CREATE TABLE slices (track TEXT, seconds TEXT, first INTEGER, rows BLOB, hash BLOB, "
    "PRIMARY KEY (track, seconds, first)) WITHOUT ROWID",
)
_DESCRIBING, _WRITING = "describing", "writing CSVs"  # stages of a run
_UNUSABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_MISTAKES = {
    sqlite3.SQLITE_BUSY: ("is used by another run", "wait, or choose another --out"),
    sqlite3.SQLITE_READONLY: ("cannot be written ({error})", "change its permissions, or choose another --out"),
    sqlite3.SQLITE_CORRUPT: ("is damaged ({error})", "run the same command again to resume"),
}


class _UnusableError(Exception):
    """A file is no journal, one of another version of genregrid, or damaged; the text is the reason."""


class Journal:
    """An SQLite file with the settings of an extraction and one transaction per described track.

    A transaction that has returned survives the end of the process. Facts are JSON, because paths may hold characters
    that SQLite's text cannot; rows are float64. No other process can open the file meanwhile. It is created if
    missing, else resumed. A file that cannot be used gets another name, and its sound values are copied.

    Args:
        path: of the file.
        source: folder or list that is described.
        tables: the recipes and slice lengths that it is described by.
        report: is called with one line if the file cannot be used.

    Raises:
        UserError: the file cannot be created, or belongs to other settings.
        sqlite3.Error: it is used by another run, or cannot be written; `journal_errors` makes it a `UserError`.
    """

    def __init__(
        self,
        path: Path,
        source: Path,
        tables: Sequence[TableKey],
        report: Callable[[str], None] = print,
    ) -> None:
        self.path = path
        lengths = ",".join(map(seconds_key, sorted({table.slice_seconds for table in tables})))
        recipes = dict.fromkeys(table.recipe for table in tables)
        more = "".join(dict.fromkeys(recipe.more_options for recipe in recipes))
        self._settings = {
            "source": str(source.absolute()),
            "options": f"--slice {lengths} --recipe {','.join(recipe.option for recipe in recipes)}{more}",
            "made_by": f"genregrid {genregrid.__version__}",
        }
        self._keys = row_keys(tables)
        self._num_columns = {key: 1 + len(table.recipe.feature_names) for table, key in self._keys.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise UserError(problem, key=path, hint="choose another --out") from None
        check_regular(path, key=path, hint="choose another --out")
        try:
            self._connect()
        except _UnusableError as error:
            unusable = self._set_aside()
            self._connect()
            num_kept = self._copy_from(unusable)
            kept = f"; {num_kept} of its recordings are kept, the others are described again" if num_kept else ""
            report(f"{path} cannot be used: {error}; it is {unusable.name} now{kept}")

    def _connect(self) -> None:
        """Open the file, check it and lock it."""
        self._db = _connected(self.path)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.close()
            if error.sqlite_errorcode & 0xFF in _UNUSABLE:  # the higher bits are details
                raise _UnusableError(f"{error}") from None
            raise
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Lock the file, and write the settings or compare them with those in the file."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # until the file is closed or the process ends
        self._db.execute("BEGIN EXCLUSIVE")
        if not self._one("SELECT count(*) FROM sqlite_master"):
            for statement in _TABLES:
                self._db.execute(statement)
            self._write_stage(_DESCRIBING)
        elif self._one("PRAGMA application_id") != _APPLICATION_ID:
            raise _UnusableError("it is no journal of an extraction, or one of another version of genregrid")
        elif (found := self._one("PRAGMA quick_check(1)")) != "ok":
            raise _UnusableError(f"it is damaged ({' '.join(found.split())})")
        self._check_settings()
        self._db.commit()
        # One write per transaction, without waiting for the disk: only a power cut can lose the last transactions
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _check_settings(self) -> None:
        run = self._db.execute("SELECT settings, stage, hash FROM run").fetchall()
        if len(run) != 1 or _hash(*run[0][:2]) != run[0][2]:
            raise _UnusableError("its settings are damaged")
        found = json.loads(run[0][0])
        if found["made_by"] != self._settings["made_by"]:
            raise _UnusableError(f"it was made by {found['made_by']}")
        if found != self._settings:
            raise UserError(
                f"was started for {found['source']} with {found['options']} by {found['made_by']}",
                key=self.path,
                hint="use those to resume, or delete it to start again",
            )

    def _set_aside(self) -> Path:
        """Give the file, and SQLite's log of it, another name that is free."""
        names = (self.path.with_name(f"{self.path.name}.unusable{number or ''}") for number in itertools.count())
        unusable = next(path for path in names if not os.path.lexists(path))
        for ending in ("-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{ending}", f"{unusable}{ending}")
        return unusable

    def _copy_from(self, unusable: Path) -> int:
        """Copy the sound values of an unusable file of the same settings, and return the number of tracks."""
        num_kept = 0
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connected(unusable)) as old:
            run = old.execute("SELECT settings, stage, hash FROM run").fetchone()
            settings = json.dumps(self._settings)
            if run is None or _hash(*run[:2]) != run[2] or run[0] != settings:
                return 0
            if run[1] == _WRITING:
                self.start_writing_csvs()
            for (track,) in old.execute("SELECT track FROM described"):
                num_kept += self._copy_track(old, track)
        return num_kept

    def _copy_track(self, old: sqlite3.Connection, track: str) -> bool:
        with contextlib.suppress(sqlite3.Error, UnicodeError), self._db:
            query = "SELECT * FROM {} WHERE track = ?"
            described = old.execute(query.format("described"), [track]).fetchall()
            slices = old.execute(query.format("slices"), [track]).fetchall()
            self._db.executemany("REPLACE INTO described VALUES (?, ?, ?)", described)
            self._db.executemany("REPLACE INTO slices VALUES (?, ?, ?, ?, ?)", slices)
            return True
        return False

    def has(self, track: TrackFile) -> bool:
        """Return whether this same file was described, with the same label and artist.

        Skipped recordings are described again, as they may have been repaired, and so are those with damaged values.
        """
        try:
            described, num_slices = self._facts(track)
            if described != replace(started(track), seconds=described.seconds, notes=described.notes):
                return False
            return all(sum(1 for _ in self._checked_rows(track, key)) == num for key, num in num_slices.items())
        except _UnusableError:
            return False

    def add(self, described: Described) -> None:
        """Write the result of one track in place of an earlier one."""
        facts = dict(vars(described))
        track, rows = described.track, facts.pop("rows")
        content = json.dumps([facts, {seconds: sum(map(len, blocks)) for seconds, blocks in rows.items()}])
        try:
            with self._db:
                self._db.execute("REPLACE INTO described VALUES (?, ?, ?)", (track, content, _hash(track, content)))
                self._db.execute("DELETE FROM slices WHERE track = ?", [track])
                self._db.executemany("INSERT INTO slices VALUES (?, ?, ?, ?, ?)", _stored(track, rows))
        except sqlite3.Error as error:
            kept = self._one("SELECT count(*) FROM described")
            raise UserError(
                f"cannot be written ({error}); {counted(kept, 'track is', 'tracks are')} kept in it",
                key=self.path,
                hint="make room and run the same command again to resume",
            ) from None

    @property
    def is_writing_csvs(self) -> bool:
        """Whether the run was stopped while it wrote CSVs: CSVs that exist are then its own."""
        return bool(self._one("SELECT stage FROM run") == _WRITING)

    def start_writing_csvs(self) -> None:
        """Record that CSVs are written from now on."""
        with self._db:
            self._write_stage(_WRITING)

    def _write_stage(self, stage: str) -> None:
        settings = json.dumps(self._settings)
        self._db.execute("DELETE FROM run")
        self._db.execute("INSERT INTO run VALUES (?, ?, ?)", (settings, stage, _hash(settings, stage)))

    def described(self, track: TrackFile) -> Described:
        """Return the result of a track, without its rows."""
        with self._damage_reported():
            return self._facts(track)[0]

    def num_slices(self, track: TrackFile, table: TableKey) -> int:
        """Return how many rows a track has in a table."""
        with self._damage_reported():
            return self._facts(track)[1].get(self._keys[table], 0)

    def rows(self, track: TrackFile, table: TableKey) -> Iterator[list[float]]:
        """Yield the rows of a track in a table, length and descriptors of each slice."""
        with self._damage_reported():
            yield from self._checked_rows(track, self._keys[table])

    def _facts(self, track: TrackFile) -> tuple[Described, dict[str, int]]:
        """Return the result of a track, and its number of rows in each table."""
        row = self._db.execute("SELECT facts, hash FROM described WHERE track = ?", [track.track]).fetchone()
        if row is None or _hash(track.track, row[0]) != row[1]:
            raise _UnusableError("the values of a recording are damaged")
        facts, num_slices = json.loads(row[0])
        return Described(**{**facts, "notes": tuple(facts["notes"])}), num_slices

    def _checked_rows(self, track: TrackFile, key: str) -> Iterator[list[float]]:
        query = "SELECT first, rows, hash FROM slices WHERE track = ? AND seconds = ? ORDER BY first"
        number = 0
        for first, content, found in self._db.execute(query, (track.track, key)):
            if first != number or _hash(track.track, key, str(first), content) != found:
                raise _UnusableError("the values of a recording are damaged")
            rows = np.frombuffer(content, _STORED_TYPE).reshape(-1, self._num_columns[key])
            number += len(rows)
            yield from rows.tolist()
        if number != self._facts(track)[1].get(key, 0):
            raise _UnusableError("values of a recording are missing")

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except _UnusableError as error:  # found after the file was checked: the disk loses what it holds
            raise UserError(f"is damaged ({error})", key=self.path, hint="run the same command again") from None

    def _one(self, query: str) -> Any:
        """Return the first column of the first row; ``None`` if there is no row."""
        row = self._db.execute(query).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the file and keep it."""
        with contextlib.suppress(sqlite3.Error):  # a full disk; nothing that was written is lost
            self._db.close()

    def finish(self) -> None:
        """Delete the journal after the CSVs are written."""
        self.close()
        self.path.unlink(missing_ok=True)


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0)
    database.text_factory = lambda content: content.decode(errors="surrogateescape")  # damaged text has a wrong hash
    return database


_STORED_TYPE = np.dtype("<f8")
_STORED_VALUES = 1 << 17  # 1 MiB of rows are written and read at a time


def _stored(track: str, rows: Mapping[str, list[NDArray[np.float64]]]) -> Iterator[tuple[str, str, int, bytes, bytes]]:
    """Yield the rows of the table `slices` of a track."""
    for seconds, blocks in rows.items():
        first = 0
        for together in _batched(blocks):
            content = np.concatenate(together).astype(_STORED_TYPE, copy=False).tobytes()
            yield track, seconds, first, content, _hash(track, seconds, str(first), content)
            first += sum(map(len, together))


def _batched(blocks: list[NDArray[np.float64]]) -> Iterator[list[NDArray[np.float64]]]:
    """Yield blocks of rows in lists of at least `_STORED_VALUES` values."""
    together: list[NDArray[np.float64]] = []
    for block in blocks:
        together.append(block)
        if sum(part.size for part in together) >= _STORED_VALUES:
            yield together
            together = []
    if together:
        yield together


def _hash(*values: Any) -> bytes:
    """Return a hash of stored values; damaged values may have any type of SQLite."""
    parts = [value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass") for value in values]
    lengths = ",".join(str(len(part)) for part in parts)
    return hashlib.blake2b(b"".join([lengths.encode(), *parts]), digest_size=16).digest()


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as a `UserError` about the journal at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        other = ("cannot be used ({error})", "make room, or choose another --out")
        code = getattr(error, "sqlite_errorcode", 0)
        problem, hint = _MISTAKES.get(code & 0xFF, other)  # the higher bits are details
        raise UserError(problem.format(error=error), key=path, hint=hint) from None
