"""Describe one recording, or many in one process per core or on a Ray cluster."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from threadpoolctl import threadpool_limits

from genregrid.errors import UserError
from genregrid.features.description import describe_recording
from genregrid.features.folder import TrackFile
from genregrid.features.journal import Described, row_keys, started
from genregrid.features.recipe import TableKey
from genregrid.parallel.pool import Pool
from genregrid.parallel.ray_cluster import LostTask, connected, each_done
from genregrid.recording.audio import AudioError

_LOUD = 10.0  # times full scale; no recording that was made well is louder
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
#: A block is read and described in well under a second. A worker that needs longer than this for one has a decoder that
#: hangs, or a disk that does not answer. There is no limit for a whole recording: a day of music takes many minutes.
MOST_SECONDS_PER_BLOCK = 600.0


def describe_file(
    track: TrackFile, tables: Sequence[TableKey], at_block: Callable[[], object] = lambda: None
) -> Described:
    """Read and describe one recording for every table; the result names what is wrong with it.

    `at_block` is called whenever a part of the recording has been read.

    Raises:
        UserError: something that a recipe needs is missing, for every recording.
    """
    result = started(track)
    try:
        description = describe_recording(track.path, tables, at_block)
    except AudioError as error:
        return replace(result, skipped=str(error))
    except MemoryError:
        return replace(result, skipped="takes more memory than there is")
    except UserError:
        raise
    except Exception as error:  # one recording in a hundred thousand must not end the run
        return replace(result, skipped=f"not described: {type(error).__name__}, {error}")
    recording = description.recording
    result = replace(result, seconds=round(recording.seconds, 3), notes=recording.notes)
    too_short = f"lasts {recording.seconds:.2f} s, too short for a slice of "
    missing = [table.slice_seconds for table, rows in description.rows.items() if not rows]
    if len(missing) == len(tables):
        return replace(result, skipped=f"{too_short}{min(missing):g} s")
    if not description.is_finite:
        problem = "its descriptors are not finite"
        if recording.peak > _LOUD:
            problem += f": samples reach {recording.peak:.0e} times full scale"
        return replace(result, skipped=problem)
    if missing:
        lengths = ", ".join(f"{seconds:g}" for seconds in dict.fromkeys(missing))
        result = replace(result, notes=(*result.notes, f"{too_short}{lengths} s"))
    return replace(result, rows={key: description.rows[table] for table, key in row_keys(tables).items()})


def describe_files(tracks: Sequence[TrackFile], tables: Sequence[TableKey], num_workers: int) -> Generator[Described]:
    """Describe recordings and yield each result as soon as it is done; a recording that ends its process is skipped.

    A recording that cannot be read on for `MOST_SECONDS_PER_BLOCK` ends its process too. One worker works in this
    process, where nothing ends it.
    """
    if num_workers == 1:
        with threadpool_limits(1):
            keep_freed_memory()
            for track in tracks:
                yield describe_file(track, tables)
        return
    describe = partial(_describe_watched, tables=tuple(tables))
    hint = 'use --workers 1, or in your own script, call extract below `if __name__ == "__main__":`'
    pool = Pool(describe, num_workers, initializer=keep_freed_memory, hint=hint)
    with closing(pool.run(tracks)) as results:
        for track, described in results:
            yield described or _ended_its_process(track)


def describe_on_cluster(tracks: Sequence[TrackFile], tables: Sequence[TableKey], address: str) -> Generator[Described]:
    """Do the work of `describe_files` on a Ray cluster.

    Every machine of the cluster must find the recordings under the same paths as this one. The address is ``auto`` or
    ``HOST:PORT`` of its head node.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a machine lacks what it needs.
    """
    with connected(address, "--ray"):
        for track, described in each_done(_describe_with_one_thread, tracks, tuple(tables)):
            yield _ended_its_process(track) if isinstance(described, LostTask) else described


def _describe_with_one_thread(track: TrackFile, tables: Sequence[TableKey]) -> Described:
    keep_freed_memory()
    with threadpool_limits(1):
        return _describe_watched(track, tables)


def _describe_watched(track: TrackFile, tables: Sequence[TableKey]) -> Described:
    """Do the work of `describe_file`, and end this process if a block takes longer than `MOST_SECONDS_PER_BLOCK`.

    A thread watches, because no signal interrupts a decoder.
    """
    last_block, is_done = time.monotonic(), threading.Event()

    def at_block() -> None:
        nonlocal last_block
        last_block = time.monotonic()

    def watch() -> None:
        while not is_done.wait(MOST_SECONDS_PER_BLOCK / 10):
            if time.monotonic() - last_block > MOST_SECONDS_PER_BLOCK:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        return describe_file(track, tables, at_block)
    finally:
        is_done.set()


def _ended_its_process(track: TrackFile) -> Described:
    """Return the result of a recording whose process ended while it was described."""
    causes = f"out of memory, a fault of the decoder, or nothing read for {MOST_SECONDS_PER_BLOCK:g} s"
    return replace(started(track), skipped=f"reading it ended the process: {causes}")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next slices; do nothing with other C libraries.

    By default glibc returns it to the system. Getting it back page by page costs as much time as the arithmetic.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library or system
        return
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # glibc's maximum
