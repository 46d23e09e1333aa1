"""Claims about `genregrid.tablefile.csv_file`: gzip and Parquet are read as their CSV, and other files are named."""

import bz2
import codecs
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genregrid.data.table import FeatureTable, peek_slice_seconds, read_table
from genregrid.errors import UserError
from genregrid.files import sha256_of
from genregrid.tablefile.scan import place

Frames = Callable[..., pd.DataFrame]
Expect = Callable[..., Any]
READERS = [lambda path: read_table([path]), peek_slice_seconds]


@pytest.fixture
def csv(make_frame: Frames) -> bytes:
    """A feature CSV of two genres, two tracks each, two slices a track."""
    text: str = make_frame(genres=("blues", "rock"), tracks=2, slices=2).to_csv(index=False)
    return text.encode()


def assert_same(table: FeatureTable, plain: FeatureTable) -> None:
    np.testing.assert_array_equal(table.features, plain.features)
    np.testing.assert_array_equal(table.length_samples, plain.length_samples)
    assert (table.tracks, table.genres, table.slice_seconds) == (plain.tracks, plain.genres, plain.slice_seconds)


def plain_table(folder: Path, csv: bytes) -> FeatureTable:
    (folder / "plain.csv").write_bytes(csv)
    return read_table([folder / "plain.csv"])


# --- gzip -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["features.csv.gz", "features.csv", "features"])
def test_a_gzip_file_is_read_as_its_csv_whatever_its_name(tmp_path: Path, csv: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(csv[:1000]) + gzip.compress(csv[1000:]))  # files may be joined
    table = read_table([path])
    assert_same(table, plain_table(tmp_path, csv))
    assert table.hashes == {name: sha256_of(path)}
    assert peek_slice_seconds(path) == 3.0


def test_faults_within_a_gzip_file_are_named_as_in_a_csv(tmp_path: Path, csv: bytes, user_error: Expect) -> None:
    path = tmp_path / "f.csv.gz"
    path.write_bytes(gzip.compress(csv.replace(b"blues.00001.0.wav", b"blues.00001.9.wav")))
    with user_error(place(path, 5, "filename"), problem="slice 0 of blues.00001 is missing"):
        read_table([path])


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-20], lambda c: c[:30] + b"xxxx" + c[34:], lambda c: c[:-6] + b"123456"]
)
def test_a_damaged_gzip_file_is_refused(
    tmp_path: Path, csv: bytes, user_error: Expect, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "f.csv.gz"
    path.write_bytes(damage(gzip.compress(csv)))
    with user_error(path, problem="cut off or damaged", hint="copy or pack it again"):
        read_table([path])


def test_a_gzip_file_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, csv: bytes, user_error: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genregrid.tablefile.csv_file._LEAST_BYTES", 1 << 16)
    path = tmp_path / "f.csv.gz"
    path.write_bytes(gzip.compress(csv + b"\n" * 2_000_000))
    with user_error(path, problem="unpack to more than", hint="unpack it"):
        read_table([path])


def test_a_peek_unpacks_no_more_than_it_needs(tmp_path: Path, csv: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genregrid.tablefile.csv_file._PEEK_BYTES", 1000)
    monkeypatch.setattr("genregrid.tablefile.csv_file._PIECE_BYTES", 1500)
    path = tmp_path / "f.csv.gz"
    path.write_bytes(gzip.compress(csv)[:-8])
    assert peek_slice_seconds(path) == 3.0


def test_what_a_gzip_file_holds_is_named(tmp_path: Path, csv: bytes, user_error: Expect) -> None:
    path = tmp_path / "f.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("f.csv")
        member.size = len(csv)
        archive.addfile(member, io.BytesIO(csv))
    for read in READERS:
        with user_error(path, problem="a gzip file that holds a tar archive", hint="unpack it"):
            read(path)


# --- Parquet --------------------------------------------------------------------------------------------------------


def test_a_parquet_file_without_pyarrow_names_the_package(
    tmp_path: Path, user_error: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("genregrid.tablefile.csv_file.importlib.import_module", missing)
    path = tmp_path / "f.csv"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    for read in READERS:
        with user_error(path, problem="it is a Parquet file", hint="pip install pyarrow"):
            read(path)


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    pytest.importorskip("pyarrow", reason="the package that reads Parquet is not installed")

    def write(frame: pd.DataFrame) -> Path:
        frame.to_parquet(tmp_path / "f.parquet")
        return tmp_path / "f.parquet"

    return write


def test_a_parquet_file_is_read_as_its_csv(
    tmp_path: Path, make_frame: Frames, csv: bytes, write_parquet: Callable[[pd.DataFrame], Path]
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    plain = plain_table(tmp_path, csv)
    kinds = {name: np.float32 for name in frame.columns if name.endswith(("_mean", "_var"))} | {"label": "category"}
    for changed in (frame, frame.astype(kinds), frame.sample(frac=1, random_state=0)):
        path = write_parquet(changed)
        assert_same(read_table([path]), plain)
        assert peek_slice_seconds(path) == 3.0


def test_faults_of_a_parquet_file_are_those_of_a_csv(
    make_frame: Frames, write_parquet: Callable[[pd.DataFrame], Path], user_error: Expect
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    rows = np.arange(len(frame))
    for column, cells in {
        "tempo": np.where(rows == 2, np.nan, frame["tempo"]),
        "rms_var": np.where(rows == 2, -1, frame["rms_var"]),
        "label": [None if row == 2 else label for row, label in enumerate(frame["label"])],
        "filename": [f"x{name}" if row == 2 else name for row, name in enumerate(frame["filename"])],
        "mfcc1_mean": frame["mfcc1_mean"].map("about {}".format),
    }.items():
        path = write_parquet(frame.assign(**{column: cells}))
        row, at = (2 if column == "mfcc1_mean" else 4), ("label" if column == "filename" else column)
        with user_error(place(path, row, at)):
            read_table([path])
    with user_error(place(write_parquet(frame.drop(columns="tempo")), 1), problem="'tempo' is missing"):
        read_table([path])
    with user_error(write_parquet(frame.assign(tags=[["a"]] * len(frame))), problem="holds lists", hint="leave it out"):
        read_table([path])
    path.write_bytes(path.read_bytes()[:-100])
    with user_error(path, problem="cannot be read"):
        read_table([path])


# --- other files ----------------------------------------------------------------------------------------------------


def packed(name: str, content: bytes = b"x" * 1000, *more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each in (name, *more):
            archive.writestr(each, content)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(9))
    return buffer.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    return connection.serialize()


TEXT = b"filename,length,tempo,label\n" * 9
OTHERS = {
    "zip": (packed("f.csv"), "a zip archive", "unpack it"),
    "xlsx": (
        packed("[Content_Types].xml", b"x", "xl/workbook.xml"),
        "an Excel workbook (xlsx)",
        "save the table as CSV",
    ),
    "ods": (packed("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), "OpenDocument", "as CSV"),
    "npy": (array(), "a NumPy array (npy)", "np.savez"),
    "torch": (packed("archive/data.pkl"), "a file of PyTorch", "as CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Excel workbook (xls)", "as CSV"),
    "feather": (b"ARROW1\0\0" + bytes(500), "a Feather file", "as CSV"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file", "as CSV"),
    "matlab": (b"MATLAB 5.0 MAT-file" + bytes(500), "a MATLAB file", "as CSV"),
    "sqlite": (database(), "an SQLite database", "as CSV"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle", "as CSV"),
    "pdf": (b"%PDF-1.7\n" + TEXT, "a PDF", "as CSV"),
    "bzip2": (bz2.compress(TEXT), "a bzip2 file", "unpack it"),
    "xz": (lzma.compress(TEXT), "an xz file", "unpack it"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture", "as CSV"),
    "mp3": (b"ID3\4\0\0\0\0\0\0" + bytes(99), "a recording", "genregrid.features"),
    "html": (b"\n<!DOCTYPE html>\n<html></html>", "a web page", "download the file itself"),
    "xml": (b'<?xml version="1.0"?><a/>', "XML", "as CSV"),
    "json": (b'[\n {"filename": 1}]', "JSON", "as CSV"),
    "json lines": (b'{"filename": "a", "label": "b"}\n', "JSON", "as CSV"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid x\n", "Git LFS", "git lfs pull"),
    "utf-16": (TEXT.decode().encode("utf-16"), "text in UTF-16", "save it as UTF-8"),
    "utf-16 without a mark": (TEXT.decode().encode("utf-16-le"), "text in UTF-16", "save it as UTF-8"),
    "utf-32": (TEXT.decode().encode("utf-32"), "text in UTF-32", "save it as UTF-8"),
    "utf-16 big": (codecs.BOM_UTF16_BE + TEXT.decode().encode("utf-16-be"), "text in UTF-16", "save it as UTF-8"),
}


@pytest.mark.parametrize(("content", "problem", "hint"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("read", READERS, ids=["read", "peek"])
def test_a_file_of_another_kind_is_named_by_its_first_bytes(
    tmp_path: Path, user_error: Expect, content: bytes, problem: str, hint: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "features.csv"
    path.write_bytes(content)
    with user_error(path, problem=problem, hint=hint):
        read(path)


@pytest.mark.parametrize("name", ["ID3", "RIFF", "PAR1", "BZh", "[id]", "{a}", "#"])
def test_a_column_may_have_the_name_of_a_kind(tmp_path: Path, make_frame: Frames, name: str) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    frame.insert(0, name, 1)
    frame.to_csv(tmp_path / "f.csv", index=False)
    assert len(read_table([tmp_path / "f.csv"]).tracks) == 4


# --- lines above the header -----------------------------------------------------------------------------------------

TOPS = {
    "separator": b"sep=,\n",
    "quoted separator": b'"sep=,"\r\n',
    "comment": b"# made by hand\n",
    "comments": b'# made by "me", today, and more\n#\n# again\n\n',
    "both": b"SEP=,\n# and a comment\n",
    "byte order mark": codecs.BOM_UTF8 + b"# made by hand\r\n",
}


@pytest.mark.parametrize("top", TOPS.values(), ids=TOPS)
def test_comments_and_a_separator_above_the_header_are_passed_over(
    tmp_path: Path, csv: bytes, user_error: Expect, top: bytes
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(top + csv)
    assert_same(read_table([path]), plain_table(tmp_path, csv))
    assert peek_slice_seconds(path) == 3.0
    path.write_bytes(top + csv.replace(b"blues.00001.0.wav", b"bogus"))
    with user_error(place(path, 4 + top.count(b"\n"), "filename"), problem="'bogus'"):
        read_table([path])
    path.write_bytes(top + csv.replace(b"tempo", b"temper"))
    with user_error(place(path, 1 + top.count(b"\n")), problem="'tempo'"):
        read_table([path])


def test_another_separator_is_named_in_its_row(tmp_path: Path, csv: bytes, user_error: Expect) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"sep=;\n" + csv.replace(b",", b";"))
    with user_error(place(path, 2), problem="separated by semicolons", hint="save the file with commas"):
        read_table([path])


def test_a_header_that_begins_as_a_comment_is_named(tmp_path: Path, csv: bytes, user_error: Expect) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"# " + csv)
    with user_error(place(path, 1), problem="its header begins with #", hint="take the sign away"):
        read_table([path])
    path.write_bytes(b"# nothing else\n")
    with pytest.raises(UserError, match="it is empty"):
        read_table([path])
