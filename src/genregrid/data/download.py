"""Download a missing corpus file from pinned public addresses, check its hash, and put it in place as a whole."""

import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from genregrid.errors import UserError, printable

# pooch and requests are imported inside the functions, because a corpus that is on disk needs neither.

# To connect, and between two pieces of data. Every address of a host is tried for the first time, so it is short; a
# little more than 3 s leaves TCP time to repeat a lost packet.
TIMEOUT_SECONDS = (3.05, 20.0)
NUM_ATTEMPTS = 3  # transfers from one address, if they break off
# The largest file of a known corpus has 14 MB. A server that sends without end is given up at these limits.
MOST_BYTES = 1_000_000_000
MOST_SECONDS = 3600.0


def fetch_file(target: Path, urls: Sequence[str], hashes: Sequence[str], *, hint: str = "") -> Path:
    """Return ``target``; download it first if it is missing.

    The addresses are tried in order, best first. The file appears only whole and with one of the accepted hashes of
    `hashes_of`; there may be several, since a file may exist with LF and with CRLF line ends. `hint` is what the file
    is, for the error.

    Raises:
        UserError: no address gave an accepted file, or the file cannot be written.
    """
    if target.exists():
        return target
    import requests

    failures: dict[str, str] = {}  # by address, or by host if no other address there is worth a try
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            host = urlsplit(url).netloc
            if host in failures:
                continue
            try:
                return _download(url, target, hashes)
            except requests.HTTPError as error:
                failures[url] = f"{url} answered with HTTP status {error.response.status_code}"
            except (requests.ConnectionError, requests.Timeout) as error:
                failures[host] = f"no network, or no answer from {host}: {type(error).__name__}"
            except (requests.RequestException, ValueError) as error:  # such as a length that is no number
                failures[url] = printable(str(error))
    except OSError as error:
        failures[""] = f"{target.parent} cannot be written: {error.strerror}"
    raise UserError(
        f"it is missing and could not be downloaded ({'; '.join(failures.values()) or 'no address is known'})",
        key=target,
        hint=f"put the file there{hint and f' ({hint})'}, or set GENREGRID_DATA to a data folder that already holds it",
    )


def hashes_of(path: Path) -> set[str]:
    """Return the two hashes by which a file can be known, as ``sha256:HEX`` and ``gitblob:HEX``.

    The second is git's own, which a repository's tree lists even for files that are too large to be in a clone.

    Source: Chacon & Straub, Pro Git, section 10.2 "Git Objects".
    """
    sha256 = hashlib.sha256()
    # `usedforsecurity`: systems that switch SHA-1 off still allow it for names.
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            sha256.update(piece)
            blob.update(piece)
    return {f"sha256:{sha256.hexdigest()}", f"gitblob:{blob.hexdigest()}"}


class _LimitedFile:
    """A file that raises when more is written, or for longer, than a download may take."""

    def __init__(self, file: BinaryIO, url: str) -> None:
        self._file = file
        self._url = url
        self._num_left = MOST_BYTES
        self._end = time.monotonic() + MOST_SECONDS

    def write(self, data: bytes) -> int:
        from requests import RequestException

        self._num_left -= len(data)
        if self._num_left < 0:
            raise RequestException(f"{self._url} sends more than {MOST_BYTES} bytes")
        if time.monotonic() > self._end:
            raise RequestException(f"{self._url} sends for more than {MOST_SECONDS:g} s")
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _download(url: str, target: Path, hashes: Sequence[str]) -> Path:
    """Download one address into a temporary folder, check it, and move it to ``target``."""
    from pooch import HTTPDownloader
    from requests import RequestException
    from requests.exceptions import ChunkedEncodingError

    download = HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_SECONDS)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
        path = Path(folder) / target.name
        for _ in range(NUM_ATTEMPTS):
            try:
                with path.open("wb") as file:
                    download(url, _LimitedFile(file, url), None)
                break
            except ChunkedEncodingError:  # requests' name for a body that ends early
                continue
        else:
            raise RequestException(f"{url} broke off {NUM_ATTEMPTS} times")
        if hashes_of(path).isdisjoint(accepted.lower() for accepted in hashes):
            raise RequestException(f"{url} holds another file than expected (wrong hash)")
        return path.replace(target)
