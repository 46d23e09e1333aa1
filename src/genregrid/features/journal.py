"""The journal of an extraction: what is done so far, one line per track, so that a stopped run goes on."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import genregrid
from genregrid.errors import UserError
from genregrid.features.folder import TrackFile
from genregrid.features.recipe import Recipe

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Described:
    """What became of one recording.

    Attributes:
        path: of the file.
        size_bytes: of the file, and
        modified_ns: its time of change: both tell whether it is still the same.
        track: its name.
        genre: its label.
        artist: who plays, empty where unknown.
        seconds: its length; 0 where it could not be read.
        skipped: why it is in no CSV; empty if it is in one.
        notes: what is odd about it.
        rows: by slice length in seconds (`seconds_key`): samples and descriptors of each slice.
    """

    path: str
    size_bytes: int
    modified_ns: int
    track: str
    genre: str
    artist: str = ""
    seconds: float = 0.0
    skipped: str = ""
    notes: tuple[str, ...] = ()
    rows: dict[str, list[list[float]]] = field(default_factory=dict)

    def told(self, **changes: Any) -> "Described":
        """The same with more said about it."""
        return replace(self, **changes)


_Identity = tuple[str | int, ...]
_IDENTITY = ("path", "size_bytes", "modified_ns", "genre", "artist")  # what must be the same for a line to be used
_WRITING_OUT = {"written out": True}
_KEYS = {field.name for field in fields(Described)}


class Journal:
    """A file of one JSON object per line: the settings first, then a line per track as it is done.

    Args:
        path: of the journal; begun if missing, else gone on with.
        source: the folder or list that is described.
        recipe: of the extraction.
        slice_seconds: its slice lengths.

    Raises:
        UserError: the journal was begun with other settings, another run writes it, or it is no journal.
    """

    def __init__(self, path: Path, source: Path, recipe: Recipe, slice_seconds: Sequence[float]) -> None:
        self.path = path
        lengths = ",".join(seconds_key(seconds) for seconds in sorted(slice_seconds))
        settings = {
            "source": str(source.absolute()),
            "options": f"--slice {lengths} --recipe {recipe.descriptors} --padding {recipe.padding}",
            "made_by": f"genregrid {genregrid.__version__}",
        }
        first_line = json.dumps(settings).encode() + b"\n"
        self._where: dict[str, tuple[int, int]] = {}  # track -> offset and bytes of its line
        self._num_slices: dict[str, dict[str, int]] = {}
        self._done: dict[str, _Identity] = {}
        #: Whether CSVs were being written when the run stopped: those that are there are its own.
        self.is_being_written_out = False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._file = path.open("r+b")
        try:
            self._lock()
            self._begin(first_line)
        except UserError:
            self._file.close()
            raise
        self._read_on()

    def _lock(self) -> None:
        """Keep a second run out; the system lets go of the lock when this process ends, however it does."""
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.path} is being written by another run: wait, or say another --out.") from None

    def _begin(self, first_line: bytes) -> None:
        """Read the settings that the journal was begun with, or write them."""
        begun = self._file.readline()
        settings = _parsed(begun)
        if begun == first_line:
            return
        if first_line.startswith(begun):  # new, or stopped within the first line
            self._file.seek(0)
            self._file.write(first_line)
        elif settings is None or not settings.keys() >= {"source", "options", "made_by"}:
            raise UserError(f"{self.path} is no journal of an extraction: move it, or say another --out.")
        else:
            raise UserError(
                f"{self.path} was begun for {settings['source']} with {settings['options']} by {settings['made_by']}: "
                "use those to go on, or delete it to start anew."
            )

    def _read_on(self) -> None:
        """Note where each track's line is; one that was stopped half-way is cut off, a damaged one passed over."""
        offset = self._file.tell()
        while (line := self._file.readline()).endswith(b"\n"):
            entry = _parsed(line)
            if entry is not None and entry.keys() >= _KEYS:
                self._remember(entry, offset, len(line))
            self.is_being_written_out |= entry == _WRITING_OUT
            offset += len(line)
        self._file.truncate(offset)
        self._file.seek(offset)

    def _remember(self, entry: Mapping[str, Any], offset: int, num_bytes: int) -> None:
        self._where[entry["track"]] = (offset, num_bytes)
        self._num_slices[entry["track"]] = {key: len(rows) for key, rows in entry["rows"].items()}
        self._done.pop(entry["track"], None)
        if not entry["skipped"]:  # what was skipped is tried again: it may have been mended
            self._done[entry["track"]] = tuple(entry[name] for name in _IDENTITY)

    def has(self, track: TrackFile) -> bool:
        """Whether this very file was described already, under the same label and artist."""
        size, modified = file_state(track.path)
        return self._done.get(track.track) == (str(track.path), size, modified, track.genre, track.artist)

    def add(self, described: Described) -> None:
        """Write a track's line; when this returns, it outlives the process.

        Raises:
            UserError: it cannot be written.
        """
        entry = asdict(described)
        line = json.dumps(entry).encode() + b"\n"
        offset = self._file.tell()
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}): {len(self._done)} tracks are kept in it; make room "
                "and run the same command again to go on."
            ) from None
        self._remember(entry, offset, len(line))

    def write_out(self) -> None:
        """Say that CSVs are written from here on."""
        self._file.write(json.dumps(_WRITING_OUT).encode() + b"\n")
        self._file.flush()

    def num_slices(self, track: TrackFile, slice_seconds: float) -> int:
        """Slices of a length in seconds that a track has."""
        return self._num_slices[track.track].get(seconds_key(slice_seconds), 0)

    def entries(self, tracks: Sequence[TrackFile]) -> Iterator[Described]:
        """What became of the given tracks, in their order, read one by one."""
        end = self._file.tell()
        for track in tracks:
            offset, num_bytes = self._where[track.track]
            self._file.seek(offset)
            yield Described(**json.loads(self._file.read(num_bytes)))
        self._file.seek(end)

    def close(self) -> None:
        """Close the file; it stays."""
        with contextlib.suppress(OSError):  # the rest of a line that a full disk did not take
            self._file.close()

    def finish(self) -> None:
        """Delete the journal: the CSVs are written."""
        self.close()
        self.path.unlink()


def seconds_key(slice_seconds: float) -> str:
    """A slice length as a key of JSON.

    >>> seconds_key(3.0), seconds_key(0.5)
    ('3', '0.5')
    """
    return f"{slice_seconds:g}"


def file_state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds; -1 where the file cannot be looked at."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
