"""Download a missing corpus file from pinned public addresses, check its hash, and put it in place as a whole."""

import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from genregrid.errors import UserError

# pooch and requests are imported inside the functions, because a corpus that is on disk needs neither.

# To connect, and between two pieces of data. Every address of a host is tried for the first time, so it is short; a
# little more than 3 s leaves TCP time to repeat a lost packet.
TIMEOUT_SECONDS = (3.05, 20.0)
NUM_ATTEMPTS = 3  # transfers from one address, if they break off


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
            except requests.RequestException as error:
                failures[url] = str(error)
    except OSError as error:
        failures[""] = f"{target.parent} cannot be written: {error.strerror}"
    raise UserError(
        f"it is missing and could not be downloaded ({'; '.join(failures.values()) or 'no address is known'})",
        key=target,
        hint=f"put the file there{hint and f' ({hint})'}, or set GENREGRID_DATA to a data folder that already holds it",
    )


def hashes_of(content: bytes) -> set[str]:
    """Return the two hashes by which a file can be known, as ``sha256:HEX`` and ``gitblob:HEX``.

    The second is git's own, which a repository's tree lists even for files that are too large to be in a clone.

    Source: Chacon & Straub, Pro Git, section 10.2 "Git Objects".
    """
    # `usedforsecurity`: systems that switch SHA-1 off still allow it for names.
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return {f"sha256:{hashlib.sha256(content).hexdigest()}", f"gitblob:{blob.hexdigest()}"}


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
                download(url, str(path), None)
                break
            except ChunkedEncodingError:  # requests' name for a body that ends early
                continue
        else:
            raise RequestException(f"{url} broke off {NUM_ATTEMPTS} times")
        if hashes_of(path.read_bytes()).isdisjoint(accepted.lower() for accepted in hashes):
            raise RequestException(f"{url} holds another file than expected (wrong hash)")
        return path.replace(target)
