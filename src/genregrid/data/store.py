"""Cache of tables as NumPy files: read once from their CSVs, then mapped into memory.

Features of a mapped table stay on disk. The system keeps used pages in memory as long as it has room, once for all
processes of the machine. A table's key has the names, sizes and modification times of its files and all settings that
it depends on, so that an outdated table is never found. A folder of tables may be deleted at any time.

Every file has its SHA-256 beside it, and is compared with it before it is used. For the features this takes a second
per gigabyte, so a process that compared them notes the state of the file. For an hour, other processes then compare
only that state, which every write to the file changes.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import genregrid
from genregrid.data.slice_rows import Allocate, in_memory
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError
from genregrid.files import check_regular, read_bytes, sha256_of, write_text

_ARRAYS = {"length_samples": np.float32, "track": np.int64, "slice_index": np.int64, "genre": np.int64}
_TUPLES = ("feature_names", "tracks", "genres", "notes")
_FEATURES = "features.npy"
_DESCRIPTION = "table.json"
_CHECKED = "checked.txt"
# How long a comparison of the features with their hash counts: less than a grid takes, much more than a run starts.
_CHECKED_SECONDS = 3600.0
# A million track names of 1000 characters.
_MOST_BYTES = 1 << 30
_FORMAT = 2  # entries of another format have other names; the first had no hashes


def files_key(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the part of a key that describes the files: names, sizes, modification times, and our version."""
    files = [[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths if path.is_file()]
    return {"files": files, "version": genregrid.__version__}


def stored(folder: str | None, key: Mapping[str, Any], make: Callable[[Allocate], FeatureTable]) -> FeatureTable:
    """Return the table of a key with features mapped from a file; make and write it first if it is missing.

    The key is everything that the table depends on, as plain values. Without a folder the table is made in memory.

    Raises:
        UserError: the folder cannot be written, or a table in it cannot be read.
    """
    if folder is None:
        return make(in_memory)
    name = hashlib.sha256(json.dumps([_FORMAT, key], sort_keys=True).encode()).hexdigest()[:16]
    entry = Path(folder) / name
    if not entry.is_dir():
        try:
            _write(entry, make)
        except OSError as error:
            problem, hint = f"the folder cannot be written ({error.strerror})", "name another folder, or leave it out"
            raise UserError(problem, key="dataset.cache", value=folder, hint=hint) from None
    try:
        return _read(entry)
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError):
        hint = "delete it, and it is made again"
        raise UserError(f"{entry} is damaged", key="dataset.cache", value=folder, hint=hint) from None


def _write(entry: Path, make: Callable[[Allocate], FeatureTable]) -> None:
    """Write a table into a temporary folder and move it into place; of two processes, the first one's is kept."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=entry.parent) as scratch:
        table = make(_on_disk(Path(scratch)))
        draft = Path(scratch) / entry.name
        draft.mkdir()
        np.save(draft / _FEATURES, table.features)
        for name in _ARRAYS:
            np.save(draft / f"{name}.npy", getattr(table, name))
        described = {name: getattr(table, name) for name in (*_TUPLES, "slice_seconds", "hashes")}
        hashes = {path.name: sha256_of(path) for path in sorted(draft.iterdir())}
        hashes[_DESCRIPTION] = _hash_of_json(described)
        (draft / _DESCRIPTION).write_text(json.dumps({"table": described, "sha256": hashes}), encoding="utf-8")
        try:
            draft.rename(entry)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def _on_disk(folder: Path) -> Allocate:
    """Return a function that makes arrays as files of a folder."""

    def allocate(shape: tuple[int, int]) -> NDArray[np.float32]:
        num_bytes = 4 * shape[0] * shape[1]
        if num_bytes > shutil.disk_usage(folder).free:  # writing to a mapped file on a full disk would end the process
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        handle, path = tempfile.mkstemp(suffix=".npy", dir=folder)
        os.close(handle)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)

    return allocate


def _read(entry: Path) -> FeatureTable:
    """Read a table, and raise an error of any kind if its files are not as they were written."""
    document = json.loads(read_bytes(entry / _DESCRIPTION, most_bytes=_MOST_BYTES))
    described: dict[str, Any] = document["table"]
    hashes: dict[str, str] = document["sha256"]
    if _hash_of_json(described) != hashes[_DESCRIPTION]:
        raise ValueError("the description differs from its hash")
    described |= {name: tuple(described[name]) for name in _TUPLES}
    described |= {name: _read_array(entry / f"{name}.npy", hashes[f"{name}.npy"]) for name in _ARRAYS}
    _check_features(entry, hashes[_FEATURES])
    features = np.lib.format.open_memmap(entry / _FEATURES, mode="r")
    table = FeatureTable(features=features, **described)
    _check_shapes(table)
    return table


def _read_array(path: Path, sha256: str) -> NDArray[Any]:
    content = read_bytes(path, most_bytes=_MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("an array differs from its hash")
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _check_features(entry: Path, sha256: str) -> None:
    """Raise if the features differ from their hash; they are read unless a process has done so within the last hour."""
    path = entry / _FEATURES
    check_regular(path, key=path)
    checked = entry / _CHECKED
    state = path.stat()
    # a write changes the time of the change, which no program can set
    noted = f"{sha256} {state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
    try:
        age = time.time() - checked.stat().st_mtime
        if 0 <= age < _CHECKED_SECONDS and read_bytes(checked, most_bytes=1000).decode() == noted:
            return
    except (OSError, ValueError):
        pass  # there is no note yet
    if sha256_of(path) != sha256:
        raise ValueError("the features differ from their hash")
    with suppress(OSError):  # the folder is read-only or full: the next process compares again
        write_text(checked, noted)


def _check_shapes(table: FeatureTable) -> None:
    """Raise unless the arrays of a table fit each other."""
    num_rows, num_tracks = len(table.track), len(table.tracks)
    shapes = {"length_samples": num_rows, "track": num_rows, "slice_index": num_rows, "genre": num_tracks}
    fits = all(getattr(table, name).shape == (size,) for name, size in shapes.items())
    fits &= all(getattr(table, name).dtype == dtype for name, dtype in _ARRAYS.items())
    fits &= table.features.shape == (num_rows, len(table.feature_names)) and table.features.dtype == np.float32
    fits &= table.features.flags.c_contiguous and num_rows > 0
    if not (fits and table.track.min() >= 0 and table.track.max() < num_tracks):
        raise ValueError("the arrays do not fit each other")
    if not table.is_unlabelled and not (table.genre.min() >= 0 and table.genre.max() < len(table.genres)):
        raise ValueError("a genre has no name")


def _hash_of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
