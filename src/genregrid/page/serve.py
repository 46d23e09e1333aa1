"""Serve the page on this computer until ctrl-C."""

import errno
import secrets
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from genregrid.errors import UserError, counted
from genregrid.features.folder import audio_files
from genregrid.page.app import App
from genregrid.page.document import limited
from genregrid.page.scorer import PageScorer

_HOST = "127.0.0.1"
_SECONDS_TO_FINISH = 1  # for answers that are being sent when the page is stopped


def serve(checkpoint: Path, audio: Sequence[Path], port: int, *, opens_browser: bool) -> None:
    """Load a model, serve the page, and print its address; return after ctrl-C.

    Args:
        checkpoint: of a model that can score recordings.
        audio: recordings and folders of them that the page shows from the start.
        port: of 127.0.0.1; 0 for a free one.
        opens_browser: whether the page is opened in the browser.

    Raises:
        UserError: the checkpoint cannot score recordings, a path has no recording, or the port is not free.
    """
    files = limited([file for path in audio for file in audio_files(path)], audio[0] if audio else "audio")
    root = audio[0].absolute() if len(audio) == 1 and audio[0].is_dir() else None
    with _bound(port) as listener, tempfile.TemporaryDirectory(prefix="genregrid-page-") as folder:
        scorer = PageScorer(checkpoint)
        token = secrets.token_urlsafe(16)
        app = App(scorer, Path(folder), token, [file.absolute() for file in files], root)
        address = f"http://{_HOST}:{listener.getsockname()[1]}/{token}/"
        print(f"{scorer.about}\n{counted(len(files), 'recording')} to show" if files else scorer.about)
        print(f"page: {address}\nctrl-C stops it", flush=True)
        config = uvicorn.Config(
            app.asgi,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="critical",  # the application reports its faults; requests that end with the server are none
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        if opens_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        # uploads are removed after both
        former = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        try:
            with suppress(KeyboardInterrupt):  # uvicorn stops, and then raises it again
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, former)


def _bound(port: int) -> socket.socket:
    """Return a socket that listens at a port of this computer.

    Raises:
        UserError: the port is in use or not allowed.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        problem = "it is in use" if error.errno == errno.EADDRINUSE else f"it cannot be used ({error.strerror})"
        raise UserError(problem, key="--port", value=port, hint="leave it out for a free port") from None
    return listener
