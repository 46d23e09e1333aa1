"""Claims about `genregrid.data.store`: a stored table equals the one that was read, and is never outdated."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genregrid.config import DatasetConfig, SplitConfig
from genregrid.data import corpus as corpus_module
from genregrid.data import store
from genregrid.data.corpus import Corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.slice_rows import Allocate
from genregrid.data.split import split_table
from genregrid.data.store import stored
from genregrid.data.table import FeatureTable
from genregrid.features.known_recipe import columns_of

Tables = Callable[..., FeatureTable]
Frames = Callable[..., pd.DataFrame]
Writer = Callable[..., Path]
Expect = Callable[..., Any]


def load(path: Path, cache: Path | None = None, slice_seconds: float = 3, include_length: bool = False) -> Corpus:
    dataset = DatasetConfig(
        name="csv", path=str(path), include_length=include_length, cache=None if cache is None else str(cache)
    )
    return corpus_module.load_corpus(dataset, slice_seconds, columns_of)


def assert_same_table(left: FeatureTable, right: FeatureTable) -> None:
    for name, value in vars(right).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(left, name), value, err_msg=name)
            assert getattr(left, name).dtype == value.dtype
        else:
            assert getattr(left, name) == value, name


def is_mapped(table: FeatureTable) -> bool:
    return isinstance(table.features, np.memmap) and not table.features.flags.writeable


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


@pytest.mark.parametrize(("slice_seconds", "include_length"), [(3, False), (3, True), (9, False), (30, True)])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_stored_corpus_is_the_one_that_was_read(
    make_frame: Frames,
    write_csv: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slice_seconds: float,
    include_length: bool,
    is_sorted: bool,
) -> None:
    frame = make_frame(short={"blues.00001": 9})
    path = write_csv(frame if is_sorted else frame.sample(frac=1, random_state=0))
    plain = load(path, None, slice_seconds, include_length)
    first = load(path, tmp_path / "cache", slice_seconds, include_length)
    monkeypatch.setattr(corpus_module, "read_table", None)  # reading again would fail
    again = load(path, tmp_path / "cache", slice_seconds, include_length)
    for corpus in (first, again):
        assert_same_table(corpus.table, plain.table)
        assert_same_table(corpus.source, plain.source)
        assert is_mapped(corpus.table)
        assert is_mapped(corpus.source)
    assert len(entries(tmp_path / "cache")) == (1 if (slice_seconds, include_length) == (3, False) else 2)


def test_batches_of_a_mapped_table_are_those_of_one_in_memory(write_csv: Writer, tmp_path: Path) -> None:
    path = write_csv(short={"blues.00001": 9})
    modules = [
        GenreDataModule(corpus.table, split_table(corpus.table, SplitConfig(protocol="track", folds=3)), batch_size=4)
        for corpus in (load(path), load(path, tmp_path / "cache"))
    ]
    in_memory, mapped = (list(module.train_dataloader()) for module in modules)
    assert len(mapped) == len(in_memory) > 1
    for left, right in zip(mapped, in_memory, strict=True):
        assert all(left[name].equal(right[name]) for name in right)


def test_a_changed_file_is_read_anew(make_frame: Frames, write_csv: Writer, tmp_path: Path) -> None:
    path = write_csv(make_frame())
    before = load(path, tmp_path / "cache").table
    moment = path.stat().st_mtime_ns
    size = path.stat().st_size
    path.write_bytes(path.read_bytes().replace(b",66149,", b",66148,"))
    os.utime(path, ns=(moment, moment + 1))
    assert path.stat().st_size == size
    after = load(path, tmp_path / "cache").table
    assert before.length_samples[0] == 66149
    assert after.length_samples[0] == 66148
    assert after.hashes != before.hashes


def test_two_that_write_at_once_do_no_harm(make_table: Tables, tmp_path: Path) -> None:
    table = make_table()

    def make(allocate: Allocate) -> FeatureTable:
        stored(str(tmp_path), {"key": 1}, lambda _: table)  # another one is faster
        return table

    assert_same_table(stored(str(tmp_path), {"key": 1}, make), table)
    assert len(entries(tmp_path)) == 1


def test_a_failed_reading_leaves_nothing(
    write_csv: Writer, make_frame: Frames, tmp_path: Path, user_error: Expect
) -> None:
    path = write_csv(make_frame().assign(tempo=np.inf))
    with user_error(f"{path}, row 2, column 'tempo'"):
        load(path, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_written_is_named(
    write_csv: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect
) -> None:
    path = write_csv()
    with user_error("dataset.cache", str(path), problem="cannot be written (", hint="name another folder"):
        load(path, path)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with user_error("dataset.cache", problem="cannot be written (No space left on device)"):
        load(path, tmp_path / "cache")


def test_a_damaged_table_is_named(write_csv: Writer, tmp_path: Path, user_error: Expect) -> None:
    path = write_csv()
    load(path, tmp_path / "cache")
    (name,) = entries(tmp_path / "cache")
    (tmp_path / "cache" / name / "features.npy").write_bytes(b"")
    with user_error("dataset.cache", problem=f"{name} is damaged", hint="delete it"):
        load(path, tmp_path / "cache")


@pytest.fixture
def kept(write_csv: Writer, tmp_path: Path) -> tuple[Path, Path]:
    """A CSV, and the entry of its table in the cache."""
    path = write_csv()
    load(path, tmp_path / "cache")
    (name,) = entries(tmp_path / "cache")
    return path, tmp_path / "cache" / name


FILES = ("features.npy", "length_samples.npy", "track.npy", "slice_index.npy", "genre.npy", "table.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_found(kept: tuple[Path, Path], user_error: Expect, name: str, share: float) -> None:
    path, entry = kept
    content = bytearray((entry / name).read_bytes())
    content[int(share * len(content))] ^= 1
    (entry / name).write_bytes(content)
    with user_error("dataset.cache", problem="is damaged", hint="delete it"):
        load(path, entry.parent)


def test_a_bit_flipped_under_an_old_time_is_found(kept: tuple[Path, Path], user_error: Expect) -> None:
    path, entry = kept
    state = (entry / "features.npy").stat()
    with (entry / "features.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"\1\2\3")
    os.utime(entry / "features.npy", ns=(state.st_atime_ns, state.st_mtime_ns))
    with user_error("dataset.cache", problem="is damaged"):
        load(path, entry.parent)


def test_features_are_compared_once_an_hour(kept: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, entry = kept
    compared: list[str] = []
    hash_of = store.sha256_of
    monkeypatch.setattr(store, "sha256_of", lambda path: compared.append(path.name) or hash_of(path))
    load(path, entry.parent)
    assert compared == []
    for age in (3601, -60):  # a note from the future is that of another clock
        moment = (entry / "checked.txt").stat().st_mtime - age
        os.utime(entry / "checked.txt", (moment, moment))
        load(path, entry.parent)
    assert compared == ["features.npy"] * 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "link", "empty", "pickle"])
def test_a_file_of_another_kind_is_refused(kept: tuple[Path, Path], user_error: Expect, name: str, what: str) -> None:
    path, entry = kept
    (entry / name).unlink()
    match what:
        case "folder":
            (entry / name).mkdir()
        case "pipe":
            os.mkfifo(entry / name)
        case "link":
            (entry / name).symlink_to(path)
        case "empty":
            (entry / name).write_bytes(b"")
        case "pickle":
            np.save(entry / "object", np.array([{}]), allow_pickle=True)
            (entry / "object.npy").rename(entry / name)
    with user_error("dataset.cache", problem="is damaged"):
        load(path, entry.parent)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", '{"table": 1, "sha256": {}}', "[" * 100_000, '{"table": {}, "sha256": []}']
)
def test_a_description_of_another_form_is_refused(kept: tuple[Path, Path], user_error: Expect, text: str) -> None:
    path, entry = kept
    (entry / "table.json").write_text(text)
    with user_error("dataset.cache", problem="is damaged"):
        load(path, entry.parent)


@pytest.mark.parametrize("name", ["track", "genre", "features"])
def test_arrays_that_do_not_fit_are_refused_whatever_their_hashes(
    kept: tuple[Path, Path], user_error: Expect, name: str
) -> None:
    path, entry = kept
    np.save(entry / f"{name}.npy", np.load(entry / f"{name}.npy") + np.array(1000, np.float64))
    document = json.loads((entry / "table.json").read_text())
    document["sha256"][f"{name}.npy"] = hashlib.sha256((entry / f"{name}.npy").read_bytes()).hexdigest()
    (entry / "table.json").write_text(json.dumps(document))
    with user_error("dataset.cache", problem="is damaged"):
        load(path, entry.parent)


def test_a_file_that_is_replaced_while_it_is_read_is_not_stored(
    write_csv: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect
) -> None:
    path = write_csv()
    read_table = corpus_module.read_table

    def read(paths: list[Path], **kwargs: Any) -> FeatureTable:
        os.utime(path, (0, 0))
        return read_table(paths, **kwargs)

    monkeypatch.setattr(corpus_module, "read_table", read)
    with user_error(path, problem="was changed while it was read"):
        load(path, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []
