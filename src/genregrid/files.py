"""Files of a run and of the user: refuse what is no regular file, read with a limit, replace whole files, hash them."""

import hashlib
import os
import stat
from pathlib import Path

from genregrid.errors import UserError


def check_regular(path: Path, *, key: object, hint: str | None = None) -> None:
    """Refuse everything that is not a regular file; a named pipe or a device would be read without an end.

    Args:
        path: of the file; links are followed.
        key: what the error names: the setting or the file.
        hint: what the user can do about it.

    Raises:
        UserError: there is no such file, or it is a folder, a pipe or a device.
    """
    value = {} if str(key) == str(path) else {"value": path}
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("it does not exist", key=key, **value, hint=hint) from None
    if not stat.S_ISREG(mode):
        problem = "it is a folder, not a file" if stat.S_ISDIR(mode) else "it is a pipe, socket or device, not a file"
        raise UserError(problem, key=key, **value, hint=hint)


def read_text(path: Path, *, most_bytes: int) -> str:
    """Read a UTF-8 text file of limited size.

    Raises:
        UserError: it is no regular file, larger than `most_bytes`, or not UTF-8.
    """
    check_regular(path, key=path)
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)  # the size that the system reports may be wrong by now
    if len(content) > most_bytes:
        raise UserError(f"it has more than {most_bytes} bytes", key=path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError("it is not text in UTF-8", key=path) from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole: a process that reads it meanwhile finds the old file, the new one or none."""
    part = path.with_name(f"{path.name}.writing")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
