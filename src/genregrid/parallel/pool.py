"""Run many tasks in worker processes; a task that ends its process fails alone."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits

from genregrid.errors import UserError

_MAX_WORKERS = 61  # the limit of ProcessPoolExecutor on Windows
Task = TypeVar("Task")
Result = TypeVar("Result")


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Pool(Generic[Task, Result]):
    """Worker processes with one thread each, which import what they need once.

    Each worker is a `ProcessPoolExecutor` with a single process. If the process ends, only this executor breaks: the
    task that it was working on is known, and the other workers are not disturbed. One executor with many processes
    breaks as a whole, and all tasks in work are lost. pebble's pool (5.2) looks for ended processes every 0.1 s
    without reading their last messages first: with tasks that end their process at once, it failed as a whole or
    blamed another task in 8 of 17 trials.
    """

    work: Callable[[Task], Result]  # handles one task; a function of a module, as processes import it by its name
    num_workers: int
    _: KW_ONLY
    ahead: int = 2  # tasks submitted to each process at a time; with 2 it never waits for its next task
    initializer: Callable[[], None] | None = None  # called in each process before its first task
    hint: str  # what a user can do if no process can be started

    def run(self, tasks: Sequence[Task]) -> Generator[tuple[Task, Result | None]]:
        """Yield each task with its result as soon as it is done; ``None`` if it ended its process twice.

        The second attempt comes after all other tasks, one task at a time, so that it has the whole memory.

        Raises:
            UserError: no process can be started.
        """
        lost = []
        with closing(self._run_once(tasks, min(self.num_workers, _MAX_WORKERS))) as finished:
            for task, result in finished:
                if result is None:
                    lost.append(task)
                else:
                    yield task, result
        yield from self._run_once(lost, 1)

    def _run_once(self, tasks: Sequence[Task], num_workers: int) -> Generator[tuple[Task, Result | None]]:
        waiting = deque(tasks)
        other_processes = set(multiprocessing.active_children())
        workers: list[_Worker[Task, Result]] = []
        try:
            for _ in range(min(num_workers, len(tasks))):
                workers.append(_Worker(self.work, self.initializer))
            while True:
                for worker in workers:
                    while waiting and len(worker.submitted) < self.ahead:
                        worker.submit(waiting.popleft())
                first = {worker.submitted[0][1]: worker for worker in workers if worker.submitted}
                if not first:
                    return
                for future in wait(first, return_when=FIRST_COMPLETED).done:
                    worker = first[future]
                    task, _ = worker.submitted.popleft()
                    try:
                        yield task, future.result()
                    except BrokenProcessPool:
                        if not worker.has_started():
                            raise UserError("processes cannot be started", hint=self.hint) from None
                        waiting.extendleft(task for task, _ in reversed(worker.submitted))
                        worker.restart()
                        yield task, None
        except BaseException:
            for process in set(multiprocessing.active_children()) - other_processes:
                process.terminate()  # a task can last hours
            raise
        finally:
            for worker in workers:
                worker.executor.shutdown()


class _Worker(Generic[Task, Result]):
    """One process, and the tasks that were submitted to it, in the order in which it works on them."""

    def __init__(self, work: Callable[[Task], Result], initializer: Callable[[], None] | None) -> None:
        self._work = work
        self._initializer = initializer
        self.restart()

    def restart(self) -> None:
        """Take a new process."""
        self.submitted: deque[tuple[Task, Future[Result]]] = deque()
        self.executor = ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),  # a forked process copies locks that a thread of this one may hold
            initializer=_start_work,
            initargs=(self._initializer,),
        )
        with _interrupts_blocked():
            self._started = self.executor.submit(os.getpid)

    def has_started(self) -> bool:
        """Wait until the process works or has failed to start."""
        return self._started.exception() is None

    def submit(self, task: Task) -> None:
        """Give the process one more task; if it has ended, the task fails."""
        with _interrupts_blocked():
            try:
                future = self.executor.submit(self._work, task)
            except BrokenProcessPool as error:
                future = Future()
                future.set_exception(error)
        self.submitted.append((task, future))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block ctrl-C in the processes and threads that start here: only the main thread of the parent handles it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_work(initializer: Callable[[], None] | None) -> None:
    """Prepare a worker process: one thread, no reaction to ctrl-C, and it ends when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
