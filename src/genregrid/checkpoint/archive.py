"""Read checkpoint files: only numbers, text, lists, dicts and tensors, in memory and time that the file's size bounds.

A checkpoint is a zip of uncompressed entries that `torch.save` wrote: a pickle, and one entry for each storage of a
tensor. `torch.load(weights_only=True)` runs no foreign code, but it unpacks entries, copies what a pickle repeats, and
checks no CRC. So the pickle is read here: a value is made only by the few opcodes and names below.
"""

import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pickletools import genops
from typing import Any, BinaryIO

import torch
from torch import Tensor

from genregrid.errors import UserError
from genregrid.files import check_regular

_GIB = 2**30
#: Limits of what is read. Checkpoints of 100,000 tracks have a pickle of 6 MB with 500,000 opcodes.
_MOST_BYTES = 8 * _GIB
_MOST_ENTRIES = 20_000
_MOST_DIRECTORY_BYTES = 200 * _MOST_ENTRIES
_MOST_PICKLE_BYTES = 64 * 2**20
_MOST_OPCODES = 2_000_000
_MOST_VALUES = 1_000_000
_MOST_LEVELS = 30
_LARGEST_INT_KEY = 2**20  # integers far apart can share a hash, and a dict of them is then slow

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NAMES: dict[str, Any] = {f"torch {name}": dtype for name, dtype in _STORAGES.items()}
_NAMES |= {"collections OrderedDict": "dict", "torch._utils _rebuild_tensor_v2": "tensor"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _DamageError(Exception):
    """The file is not what `torch.save` writes; the text is the reason."""


@dataclass(frozen=True)
class _Storage:
    entry: zipfile.ZipInfo
    dtype: torch.dtype
    num_values: int


@dataclass(frozen=True)
class _Name:
    """A name of `_NAMES` on the stack of a pickle."""

    meaning: Any


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a checkpoint that is not read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the values."""
        return self.storage.dtype


class CheckpointFile:
    """The content of a checkpoint, with `StoredTensor` in place of tensors; `filled` reads them.

    Attributes:
        content: what was saved; dicts have only text and small whole numbers as keys.
    """

    def __init__(self, archive: zipfile.ZipFile, content: dict[Any, Any]) -> None:
        self._archive = archive
        self.content = content

    def filled(self, content: dict[Any, Any]) -> dict[Any, Any]:
        """Return a part of the content with all its tensors; those that shared a storage share it again."""
        storages: dict[str, Tensor] = {}

        def value(of: Any) -> Any:
            if isinstance(of, StoredTensor):
                name = of.storage.entry.filename
                if name not in storages:
                    storages[name] = self._values(of.storage)
                return storages[name].as_strided(of.shape, of.stride, of.offset)
            if isinstance(of, dict):
                return type(of)((key, value(item)) for key, item in of.items())
            return type(of)(map(value, of)) if isinstance(of, list | tuple) else of

        whole: dict[Any, Any] = value(content)
        return whole

    def _values(self, storage: _Storage) -> Tensor:
        if not storage.num_values:
            return torch.empty(0, dtype=storage.dtype)
        values = bytearray(self._archive.read(storage.entry))  # writable, as torch expects
        return torch.frombuffer(values, dtype=storage.dtype)


@contextmanager
def open_checkpoint(path: Path, *, key: object) -> Iterator[CheckpointFile]:
    """Open a file that `torch.save` wrote: check all of it, and read everything but tensors.

    Args:
        path: of the file.
        key: what an error names: the setting or the file.

    Raises:
        UserError: there is no such regular file, it is damaged, or it holds other things than plain values and tensors.
    """
    check_regular(path, key=key, hint=None if str(key) == str(path) else "give the checkpoint.ckpt of a run folder")
    value: dict[str, Any] = {} if str(key) == str(path) else {"value": path}
    with path.open("rb") as file:
        try:
            opened = _opened(file)
        except Exception as error:  # a file of any bytes raises a dozen types
            reason = str(error) if isinstance(error, _DamageError) else f"it is damaged, {type(error).__name__}"
            problem = f"the file is no checkpoint of genregrid, or of another version: {reason}"
            raise UserError(problem, key=key, **value) from error
        yield opened


def read_checkpoint(path: Path, *, key: object) -> dict[Any, Any]:
    """Read all of a file that `torch.save` wrote; arguments and errors as for `open_checkpoint`."""
    with open_checkpoint(path, key=key) as file:
        return file.filled(file.content)


def _opened(file: BinaryIO) -> CheckpointFile:
    _check_directory(file)
    archive = zipfile.ZipFile(file)
    num_bytes = file.seek(0, 2)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) < len(archive.infolist()):
        raise _DamageError("an entry has the name of another one")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
        raise _DamageError("an entry is compressed or encrypted")
    if sum(entry.file_size for entry in entries.values()) > num_bytes:
        raise _DamageError("its entries are larger than the file")
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _DamageError("it has no data.pkl")
    if entries[pickles[0]].file_size > _MOST_PICKLE_BYTES:
        raise _DamageError(f"its data.pkl has more than {_MOST_PICKLE_BYTES} bytes")
    damaged = archive.testzip()  # compares the CRC of every entry, in pieces of a megabyte
    if damaged is not None:
        raise _DamageError(f"the CRC of its entry {damaged} is wrong, so its bytes have changed")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in entries and archive.read(order) != b"little":
        raise _DamageError("its byte order is not little")
    storages = {name.removeprefix(f"{folder}data/"): entry for name, entry in entries.items()}
    content = _unpickled(archive.read(pickles[0]), storages)
    if not isinstance(content, dict):
        raise _DamageError(f"it holds no dict, but {type(content).__name__}")
    _check_size(content)
    return CheckpointFile(archive, content)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a file that is too large, or whose directory is: `zipfile` reads a directory of any size into memory."""
    num_bytes = file.seek(0, 2)
    if num_bytes > _MOST_BYTES:
        raise _DamageError(f"it has more than {_MOST_BYTES} bytes")
    end, zip64_end = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
    tail = 20 + zip64_end.size + end.size  # of a zip64: end, locator of 20 bytes, end
    file.seek(max(0, num_bytes - tail))
    last = file.read(tail)
    if last[-end.size : -end.size + 4] != b"PK\5\6" or last[-2:] != b"\0\0":  # zipfile looks for another end
        raise _DamageError("it is no zip")
    _, *_, entries, directory_bytes, _, _ = end.unpack(last[-end.size :])
    if last[:4] == b"PK\6\6" and len(last) == tail:
        *_, entries, directory_bytes, _ = zip64_end.unpack(last[: zip64_end.size])
    if entries > _MOST_ENTRIES or directory_bytes > _MOST_DIRECTORY_BYTES:
        raise _DamageError(f"it has more than {_MOST_ENTRIES} entries")


def _unpickled(data: bytes, storages: dict[str, zipfile.ZipInfo]) -> Any:
    """Make the value of a pickle; memory and time grow with its number of opcodes, which is limited."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def popped(start: int) -> list[Any]:
        values = stack[start:]
        del stack[start:]
        return values

    argument: Any
    for count, (opcode, argument, _) in enumerate(genops(data)):
        name = opcode.name
        if count == _MOST_OPCODES:
            raise _DamageError(f"it has more than {_MOST_OPCODES} values")
        if name in _VALUES:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(popped(marks.pop())))
        elif name in _TUPLES:
            stack.append(tuple(popped(len(stack) - _TUPLES[name])))
        elif name in ("APPEND", "APPENDS"):
            values = popped(len(stack) - 1 if name == "APPEND" else marks.pop())
            _of(list, stack[-1]).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = popped(len(stack) - 2 if name == "SETITEM" else marks.pop())
            _set_items(_of(dict, stack[-1]), values)
        elif name == "GLOBAL":
            if argument not in _NAMES:
                raise _DamageError(f"it names '{argument}', and a checkpoint holds plain values and tensors only")
            stack.append(_Name(_NAMES[argument]))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), storages))
        elif name == "REDUCE":
            function, arguments = popped(len(stack) - 2)
            stack.append(_made(_of(_Name, function).meaning, _of(tuple, arguments)))
        elif name == "BUILD":  # versions of torch's layers, which a `state_dict` has as attributes
            stack.pop()
            _of(OrderedDict, stack[-1])
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise _DamageError(f"its pickle has the opcode {name}")
    raise _DamageError("its pickle has no end")


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise _DamageError(f"its pickle has a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _set_items(target: dict[Any, Any], values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if type(key) is not str and not (type(key) is int and 0 <= key < _LARGEST_INT_KEY):
            raise _DamageError(f"a key of a dict is a {type(key).__name__}")
        target[key] = value


def _storage(identity: Any, storages: dict[str, zipfile.ZipInfo]) -> _Storage:
    """Return the storage of ``("storage", type, entry, device, number of values)``."""
    kind, named, key, _, num_values = _of(tuple, identity)
    dtype = _of(_Name, named).meaning
    if kind != "storage" or not isinstance(dtype, torch.dtype) or type(key) is not str or type(num_values) is not int:
        raise _DamageError("it has a storage of another kind")
    if key not in storages or storages[key].file_size != num_values * dtype.itemsize:
        raise _DamageError(f"its storage {key} is missing or of another size")
    return _Storage(storages[key], dtype, num_values)


def _made(meaning: object, arguments: tuple[Any, ...]) -> Any:
    if meaning == "dict" and not arguments:
        return OrderedDict()
    if meaning != "tensor":
        raise _DamageError("its pickle calls what is no tensor")
    storage, offset, shape, stride = arguments[:4]
    sizes = (offset, *_of(tuple, shape), *_of(tuple, stride))
    if any(type(size) is not int or size < 0 for size in sizes) or len(shape) != len(stride) or len(shape) > 8:
        raise _DamageError("it has a tensor of an impossible shape")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    num_values = prod(shape)  # a stride of 0 repeats values: a tensor of any size from a storage of one value
    if num_values and max(num_values, last + 1) > _of(_Storage, storage).num_values:
        raise _DamageError("a tensor is larger than its storage")
    return StoredTensor(_of(_Storage, storage), offset, shape, stride)


def _check_size(content: dict[Any, Any]) -> None:
    """Refuse content that is deep, or large when what it repeats is counted each time."""
    level: list[Any] = [content]
    num_values = 0
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for item in level:
            num_values += len(item)
            if num_values > _MOST_VALUES:
                raise _DamageError(f"it has more than {_MOST_VALUES} values")
            below += item.values() if isinstance(item, dict) else item
        level = [item for item in below if isinstance(item, dict | list | tuple)]
        if not level:
            return
    raise _DamageError(f"its values are nested in more than {_MOST_LEVELS} levels")
