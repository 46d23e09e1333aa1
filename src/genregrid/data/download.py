"""Fetch a missing corpus file from pinned public addresses: hash-checked, resumed after a break, whole or not there."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genregrid.errors import UserError

# pooch, requests and tqdm are imported where they are used: reading a corpus that is there needs none of them.

# To connect, and between two pieces of data. The first is short, because every address of a host is tried for that
# long; just over 3 s leaves TCP time to repeat a lost packet.
TIMEOUT_SECONDS = (3.05, 20.0)
NUM_ATTEMPTS = 3  # a first transfer and two that resume it
CHUNK_BYTES = 16_384  # the most that a break loses


def fetch_file(target: Path, urls: Sequence[str], hashes: Sequence[str], *, hint: str = "") -> Path:
    """Return ``target``, downloaded first where it is missing.

    A file that is there is returned as it is, without network or hashing. Otherwise the addresses are tried in order.
    Data gather in ``<target>.part``, which outlives a broken transfer and is resumed by the next; the file appears at
    ``target`` only whole and with an accepted hash. Two processes that fetch one file at once spoil
    each other's part, which the hash then refuses.

    Args:
        target: where the file belongs; missing folders are made.
        urls: http or https addresses of the file, best first.
        hashes: accepted identities, each ``sha256:HEX`` or ``gitblob:HEX`` (see `gitblob_hash`); any match is good,
            since a file can be around with LF and with CRLF line ends.
        hint: what the file is, for the error's sentence; may be empty.

    Returns:
        ``target``.

    Raises:
        UserError: no address gave an accepted file, for want of network, by an HTTP error, a transfer that keeps
            breaking off or another hash; or the disk is full or the folder cannot be written.
    """
    if target.exists():
        return target
    import requests

    part = target.with_name(f"{target.name}.part")
    failures: dict[str, str] = {}  # by url, or by host where no other address there is worth a try
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            host = urlsplit(url).netloc
            if host in failures:
                continue
            try:
                _complete(part, url, hashes)
                return part.replace(target)
            except requests.HTTPError as error:
                failures[url] = f"{url} answered with HTTP status {error.response.status_code}"
            except (requests.ConnectionError, requests.Timeout) as error:
                failures[host] = f"no network, or no answer from {host}: {type(error).__name__}"
            except requests.RequestException as error:
                failures[url] = str(error)
    except OSError as error:
        failures[""] = f"{target.parent} cannot be written: {error.strerror}"
    raise UserError(
        f"{target.name} is not at {target.parent} and could not be downloaded "
        f"({'; '.join(failures.values()) or 'no address is known'}): put the file there{hint and f' ({hint})'}, "
        "or set GENREGRID_DATA to a data folder that already holds it."
    )


def gitblob_hash(path: Path) -> str:
    """Return git's own hash of a file's content: SHA-1 of ``blob <size in bytes>``, a zero byte and the content.

    A file too large to be fetched with its repository's tree is known by this hash, which the tree gives.

    Args:
        path: a file that exists.

    Returns:
        40 lower-case hexadecimal digits, as ``git hash-object --no-filters`` prints them.
    """
    # `usedforsecurity`: systems that switch SHA-1 off still allow it for names.
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _complete(part: Path, url: str, hashes: Sequence[str]) -> None:
    """Make ``part`` whole and verified from one address, or raise and leave only data that are worth resuming."""
    import requests

    for _ in range(NUM_ATTEMPTS):
        is_resumed = part.exists()
        if is_resumed and _matches(part, hashes):
            return
        why = f"{url} keeps breaking off, run again to resume"
        try:
            _transfer(url, part)
        except requests.exceptions.ChunkedEncodingError:  # requests' name for a body that ends early
            continue
        except requests.HTTPError as error:
            if error.response.status_code != 416:  # 416: nothing follows the part, which is wrong by the check above
                raise
        if _matches(part, hashes):
            return
        part.unlink()
        why = f"{url} holds another file than expected (wrong hash)"
        if not is_resumed:  # a resumed part may hold another address's form of the file: once more from the start
            break
    raise requests.RequestException(why)


def _transfer(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks, or write it anew where the server sends the whole file."""
    from pooch import HTTPDownloader
    from requests import Response
    from tqdm import tqdm

    # Uncompressed, so that Range and Content-Length count the bytes that are written.
    headers = {"Accept-Encoding": "identity"}
    try:
        with part.open("ab") as file, tqdm(desc=part.stem, total=1, unit="B", unit_scale=True, disable=None) as bar:
            if file.tell():
                headers["Range"] = f"bytes={file.tell()}-"

            def start_over_if_whole(response: Response, **_: Any) -> None:
                if response.status_code == 200:
                    file.truncate(0)

            hooks = {"response": start_over_if_whole}
            HTTPDownloader(bar, CHUNK_BYTES, timeout=TIMEOUT_SECONDS, headers=headers, hooks=hooks)(url, file, None)
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


def _matches(path: Path, hashes: Sequence[str]) -> bool:
    """Say whether the file has one of the accepted identities."""
    from pooch import file_hash

    found = {f"sha256:{file_hash(str(path))}", f"gitblob:{gitblob_hash(path)}"}
    return not found.isdisjoint(accepted.lower() for accepted in hashes)
