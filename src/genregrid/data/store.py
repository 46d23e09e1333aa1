"""Cache of tables as NumPy files: read once from their CSVs, then mapped into memory.

Features of a mapped table stay on disk. The system keeps used pages in memory as long as it has room, once for all
processes of the machine. A table's key has the names, sizes and modification times of its files and all settings that
it depends on, so that an outdated table is never found. A folder of tables may be deleted at any time.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import genregrid
from genregrid.data.slice_rows import Allocate, in_memory
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError

_ARRAYS = ("length_samples", "track", "slice_index", "genre")
_TUPLES = ("feature_names", "tracks", "genres", "notes")
_DESCRIPTION = "table.json"


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
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    entry = Path(folder) / name
    if not entry.is_dir():
        try:
            _write(entry, make)
        except OSError as error:
            problem, hint = f"the folder cannot be written ({error.strerror})", "name another folder, or leave it out"
            raise UserError(problem, key="dataset.cache", value=folder, hint=hint) from None
    try:
        return _read(entry)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        hint = "delete it, and it is made again"
        raise UserError(f"{entry} is damaged", key="dataset.cache", value=folder, hint=hint) from None


def _write(entry: Path, make: Callable[[Allocate], FeatureTable]) -> None:
    """Write a table into a temporary folder and move it into place; of two processes, the first one's is kept."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=entry.parent) as scratch:
        table = make(_on_disk(Path(scratch)))
        draft = Path(scratch) / entry.name
        draft.mkdir()
        np.save(draft / "features.npy", table.features)
        for name in _ARRAYS:
            np.save(draft / f"{name}.npy", getattr(table, name))
        described = {name: getattr(table, name) for name in (*_TUPLES, "slice_seconds", "hashes")}
        (draft / _DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
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
    described = json.loads((entry / _DESCRIPTION).read_text(encoding="utf-8"))
    described |= {name: tuple(described[name]) for name in _TUPLES}
    arrays = {name: np.load(entry / f"{name}.npy") for name in _ARRAYS}
    features = np.load(entry / "features.npy", mmap_mode="r")
    if features.shape != (len(arrays["track"]), len(described["feature_names"])):
        raise ValueError("the shape of the features does not match the table")
    return FeatureTable(features=features, **arrays, **described)
