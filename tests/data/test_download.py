"""Claims about `genregrid.data.download`, against a server on this machine's loopback address."""

import errno
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from genregrid.data import download
from genregrid.data.download import CHUNK_BYTES, fetch_file, gitblob_hash
from genregrid.errors import UserError

CONTENT = b"".join(b"blues.%05d.0.wav,66149,0.25,blues\n" % row for row in range(4000))
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """Serves `CONTENT`; the path says how: /whole, /no-range, /wrong, /breaks-N (the first N answers) or 404."""

    server: "Server"

    def do_GET(self) -> None:
        kind, _, count = self.path.strip("/").rpartition("-") if "breaks" in self.path else (self.path[1:], "", "0")
        wanted = self.headers["Range"]
        self.server.seen.append((self.path, wanted))
        if kind not in {"whole", "no-range", "wrong", "breaks"}:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and kind != "no-range" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:].upper() if kind == "wrong" else CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        is_broken = sum(path == self.path for path, _ in self.server.seen) <= int(count)
        self.wfile.write(body[: 2 * CHUNK_BYTES + 100] if is_broken else body)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    """Remembers (path, Range header) of every request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
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
def test_missing_file_is_fetched_whole(server: Server, target: Path, digest: str) -> None:
    assert fetch_file(target, [server.url("whole")], ["gitblob:" + "0" * 40, digest]) == target
    assert target.read_bytes() == CONTENT
    assert names(target) == [target.name]
    assert server.seen == [("/whole", None)]


def test_existing_file_is_left_as_it_is(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    assert fetch_file(target, [server.url("whole")], [SHA256]) == target
    assert target.read_text() == "mine"
    assert server.seen == []


def test_wrong_hash_goes_on_to_the_next_address(server: Server, target: Path) -> None:
    fetch_file(target, [server.url("wrong"), server.url("whole")], [SHA256])
    assert target.read_bytes() == CONTENT
    assert server.seen == [("/wrong", None), ("/whole", None)]


def test_no_accepted_file_ends_in_one_sentence(server: Server, target: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch_file(target, [server.url("wrong"), server.url("gone")], [SHA256], hint="9990 rows")
    sentence = str(caught.value)
    assert sentence.startswith(f"features_3_sec.csv is not at {target.parent} and could not be downloaded (")
    assert f"{server.url('wrong')} holds another file than expected (wrong hash)" in sentence
    assert f"{server.url('gone')} answered with HTTP status 404" in sentence
    assert "(9990 rows)" in sentence
    assert "GENREGRID_DATA" in sentence
    assert names(target) == []


def test_broken_transfer_is_resumed(server: Server, target: Path) -> None:
    fetch_file(target, [server.url("breaks-2")], [SHA256])
    assert target.read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0 for _, wanted in server.seen]
    assert starts[0] == 0
    assert 2 * CHUNK_BYTES <= starts[1] < starts[2] < len(CONTENT)


def test_interrupted_file_keeps_its_part_and_no_target(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match="keeps breaking off, run again to resume"):
        fetch_file(target, [server.url("breaks-3")], [SHA256])
    assert names(target) == ["features_3_sec.csv.part"]
    kept = (target.parent / "features_3_sec.csv.part").read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    fetch_file(target, [server.url("breaks-3")], [SHA256])
    assert server.seen[-1] == ("/breaks-3", f"bytes={len(kept)}-")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("part", "path", "requests"),
    [
        (CONTENT[:50_000], "whole", ["bytes=50000-"]),
        (CONTENT[:50_000], "no-range", ["bytes=50000-"]),  # answered with the whole file
        (CONTENT, "whole", []),  # nothing to ask for
        (CONTENT + b"x", "whole", [f"bytes={len(CONTENT) + 1}-", None]),  # answered with 416
        (b"x" * 50_000, "whole", ["bytes=50000-", None]),  # another file's start
    ],
)
def test_any_part_ends_as_the_right_file(
    server: Server, target: Path, part: bytes, path: str, requests: list[str | None]
) -> None:
    target.parent.mkdir()
    (target.parent / "features_3_sec.csv.part").write_bytes(part)
    fetch_file(target, [server.url(path)], [SHA256])
    assert target.read_bytes() == CONTENT
    assert names(target) == [target.name]
    assert [wanted for _, wanted in server.seen] == requests


def test_no_network_names_file_folder_and_variable(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError) as caught:
            fetch_file(target, [f"http://{host}/a", f"http://{host}/b"], [SHA256])
    assert str(caught.value) == (
        f"features_3_sec.csv is not at {target.parent} and could not be downloaded (no network, or no answer from "
        f"{host}: ConnectionError): put the file there, or set GENREGRID_DATA to a data folder that already holds it."
    )
    assert names(target) == []


def test_folder_that_cannot_be_made_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "gtzan").write_text("a file where a folder belongs")
    with pytest.raises(UserError, match="sub cannot be written: "):
        fetch_file(tmp_path / "gtzan" / "sub" / "features_3_sec.csv", [server.url("whole")], [SHA256])


def test_full_disk_is_told(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, part: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_transfer", fail)
    with pytest.raises(UserError, match="gtzan cannot be written: No space left on device"):
        fetch_file(target, [server.url("whole")], [SHA256])


def test_gitblob_hash_is_gits_own(server: Server, target: Path, tmp_path: Path) -> None:
    literal = tmp_path / "literal.txt"
    literal.write_bytes(b"what is up, doc?")
    # Source: Chacon & Straub, Pro Git, section 10.2 "Git Objects".
    assert gitblob_hash(literal) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    literal.write_bytes(CONTENT)
    fetch_file(target, [server.url("whole")], [f"gitblob:{gitblob_hash(literal)}"])
    if git := shutil.which("git"):
        printed = subprocess.check_output([git, "hash-object", "--no-filters", target], text=True)
        assert printed.strip() == gitblob_hash(target)


def test_import_leaves_the_network_libraries_alone() -> None:
    code = "import sys, genregrid.data.download; print({'pooch', 'requests', 'tqdm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
