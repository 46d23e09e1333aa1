"""Open a feature table as the bytes of a CSV: plain, packed by gzip, or written anew from Parquet or npz.

What is no CSV is recognised by its first bytes, whatever it is called. Packed tables are unpacked into a temporary
file of limited size, so that one reader and its checks serve all.
"""

import hashlib
import importlib
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from genregrid.errors import UserError, printable
from genregrid.files import GZIP, NPZ, PARQUET, check_regular, file_kind, sha256_of
from genregrid.tablefile.npz import npz_pieces
from genregrid.tablefile.scan import MOST_LINE_BYTES

# Bytes that a packed table may have for each of its file, and in any case. Feature CSVs shrink to a third, and tables
# of constants to a hundredth.
_MOST_RATIO = 200
_LEAST_BYTES = 64 << 20
# Bytes to unpack where only the first rows are wanted.
_PEEK_BYTES = 16 << 20
_PEEK_ROWS = 1000
_PIECE_BYTES = 1 << 20
# Bytes in which lines above the header are looked for, and of the beginning of a file by which its kind is recognised.
_TOP_BYTES = 1 << 16
_BLOCK_ROWS = 4096
_LINE = re.compile(rb"[^\r\n]*(\r\n|\r|\n)")
_CHANGED = "wait until it is written, and start again"


class CsvFile(NamedTuple):
    """A CSV that is open for reading.

    Attributes:
        file: the bytes of the CSV.
        sha256: of the packed file; ``None`` for a plain CSV.
        num_skipped: lines above the header: comments, and the separator that spreadsheets write.
        skipped_bytes: their length.
        num_commas: commas in them.
        comment: the last of them.
    """

    file: BinaryIO
    sha256: str | None
    num_skipped: int = 0
    skipped_bytes: int = 0
    num_commas: int = 0
    comment: str = ""


@contextmanager
def opened_csv(path: Path, *, first_rows_only: bool = False) -> Iterator[CsvFile]:
    """Open a table as a CSV, and raise if its file is not the same with the same content at the end.

    With `first_rows_only`, a packed table is unpacked as far as its first hundred rows need.

    Raises:
        UserError: it is no regular file or of another kind, cannot be unpacked, or changes meanwhile.
    """
    check_regular(path, key=path, hint="give the path of a feature CSV (data/README.md describes its columns)")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}", key=path) from None
    with file:
        before = _state(file)
        try:
            kind = file_kind(_top(file))
            if kind is None:
                yield _without_top(file, None)
            elif kind is GZIP:
                with _unpacked(path, _gzip_pieces(path, file), before[0], first_rows_only) as unpacked:
                    if inner := file_kind(_top(unpacked)):
                        raise UserError(f"it is a gzip file that holds {inner.name}", key=path, hint=inner.hint)
                    yield _without_top(unpacked, None if first_rows_only else sha256_of(path))
            elif kind in (PARQUET, NPZ):
                most = _most_bytes(before[0])
                if kind is PARQUET:
                    pieces = _parquet_pieces(path, file, most, first_rows_only)
                else:
                    pieces = npz_pieces(path, file, most, _PEEK_ROWS if first_rows_only else None)
                with _unpacked(path, pieces, before[0], first_rows_only) as unpacked:
                    yield _without_top(unpacked, None if first_rows_only else sha256_of(path))
            else:
                raise UserError(f"it is {kind.name}, and a CSV in UTF-8 is needed", key=path, hint=kind.hint)
        finally:
            if _state(file) != before:
                raise UserError("it was changed while it was read", key=path, hint=_CHANGED)


def unpacked_sha256(path: Path) -> str:
    """Return the SHA-256 of a table as a CSV, of which a note beside a packed one may be."""
    with opened_csv(path) as opened:
        opened.file.seek(0)
        return hashlib.file_digest(opened.file, "sha256").hexdigest()  # type: ignore[arg-type]


def _state(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _top(file: BinaryIO) -> bytes:
    with open(file.fileno(), "rb", buffering=0, closefd=False) as raw:
        position = raw.tell()
        raw.seek(0)
        top = raw.read(_TOP_BYTES)
        raw.seek(position)  # which `file` counts on
    return top


def _without_top(file: BinaryIO, sha256: str | None) -> CsvFile:
    """Find the lines above the header: those that begin with ``#``, ``sep=;`` of spreadsheets, and blank ones after."""
    start = end = 3 if (top := _top(file)).startswith(b"\xef\xbb\xbf") else 0
    num_lines = num_commas = 0
    comment = b""
    while match := _LINE.match(top, start):
        line = match[0].strip()
        is_separator = re.fullmatch(rb'"?sep=.?"?', line, re.IGNORECASE) is not None and num_lines == 0
        if {b"filename", b"label"} <= {name.strip(b'" ') for name in line.split(b",")}:
            break  # a header, whose first column may be a sign
        if not (line.lstrip(b'"').startswith(b"#") or is_separator or (num_lines and not line)):
            break
        num_lines += 1
        num_commas += line.count(b",")
        comment = line or comment
        start = end = match.end()
    if not num_lines:
        return CsvFile(file, sha256)
    return CsvFile(file, sha256, num_lines, end, num_commas, comment.decode(errors="replace"))


def _most_bytes(num_bytes: int) -> int:
    return max(_LEAST_BYTES, _MOST_RATIO * num_bytes)


@contextmanager
def _unpacked(path: Path, pieces: Iterable[bytes], num_bytes: int, first_rows_only: bool) -> Iterator[BinaryIO]:
    """Write the pieces of a CSV into a temporary file, which is deleted at the end."""
    most = _most_bytes(num_bytes)
    try:
        with tempfile.TemporaryFile() as unpacked:
            size = 0
            for piece in pieces:
                size += len(piece)
                if size > most:
                    problem = f"its {num_bytes} bytes unpack to more than {most}, which no table of features does"
                    raise UserError(problem, key=path, hint="unpack it, and give the CSV")
                unpacked.write(piece)
                if first_rows_only and size > _PEEK_BYTES:
                    unpacked.seek(-min(size, MOST_LINE_BYTES), os.SEEK_END)
                    rest = unpacked.read()
                    unpacked.truncate(size - len(rest) + rest.rfind(b"\n") + 1)  # a line that is cut would be a fault
                    break
            unpacked.seek(0)
            unpacked.flush()
            yield unpacked
    except OSError as error:
        folder = tempfile.gettempdir()
        problem = f"it cannot be unpacked into {folder} ({error.strerror or error})"
        raise UserError(problem, key=path, hint="set TMPDIR to a folder with room, or unpack it yourself") from None


def _gzip_pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    try:
        with GzipFile(fileobj=file) as content:
            while piece := content.read(_PIECE_BYTES):
                yield piece
    except (EOFError, BadGzipFile, zlib.error):
        problem = "it is a gzip file that is cut off or damaged"
        raise UserError(problem, key=path, hint="copy or pack it again") from None


def _parquet_pieces(path: Path, file: BinaryIO, most_bytes: int, first_rows_only: bool) -> Iterator[bytes]:
    """Yield the pieces of a CSV of a Parquet file's rows."""
    try:
        arrow, parquet, arrow_csv = map(importlib.import_module, ("pyarrow", "pyarrow.parquet", "pyarrow.csv"))
    except ImportError:
        hint = "run `pip install pyarrow`, or save the table as CSV"
        raise UserError("it is a Parquet file, which is read by the package pyarrow", key=path, hint=hint) from None
    file.seek(0)
    try:
        source = parquet.ParquetFile(file)
        metadata = source.metadata
        if sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)) > most_bytes:
            problem = f"it unpacks to more than {most_bytes} bytes, which no table of features does"
            raise UserError(problem, key=path, hint="save the table as CSV")
        names = [name for name in source.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name)]
        if len(set(names)) < len(names):
            raise UserError("it has a column twice", key=path, hint="keep one of them")
        types = {name: _plain_type(arrow, source.schema_arrow.field(name), path) for name in names}
        schema = arrow.schema(list(types.items()))
        yield (",".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names) + "\n").encode()
        options = arrow_csv.WriteOptions(include_header=False)
        for batch in source.iter_batches(_BLOCK_ROWS, columns=names):
            rows = arrow.Table.from_batches([batch]).cast(schema)
            sink = arrow.BufferOutputStream()
            arrow_csv.write_csv(rows.slice(0, _PEEK_ROWS) if first_rows_only else rows, sink, options)
            yield sink.getvalue().to_pybytes()
            if first_rows_only:
                return
    except UserError:
        raise
    except (arrow.ArrowException, ValueError, OSError, KeyError, TypeError, MemoryError) as error:
        problem = f"it is a Parquet file that cannot be read ({printable(str(error).strip(), most=100)})"
        raise UserError(problem, key=path, hint="write it again, or save the table as CSV") from None


def _plain_type(arrow: Any, field: Any, path: Path) -> Any:
    """Return the type as which a column of Parquet is written as text."""
    kind = field.type.value_type if arrow.types.is_dictionary(field.type) else field.type
    if arrow.types.is_nested(kind):
        problem = f"the column '{printable(field.name, most=60)}' holds lists or records, not numbers or text"
        raise UserError(problem, key=path, hint="leave it out")
    return arrow.float32() if arrow.types.is_float16(kind) else kind
