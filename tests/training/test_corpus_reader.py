"""The runs of a process read a corpus once, and processes share its tables."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.config import DatasetConfig
from genregrid.training.corpus_reader import CorpusReader


def dataset_of(path: Path) -> DatasetConfig:
    return DatasetConfig(name="csv", corpus="csv", label="csv", path=str(path))


def test_a_corpus_is_read_again_only_if_its_files_or_settings_change(
    write_csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_csv(slices=4)
    dataset = dataset_of(path)
    reader = CorpusReader()
    first = reader.read(dataset, 3)
    assert reader.read(dataset_of(path), 3.0) is first
    longer = reader.read(dataset, 6)
    assert longer.table.slice_seconds == 6
    again = reader.read(dataset, 3)
    assert again is not first
    np.testing.assert_array_equal(again.table.features, first.table.features)
    pd.read_csv(path)[:-4].to_csv(path, index=False)
    fewer = reader.read(dataset, 3)
    assert len(fewer.table.tracks) == len(first.table.tracks) - 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a relative path would mean another file
    assert reader.read(dataset, 3) is not fewer


def test_a_misspelt_recipe_is_noted(write_csv: Callable[..., Path]) -> None:
    path = write_csv()
    misspelt, own = (CorpusReader().read(replace(dataset_of(path), recipe=name), 3) for name in ("kagle-reflect", "my"))
    assert "genregrid has no recipe kagle-reflect; is dataset.recipe=kaggle-reflect meant?" in misspelt.table.notes
    assert misspelt.table is misspelt.source
    assert not any("recipe" in note for note in own.table.notes)


def test_readers_with_one_folder_share_tables_as_mapped_files(write_csv: Callable[..., Path], tmp_path: Path) -> None:
    dataset = dataset_of(write_csv(slices=4))
    first, second = (CorpusReader(tmp_path / "shared").read(dataset, 3).table.features for _ in range(2))
    assert isinstance(second, np.memmap)
    assert Path(str(second.filename)).is_relative_to(tmp_path / "shared")
    np.testing.assert_array_equal(first, second)
    assert not isinstance(CorpusReader().read(dataset, 3).table.features, np.memmap)


def test_the_twin_is_drawn_and_not_shared(tmp_path: Path) -> None:
    twin = DatasetConfig(name="twin", corpus="twin", label="twin", synthetic=True, num_tracks=20)
    assert CorpusReader(tmp_path / "shared").read(twin, 3).table.tracks
    assert not (tmp_path / "shared").exists()
