"""Describe a recording in a process of its own, while this one imports torch, which takes seconds."""

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

from genregrid.features.description import Description, describe_recording
from genregrid.features.recipe import TableKey


class DescribedAhead:
    """A description that another process makes; `result` waits for it.

    Only where it is safe and useful: on Linux, with two cores or more, before torch has started threads.
    """

    def __init__(self, path: Path, source: TableKey) -> None:
        self._receive: Connection | None = None
        if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or "torch" in sys.modules:
            return
        context = multiprocessing.get_context("fork")
        self._receive, send = context.Pipe(duplex=False)
        context.Process(target=_describe, args=(path, source, send), daemon=True).start()
        send.close()

    def result(self) -> Description | None:
        """Return the description; ``None`` if there is no such process, or it could not make one.

        The reason is then found by describing the recording here.
        """
        if self._receive is None:
            return None
        with suppress(EOFError, OSError):  # it was killed, for example because memory is full
            found: Description | None = self._receive.recv()
            return found
        return None


def _describe(path: Path, source: TableKey, send: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C ends the other process, and this one with it
    found = None
    with suppress(Exception), threadpool_limits(1):
        found = describe_recording(path, [source])
    send.send(found)
