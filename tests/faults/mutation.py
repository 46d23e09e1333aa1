"""Mutations of files and of plain values: what a damaged disk, another program or an attacker could leave.

Every function takes a `random.Random`, so that a seed gives the same mutation again, and returns the mutated thing with
a description.
"""

import copy
import csv
import hashlib
import io
import json
import math
import os
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

sys.setrecursionlimit(20_000)  # to save values that are nested deeply

#: Is in the environment of every command under test, and must be in nothing that it prints or writes.
SECRET = "s3cr3t-value-of-the-environment"
#: Text that a browser would run.
MARKUP = "<img src=x onerror=alert(1)>"
#: Texts that some program would interpret, or that are hard to print or store.
TEXTS = (
    "",
    " ",
    "..",
    "../../../escaped",
    "/nowhere/escaped",
    "${oc.env:GENREGRID_SECRET}",
    "${oc.env:HOME}/x",
    "${now:%Y}",
    "${",
    "_target_",
    "os.system",
    "genregrid.models.base.GenreClassifier",
    "=1+1",
    "@SUM(A1)",
    MARKUP,
    "a\x1b[31mred\x07",
    "a\x00b",
    "two\nlines",
    "\u202egnp.exe",
    "\ud7ff\uffff",
    "x" * 5000,
    "nan",
    "null",
)
NUMBERS = (
    0,
    -1,
    1,
    7,
    2**31,
    2**63,
    -(2**63),
    2**70,
    0.0,
    -0.5,
    3.7,
    1e30,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
)
_CONTAINERS: tuple[Callable[[], Any], ...] = (list, dict, lambda: [[]], lambda: {"": None}, lambda: [None] * 300)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bytes_mutated(data: bytes, random: Random) -> tuple[bytes, str]:
    """Flip, cut, insert, zero or duplicate bytes."""
    size = len(data)
    at = random.randrange(max(1, size))
    count = random.choice((1, 2, 7, 64, 1000, max(1, size // 3)))
    kind = random.choice(
        ("flip a bit", "flip bits", "cut the end", "cut a part", "insert", "zero", "duplicate", "swap")
    )
    changed = bytearray(data)
    if kind == "flip a bit" and size:
        changed[at] ^= 1 << random.randrange(8)
    elif kind == "flip bits" and size:
        for _ in range(random.choice((2, 10, 100))):
            changed[random.randrange(size)] ^= 1 << random.randrange(8)
    elif kind == "cut the end":
        del changed[at:]
    elif kind == "cut a part":
        del changed[at : at + count]
    elif kind == "insert":
        changed[at:at] = random.randbytes(min(count, 5000))
    elif kind == "zero":
        part = len(changed[at : at + count])
        changed[at : at + part] = bytes(part)
    elif kind == "duplicate":
        changed[at:at] = data[at : at + count]
    else:
        other = random.randrange(max(1, size))
        first, second = sorted((at, other))
        changed[first : first + count], changed[second : second + count] = (
            data[second : second + count],
            data[first : first + count],
        )
    return bytes(changed), f"{kind} at byte {at} of {size}, {count} bytes"


FILE_KINDS = ("missing", "empty", "folder", "pipe", "loop", "zeros", "device", "dangling", "sparse", "one byte", "text")


def file_replaced(path: Path, kind: str) -> None:
    """Put another kind of file in the place of a regular file; the kinds are `FILE_KINDS`."""
    size = path.stat().st_size if path.is_file() else 1000
    path.unlink(missing_ok=True)
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nothing-here")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "zeros":
        path.write_bytes(bytes(size))
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(10 << 30)
    elif kind == "one byte":
        path.write_bytes(b"\x80")
    elif kind == "text":
        path.write_text("This is no such file.\n")


def _paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside nested dicts and lists; of a long list the first ones."""
    if isinstance(content, dict):
        items: Any = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content))[:3]
    else:
        return
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _parent(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


def plain_mutated(content: Any, random: Random, under: tuple[Any, ...] = ()) -> tuple[Any, str, bool]:
    """Change one value or key of nested plain values: type, sign, size, missing, added, renamed, hostile text.

    Args:
        content: dicts, lists, numbers, texts and tensors; it is copied.
        random: draws the place and the change.
        under: the path below which the change is.

    Returns:
        The changed copy, the description, and whether a number became another finite one, which may be as good.
    """
    changed = copy.deepcopy(content)
    paths = [path for path in _paths(changed) if path[: len(under)] == under and len(path) > len(under)]
    if not paths:
        return [], "replace everything by a list", False
    path = random.choice(paths)
    parent, key = _parent(changed, path), path[-1]
    value = parent[key]
    name = ".".join(str(part)[:40] for part in path)
    kind = random.choice(("other value", "other value", "other value", "delete", "rename", "add", "nest", "repeat"))
    if kind == "delete":
        del parent[key]
        return changed, f"delete {name}", False
    if kind == "rename" and isinstance(parent, dict):
        parent[f"{key}x" if random.random() < 0.5 else random.choice((0, None, "", "x" * 3000))] = parent.pop(key)
        return changed, f"rename {name}", False
    if kind == "add" and isinstance(parent, dict):
        parent[random.choice(("more", "", "_target_", "__class__", "_instantiator"))] = random.choice(TEXTS)
        return changed, f"add a key beside {name}", False
    if kind == "nest":
        deep: Any = value
        for _ in range(random.choice((1, 3, 400))):
            deep = [deep] if random.random() < 0.5 else {"x": deep}
        parent[key] = deep
        return changed, f"nest {name}", False
    if kind == "repeat" and isinstance(value, list | str) and value:
        times = random.choice((2, 1000, 20_000))
        parent[key] = value * max(1, min(times, 2_000_000 // len(value)))
        return changed, f"repeat {name} {times} times", False
    parent[key], how = value_mutated(value, random)
    return changed, f"set {name} to {how}", _is_number(value) and _is_number(parent[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def value_mutated(value: Any, random: Random) -> tuple[Any, str]:
    """Return another value, which is not allowed where `value` was or does not change what it means."""
    if isinstance(value, torch.Tensor):
        return tensor_mutated(value, random)
    choice = random.random()
    if choice < 0.35:
        new: Any = random.choice(NUMBERS)
    elif choice < 0.7:
        new = random.choice(TEXTS)
    elif choice < 0.8:
        new = random.choice((None, True, False))
    elif choice < 0.9:
        new = random.choice(_CONTAINERS)()
    elif isinstance(value, bool):
        new = int(value)
    elif isinstance(value, int | float):
        new = random.choice((-value, str(value), [value], float(value)))
    elif isinstance(value, str):
        new = random.choice((value.upper(), [value], value.encode(), f" {value}"))
    else:
        new = {"x": value}
    return new, f"{type(new).__name__} {str(new)[:40]!r}"


def tensor_mutated(tensor: torch.Tensor, random: Random) -> tuple[Any, str]:
    """Make a tensor illegal: not finite, huge, of another shape or type, or no tensor."""
    kinds: dict[str, Callable[[], Any]] = {
        "None": lambda: None,
        "a list": lambda: [1.0],
        "empty": lambda: tensor.new_zeros(0),
        "one more axis": lambda: tensor[None],
        "one row less": lambda: tensor[:-1] if tensor.ndim else tensor[None],
        "complex": lambda: torch.zeros(tensor.shape, dtype=torch.complex64),
        "text": lambda: "weights",
        "sparse": lambda: torch.zeros(tensor.shape).to_sparse() if tensor.ndim else None,
        "meta": lambda: torch.zeros(tensor.shape, device="meta"),
    }
    if tensor.is_floating_point() and tensor.numel():
        at = random.randrange(tensor.numel())

        def one(value: float) -> Callable[[], torch.Tensor]:
            def make() -> torch.Tensor:
                other = tensor.clone()
                other.view(-1)[at] = value
                return other

            return make

        kinds |= {f"{value} at {at}": one(value) for value in (math.nan, math.inf, -math.inf)}
        kinds |= {
            "all nan": lambda: torch.full_like(tensor, math.nan),
            "all inf": lambda: torch.full_like(tensor, math.inf),
        }
    kind = random.choice(sorted(kinds))
    return kinds[kind](), f"a tensor: {kind}"


class _Payload:
    """A pickle that would run a program."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def hostile_checkpoint(content: dict[str, Any], random: Random, path: Path, kinds: str | None = None) -> str:
    """Write a checkpoint that is an attack and no accident; return its description."""
    kind = kinds or random.choice(
        ("payload", "plain pickle", "zip bomb", "huge storage", "huge size", "million layers", "million tracks",
         "shared names", "garbage in front", "garbage after", "another project", "empty dict", "a list", "old format",
         "deep")
    )  # fmt: skip
    if kind == "payload":
        torch.save({**content, random.choice(("epoch", "state_dict", "genregrid", "x")): _Payload()}, path)
    elif kind == "plain pickle":
        path.write_bytes(pickle.dumps(_Payload()))
    elif kind == "zip bomb":
        torch.save(content, path)
        with zipfile.ZipFile(path) as source:
            members = {name: source.read(name) for name in source.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
            for name, data in members.items():
                if name.endswith(("/data/0", "data.pkl")):
                    with target.open(name, "w", force_zip64=True) as file:
                        if name.endswith("data.pkl"):
                            file.write(data)
                        else:
                            for _ in range(2000):
                                file.write(bytes(1 << 20))
                else:
                    target.writestr(name, data)
    elif kind == "huge storage":
        torch.save({**content, "x": torch.zeros(1).expand(1 << 33)}, path)
    elif kind in ("huge size", "million layers"):
        content["hyper_parameters"] |= {"hidden_size": 12_000} if kind == "huge size" else {"num_layers": 1_000_000}
        torch.save(content, path)
    elif kind == "million tracks":
        content["genregrid"]["tracks"]["train"] = [f"track{number}" for number in range(1_000_000)]
        torch.save(content, path)
    elif kind == "shared names":
        with zipfile.ZipFile(path, "w") as target:
            torch.save(content, buffer := io.BytesIO())
            with zipfile.ZipFile(buffer) as source:
                for _ in range(2):
                    for name in source.namelist():
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            target.writestr(name, source.read(name))
    elif kind in ("garbage in front", "garbage after"):
        torch.save(content, path)
        data = path.read_bytes()
        path.write_bytes(random.randbytes(999) + data if kind == "garbage in front" else data + random.randbytes(999))
    elif kind == "another project":
        torch.save({"state_dict": {"w": torch.zeros(3)}, "epoch": 1, "hyper_parameters": {}}, path)
    elif kind == "empty dict":
        torch.save({}, path)
    elif kind == "a list":
        torch.save([1, 2, 3], path)
    elif kind == "old format":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        deep: Any = []
        for _ in range(900):
            deep = [deep]
        torch.save({**content, "epoch": deep}, path)
    return f"checkpoint with {kind}"


def zip_mutated(data: bytes, random: Random) -> tuple[bytes, str, bool]:
    """Change a member of an archive of arrays and JSON (skops), with right CRCs.

    Returns:
        The archive, the description, and whether the change can make another well-formed estimator.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    arrays = sorted(name for name in members if name.endswith(".npy"))
    may_differ = False
    if arrays and random.random() < 0.55:
        number = random.randrange(len(arrays))
        name, where = arrays[number], f"array {number}"
        members[name], how, may_differ = _npy_mutated(members[name], random)
    else:
        name, where = "schema.json", "schema"
        schema = json.loads(members[name])
        if random.random() < 0.3:
            text = members[name].decode()
            numbers = list(re.finditer(r"\d+", text))
            hit = random.choice(numbers)
            new = random.choice(("-1", "1000000000", "99999999999999999999", "1e400", "0", "3.5", "nan"))
            members[name] = (text[: hit.start()] + new + text[hit.end() :]).encode()
            how, may_differ = f"{hit[0]} at {hit.start()} becomes {new}", True
        else:
            schema, how, _ = plain_mutated(schema, random)
            members[name] = json.dumps(schema, default=str).encode()
            may_differ = True
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for member, content in members.items():
            if not (member == name and random.random() < 0.05):
                target.writestr(member, content)
    return buffer.getvalue(), f"{where}: {how}", may_differ


def _npy_mutated(data: bytes, random: Random) -> tuple[bytes, str, bool]:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError:
        return bytes_mutated(data, random)[0], "bytes of an array", True
    kind = random.choice(("value", "value", "value", "shape", "type", "bytes"))
    may_differ = True
    if kind == "bytes":
        return bytes_mutated(data, random)[0], "bytes of an array", True
    if kind == "shape":
        array = random.choice((array.ravel()[:-1], array[None], array.ravel()[:0], np.concatenate([array.ravel()] * 2)))
        how = f"shape {array.shape}"
    elif kind == "type" and array.dtype.names is None:
        array = array.astype(random.choice(("float16", "int8", "complex64", "U5", "bool", "float64")))
        how = f"type {array.dtype}"
    elif array.size == 0:
        how = "nothing"
    else:
        array, flat = array.copy(), None
        names = array.dtype.names
        field = random.choice(names) if names else None
        flat = (array[field] if field else array).reshape(-1)
        at = random.randrange(flat.size)
        if flat.dtype.kind == "f":
            new: Any = random.choice((math.nan, math.inf, -math.inf, 1e300, -1.0, 0.0))
            # trees may have NaN in what they do not use
            may_differ = math.isfinite(new) or field is not None
        elif flat.dtype.kind in "iu":
            new = random.choice((-1, -2, 10**6, 2**30, 2**62, 0, flat.size))
            new = int(np.clip(new, np.iinfo(flat.dtype).min, np.iinfo(flat.dtype).max))
        else:
            new = flat[::-1][at]
        with np.errstate(over="ignore"):
            if field:
                array[field].reshape(-1)[at] = new
                column = array[field]
                column.flat[at] = new
            else:
                array.flat[at] = new
        how = f"{field or 'value'} {at} becomes {new}"
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue(), how, may_differ


def read_cells(path: Path) -> list[list[str]]:
    """Read a CSV as cells."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def write_cells(cells: list[list[str]], path: Path) -> None:
    """Write cells as a CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(cells)


#: Cells that no column of numbers may hold.
_BAD_NUMBERS = (
    "", " ", "nan", "inf", "-inf", "1e39", "1e400", "x", "1_000", "0x10", "1,5", "--1", "\u0663", "1e", "true", "\x00",
    "1" * 5000,
)  # fmt: skip


def csv_illegal(cells: list[list[str]], random: Random) -> tuple[list[list[str]], str]:
    """Break the contract of a feature CSV in one place."""
    cells = [list(row) for row in cells]
    header = cells[0]
    row = random.randrange(1, len(cells))
    numeric = [number for number, name in enumerate(header) if name not in ("filename", "label")]
    column = random.choice(numeric)
    kinds = (
        "number", "number", "number", "variance", "name", "label", "short row", "long row", "no column", "two columns",
        "length", "no rows", "same row", "header",
    )  # fmt: skip
    kind = random.choice(kinds)
    how = kind
    if kind == "number":
        cells[row][column] = random.choice(_BAD_NUMBERS)
        how = f"row {row + 1}, {header[column]} becomes {cells[row][column][:20]!r}"
    elif kind == "variance":
        column = random.choice([number for number, name in enumerate(header) if name.endswith("_var")])
        cells[row][column] = random.choice(("-1", "-0.001", "-1e20"))
        how = f"row {row + 1}, {header[column]} becomes {cells[row][column]}"
    elif kind in ("name", "label"):
        column = header.index("filename" if kind == "name" else "label")
        cells[row][column] = random.choice(("", "  ", "nan", "NULL"))
        how = f"row {row + 1}, {header[column]} becomes {cells[row][column]!r}"
    elif kind == "short row":
        del cells[row][column]
    elif kind == "long row":
        cells[row].insert(column, "1")
    elif kind == "no column":
        for line in cells:
            del line[column]
        how = f"no column {header[column] if column < len(header) else column}"
    elif kind == "two columns":
        for line in cells:
            line.append(line[column])
    elif kind == "length":
        cells[row][header.index("length")] = random.choice(("0", "-5", "x", "1e30", "nan"))
        how = f"row {row + 1}, length becomes {cells[row][header.index('length')]}"
    elif kind == "no rows":
        del cells[1:]
    elif kind == "same row":
        cells.insert(row, cells[row])
    else:
        cells[0] = [name.upper() for name in header]
    return cells, how
