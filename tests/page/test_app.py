"""The application of the page: limits, mistakes in recordings, and who may use it; without a port."""

import asyncio
import json
import wave
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pytest

from genregrid.errors import UserError
from genregrid.page import app as app_module
from genregrid.page.app import App
from genregrid.page.limit import MOST_BYTES
from genregrid.page.scorer import waveform

HOST = "127.0.0.1:8000"


class Reader:
    """A scorer that reads recordings and predicts nothing."""

    genres: Sequence[str] = ["jazz", "rock"]
    about = "a model </script><script>alert(1)</script>"
    marks: Sequence[str] = []

    def __init__(self) -> None:
        self.seen: list[tuple[Path, str]] = []

    def score(self, path: Path, name: str) -> dict[str, Any]:
        self.seen.append((path, name))
        if name == "fault.wav":
            raise RuntimeError("a fault")
        if name == "huge.wav":
            raise UserError("its logits are not finite", key="model")
        return {"name": name, "num_peaks": len(waveform(path))}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


Ask = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of uploads, which must be empty after every test."""
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def ask(folder: Path, reader: Reader, tmp_path: Path) -> Ask:
    """`ask("POST", "/score?name=a.wav", body)` is the answer of the application to one request."""
    write_wav(tmp_path / "song <b>.wav")
    app = App(reader, folder, "secret", [tmp_path / "song <b>.wav"], tmp_path)

    def answered(
        method: str,
        target: str,
        *blocks: bytes,
        headers: Mapping[str, str] | None = None,
        is_cut: bool = False,
        token: str = "secret",
    ) -> Answer:
        path, _, query = f"/{token}{target}".partition("?")
        given = {"host": HOST} | dict(headers or {})
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        events: list[dict[str, Any]] = [{"type": "http.request", "body": block, "more_body": True} for block in blocks]
        events.append({"type": "http.disconnect"} if is_cut else {"type": "http.request", "body": b""})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return events.pop(0) if events else await asyncio.sleep(3600, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app.asgi(scope, receive, send))  # type: ignore[arg-type]
        start = next(message for message in sent if message["type"] == "http.response.start")
        found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(message.get("body", b"") for message in sent))

    return answered


def write_wav(path: Path, seconds: float = 0.2) -> bytes:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((9000 * np.sin(np.arange(int(8000 * seconds)))).astype("<i2").tobytes())
    return path.read_bytes()


def test_an_upload_is_scored_and_removed(ask: Ask, reader: Reader, folder: Path, tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav")
    answer = ask("POST", "/score?name=blues.00001.wav", content[:100], content[100:])
    assert answer.status == 200
    assert json.loads(answer.body) == {"name": "blues.00001.wav", "num_peaks": 20}
    assert reader.seen[0][0].name == "blues.00001.wav"  # by which a track of the training is recognised
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.wav", b"only some text", "without a RIFF header"),
        ("empty.wav", b"", "0 bytes"),
        ("page.mp3", b"<!DOCTYPE html><html>", "HTML page, not audio"),
        ("zeros", bytes(5000), "Not audio"),
    ],
)
def test_a_file_that_is_no_recording_is_a_sentence(
    ask: Ask, folder: Path, name: str, content: bytes, words: str
) -> None:
    answer = ask("POST", f"/score?name={name}", content)
    assert answer.status == 422
    assert words in answer.error
    assert (answer.error[0].isupper(), answer.error[-1]) == (True, ".")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/x.wav", "a\x00b\x1b[31m.wav", "", "x" * 900, "..", "NUL.wav"]
)
def test_a_hostile_name_never_is_a_path(ask: Ask, reader: Reader, folder: Path, tmp_path: Path, name: str) -> None:
    assert ask("POST", f"/score?name={quote(name)}", write_wav(tmp_path / "a.wav")).status == 200
    path, shown = reader.seen[0]
    assert path.parents[1] == folder
    assert path.name.isprintable()
    assert not set(path.name) & set("/\\\0")
    assert shown == name[:1000]  # the answer makes it printable
    assert list(folder.iterdir()) == []


def test_a_promised_size_over_the_limit_is_refused_before_it_is_sent(ask: Ask, reader: Reader) -> None:
    answer = ask("POST", "/score?name=a.wav", headers={"content-length": str(MOST_BYTES + 1)}, is_cut=True)
    assert (answer.status, reader.seen) == (413, [])
    assert "400 MB" in answer.error


def test_a_size_over_the_limit_without_a_promise_is_refused(
    ask: Ask, reader: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MOST_BYTES", 1000)
    assert ask("POST", "/score?name=a.wav", b"RIFF", bytes(997), is_cut=True).status == 413
    assert reader.seen == []
    assert list(folder.iterdir()) == []


def test_an_upload_that_is_cut_off_is_not_scored(ask: Ask, reader: Reader, folder: Path) -> None:
    answer = ask("POST", "/score?name=a.wav", b"RIFF", is_cut=True)
    assert (answer.status, reader.seen) == (400, [])
    assert list(folder.iterdir()) == []


def test_a_long_recording_is_refused(tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genregrid.page.scorer.MOST_SECONDS", 0.1)
    answer = ask("POST", "/score?name=a.wav", write_wav(tmp_path / "a.wav"))
    assert (answer.status, answer.error) == (422, "It is longer than 60 minutes. Cut it.")


def test_a_fault_is_reported_and_its_file_removed(
    ask: Ask, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_wav(tmp_path / "a.wav")
    with pytest.raises(RuntimeError):  # starlette answers, and raises it again for the server's log
        ask("POST", "/score?name=fault.wav", content)
    assert "a fault" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
    assert ask("POST", "/score?name=huge.wav", content).error == "Model: its logits are not finite."


def test_more_uploads_than_the_limit_are_refused(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app_module, "MOST_AT_ONCE", 0)
    assert ask("POST", "/score?name=a.wav", write_wav(tmp_path / "a.wav")).status == 503
    assert ask("POST", "/recordings/0/score").status == 503


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "example.org"},
        {"host": "example.org:8000"},
        {"host": "127.0.0.1.example.org:8000"},
        {"host": "127.0.0.1:80@example.org"},
        {"host": ""},
        {"origin": "https://example.org"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "audio"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
@pytest.mark.parametrize("request_", [("GET", "/"), ("POST", "/score?name=a.wav"), ("GET", "/recordings/0/audio")])
def test_other_hosts_and_other_pages_are_refused(
    ask: Ask, reader: Reader, headers: dict[str, str], request_: tuple[str, str]
) -> None:
    assert ask(*request_, headers=headers).status == 403
    assert reader.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:8000", "[::1]:8000", "localhost"])
def test_this_computer_by_any_name_and_tunnel_is_allowed(ask: Ask, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert ask("GET", "/", headers=headers).status == 200


def test_nothing_is_there_without_the_token(ask: Ask) -> None:
    for target in ("/", "/score", "/recordings/0/audio", "/recordings/0/score"):
        assert ask("GET", target, token="guess").status == 404
    assert ask("GET", "/", token="").status == 404
    assert ask("GET", "/recordings/1/audio").status == 404
    assert ask("GET", "/recordings/..%2f/audio").status == 404
    for number in ("9" * 5000, "-1", "²", "00000000000"):
        assert ask("POST", f"/recordings/{quote(number)}/score").status == 404
    assert ask("GET", "/score").status == 405


def test_the_page_allows_its_own_script_only(ask: Ask) -> None:
    answer = ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not any(word in policy for word in ("http:", "https:", " * "))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert b"<script>alert" not in answer.body
    assert b"song <b>" not in answer.body
    assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")


def test_a_recording_of_a_folder_is_played_in_parts_and_scored_once(ask: Ask, reader: Reader, tmp_path: Path) -> None:
    content = (tmp_path / "song <b>.wav").read_bytes()
    part = ask("GET", "/recordings/0/audio", headers={"range": "bytes=4-7"})
    assert (part.status, part.body) == (206, content[4:8])
    assert part.headers["content-type"].startswith("audio/")
    first, again = ask("POST", "/recordings/0/score"), ask("POST", "/recordings/0/score")
    assert first.body == again.body
    assert len(reader.seen) == 1
    assert (tmp_path / "song <b>.wav").exists()


def test_a_full_disk_is_a_sentence(ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app_module, "_save", full)
    answer = ask("POST", "/score?name=a.wav", b"RIFF")
    assert (answer.status, answer.error) == (507, "It cannot be stored (No space left on device).")
    assert list(folder.iterdir()) == []
