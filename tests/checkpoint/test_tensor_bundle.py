"""Claims about the reader of TensorFlow's checkpoints: what it reads, and what it refuses in one sentence."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.checkpoint import bundle

from genregrid.checkpoint import tensor_bundle
from genregrid.checkpoint.tensor_bundle import BundleError, TensorBundle, crc32c

RANDOM = np.random.default_rng(0)
TENSORS = {
    "conv2d/bias": RANDOM.standard_normal(5, dtype=np.float32),
    "conv2d/kernel": RANDOM.standard_normal((3, 2, 1, 5), dtype=np.float32),
    "conv2d_1/bias": RANDOM.standard_normal(1, dtype=np.float32),
    "dense/empty": np.empty((0, 3), np.float32),
    "step": np.float32(7.0).reshape(()),
}
INDEX, DATA = bundle.bundle_of(TENSORS)


def test_tensors_are_read_as_they_were_written() -> None:
    found = TensorBundle(INDEX, DATA)
    assert found.names == tuple(TENSORS)
    for name, tensor in TENSORS.items():
        read = found.tensor(name)
        assert read.shape == tensor.shape
        np.testing.assert_array_equal(read, tensor)


@given(st.binary(max_size=300))
def test_the_crc_is_that_of_the_definition(content: bytes) -> None:
    assert crc32c(content) == bundle.crc32c(content)


def test_the_crcs_of_rfc_3720() -> None:
    assert [crc32c(part) for part in (bytes(32), b"\xff" * 32, bytes(range(32)))] == [
        0x8A9136AA,
        0x62A8AB43,
        0x46DD794E,
    ]


def index(*entries: tuple[bytes, bytes], header: bytes = bundle.HEADER) -> bytes:
    return bundle.index_of([(b"", header), *entries])


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


CRC = bundle.masked(bundle.crc32c(bytes(8)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no index"),
        (INDEX[:-1], "no index"),
        (changed(INDEX, 9), "index is damaged"),
        (INDEX[-100:], "index is damaged, a block is missing"),
        (index(header=bundle.integer(1, 2)), "several data files"),
        (index(header=bundle.integer(1, 1) + bundle.integer(2, 1)), "byte order"),
        (index((b"a", b"\x0b")), "entry of its index is damaged"),
        (index((b"a", bundle.text(1, b"x"))), "entry of its index is damaged"),
        (index((b"a", bundle.text(2, b"\x12\x09"))), "entry of its index is damaged"),
        (index((b"a", bundle.entry((1 << 40,), 0, 8, CRC))), "impossible shape"),
        (index((b"a", bundle.entry((1,) * 9, 0, 4, CRC))), "impossible shape"),
        (index((b"a", bundle.text(7, b"") + bundle.entry((2,), 0, 8, CRC))), "tensor in parts"),
        (index((b"a" * 1001, bundle.entry((2,), 0, 8, CRC))), "key of its index"),
    ],
)
def test_an_index_that_is_damaged_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        TensorBundle(content, DATA)


@pytest.mark.parametrize(
    ("name", "entry", "reason"),
    [
        ("b", bundle.entry((2,), 0, 8, CRC), "no tensor 'b'"),
        ("a", bundle.entry((2,), 0, 8, CRC, type_number=2), "not float32"),
        ("a", bundle.integer(3, 1) + bundle.entry((2,), 0, 8, CRC), "not float32 in one data file"),
        ("a", bundle.entry((3,), 0, 8, CRC), "not within the data file"),
        ("a", bundle.entry((2,), 4, 8, CRC), "not within the data file"),
        ("a", bundle.entry((2,), (1 << 63) - 1, 8, CRC), "not within the data file"),
        ("a", bundle.entry((2,), 0, 8, CRC ^ 1), "'a' is damaged"),
    ],
)
def test_a_tensor_that_is_not_there_or_damaged_is_refused(name: str, entry: bytes, reason: str) -> None:
    found = TensorBundle(index((b"a", entry)), bytes(8))
    with pytest.raises(BundleError, match=reason):
        found.tensor(name)


def test_more_tensors_than_a_network_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_bundle, "_MOST_TENSORS", 4)
    with pytest.raises(BundleError, match="more than 4 tensors"):
        TensorBundle(INDEX, DATA)


def test_no_change_of_a_byte_raises_anything_else() -> None:
    for at in range(len(INDEX)):
        with contextlib.suppress(BundleError):
            found = TensorBundle(changed(INDEX, at), DATA)
            for name in found.names:
                found.tensor(name)


@pytest.fixture
def overlapping() -> bytes:
    """An index whose table names one block many times."""
    part = bundle.block([(b"a", b"")])
    handle = bundle.varint(0) + bundle.varint(len(part) - 5)
    table = bundle.block([(b"%d" % number, handle) for number in range(9)])
    footer = bytes([0, 0]) + bundle.varint(len(part)) + bundle.varint(len(table) - 5)
    return part + table + footer.ljust(40, b"\0") + INDEX[-8:]


def test_a_block_is_read_once(overlapping: bytes) -> None:
    with pytest.raises(BundleError, match="overlap"):
        TensorBundle(overlapping, b"")
