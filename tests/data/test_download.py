"""Claims about `genregrid.data.download`, against a server on this machine's loopback address."""

import contextlib
import errno
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from genregrid.data import download
from genregrid.data.download import NUM_ATTEMPTS, fetch_file, hashes_of

Expect = Callable[..., AbstractContextManager[None]]

CONTENT = b"".join(b"blues.%05d.0.wav,66149,0.25,blues\n" % row for row in range(4000))
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """Serves `CONTENT`; the path chooses how: /whole, /wrong, /breaks-N (breaks off N times), /gone (404)."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        kind, _, count = self.path[1:].partition("-")
        if kind == "gone":
            self.send_error(404)
            return
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd" if count else self.path)
            self.end_headers()
            return
        if kind == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client hangs up
                while True:
                    self.wfile.write(CONTENT)
            return
        self.send_response(200)
        self.send_header("Content-Length", "many" if kind == "length" else str(len(CONTENT)))
        self.end_headers()
        is_broken = self.server.seen.count(self.path) <= int(count or 0)
        body = CONTENT.upper() if kind == "wrong" else CONTENT
        self.wfile.write(body[: len(body) // 2] if is_broken else body)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    """Remembers the path of every request."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "gtzan" / "features_3_sec.csv"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("digest", [SHA256, SHA256.upper().replace("SHA", "sha")])
def test_a_missing_file_is_downloaded_whole(server: Server, target: Path, digest: str) -> None:
    assert fetch_file(target, [server.url("whole")], ["gitblob:" + "0" * 40, digest]) == target
    assert target.read_bytes() == CONTENT
    assert names(target) == [target.name]
    assert server.seen == ["/whole"]


def test_an_existing_file_is_not_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    assert fetch_file(target, [server.url("whole")], [SHA256]) == target
    assert target.read_text() == "mine"
    assert server.seen == []


def test_the_next_address_is_tried_after_a_wrong_hash(server: Server, target: Path) -> None:
    fetch_file(target, [server.url("wrong"), server.url("whole")], [SHA256])
    assert target.read_bytes() == CONTENT
    assert server.seen == ["/wrong", "/whole"]


def test_every_failure_is_listed(server: Server, target: Path, user_error: Expect) -> None:
    urls = [server.url(path) for path in ("wrong", "gone", "breaks-9")]
    failures = f"{urls[0]} holds another file than expected (wrong hash); {urls[1]} answered with HTTP status 404; "
    failures += f"{urls[2]} broke off {NUM_ATTEMPTS} times"
    with user_error(target, problem=failures, hint="(9990 rows), or set GENREGRID_DATA"):
        fetch_file(target, urls, [SHA256], hint="9990 rows")
    assert names(target) == []


def test_a_broken_transfer_is_repeated(server: Server, target: Path) -> None:
    path = f"breaks-{NUM_ATTEMPTS - 1}"
    fetch_file(target, [server.url(path)], [SHA256])
    assert target.read_bytes() == CONTENT
    assert names(target) == [target.name]
    assert server.seen == [f"/{path}"] * NUM_ATTEMPTS


def test_an_address_that_always_breaks_off_leaves_nothing(server: Server, target: Path) -> None:
    fetch_file(target, [server.url("breaks-9"), server.url("whole")], [SHA256])
    assert names(target) == [target.name]
    assert server.seen == ["/breaks-9"] * NUM_ATTEMPTS + ["/whole"]


def test_a_server_that_does_not_answer_is_given_up(
    target: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and sends nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with user_error(target, problem="no answer from"):
            fetch_file(target, [f"{url}/a", f"{url}/b"], [SHA256])
    assert names(target) == []


def test_no_network_names_file_host_and_variable(
    target: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        # each host is listed once
        problem = f"could not be downloaded (no network, or no answer from {host}: ConnectionError)"
        with user_error(target, problem=problem, hint="put the file there, or set GENREGRID_DATA"):
            fetch_file(target, [f"http://{host}/a", f"http://{host}/b"], [SHA256])
    assert names(target) == []


def test_a_folder_that_cannot_be_made_is_an_error(server: Server, tmp_path: Path, user_error: Expect) -> None:
    (tmp_path / "gtzan").write_text("a file where a folder belongs")
    target = tmp_path / "gtzan" / "sub" / "features_3_sec.csv"
    with user_error(target, problem="sub cannot be written: "):
        fetch_file(target, [server.url("whole")], [SHA256])


def test_a_full_disk_is_an_error(
    server: Server,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    user_error: Expect,
) -> None:
    def fail(url: str, target: Path, hashes: list[str]) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_download", fail)
    with user_error(target, problem="gtzan cannot be written: No space left on device"):
        fetch_file(target, [server.url("whole")], [SHA256])


def test_gitblob_hash_is_gits_own(server: Server, target: Path, tmp_path: Path) -> None:
    # Source: Chacon & Straub, Pro Git, section 10.2 "Git Objects".
    path = tmp_path / "blob"
    path.write_bytes(b"what is up, doc?")
    assert "gitblob:bd9dbf5aae1a3862dd1526723246b20206e5fc37" in hashes_of(path)
    path.write_bytes(CONTENT)
    (digest,) = hashes_of(path) - {SHA256}
    fetch_file(target, [server.url("whole")], [digest])
    if git := shutil.which("git"):
        printed = subprocess.check_output([git, "hash-object", "--no-filters", target], text=True)
        assert digest == f"gitblob:{printed.strip()}"


def test_import_leaves_the_network_libraries_alone() -> None:
    code = "import sys, genregrid.data.download; print({'pooch', 'requests', 'tqdm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_SECONDS"])
def test_an_endless_stream_is_given_up(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect, limit: str
) -> None:
    monkeypatch.setattr(download, limit, {"MOST_BYTES": 10_000_000, "MOST_SECONDS": 0.1}[limit])
    with user_error(target, problem="sends "):
        fetch_file(target, [server.url("endless")], [SHA256])
    assert names(target) == []


@pytest.mark.parametrize("path", ["redirect", "redirect-9", "length"])
def test_a_server_that_misleads_is_a_failure(server: Server, target: Path, user_error: Expect, path: str) -> None:
    with user_error(target, problem="could not be downloaded"):
        fetch_file(target, [server.url(path)], ["sha256:" + "0" * 64])
    assert names(target) == []
