"""Describe one recording, or many in one process per core or on a Ray cluster."""

import ctypes
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from genregrid.features.audio import AudioError, read_audio
from genregrid.features.folder import TrackFile
from genregrid.features.journal import Described, seconds_key, started
from genregrid.features.recipe import Recipe
from genregrid.parallel.pool import Pool
from genregrid.parallel.ray_cluster import LostTask, connected, each_done

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def describe_file(track: TrackFile, recipe: Recipe, slice_seconds: Sequence[float]) -> Described:
    """Read and describe one recording at every slice length; the result names what is wrong with it."""
    result = started(track)
    try:
        recording = read_audio(track.path)
        features = {seconds: recipe.describe(recording.samples, seconds) for seconds in slice_seconds}
    except AudioError as error:
        return replace(result, skipped=str(error))
    except MemoryError:
        return replace(result, skipped="takes more memory than there is")
    except Exception as error:  # one recording in a hundred thousand must not end the run
        return replace(result, skipped=f"not described: {type(error).__name__}, {error}")
    result = replace(result, seconds=round(recording.seconds, 3), notes=recording.notes)
    too_short = f"lasts {recording.seconds:.2f} s, too short for a slice of "
    missing = [seconds for seconds in slice_seconds if not len(features[seconds])]
    if len(missing) == len(slice_seconds):
        return replace(result, skipped=f"{too_short}{min(missing):g} s")
    if not all(np.isfinite(values).all() for values in features.values()):
        peak = np.abs(recording.samples).max()
        return replace(result, skipped=f"its descriptors are not finite: samples reach {peak:.0e} times full scale")
    if missing:
        lengths = ", ".join(f"{seconds:g}" for seconds in missing)
        result = replace(result, notes=(*result.notes, f"{too_short}{lengths} s"))
    rows = {}
    for seconds, values in features.items():
        lengths_in_samples = [stop - start for start, stop in recipe.slice_bounds(len(recording.samples), seconds)]
        rows[seconds_key(seconds)] = np.column_stack([lengths_in_samples, values]).tolist() if len(values) else []
    return replace(result, rows=rows)


def describe_files(
    tracks: Sequence[TrackFile], recipe: Recipe, slice_seconds: Sequence[float], num_workers: int
) -> Generator[Described]:
    """Describe recordings and yield each result as soon as it is done; a recording that ends its process is skipped.

    One worker works in this process.
    """
    describe = partial(describe_file, recipe=recipe, slice_seconds=tuple(slice_seconds))
    if num_workers == 1:
        with threadpool_limits(1):
            keep_freed_memory()
            yield from map(describe, tracks)
        return
    hint = 'use --workers 1, or in your own script, call extract below `if __name__ == "__main__":`'
    pool = Pool(describe, num_workers, initializer=keep_freed_memory, hint=hint)
    with closing(pool.run(tracks)) as results:
        for track, described in results:
            yield described or _ended_its_process(track)


def describe_on_cluster(
    tracks: Sequence[TrackFile], recipe: Recipe, slice_seconds: Sequence[float], address: str
) -> Generator[Described]:
    """Do the work of `describe_files` on a Ray cluster.

    Every machine of the cluster must find the recordings under the same paths as this one. The address is ``auto`` or
    ``HOST:PORT`` of its head node.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a machine lacks what it needs.
    """
    with connected(address, "--ray"):
        for track, described in each_done(_describe_with_one_thread, tracks, recipe, tuple(slice_seconds)):
            yield _ended_its_process(track) if isinstance(described, LostTask) else described


def _describe_with_one_thread(track: TrackFile, recipe: Recipe, slice_seconds: Sequence[float]) -> Described:
    keep_freed_memory()
    with threadpool_limits(1):
        return describe_file(track, recipe, slice_seconds)


def _ended_its_process(track: TrackFile) -> Described:
    """Return the result of a recording whose process ended while it was described."""
    return replace(started(track), skipped="reading it ended the process: out of memory, or a fault of the decoder")


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
