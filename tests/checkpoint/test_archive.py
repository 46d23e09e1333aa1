"""Reading a checkpoint: what torch saved is read as torch reads it, and every other file is refused in small memory."""

import os
import pickle
import resource
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from genregrid.checkpoint.archive import read_checkpoint
from genregrid.errors import UserError

Expect = Callable[..., AbstractContextManager[None]]
SHARED = torch.arange(6.0)
CONTENT: dict[str, Any] = {
    "weights": OrderedDict(a=torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), empty=torch.empty(0, 5)),
    "views": [SHARED[:3], SHARED[3:], SHARED.view(2, 3).T],
    "types": [torch.zeros(2, dtype=kind) for kind in (torch.float64, torch.uint8, torch.bool, torch.bfloat16)],
    "plain": {"text": "Beyoncé", "none": None, "yes": True, "number": -7, "large": 2**63, "half": 0.5, "nan": None},
    "nested": [(1, 2), (1, 2, 3, 4), [], {}, {0: "zero"}],
}
# A pickle of torch's protocol: EMPTY_DICT, and the text "a" as a key
START, KEY, STOP = b"\x80\x02}", b"X\x01\x00\x00\x00a", b"s."


def same(one: Any, other: Any) -> bool:
    """Return whether two contents are equal in types, values and strides."""
    if isinstance(one, torch.Tensor):
        layout = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        return layout and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def packed(path: Path, data: bytes, *, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> Path:
    """Write a checkpoint with this pickle; other entries by name, with one underscore for the slash."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            archive.writestr(f"archive/{name.replace('_', '/')}", content)
    return path


def tensor(shape: bytes, stride: bytes, num_values: bytes = b"K\x01", kind: bytes = b"FloatStorage") -> bytes:
    """Return the pickle of ``{"a": tensor}`` on the storage 0."""
    storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + num_values
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQK\x00" + shape + stride + b"\x89NtR"
    return START + KEY + made + STOP


def test_a_checkpoint_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path = saved(CONTENT, tmp_path / "a.ckpt")
    content = read_checkpoint(path, key="checkpoint")
    assert same(content, torch.load(path, weights_only=True))
    first, second, _ = content["views"]
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    content["weights"]["a"].zero_()


def test_layers_versions_in_a_state_are_left_out_and_its_weights_are_read(tmp_path: Path) -> None:
    state = torch.nn.Linear(3, 2).state_dict()
    assert same(read_checkpoint(saved({"state": state}, tmp_path / "a.ckpt"), key="c")["state"], state)


@pytest.mark.slow
def test_every_flipped_bit_of_a_value_or_weight_is_found(tmp_path: Path) -> None:
    path = saved(CONTENT, tmp_path / "a.ckpt")
    whole, expected = path.read_bytes(), torch.load(path, weights_only=True)
    refused = 0
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        try:
            assert same(read_checkpoint(path, key="c"), expected)
        except UserError:
            refused += 1
    with zipfile.ZipFile(saved(CONTENT, path)) as archive:
        assert refused >= sum(entry.file_size for entry in archive.infolist()) // 3 - 10


@pytest.mark.slow
def test_every_truncation_is_refused(tmp_path: Path, user_error: Expect) -> None:
    path = saved(CONTENT, tmp_path / "a.ckpt")
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        with user_error("c", path, problem="no checkpoint of genregrid"):
            read_checkpoint(path, key="c")


HOSTILE = {
    "another pickle's end": START,
    "no dict": b"\x80\x02].",
    "nothing on the stack": b"\x80\x020.",
    "a name": START + KEY + b"cos\nsystem\n(X\x04\x00\x00\x00truetR" + STOP,
    "a name of torch that allocates": START + KEY + b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R" + STOP,
    "a bytearray of two billion": START + KEY + b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R" + STOP,
    "a call of a dict with a value": START + KEY + b"ccollections\nOrderedDict\n]\x85R" + STOP,
    "a call of a storage": START + KEY + b"ctorch\nFloatStorage\n)R" + STOP,
    "a call of text": START + KEY + KEY + b")R" + STOP,
    "a tensor as a key": START + b"ctorch\nFloatStorage\nN" + STOP,
    "a tuple as a key": START + b")N" + STOP,
    "a negative key": START + b"J\xff\xff\xff\xffN" + STOP,
    "a number as a list": START + KEY + b"K\x01K\x02a" + STOP,
    "no storage": tensor(b"K\x01\x85", b"K\x01\x85"),
    "a storage of another size": tensor(b"K\x01\x85", b"K\x01\x85", b"J\xff\xff\xff\x7f"),
    "text as a size": tensor(b"X\x01\x00\x00\x009\x85", b"K\x01\x85"),
    "deep lists": START + KEY + b"(" + b"]" * 100_000 + b"a" * 99_999 + b"e" + STOP,
    "a list in itself": START + KEY + b"]q\x00h\x00a" + STOP,
    "a billion laughs": START + KEY + b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(64)) + STOP,
    "a protocol of today": pickle.dumps({"a": [1, 2]}, protocol=5),
    "a long number": START + KEY + b"\x8b\x00\x00\x00\x7f" + STOP,
    "text without an end": START + b"X\xff\xff\xff\x7fa" + STOP,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_pickle_that_torch_did_not_write_is_refused(tmp_path: Path, user_error: Expect, what: str) -> None:
    path = packed(tmp_path / "a.ckpt", HOSTILE[what])
    with user_error("c", path, problem="no checkpoint of genregrid"):
        read_checkpoint(path, key="c")


@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        (b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"K\x00K\x00\x86"),  # one value seen 4e18 times
        (b"K\x02\x85", b"K\x01\x85"),
        (b"K\x01\x85", b"K\x01K\x01\x86"),
        (b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    ],
)
def test_a_tensor_that_is_larger_than_its_storage_is_refused(
    tmp_path: Path, user_error: Expect, shape: bytes, stride: bytes
) -> None:
    path = packed(tmp_path / "a.ckpt", tensor(shape, stride), data_0=bytes(4))
    with user_error("c", path):
        read_checkpoint(path, key="c")
    assert read_checkpoint(packed(path, tensor(b"K\x01\x85", b"K\x01\x85"), data_0=bytes(4)), key="c")["a"] == 0


def _many(opcodes: bytes, count: int = 3_000_000) -> bytes:
    return START + KEY + b"(" + opcodes * count + b"l" + STOP


LARGE: dict[str, Callable[[Path], object]] = {
    "a zip that unpacks to 1.5 GB": lambda path: _zeros(path, zipfile.ZIP_DEFLATED, 1_500),
    "a sparse file of 100 GB": lambda path: _sparse(path, 100 * 10**9),
    "a directory of a million entries": lambda path: _entries(path),
    "a pickle of 100 MB": lambda path: packed(path, START + bytes(100_000_000)),
    "three million empty lists": lambda path: packed(path, _many(b"]")),
    "three million dicts": lambda path: packed(path, _many(b"}")),
    "a million names in the memo": lambda path: packed(
        path, _many(b"").replace(b"l", b"".join(b"Kar" + n.to_bytes(4, "little") for n in range(1_500_000)) + b"l")
    ),
    "two lists of a million values, one in the other": lambda path: packed(
        path, START + KEY + b"](" + b"K\x01" * 900_000 + b"eq\x00](" + b"h\x00" * 900_000 + b"e" + STOP
    ),
}
LONGEST = {
    "three million empty lists",
    "two lists of a million values, one in the other",
    "a million names in the memo",
}


def _zeros(path: Path, compression: int, megabytes: int) -> None:
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", START + b".")
        with archive.open("archive/data/0", "w", force_zip64=True) as entry:
            for _ in range(megabytes):
                entry.write(bytes(10**6))


def _sparse(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(num_bytes)


def _entries(path: Path) -> None:
    """Write an end of directory that counts a million entries; the entries themselves would take seconds."""
    packed(path, START + b".")
    whole = bytearray(path.read_bytes())
    whole[-10:-6] = (2**31).to_bytes(4, "little")
    path.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.torture] * (what in LONGEST)) for what in LARGE]
)
def test_a_large_content_is_refused_before_it_takes_memory(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.ckpt"
    LARGE[what](path)
    child = os.fork()
    if not child:  # a process of its own, whose memory can be measured and limited
        code = 3
        try:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            read_checkpoint(path, key="c")
        except UserError:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used  # kilobytes
            code = 0 if grown < 1_000_000 else 4
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing"])
def test_what_is_no_file_is_refused(tmp_path: Path, user_error: Expect, kind: str) -> None:
    path = tmp_path / "a.ckpt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with user_error("checkpoint", path):
        read_checkpoint(path, key="checkpoint")
