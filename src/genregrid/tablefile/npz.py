"""Write the arrays of a NumPy archive (npz) anew as a CSV, block by block; nothing in it is unpickled."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import UserError, counted, printable
from genregrid.name import MOST_COLUMNS

_AS_ARRAYS = "save arrays of numbers, and names as arrays of text (np.asarray(names, str))"
_SHOWN = 60  # characters of a name
_BLOCK_BYTES = 1 << 20


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def npz_pieces(path: Path, file: BinaryIO, most_bytes: int, most_rows: int | None) -> Iterator[bytes]:
    """Yield the pieces of a CSV of an archive's arrays, of its first rows where `most_rows` is a number.

    An array of one axis is a column. One of two axes, (row, column), is as many columns: ``e`` is ``e1``, ``e2`` and so
    on, and ``e_mean`` is ``e1_mean``, ``e2_mean``.

    Raises:
        UserError: it cannot be read, holds other arrays or objects, its arrays differ in their rows, or would take more
            than `most_bytes`.
    """
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive, ExitStack() as stack:
            members = archive.namelist()
            if len(members) > MOST_COLUMNS:
                problem = f"it has {len(members)} arrays, and {MOST_COLUMNS} can be read"
                raise UserError(problem, key=path, hint="leave out arrays that are not needed")
            if others := [name for name in members if not name.endswith(".npy")]:
                problem = f"it holds '{printable(others[0], _SHOWN)}', which is no array"
                raise UserError(problem, key=path, hint=_AS_ARRAYS)
            names = [name.removesuffix(".npy") for name in members]
            arrays = [_Array(path, name, stack.enter_context(archive.open(f"{name}.npy"))) for name in names]
            num_rows = _checked(path, arrays, most_bytes)
            columns = [column for array in arrays for column in array.columns]
            yield (",".join(map(_quoted, columns)) + "\n").encode("utf-8", "surrogatepass")
            step = max(1, _BLOCK_BYTES // max(1, sum(array.row_bytes for array in arrays)))
            last = num_rows if most_rows is None else min(num_rows, most_rows)
            for start in range(0, last, step):
                cells = [array.cells(min(step, last - start)) for array in arrays]
                rows = "".join(",".join(row) + "\n" for row in zip(*cells, strict=True))
                yield rows.encode("utf-8", "surrogatepass")
            if last == num_rows:
                for array in arrays:
                    array.check_end()
    except UserError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, RuntimeError, MemoryError) as error:
        reason = printable(str(error).strip() or type(error).__name__, 100)
        problem = f"it is a NumPy archive that cannot be read ({reason})"
        raise UserError(problem, key=path, hint="write it again by np.savez") from None


def _checked(path: Path, arrays: "Sequence[_Array]", most_bytes: int) -> int:
    """Check the arrays by their headers, and return the number of rows."""
    num_bytes = sum(array.row_bytes * array.num_rows for array in arrays)
    if num_bytes > most_bytes:
        problem = f"its arrays have {num_bytes} bytes, which no table of features of this size has"
        raise UserError(problem, key=path, hint="save the table as CSV")
    num_columns = sum(array.num_columns for array in arrays)
    if not 0 < num_columns <= MOST_COLUMNS:
        problem = f"its arrays are {counted(num_columns, 'column')}, and 1 to {MOST_COLUMNS} can be read"
        raise UserError(problem, key=path, hint="leave out columns that are not needed")
    names = [column for array in arrays for column in array.columns]
    if twice := next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None:
        problem = f"two arrays make the column '{printable(twice, _SHOWN)}'"
        raise UserError(problem, key=path, hint="rename one of them")
    first = arrays[0]
    if other := next((array for array in arrays if array.num_rows != first.num_rows), None):
        problem = (
            f"the array '{first.shown}' has {counted(first.num_rows, 'row')}, and '{other.shown}' {other.num_rows}"
        )
        raise UserError(problem, key=path, hint="give each array a value for each slice")
    return int(first.num_rows)


class _Array:
    """An array in an archive, whose rows are read in order.

    Attributes:
        shown: its name, made safe to print.
        num_rows: length of its first axis.
        num_columns: length of the second, or 1.
        row_bytes: size of a row in bytes.
    """

    def __init__(self, path: Path, name: str, stream: IO[bytes]) -> None:
        self.shown = printable(name, _SHOWN)
        self._name, self._stream = name, stream
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):  # 3.0 has named fields
            raise UserError(f"the array '{self.shown}' has fields", key=path, hint=_AS_ARRAYS)
        read_header: Any = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            read_header = np.lib.format.read_array_header_2_0
        shape, is_fortran, self._dtype = read_header(stream)
        if not (self._dtype.kind == "U" or (self._dtype.kind in "fiu" and self._dtype.itemsize <= 8)):
            kind = "objects" if self._dtype.hasobject else f"values of the type {printable(str(self._dtype), 40)}"
            raise UserError(f"the array '{self.shown}' holds {kind}", key=path, hint=_AS_ARRAYS)
        if len(shape) not in (1, 2):
            problem = f"the array '{self.shown}' has {counted(len(shape), 'axis', 'axes')}"
            raise UserError(problem, key=path, hint="an array has a row, or a number, for each slice")
        if min(shape) < 0:
            raise ValueError(f"the shape of the array '{self.shown}' is negative")
        self._is_matrix = len(shape) == 2
        self.num_rows, self.num_columns = (*shape, 1)[:2]
        self.row_bytes = self.num_columns * self._dtype.itemsize
        self._left: NDArray[Any] | None = None  # rows of an array that is stored column after column
        self._is_fortran = is_fortran and self._is_matrix

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        if not self._is_matrix:
            return [self._name]
        stem, ending = self._name, ""
        for known in ("_mean", "_var"):  # by which columns are pooled
            if stem.endswith(known):
                stem, ending = stem.removesuffix(known), known
        return [f"{stem}{number}{ending}" for number in range(1, self.num_columns + 1)]

    def cells(self, num_rows: int) -> list[str]:
        """Return the next rows as text of a CSV."""
        values = self._next(num_rows)
        write: Callable[[Any], str] = _quoted if self._dtype.kind == "U" else repr
        if self._dtype.kind == "f" and self._dtype.itemsize <= 4:
            write = "%.9g".__mod__  # nine digits are exact in single precision, and faster than all of them
        if self._is_matrix:
            return [",".join(map(write, row)) for row in values.tolist()]
        return list(map(write, values.tolist()))

    def check_end(self) -> None:
        """Raise ValueError if bytes follow the last row; at its end, zipfile compares the checksum."""
        if self._stream.read(1):
            raise ValueError(f"bytes follow the array '{self.shown}'")

    def _next(self, num_rows: int) -> NDArray[Any]:
        if self._is_fortran:
            if self._left is None:
                self._left = self._mapped()
            rows, self._left = self._left[:num_rows], self._left[num_rows:]
            return rows
        num_bytes = num_rows * self.row_bytes
        content = self._stream.read(num_bytes)
        if len(content) < num_bytes:
            raise EOFError(f"the array '{self.shown}' is cut off")
        shape = (num_rows, self.num_columns) if self._is_matrix else (num_rows,)
        return np.frombuffer(content, self._dtype).reshape(shape)

    def _mapped(self) -> NDArray[Any]:
        """Unpack the array into a temporary file, as its first row ends with its last column."""
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(self._stream, unpacked, _BLOCK_BYTES)
            if unpacked.tell() != self.num_rows * self.row_bytes:
                raise EOFError(f"the array '{self.shown}' is cut off, or bytes follow it")
            shape = (self.num_rows, self.num_columns)
            return np.memmap(unpacked, self._dtype, "r", shape=shape, order="F") if all(shape) else np.empty(shape)
