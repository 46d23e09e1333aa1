"""One recording in, its rows out; and many recordings at once, in one process per core."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import numpy as np
from threadpoolctl import threadpool_limits

from genregrid.errors import UserError
from genregrid.features.audio import AudioError, read_audio
from genregrid.features.folder import TrackFile
from genregrid.features.journal import Described, file_state, seconds_key
from genregrid.features.recipe import Recipe

_MOST_WORKERS = 61  # that Windows can wait for
_AHEAD = 2  # recordings given out per process, so that none waits and none piles up
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
    settings = (recipe, tuple(slice_seconds))
    if num_workers == 1:
        with threadpool_limits(1):
            _keep_freed_memory()
            for track in tracks:
                yield describe_file(track, *settings)
        return
    waiting = deque(tracks)
    given: dict[Future[Described], TrackFile] = {}
    while waiting or given:
        others = set(multiprocessing.active_children())
        try:
            with _pool(min(num_workers, len(waiting))) as pool:
                try:
                    yield from _pooled(pool, waiting, given, settings, num_workers)
                except (GeneratorExit, KeyboardInterrupt):
                    # what is in work is not waited for: a recording may last hours
                    for child in set(multiprocessing.active_children()) - others:
                        child.terminate()
                    raise
        except BrokenProcessPool:  # which of those given out it was shows when each has a process of its own
            suspects = list(given.values())
            given.clear()
            for track in suspects:
                yield _described_alone(track, settings)


def _pooled(
    pool: ProcessPoolExecutor,
    waiting: deque[TrackFile],
    given: dict[Future[Described], TrackFile],
    settings: tuple[Recipe, tuple[float, ...]],
    num_workers: int,
) -> Iterator[Described]:
    while waiting or given:
        while waiting and len(given) < _AHEAD * num_workers:
            with _interrupts_held():
                given[pool.submit(describe_file, waiting[0], *settings)] = waiting[0]
            waiting.popleft()
        for future in wait(given, return_when=FIRST_COMPLETED).done:
            described = future.result()  # of a broken pool it raises, and leaves the recording among those given out
            del given[future]
            yield described


def _described_alone(track: TrackFile, settings: tuple[Recipe, tuple[float, ...]]) -> Described:
    try:
        with _pool(1) as pool:
            with _interrupts_held():
                started = pool.submit(os.getpid)
            if isinstance(started.exception(), BrokenProcessPool):
                raise UserError(
                    "processes cannot be started: say --workers 1, or in a script of your own, call extract below "
                    '`if __name__ == "__main__":`.'
                )
            with _interrupts_held():
                future = pool.submit(describe_file, track, *settings)
            return future.result()
    except BrokenProcessPool:
        return _begun(track).told(skipped="reading it ended the process: out of memory, or a fault of the decoder")


def _pool(num_workers: int) -> ProcessPoolExecutor:
    # spawned, not forked: a fork copies locks that some thread of this process may hold
    return ProcessPoolExecutor(
        min(num_workers, _MOST_WORKERS), multiprocessing.get_context("spawn"), initializer=_begin_work
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have processes that start here begin with ctrl-C held back: it is for the parent to answer."""
    if not hasattr(signal, "pthread_sigmask"):  # another system
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_work() -> None:
    """Make a process a worker: one thread, ctrl-C left to the parent, and an end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    _keep_freed_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _keep_freed_memory() -> None:
    """Have glibc keep freed megabytes for the next slices; elsewhere nothing happens.

    By default it returns them to the system, and asking for them again, page by page, costs as much as the arithmetic.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
