"""Write TensorBundles, the checkpoints of TensorFlow, as small as tests need them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def crc32c(content: bytes) -> int:
    """The CRC-32C bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def text(number: int, content: bytes) -> bytes:
    """A field of bytes of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def entry(shape: tuple[int, ...], offset: int, size: int, crc: int, type_number: int = 1) -> bytes:
    axes = b"".join(text(2, integer(1, axis)) for axis in shape)
    place = integer(4, offset) if offset else b""
    return integer(1, type_number) + text(2, axes) + place + integer(5, size) + b"\x35" + crc.to_bytes(4, "little")


def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A block of sorted pairs with its trailer; each key is written by what differs from the one before."""
    content, before = b"", b""
    for key, value in pairs:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), min(map(len, (key, before)))
        )
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    content += bytes(4) + (1).to_bytes(4, "little")  # one restart, at 0
    return content + b"\0" + masked(crc32c(content + b"\0")).to_bytes(4, "little")


def index_of(pairs: list[tuple[bytes, bytes]], pairs_a_block: int = 3) -> bytes:
    """An index of several blocks."""
    index, handles = b"", []
    for start in range(0, len(pairs), pairs_a_block):
        part = block(pairs[start : start + pairs_a_block])
        handles.append((pairs[start : start + pairs_a_block][-1][0], varint(len(index)) + varint(len(part) - 5)))
        index += part
    meta, table = block([]), block(handles)
    footer = b"".join(varint(number) for number in (len(index), len(meta) - 5, len(index) + len(meta), len(table) - 5))
    return index + meta + table + footer.ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little")


HEADER = integer(1, 1) + text(3, integer(1, 1))


def bundle_of(tensors: Mapping[str, NDArray[np.float32]]) -> tuple[bytes, bytes]:
    """Index and data file of tensors."""
    data, pairs = b"", [(b"", HEADER)]
    for name in sorted(tensors):
        content = tensors[name].astype("<f4").tobytes()
        pairs.append((name.encode(), entry(tensors[name].shape, len(data), len(content), masked(crc32c(content)))))
        data += content
    return index_of(pairs), data
