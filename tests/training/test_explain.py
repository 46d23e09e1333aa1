"""What a model uses: the descriptor that carries the label is found, and tracks exchange values as a whole."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from genregrid.config import DatasetConfig, EvaluateConfig
from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.split import split_by_name
from genregrid.data.table import FeatureTable
from genregrid.models.mlp import MLP
from genregrid.training.build import typed
from genregrid.training.explain import exchanged_rows, explain, explained
from genregrid.training.run import train

CARRIES = FEATURE_NAMES.index("tempo")


class OneColumn(MLP):
    """Predicts the genre whose number is the sign of one descriptor, and sees no other."""

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Return logits (batch, genre)."""
        value = features[:, 0, CARRIES]
        return torch.stack([-value, value], dim=1)


@pytest.fixture
def part(make_table: Callable[..., FeatureTable]) -> GenreDataModule:
    """Two genres, 30 tracks each, in which only the tempo has the label."""
    table = make_table(genres=("a", "b"), tracks=30, slices=2, separation=0.0)
    features = np.array(table.features)
    features[:, CARRIES] = 2.0 * table.genre[table.track] - 1
    return GenreDataModule(replace(table, features=features), split_by_name(table, "track"), window=1)


def test_only_the_descriptor_that_carries_the_label_is_important(part: GenreDataModule) -> None:
    names = list(part.table.feature_names)
    model = OneColumn(genres=["a", "b"], feature_names=names, slice_seconds=3.0)
    model.transform.fit(part.table.features)
    found = explained(model, part)
    assert found.genre == found.predicted
    assert len(found.tracks) == 60
    for after in (found.right_by_kind["tempo"], found.right_by_kind["all descriptors"]):
        assert after.mean() == pytest.approx(0.5, abs=0.1)
    others = found.right_by_kind.keys() - {"tempo", "all descriptors"}
    assert len(others) == 10
    assert all((found.right_by_kind[kind] == 1).all() for kind in others)
    falls = {name: 1 - after.mean() for name, after in found.right_by_descriptor.items()}
    assert [name for name, fall in falls.items() if fall > 0] == ["tempo"]
    assert found.evidence is not None
    np.testing.assert_allclose(found.evidence.by_kind["tempo"], 1.0)
    np.testing.assert_allclose(found.evidence.by_kind["MFCC means"], 0.0)
    np.testing.assert_allclose(found.evidence.by_position, 0.5)


def test_an_exchange_keeps_the_slices_of_a_track_together_and_in_order() -> None:
    num_slices = np.array([3, 3, 3, 3, 3, 3])
    track = np.repeat(np.arange(6), 3)
    for seed in range(5):
        rows = exchanged_rows(num_slices, seed)
        assert sorted(rows) == list(range(18))
        source = track[rows].reshape(6, 3)
        assert (source == source[:, :1]).all()
        assert (source[:, 0] != np.arange(6)).all()
        assert (np.diff(rows.reshape(6, 3)) == 1).all()
    assert (exchanged_rows(num_slices, 0) != exchanged_rows(num_slices, 1)).any()


def test_an_explanation_reads_the_dataset_of_the_training_and_refuses_others(
    write_csv: Callable[..., Path],
    composed: Callable[..., DictConfig],
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    def dataset(name: str, tracks: int) -> tuple[str, str]:
        return "dataset=csv", f"dataset.path={write_csv(name=f'{name}/features.csv', tracks=tracks, slices=2)}"

    def read(words: tuple[str, str]) -> DatasetConfig | None:
        return typed(composed(*words, config="evaluate"), EvaluateConfig).dataset

    data, run = dataset("own", 6), tmp_path / "run"
    train(composed("logger=none", "split.folds=3", "model=gaussian", *data), run, "gaussian")
    files = sorted(path.name for path in run.iterdir())
    found = explain(run, read(data))
    predictions = pd.read_csv(run / "predictions.csv")
    assert list(found.tracks) == predictions["track"].tolist()
    assert list(found.predicted) == predictions["predicted"].tolist()
    assert found.evidence is None
    assert sorted(path.name for path in run.iterdir()) == files
    with user_error("explain", problem="lacks", hint="dataset=csv"):
        explain(run, read(dataset("few", 3)))
    with user_error("checkpoint"):
        explain(run)


def test_a_run_that_leaks_is_not_explained(
    monkeypatch: pytest.MonkeyPatch,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    leak = SimpleNamespace(facts=SimpleNamespace(leaks=True))
    monkeypatch.setattr("genregrid.training.explain.open_trained", lambda *_: (None, leak, None, None))
    with user_error("explain", hint="does not leak"):
        explain(Path("run"))
