"""Standard output and error of a command: closed ones, closed pipes and characters that cannot be shown do no harm."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO


class _Output:
    """A stream that discards what is printed after its reader has ended, as in ``| head -1``: the run is not lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or discard it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flush the stream, or discard what it holds."""
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Discard from now on what is printed, as Python would try again at its end; raise if the reader is there."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)
        if not isinstance(error, BrokenPipeError):
            raise error


@contextmanager
def safe_streams() -> Iterator[None]:
    """Let a command print without errors of the streams, and restore them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by the shell; the next file would get its number, and what libraries print
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        try:
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream is None:
                    stream = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
                if hasattr(stream, "reconfigure"):
                    stream.reconfigure(errors="backslashreplace")
                setattr(sys, name, _Output(stream))
            yield
        finally:
            with suppress(OSError):  # reported by the flush of the command, if it came to it
                sys.stdout.flush()
            sys.stdout, sys.stderr = before
