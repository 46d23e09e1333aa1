"""Read tensors from a checkpoint of TensorFlow (a TensorBundle) without TensorFlow.

A bundle is two files. The index is a table of LevelDB: blocks of sorted keys, of which only the part that differs from
the key before is written, with protocol buffers as values. The data file holds the tensors one after another. Every
block and tensor has a CRC-32C, which is checked. Reading takes memory in proportion to the two files, whatever they
hold.

Source: TensorFlow, tensorflow/core/util/tensor_bundle and core/protobuf/tensor_bundle.proto; LevelDB,
doc/table_format.md.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # of a block: how it is compressed, and its CRC
_MOST_TENSORS = 10_000
_MOST_NAME_BYTES = 1000  # a name is written by what differs from the one before, so few bytes can make many long names
_MOST_AXES = 8
_FLOAT32 = 1  # TensorFlow's number of the type
_VARINT, _EIGHT_BYTES, _TEXT, _FOUR_BYTES = 0, 1, 2, 5  # wire types of protocol buffers
_POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed


class BundleError(Exception):
    """A file is no TensorBundle, is damaged, or lacks a tensor; the text is the reason."""


@dataclass(frozen=True)
class _Entry:
    """Where a tensor is in the data file."""

    type_number: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    num_bytes: int
    masked_crc: int


class TensorBundle:
    """The tensors of a checkpoint with one data file.

    Args:
        index: content of the file ``.index``.
        data: content of the file ``.data-00000-of-00001``.

    Attributes:
        names: of all tensors, in the order of the index.

    Raises:
        BundleError: the index is no table, is damaged, or names more tensors than a network has.
    """

    def __init__(self, index: bytes, data: bytes) -> None:
        self._data = data
        self._entries = dict(_entries(index))
        self.names = tuple(self._entries)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor as float32, of the shape that the index gives.

        Raises:
            BundleError: there is no such tensor of float32, its bytes are not in the data file, or they are damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise BundleError(f"it has no tensor '{name}'")
        if entry.type_number != _FLOAT32 or entry.shard != 0:
            raise BundleError(f"its tensor '{name}' is not float32 in one data file")
        if 4 * math.prod(entry.shape) != entry.num_bytes or entry.offset + entry.num_bytes > len(self._data):
            raise BundleError(f"its tensor '{name}' is not within the data file")
        content = self._data[entry.offset : entry.offset + entry.num_bytes]
        if _masked(crc32c(content)) != entry.masked_crc:
            raise BundleError(f"its tensor '{name}' is damaged")
        return np.frombuffer(content, "<f4").astype(np.float32).reshape(entry.shape)


def _entries(index: bytes) -> Iterator[tuple[str, _Entry]]:
    """Yield the tensors that an index names."""
    footer = index[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise BundleError("it is no index of a TensorFlow checkpoint")
    _, at = _handle(footer, 0)  # of a block that bundles leave empty
    blocks, _ = _handle(footer, at)
    num_tensors, end = 0, 0
    for _, handle in _block(index, *blocks):
        (offset, size), _ = _handle(handle, 0)
        if offset < end:  # so that no block is read many times
            raise BundleError("blocks of its index overlap")
        end = offset + size
        for key, value in _block(index, offset, size):
            if not key:  # the header: number of data files, byte order, version
                _check_header(value)
                continue
            num_tensors += 1
            if num_tensors > _MOST_TENSORS:
                raise BundleError(f"it has more than {_MOST_TENSORS} tensors")
            yield key.decode("utf-8", "replace"), _entry(value)


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Read where a block is, as its offset and its bytes; return it with the position after it."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block."""
    stored = index[offset : offset + size + _TRAILER_BYTES]
    if len(stored) < size + _TRAILER_BYTES or size < 4:
        raise BundleError("its index is damaged, a block is missing")
    if _masked(crc32c(stored[:-4])) != int.from_bytes(stored[-4:], "little"):
        raise BundleError("its index is damaged")
    if stored[size] != 0:
        raise BundleError("its index is compressed, which is not read")
    num_restarts = int.from_bytes(stored[size - 4 : size], "little")
    end = size - 4 - 4 * num_restarts
    if end < 0:
        raise BundleError("a block of its index is damaged")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(stored, at)
        num_new, at = _varint(stored, at)
        num_value, at = _varint(stored, at)
        if shared > len(key) or shared + num_new > _MOST_NAME_BYTES or at + num_new + num_value > end:
            raise BundleError("a key of its index is damaged")
        key = key[:shared] + stored[at : at + num_new]
        at += num_new
        yield key, stored[at : at + num_value]
        at += num_value


def _check_header(content: bytes) -> None:
    fields = dict(_fields(content))
    if fields.get(1, 0) != 1 or fields.get(2, 0) != 0:
        raise BundleError("its tensors are in several data files, or of another byte order")


def _entry(content: bytes) -> _Entry:
    found: dict[int, int | bytes] = dict(_fields(content))
    if 7 in found:
        raise BundleError("it has a tensor in parts, which is not read")
    shape = []
    for number, axis in _fields(_text(found.get(2, b""))):
        if number == 2:
            shape.append(_number(dict(_fields(_text(axis))).get(1, 0)))
    if len(shape) > _MOST_AXES or any(size >= 1 << 32 for size in shape):
        raise BundleError("it has a tensor with an impossible shape")
    type_number, shard, offset, num_bytes, crc = (_number(found.get(number, 0)) for number in (1, 3, 4, 5, 6))
    return _Entry(type_number, tuple(shape), shard, offset, num_bytes, crc)


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise BundleError("an entry of its index is damaged")
    return value


def _text(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise BundleError("an entry of its index is damaged")
    return value


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer by their numbers."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind == _TEXT:
            size, at = _varint(content, at)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            size = 4 if kind == _FOUR_BYTES else 8
        else:
            raise BundleError("an entry of its index is damaged")
        part = content[at : at + size]
        if len(part) < size:
            raise BundleError("an entry of its index is damaged")
        at += size
        yield number, part if kind == _TEXT else int.from_bytes(part, "little")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; return it with the position after it.

    >>> _varint(bytes([0xAC, 0x02, 0x07]), 0)
    (300, 2)
    """
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BundleError("a number of its index is damaged")


def crc32c(content: bytes) -> int:
    """Compute the CRC-32C of bytes.

    The content is cut into rows of equal length, and all rows are computed together, a column at a time. A CRC that
    starts from zero is linear: that of two parts is the CRC of the first, advanced over the length of the second, XOR
    that of the second. 32 more rows, of zeros, show where each bit of a CRC is after one row.

    Source: RFC 3720, appendix B.4, for the polynomial and its test values.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    first = np.frombuffer(content[:4].ljust(4, b"\0"), np.uint8) ^ 0xFF  # instead of starting from ones
    if len(content) < 4:
        crc = 0xFFFFFFFF
        for byte in content:
            crc = int(_crc_table()[(crc ^ byte) & 0xFF]) ^ (crc >> 8)
        return crc ^ 0xFFFFFFFF
    length = math.isqrt(len(content))
    num_rows = -(-len(content) // length)
    rows = np.zeros((num_rows + 32, length), np.uint8)
    flat = np.zeros(num_rows * length, np.uint8)  # zeros in front do not change it
    flat[len(flat) - len(content) :] = np.frombuffer(content, np.uint8)
    flat[len(flat) - len(content) :][:4] = first
    rows[:num_rows] = flat.reshape(num_rows, length)
    state = np.zeros(num_rows + 32, np.uint32)
    state[num_rows:] = np.uint32(1) << np.arange(32, dtype=np.uint32)
    table = _crc_table()
    for column in np.ascontiguousarray(rows.T):
        state = table[(state ^ column) & 0xFF] ^ (state >> 8)
    advanced = state[num_rows:].tolist()
    crc = 0
    for own in state[:num_rows].tolist():
        for bit in range(32):
            if crc >> bit & 1:
                own ^= advanced[bit]
        crc = own
    return int(crc) ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _crc_table() -> NDArray[np.uint32]:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(_POLYNOMIAL), crc >> 1)
    return crc


def _masked(crc: int) -> int:
    """Return the form in which a CRC is stored: rotated by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
