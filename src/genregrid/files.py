"""Files of a run and of the user: refuse what is no regular file, read with limits, replace whole files, hash them.

JSON and YAML are read as plain data. Whatever a file holds, reading it takes bounded time and memory, and nothing in it
is run, resolved or imported.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from genregrid.errors import UserError
from genregrid.program import command_name

_MOST_DOCUMENT_BYTES = 16 * 2**20  # of a JSON file; ours have some kilobytes
_MOST_YAML_BYTES = 2**20  # reading YAML takes about a second per megabyte
_MOST_DEPTH = 50  # of nested lists and dicts; ours have four levels
_LARGEST_INTEGER = 2**63
_LONGEST_NAME = 100  # characters of a folder's name; file systems allow 255 bytes, and a name has more parts
_PART = ".writing"  # ends the name of a file that is not complete
_INNER_FOLDERS = {"wandb"}  # W&B's own, with thousands of files


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
    except (OSError, ValueError) as error:  # links in a circle, no permission; a zero byte in a name
        raise UserError(_reason(error), key=key, **value, hint=hint) from None
    if not stat.S_ISREG(mode):
        problem = "it is a folder, not a file" if stat.S_ISDIR(mode) else "it is a pipe, socket or device, not a file"
        raise UserError(problem, key=key, **value, hint=hint)


def _reason(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or "its name is not allowed"
    return f"it cannot be read ({reason})"


def read_bytes(path: Path, *, most_bytes: int, hint: str | None = None) -> bytes:
    """Read a file of limited size.

    Raises:
        UserError: it is no regular file, cannot be read, or is larger than `most_bytes`.
    """
    check_regular(path, key=path, hint=hint)
    try:
        with path.open("rb") as file:
            # the size that the system reports may be wrong by now, and reading `most_bytes` would take as much memory
            if (size := os.fstat(file.fileno()).st_size) <= most_bytes:
                content = file.read(size + 1)
                size = len(content)
    except OSError as error:
        raise UserError(_reason(error), key=path, hint=hint) from None
    if size > most_bytes:
        raise UserError(f"it has more than {most_bytes} bytes", key=path, hint=hint)
    return content


def _decoded(content: bytes, source: object, hint: str | None) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError("it is not text in UTF-8", key=source, hint=hint) from None


def read_json(path: Path, *, hint: str | None = None) -> dict[str, Any]:
    """Read a JSON file that holds one object; errors as in `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, most_bytes=_MOST_DOCUMENT_BYTES, hint=hint), path, hint=hint)


def parse_json(content: bytes, source: object, *, hint: str | None = None) -> dict[str, Any]:
    """Read one JSON object; `source` is what the error names.

    Raises:
        UserError: it is not UTF-8 or not JSON, not an object, has a key twice, a number that is not finite or an
            integer over 64 bits, text that is not Unicode, or too many levels.
    """
    text = _decoded(content, source, hint)

    def refuse(problem: str) -> NoReturn:
        raise UserError(problem, key=source, hint=hint)

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            refuse("it has a key twice")
        return found

    def finite(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refuse("it has a number that is not finite")

    def integer(digits: str) -> int:
        value = int(digits) if len(digits) < 21 else _LARGEST_INTEGER
        return value if abs(value) < _LARGEST_INTEGER else refuse("it has an integer with too many digits")

    hooks: dict[str, Any] = {"object_pairs_hook": distinct, "parse_float": finite, "parse_int": integer}
    try:
        found = json.loads(text, **hooks, parse_constant=lambda _: refuse("it has a number that is not finite"))
    except json.JSONDecodeError as error:
        refuse(f"it is not JSON (line {error.lineno})")
    except RecursionError:
        refuse("it has too many levels")
    if not isinstance(found, dict):
        refuse("it is not a JSON object")
    if _depth(found) > _MOST_DEPTH:
        refuse("it has too many levels")
    if re.search(r"\\u[dD][89a-fA-F]", text) and any("\ud800" <= letter <= "\udfff" for letter in canonical(found)):
        refuse("it has text that is not Unicode")
    return found


def canonical(content: Any) -> str:
    """Write plain data as JSON in one form: equal data give equal text, whatever the order of keys."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _depth(content: Any) -> int:
    """Return the number of levels of nested lists and dicts, counted without recursion."""
    level, depth = [content], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def parse_yaml(content: bytes, source: object, *, hint: str | None = None) -> dict[str, Any]:
    """Read a YAML mapping as plain data; `source` is what the error names.

    Anchors, aliases and tags are refused: a few of them can stand for more data than fit into memory, or for objects.

    Raises:
        UserError: it is too large, not UTF-8, not YAML, not one mapping, or has anchors, tags or too many levels.
    """
    if len(content) > _MOST_YAML_BYTES:
        raise UserError(f"it has more than {_MOST_YAML_BYTES} bytes", key=source, hint=hint)
    text = _decoded(content, source, hint)
    try:
        depth, documents = 0, 0
        for event in yaml.parse(text, Loader=_YAML):
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
                raise UserError("it has an anchor, an alias or a tag", key=source, hint=hint)
            if depth > _MOST_DEPTH or documents > 1:
                problem = "it has more than one document" if documents > 1 else "it has too many levels"
                raise UserError(problem, key=source, hint=hint)
        found = yaml.load(text, Loader=_YAML)  # as safe as the C loader
    except UserError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise UserError(f"it is not YAML{where}", key=source, hint=hint) from None
    except (ValueError, TypeError, RecursionError):  # dates that do not exist, numbers of too many digits
        raise UserError("it has a value that cannot be read", key=source, hint=hint) from None
    if not isinstance(found, dict):
        raise UserError("it is not a mapping of keys to values", key=source, hint=hint)
    return found


_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first, in C, is not in every build


def files_below(folder: Path, names: Iterable[str]) -> Iterator[tuple[Path, set[str]]]:
    """Yield folders below a folder, itself first, that have a file of one of some names, and these names.

    Links to folders are not followed, so they neither lead out of the folder nor in a circle. Folders that cannot be
    read, and those of W&B, are left out.
    """
    wanted, folders = set(names), [str(folder)]
    while folders:
        path, found, inner = folders.pop(), set(), []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name in wanted and entry.is_file():
                        found.add(entry.name)
                    elif entry.name not in _INNER_FOLDERS and entry.is_dir(follow_symlinks=False):
                        inner.append(entry.path)
        except OSError:
            continue
        if found:
            yield Path(path), found
        folders += sorted(inner, reverse=True)


def home_expanded(path: str) -> str:
    """Return a path with the home folder in place of ``~/`` at its start; a path that exists stays as it is.

    Shells do so only at the start of an argument without quotation marks, and not after ``audio=``.
    """
    is_home = (path == "~" or path.startswith("~/")) and not os.path.lexists(path)
    return os.path.expanduser(path) if is_home else path


def home_path(text: str) -> Path:
    """Return the path that a text means, see `home_expanded`."""
    return Path(home_expanded(text))


def folder_name(text: str) -> str:
    r"""Make the name of a folder from any text: letters, digits and ``-_.+``, without a dot in front, never empty.

    Equal texts give equal names. Where characters are replaced or left out, a hash of the text keeps names distinct.

    >>> folder_name("gtzan+fma"), folder_name("Música 2")
    ('gtzan+fma', 'Música-2-6df11691')
    >>> folder_name("../../etc"), folder_name("")
    ('etc-74ccf3c5', 'e3b0c442')
    """
    name = re.sub(r"[^\w.+-]+", "-", text).strip("-.")[:_LONGEST_NAME]
    while len(name.encode()) > 2 * _LONGEST_NAME:
        name = name[:-1]
    if name == text and text:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(filter(None, (name.rstrip("."), digest)))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole: a process that reads it meanwhile finds the old file, the new one or none."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, which takes the place of `path` at the end, and is removed after an error.

    Its name has the number of the process: several processes may write the same file at once. `remove_parts` removes
    what a killed process leaves.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{_PART}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove files that killed processes began to write in a folder, see `replacing`."""
    for part in folder.glob(f"*{_PART}"):
        part.unlink(missing_ok=True)


_UTF16_BYTES = 16  # of letters, each with a zero byte, by which text in UTF-16 is recognised


class FileKind(NamedTuple):
    """A kind of file that is no text, and what a user can do who has one in place of a CSV."""

    name: str
    hint: str


_UNPACK = "unpack it, and give the CSV in it"
_AS_CSV = "save the table as CSV (UTF-8)"
_AUDIO = f"extract its features: {command_name('features')}"
#: First bytes of a file by which `file_kind` and `text_kind` recognise it.
KIND_BYTES = 512
GZIP = FileKind("a gzip file", _UNPACK)
PARQUET = FileKind("a Parquet file", _AS_CSV)
NPZ = FileKind("a NumPy archive (npz)", _AS_CSV)
# The first bytes of files that people give in place of tables.
_KINDS = {
    b"\x1f\x8b": GZIP,
    b"PAR1": PARQUET,
    b"BZh": FileKind("a bzip2 file", _UNPACK),
    b"\xfd7zXZ\0": FileKind("an xz file", _UNPACK),
    b"\x28\xb5\x2f\xfd": FileKind("a Zstandard file", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": FileKind("a rar archive", _UNPACK),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": FileKind("an Excel workbook (xls)", _AS_CSV),
    b"ARROW1": FileKind("a Feather file", _AS_CSV),
    b"FEA1": FileKind("a Feather file", _AS_CSV),
    b"\x93NUMPY": FileKind("a NumPy array (npy)", "save it with names and labels by np.savez"),
    b"\x89HDF\r\n\x1a\n": FileKind("an HDF5 file", _AS_CSV),
    b"MATLAB 5.0": FileKind("a MATLAB file", _AS_CSV),
    b"SQLite format 3\0": FileKind("an SQLite database", _AS_CSV),
    b"%PDF-": FileKind("a PDF", _AS_CSV),
    b"\x89PNG": FileKind("a picture", _AS_CSV),
    b"\xff\xd8\xff": FileKind("a picture", _AS_CSV),
    b"ID3": FileKind("a recording", _AUDIO),
    b"fLaC": FileKind("a recording", _AUDIO),
    b"OggS": FileKind("a recording", _AUDIO),
    b"RIFF": FileKind("a recording", _AUDIO),
    b"\xff\xfe\0\0": FileKind("text in UTF-32", "save it as UTF-8"),
    b"\xff\xfe": FileKind("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": FileKind("text in UTF-16", "save it as UTF-8"),
}
_ZIPS = {
    rb"mimetypeapplication/vnd\.oasis": FileKind("an OpenDocument file", _AS_CSV),
    rb"\[Content_Types\]\.xml|_rels/|docProps/|xl/": FileKind("an Excel workbook (xlsx)", _AS_CSV),
    rb"[^\0]*\.npy": NPZ,
    rb"[^\0]*/data\.pkl": FileKind("a file of PyTorch", _AS_CSV),
    rb"": FileKind("a zip archive", f"{_UNPACK}; {_AS_CSV} if it is a workbook"),
}
_TEXTS = {
    rb"<!doctype html|<html|<head|<body": FileKind(
        "a web page (HTML)", "download the file itself, not the page about it"
    ),
    rb"<\?xml|<[a-z]+[ >]": FileKind("XML", _AS_CSV),
    rb'\{\s*("|\}|$)|\[\s*[\[{"]': FileKind("JSON", _AS_CSV),
    rb"@relation|%.*\s@relation": FileKind("an ARFF file", _AS_CSV),
    rb"version https://git-lfs": FileKind("a pointer of Git LFS", "run `git lfs pull`"),
}


def file_kind(start: bytes) -> FileKind | None:
    r"""Recognise a file that is no text in UTF-8 by its first `KIND_BYTES` or more; ``None`` if it may be text.

    >>> file_kind(b"\x1f\x8b\x08").name, file_kind(b"filename,label")
    ('a gzip file', None)
    """
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return next(kind for pattern, kind in _ZIPS.items() if re.match(pattern, start[30:200]))
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return FileKind("a pickle of Python", "pickles run code when they are read: save the table as CSV")
    even, odd = start[:_UTF16_BYTES:2], start[1:_UTF16_BYTES:2]
    if (
        len(start) >= _UTF16_BYTES
        and (any(even), any(odd)) in ((True, False), (False, True))
        and (0 not in even or 0 not in odd)
    ):
        return FileKind("text in UTF-16", "save it as UTF-8")  # without the mark of its byte order
    if start[257:262] == b"ustar":
        return FileKind("a tar archive", _UNPACK)
    if start.isascii() and b"\0" not in start and not start.startswith(b"%PDF-"):
        return None  # a column may be called ID3
    return next((kind for first, kind in _KINDS.items() if start.startswith(first)), None)


def text_kind(start: bytes) -> FileKind | None:
    """Recognise text that is no table by its first bytes; ``None`` if it may be one."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((kind for pattern, kind in _TEXTS.items() if re.match(pattern, text, re.IGNORECASE)), None)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
