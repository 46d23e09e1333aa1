"""The server of the page: its address, its end by ctrl-C with nothing left, and ports that are taken."""

import http.client
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from genregrid.cli.page import main
from genregrid.page import serve as serve_module
from genregrid.page.limit import TOO_MANY
from genregrid.page.serve import serve


class Slow:
    """A scorer that scores for ever."""

    genres = ("a", "b")
    about = "slow"
    marks = ()

    def __init__(self, _: Path) -> None:
        self.started = threading.Event()

    def score(self, _path: Path, _name: str) -> dict[str, Any]:
        self.started.set()
        threading.Event().wait()
        return {}


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder of temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_server_leaves_no_upload(
    uploads: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    slow = Slow(uploads)
    monkeypatch.setattr(serve_module, "PageScorer", lambda _: slow)
    monkeypatch.setattr(serve_module, "_SECONDS_TO_FINISH", 0.1)
    seen: list[list[Path]] = []
    addresses: list[str] = []

    def visit(address: str) -> None:
        addresses.append(address)
        url = urlsplit(address)
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
        try:
            connection.request("POST", f"{url.path}score?name=a.wav", b"RIFF")
            assert slow.started.wait(10)
            seen.append(list(uploads.rglob("a.wav")))
        finally:
            os.kill(os.getpid(), number)
            connection.close()

    monkeypatch.setattr("webbrowser.open", visit)
    before = signal.getsignal(signal.SIGTERM)
    serve(uploads / "model", [], 0, opens_browser=True)
    assert [len(files) for files in seen] == [1]
    assert list(uploads.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before
    printed = capsys.readouterr()
    assert f"page: {addresses[0]}\nctrl-C stops it" in printed.out
    assert printed.err == ""
    assert addresses[0].startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_refused(uploads: Path, user_error: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with user_error("--port", port, problem="it is in use"):
            serve(uploads / "model", [], port, opens_browser=False)


def test_a_folder_with_too_many_recordings_is_refused(
    uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_error: Callable[..., Any]
) -> None:
    monkeypatch.setattr("genregrid.page.document.MOST_RECORDINGS", 1)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    with user_error(tmp_path, problem=TOO_MANY):
        serve(uploads / "model", [tmp_path], 0, opens_browser=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.ckpt", "b.ckpt"], "several checkpoints"),
        (["a.ckpt", "--port", "70000"], "expected a number from 0 to 65535"),
        (["a.ckpt", "--prot", "1"], "unrecognized arguments"),
        (["gtzan-descriptors", "nothere"], "nothere: it does not exist"),  # the first word is a model that is there
    ],
)
def test_a_mistake_is_a_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "page latest" in capsys.readouterr().out


def test_the_arguments_may_be_in_any_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr(serve_module, "serve", lambda *arguments, **options: given.append((arguments, options)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint.ckpt").touch()
    (tmp_path / "music").mkdir()
    (tmp_path / "music/song.wav").touch()
    assert main([str(tmp_path / "music"), "--no-browser", str(tmp_path / "run"), "--port", "8000"]) == 0
    paths = (tmp_path / "run/checkpoint.ckpt", [tmp_path / "music"], 8000)
    assert given == [(paths, {"opens_browser": False})]
