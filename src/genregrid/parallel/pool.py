"""Many tasks in one process per core: a task that ends its process ends nobody else's work."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits

from genregrid.errors import UserError

_MOST_WORKERS = 61  # that Windows can wait for
Task = TypeVar("Task")
Done = TypeVar("Done")


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool(Generic[Task, Done]):
    """Worker processes of one thread each, which import what they need once.

    Args:
        work: what is done with a task; a function of a module, as processes find it by its name.
        num_workers: processes, at least 1.
        ahead: tasks given out per process: with 2 none waits for its next task.
        begin: called in each process before its first task.
        way_out: what to tell a user for whom no process can be started.
    """

    def __init__(
        self,
        work: Callable[[Task], Done],
        num_workers: int,
        *,
        ahead: int = 2,
        begin: Callable[[], None] | None = None,
        way_out: str,
    ) -> None:
        self._work = work
        self._num_workers = min(num_workers, _MOST_WORKERS)
        self._ahead = ahead
        self._begin = begin
        self._way_out = way_out

    def run(self, tasks: Sequence[Task]) -> Generator[tuple[Task, Done | None]]:
        """Each task with what became of it, as soon as it is done; ``None`` where it ended its process.

        Raises:
            UserError: no process can be started.
        """
        waiting = deque(tasks)
        given: dict[Future[Done], Task] = {}
        while waiting or given:
            others = set(multiprocessing.active_children())
            try:
                with self._executor(min(self._num_workers, len(waiting))) as executor:
                    try:
                        yield from self._pooled(executor, waiting, given)
                    except (GeneratorExit, KeyboardInterrupt):
                        # what is in work is not waited for: it may last hours
                        for child in set(multiprocessing.active_children()) - others:
                            child.terminate()
                        raise
            except BrokenProcessPool:  # which of those given out it was shows when each has a process of its own
                suspects = list(given.values())
                given.clear()
                for task in suspects:
                    yield task, self._alone(task)

    def _pooled(
        self, executor: ProcessPoolExecutor, waiting: deque[Task], given: dict[Future[Done], Task]
    ) -> Iterator[tuple[Task, Done]]:
        while waiting or given:
            while waiting and len(given) < self._ahead * self._num_workers:
                with _interrupts_held():
                    given[executor.submit(self._work, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(given, return_when=FIRST_COMPLETED).done:
                done = future.result()  # of a broken pool it raises, and leaves the task among those given out
                yield given.pop(future), done

    def _alone(self, task: Task) -> Done | None:
        try:
            with self._executor(1) as executor:
                with _interrupts_held():
                    started = executor.submit(os.getpid)
                if isinstance(started.exception(), BrokenProcessPool):
                    raise UserError(f"processes cannot be started: {self._way_out}")
                with _interrupts_held():
                    future = executor.submit(self._work, task)
                return future.result()
        except BrokenProcessPool:
            return None

    def _executor(self, num_workers: int) -> ProcessPoolExecutor:
        # spawned, not forked: a fork copies locks that some thread of this process may hold
        return ProcessPoolExecutor(
            num_workers, multiprocessing.get_context("spawn"), initializer=_begin_work, initargs=(self._begin,)
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


def _begin_work(begin: Callable[[], None] | None) -> None:
    """Make a process a worker: one thread, ctrl-C left to the parent, and an end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
