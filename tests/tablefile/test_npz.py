"""Claims about `genregrid.tablefile.npz`: a NumPy archive is read as a CSV of its columns, and nothing is unpickled."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from genregrid.data.feature_csv import choose_columns
from genregrid.data.table import peek_slice_seconds, read_table
from genregrid.files import sha256_of
from genregrid.tablefile.scan import place
from genregrid.training.run import train

Frames = Callable[..., pd.DataFrame]
Expect = Callable[..., Any]
Arrays = dict[str, np.ndarray[Any, Any]]


def arrays_of(frame: pd.DataFrame) -> Arrays:
    """Each column as an array of its own."""
    return {
        name: frame[name].to_numpy(str if name in ("filename", "label") else None) for name in map(str, frame.columns)
    }


@pytest.fixture
def frame(make_frame: Frames) -> pd.DataFrame:
    return make_frame(genres=("blues", "rock"), tracks=2, slices=2)


@pytest.fixture
def embedded(make_frame: Frames) -> Arrays:
    """Names, lengths and labels of eight slices, and a matrix of embeddings."""
    arrays = arrays_of(make_frame(genres=("blues", "rock"), tracks=2, slices=2)[["filename", "length", "label"]])
    return arrays | {"e": np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["features.npz", "features.csv"])
def test_arrays_of_one_axis_are_columns(
    tmp_path: Path, frame: pd.DataFrame, save: Callable[..., None], name: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        save(file, **arrays_of(frame))
    frame.to_csv(tmp_path / "plain.csv", index=False)
    table, plain = read_table([tmp_path / name]), read_table([tmp_path / "plain.csv"])
    np.testing.assert_array_equal(table.features, plain.features)
    np.testing.assert_array_equal(table.length_samples, plain.length_samples)
    assert (table.tracks, table.genres) == (plain.tracks, plain.genres)
    assert table.hashes == {name: sha256_of(tmp_path / name)}
    assert peek_slice_seconds(tmp_path / name) == 3.0


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4", np.int8, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_matrix_is_as_many_columns(tmp_path: Path, embedded: Arrays, kind: Any, order: Any) -> None:
    values = np.asarray(embedded["e"] * 10, kind, order=order)
    if values.dtype.kind == "u":
        values = np.abs(values.astype(np.int64)).astype(np.uint64) % 100
    np.savez(tmp_path / "f.npz", **embedded | {"e": values})
    columns = choose_columns(tmp_path / "f.npz", "all")
    assert columns == tuple(f"e{number}" for number in range(1, 13))
    table = read_table([tmp_path / "f.npz"], feature_names=columns)
    np.testing.assert_array_equal(table.features, values.astype(np.float32))


def test_a_matrix_of_means_makes_columns_of_means(tmp_path: Path, embedded: Arrays) -> None:
    np.savez(tmp_path / "f.npz", **embedded, e_mean=embedded["e"][:, :2], e_var=embedded["e"][:, :1])
    assert choose_columns(tmp_path / "f.npz", ["*_mean", "*_var"]) == ("e1_mean", "e2_mean", "e1_var")


def test_many_rows_are_read_in_blocks(tmp_path: Path, embedded: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genregrid.tablefile.npz._BLOCK_BYTES", 1000)  # three rows
    for order in ("C", "F"):
        np.savez(tmp_path / f"{order}.npz", **embedded | {"e": np.asarray(embedded["e"], order=order)})
        table = read_table([tmp_path / f"{order}.npz"], feature_names=("e1", "e12"))
        np.testing.assert_array_equal(table.features, embedded["e"][:, [0, -1]])


def test_training_and_pooling_work_as_with_a_csv(
    tmp_path: Path, make_frame: Frames, composed: Callable[..., DictConfig]
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=6, slices=2)
    keys = arrays_of(frame[["filename", "label"]])
    embedding = np.random.default_rng(0).standard_normal((len(frame), 5)).astype(np.float32)
    embedding[(frame["label"] == "rock").to_numpy()] += 2
    np.savez(tmp_path / "f.npz", **keys, e=embedding)
    frame[["filename", "label"]].assign(**{f"e{n + 1}": embedding[:, n] for n in range(5)}).to_csv(
        tmp_path / "f.csv", index=False
    )
    base = ("model=lda", "logger=none", "dataset=csv", "dataset.features=all", "dataset.table_slice_seconds=3")
    found = []
    for name in ("f.npz", "f.csv"):
        more = ("slice=6", "dataset.pooling=mean", f"dataset.path={tmp_path / name}", "split.folds=3")
        train(composed(*base, *more), tmp_path / f"run {name}", "lda")
        found.append((tmp_path / f"run {name}/predictions.csv").read_text())
    assert found[0] == found[1]


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_faults_of_cells_are_those_of_a_csv(tmp_path: Path, frame: pd.DataFrame, user_error: Expect) -> None:
    path = tmp_path / "f.npz"
    for column, cells in {
        "tempo": np.where(np.arange(8) == 2, np.nan, frame["tempo"]),
        "rms_var": np.where(np.arange(8) == 2, -1, frame["rms_var"]),
        "label": np.where(np.arange(8) == 2, "", frame["label"].to_numpy(str)),
        "filename": np.where(np.arange(8) == 2, 'a,"b.wav', frame["filename"].to_numpy(str)),
    }.items():
        np.savez(path, **arrays_of(frame) | {column: cells})
        with user_error(place(path, 4, column)):
            read_table([path])
    np.savez(path, **arrays_of(frame.drop(columns="label")))
    with user_error(place(path, 1), problem="'label' is missing"):
        read_table([path])


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def test_objects_are_refused_and_not_unpickled(
    tmp_path: Path, frame: pd.DataFrame, user_error: Expect, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.npz"
    for objects in (np.array(["a"] * 8, object), np.array([Runs()] * 8, object)):
        np.savez(path, **arrays_of(frame) | {"label": objects})
        for read in (lambda: read_table([path]), lambda: peek_slice_seconds(path)):
            with user_error(path, problem="the array 'label' holds objects", hint="np.asarray(names, str)"):
                read()
    assert pickle.dumps(Runs())
    assert not capsys.readouterr().out


def _header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": kind}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


CASES: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "another length": (lambda a: a | {"label": a["label"][:5]}, "the array 'filename' has 8 rows, and 'label' 5"),
    "three axes": (lambda a: a | {"e": a["e"].reshape(8, 3, 4)}, "the array 'e' has 3 axes"),
    "no axis": (lambda a: a | {"length": np.array(66150)}, "the array 'length' has 0 axes"),
    "bytes": (lambda a: a | {"label": a["label"].astype(bytes)}, "the array 'label' holds values of the type |S5"),
    "complex": (lambda a: a | {"e": a["e"] * 1j}, "the array 'e' holds values of the type complex64"),
    "records": (lambda a: a | {"e": np.zeros(8, [("x", "f4")])}, "the array 'e' holds values of the type [('x'"),
    "a column twice": (lambda a: a | {"e3": a["length"]}, "two arrays make the column 'e3'"),
    "no columns": (lambda a: {"e": a["e"][:, :0]}, "its arrays are 0 columns"),
    "too many columns": (lambda a: a | {"e": np.zeros((8, 20_000), np.int8)}, "its arrays are 20003 columns"),
}


@pytest.mark.parametrize("case", CASES)
def test_arrays_that_are_no_columns_are_one_sentence(
    tmp_path: Path, embedded: Arrays, case: str, user_error: Expect
) -> None:
    change, problem = CASES[case]
    np.savez_compressed(tmp_path / "f.npz", **change(embedded))
    with user_error(tmp_path / "f.npz", problem=problem):
        choose_columns(tmp_path / "f.npz", "all")


def members(**contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


FILES = {
    "bomb": (members(e=_header((2**28,)) + bytes(2**20)), "its arrays have 1073741824 bytes"),
    "overflow": (members(e=_header((2**40, 2**40))), "its arrays have 48"),
    "cut": (members(e=_header((9, 9))), "the array 'e' is cut off"),
    "more": (members(e=_header((1, 1)) + bytes(5)), "bytes follow the array 'e'"),
    "negative": (members(e=_header((-1, 5))), "the shape of the array 'e' is negative"),
    "no array": (members(e=b"nothing at all"), "magic string is not correct"),
    "long header": (members(e=b"\x93NUMPY\1\0\xff\xff" + b"(" * 65_535), "Header info length"),
    "wide": (members(e=_header((0, 10**12))), "its arrays are 1000000000000 columns"),
    "cut archive": (members(e=_header((9,)) + bytes(36))[:-30], "is not a zip file"),
    "damaged": (members(e=_header((9,)) + bytes(36)).replace(b"\x4b\x05\x06", b"\x4b\x05\x07"), "is not a zip file"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_hostile_archive_is_one_sentence(tmp_path: Path, name: str, user_error: Expect) -> None:
    content, problem = FILES[name]
    (tmp_path / "f.npz").write_bytes(content)
    with user_error(tmp_path / "f.npz", problem=problem):
        read_table([tmp_path / "f.npz"], feature_names=())


def test_a_checksum_that_is_wrong_is_found(tmp_path: Path, embedded: Arrays, user_error: Expect) -> None:
    np.savez(tmp_path / "f.npz", **embedded)
    content = (tmp_path / "f.npz").read_bytes()
    at = content.index(embedded["e"].tobytes())
    (tmp_path / "f.npz").write_bytes(content[: at + 5] + b"x" + content[at + 6 :])
    with user_error(tmp_path / "f.npz", problem="Bad CRC-32 for file 'e.npy'"):
        read_table([tmp_path / "f.npz"], feature_names=("e1",))


def test_a_file_that_is_no_array_is_named(tmp_path: Path, embedded: Arrays, user_error: Expect) -> None:
    np.savez(tmp_path / "f.npz", **embedded)
    with zipfile.ZipFile(tmp_path / "f.npz", "a") as archive:
        archive.writestr("read me.txt", "x")
    with user_error(tmp_path / "f.npz", problem="it holds 'read me.txt', which is no array"):
        read_table([tmp_path / "f.npz"], feature_names=("e1",))
