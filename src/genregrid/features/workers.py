"""One recording in, its rows out; and many recordings at once, in one process per core."""

import ctypes
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from genregrid.features.audio import AudioError, read_audio
from genregrid.features.folder import TrackFile
from genregrid.features.journal import Described, file_state, seconds_key
from genregrid.features.recipe import Recipe
from genregrid.parallel.pool import Pool

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def describe_file(track: TrackFile, recipe: Recipe, slice_seconds: Sequence[float]) -> Described:
    """Read and describe one recording at every slice length; what is wrong with it is told in the result.

    Args:
        track: the recording.
        recipe: how.
        slice_seconds: slice lengths in seconds.
    """
    done = _begun(track)
    try:
        recording = read_audio(track.path)
        features = {seconds: recipe.describe(recording.samples, seconds) for seconds in slice_seconds}
    except AudioError as error:
        return done.told(skipped=str(error))
    except MemoryError:
        return done.told(skipped="takes more memory than there is")
    except Exception as error:  # one recording in a hundred thousand must not end the run
        return done.told(skipped=f"not described: {type(error).__name__}, {error}")
    done = done.told(seconds=round(recording.seconds, 3), notes=recording.notes)
    missing = [seconds for seconds in slice_seconds if not len(features[seconds])]
    if len(missing) == len(slice_seconds):
        return done.told(skipped=f"lasts {recording.seconds:.2f} s, too short for a slice of {min(missing):g} s")
    if not all(np.isfinite(values).all() for values in features.values()):
        peak = np.abs(recording.samples).max()
        return done.told(skipped=f"its descriptors are not finite: samples reach {peak:.0e} times full scale")
    if missing:
        lengths = ", ".join(f"{seconds:g}" for seconds in missing)
        done = done.told(notes=(*done.notes, f"lasts {recording.seconds:.2f} s, too short for a slice of {lengths} s"))
    rows = {}
    for seconds, values in features.items():
        lengths_in_samples = [stop - start for start, stop in recipe.slice_bounds(len(recording.samples), seconds)]
        rows[seconds_key(seconds)] = np.column_stack([lengths_in_samples, values]).tolist() if len(values) else []
    return done.told(rows=rows)


def _begun(track: TrackFile) -> Described:
    """What is known of a recording before it is read."""
    size, modified = file_state(track.path)
    return Described(str(track.path), size, modified, track.track, track.genre, track.artist)


def describe_files(
    tracks: Sequence[TrackFile], recipe: Recipe, slice_seconds: Sequence[float], num_workers: int
) -> Generator[Described]:
    """Describe recordings, each as soon as it is done; one that ends its process is told as skipped.

    Args:
        tracks: the recordings.
        recipe: how.
        slice_seconds: slice lengths in seconds.
        num_workers: processes; 1 works in this one.
    """
    describe = partial(describe_file, recipe=recipe, slice_seconds=tuple(slice_seconds))
    if num_workers == 1:
        with threadpool_limits(1):
            keep_freed_memory()
            for track in tracks:
                yield describe(track)
        return
    hint = 'use --workers 1, or in your own script, call extract below `if __name__ == "__main__":`'
    pool = Pool(describe, num_workers, initializer=keep_freed_memory, hint=hint)
    with closing(pool.run(tracks)) as work:
        for track, described in work:
            yield described or ended_its_process(track)


def ended_its_process(track: TrackFile) -> Described:
    """What is told of a recording whose process ended while it was described."""
    return _begun(track).told(skipped="reading it ended the process: out of memory, or a fault of the decoder")


def keep_freed_memory() -> None:
    """Have glibc keep freed megabytes for the next slices; elsewhere nothing happens.

    By default it returns them to the system, and asking for them again, page by page, costs as much as the arithmetic.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
