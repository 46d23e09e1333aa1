"""The web application: the page, uploads that are scored, and the recordings of a folder.

Nobody but the person at this computer can use it. Requests must name this computer as their host, which a page that
lets its own name lead here (DNS rebinding) cannot do; they must not come from a page of another origin; and each path
begins with a random token, which other users of this computer do not know.
"""

import asyncio
import mimetypes
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genregrid.errors import UserError, printable
from genregrid.files import folder_name
from genregrid.page.answer import name_of
from genregrid.page.document import policy, render
from genregrid.page.limit import LONGEST_NAME, MOST_AT_ONCE, MOST_BYTES, TOO_BUSY, TOO_LARGE
from genregrid.page.scorer import Worker
from genregrid.recording.audio import AudioError
from genregrid.recording.content import AUDIO_SUFFIXES

_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class Scores(Protocol):
    """What the application needs of a `genregrid.page.scorer.PageScorer`."""

    genres: list[str]
    about: str
    marks: list[str]

    def score(self, path: Path, name: str) -> dict[str, Any]:
        """Score one recording."""


class App:
    """The application.

    Args:
        scorer: scores recordings.
        folder: for uploads; each is removed as soon as it is scored.
        token: the first part of each path.
        recordings: files to show and score.
        root: the folder of these files, if they are of one.
    """

    def __init__(
        self,
        scorer: Scores,
        folder: Path,
        token: str,
        recordings: Sequence[Path] = (),
        root: Path | None = None,
    ) -> None:
        self._scorer = scorer
        self._folder = folder
        self._files = list(recordings)
        self._names = [printable(name_of(path, root), LONGEST_NAME) for path in recordings]
        self._answers: dict[int, dict[str, Any]] = {}
        self._worker = Worker()
        self._num_running = 0
        routes = [
            Route("/", self._page),
            Route("/score", self._score_upload, methods=["POST"]),
            Route("/recordings/{number}/score", self._score_file, methods=["POST"]),
            Route("/recordings/{number}/audio", self._audio),
        ]
        errors: Any = {404: _not_found, 500: _fault}
        self.asgi: ASGIApp = Starlette(
            routes=[Mount(f"/{token}", routes=routes)], middleware=[Middleware(Guard)], exception_handlers=errors
        )

    async def _page(self, _: Request) -> Response:
        rows = [
            {
                "name": name,
                "audio": f"recordings/{number}/audio",
                "score": f"recordings/{number}/score",
                "answer": self._answers.get(number),
            }
            for number, name in enumerate(self._names)
        ]
        scorer = self._scorer
        page = render("Which genre is it?", scorer.about, scorer.genres, rows, marks=scorer.marks, served=True)
        return HTMLResponse(page, headers={"Content-Security-Policy": f"{policy(served=True)}; frame-ancestors 'none'"})

    async def _score_upload(self, request: Request) -> Response:
        """Score the body of a request, which is the file; its name is for readers and decides nothing."""
        name = request.query_params.get("name", "")[:1000]
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > MOST_BYTES:
            return _refused(TOO_LARGE, 413)
        if self._num_running >= MOST_AT_ONCE:
            return _refused(TOO_BUSY, 503)
        self._num_running += 1
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            path = folder / _file_name(name)
            if not await _save(request, path):
                return _refused(TOO_LARGE, 413)
            return await self._scored(path, name)
        except ClientDisconnect:
            return _refused("The upload was cut off.", 400)
        except OSError as error:  # a full disk
            return _refused(f"It cannot be stored ({error.strerror}).", 507)
        finally:
            self._num_running -= 1
            shutil.rmtree(folder, ignore_errors=True)

    async def _score_file(self, request: Request) -> Response:
        number = self._number(request)
        if number is None:
            return _not_found(request, None)
        if number in self._answers:
            return JSONResponse(self._answers[number])
        if self._num_running >= MOST_AT_ONCE:
            return _refused(TOO_BUSY, 503)
        self._num_running += 1
        try:
            return await self._scored(self._files[number], self._names[number], number)
        finally:
            self._num_running -= 1

    async def _scored(self, path: Path, name: str, number: int | None = None) -> Response:
        try:
            answer = await asyncio.wrap_future(self._worker.submit(lambda: self._scorer.score(path, name)))
        except (AudioError, UserError) as error:
            return _refused(_sentence(error), 422)
        if number is not None:
            self._answers[number] = answer
        return JSONResponse(answer)

    def _number(self, request: Request) -> int | None:
        """Return the number of the recording that a path names; ``None`` if there is no such recording."""
        text = request.path_params["number"]
        # Python refuses to read a number of thousands of digits
        number = int(text) if len(text) < 10 and text.isascii() and text.isdecimal() else len(self._files)
        return number if number < len(self._files) else None

    async def _audio(self, request: Request) -> Response:
        number = self._number(request)
        if number is None or not self._files[number].is_file():
            return _not_found(request, None)
        path = self._files[number]
        kind = mimetypes.guess_type(path.name)[0] or ""
        media = kind if kind.startswith(("audio/", "video/")) else "application/octet-stream"
        return FileResponse(path, media_type=media)


class Guard:
    """Refuse requests that do not come from the page on this computer, and add headers to all answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        if reason := fault_of(Headers(scope=scope)):
            await PlainTextResponse(reason, 403)(scope, receive, sent)
        else:
            await self._app(scope, receive, sent)


def fault_of(headers: Headers) -> str:
    """Return why a request with these headers is refused; empty if it is not.

    >>> fault_of(Headers({"host": "127.0.0.1:8000"})), fault_of(Headers({"host": "example.org:8000"}))
    ('', 'This page is for http://127.0.0.1 only.')
    """
    host = headers.get("host", "")
    name, colon, port = host.rpartition(":")
    if (name if colon else host) not in _HOSTS or not ((port.isascii() and port.isdecimal()) or not colon):
        return "This page is for http://127.0.0.1 only."
    is_opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    is_foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not is_opened
    if headers.get("origin", f"http://{host}") != f"http://{host}" or is_foreign:
        return "Other pages cannot use this one."
    return ""


async def _save(request: Request, path: Path) -> bool:
    """Write the body of a request to a file block by block; return whether it was within the limit."""
    size = 0
    with path.open("xb") as file:
        async for block in request.stream():
            size += len(block)
            if size > MOST_BYTES:
                return False
            file.write(block)
    return True


def _file_name(name: str) -> str:
    """Return a safe name of a file, with the ending of the given one if it is of audio.

    The stem of an ordinary name stays: by it, a track of the training is recognised.

    >>> _file_name("blues.00012.wav"), _file_name("../../x.exe")
    ('blues.00012.wav', 'x')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    suffix = f"{dot}{ending}".lower()
    return folder_name(stem)[:100] + (suffix if suffix in AUDIO_SUFFIXES else "")


def _sentence(error: Exception) -> str:
    """Write the reason of an error as a sentence of its own."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _refused(reason: str, status: int) -> Response:
    # a body that is left unread would otherwise be taken for the next request
    return JSONResponse({"error": reason}, status, headers={"Connection": "close"})


def _not_found(_: Request, __: Exception | None) -> Response:
    return PlainTextResponse("Nothing is here. Open the address that genregrid printed.", 404)


def _fault(request: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return _refused("This recording could not be scored, by a fault of genregrid.", 500)
