"""A final model is trained on every track; its card has the scores of the folds, and its checkpoint hears songs."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from genregrid.config import EVERY_TRACK, SplitConfig, TrainConfig
from genregrid.final.card import _temperature
from genregrid.final.train import train_final
from genregrid.models.trained import load_checkpoint
from genregrid.record.facts import Provenance
from genregrid.record.unlabelled import predict_unlabelled
from genregrid.record.untested import Untested
from genregrid.report.cell import read_grid
from genregrid.training.build import datamodule_of, split_of, typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train

QUICK = ("logger=none", "trainer.accelerator=cpu", "split.folds=3", "slice=3")
MakeConfig = Callable[..., DictConfig]


@pytest.fixture
def corpus(write_csv: Callable[..., Path]) -> Path:
    return write_csv(genres=("blues", "classical", "metal"), tracks=9, slices=4)


@pytest.fixture
def config(composed: MakeConfig, corpus: Path) -> MakeConfig:
    return lambda *overrides: composed(*QUICK, "dataset=csv", f"dataset.path={corpus}", *overrides)


def provenance(folder: Path) -> Provenance:
    return Provenance.of(load_checkpoint(folder), folder)


@pytest.mark.parametrize("model", ["lda", "lstm", "lstm_svm"])
def test_a_final_model_knows_every_track_and_the_score_of_the_folds(
    model: str, config: MakeConfig, tmp_path: Path
) -> None:
    cfg = config(f"model={model}", "final=true", "trainer.max_epochs=4")
    result = train_final(cfg, tmp_path / "run", model, CorpusReader())
    assert isinstance(result, Untested)
    trained = provenance(tmp_path / "run")
    card = trained.card
    assert card is not None
    assert card == result.card
    assert len(trained.tracks["train"]) == 27
    assert trained.tracks["val"] == trained.tracks["test"] == []
    (cell,), _ = read_grid(tmp_path)  # the final model itself is no cell
    assert card.accuracy.value == pytest.approx(cell.correct.mean(), abs=1e-4)
    assert (card.folds, card.num_tracks, sum(card.tested.values())) == (3, 27, 27)
    if model != "lda":
        best = [run["epoch"][run["val/loss"].idxmin()] for _, run in cell.curves.groupby("run")]
        assert card.epochs == int(np.median(best)) == len(result.curves)
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["num_tracks"] == {"train": 27, "val": 0, "test": 0}
    assert "| metal | 9 |" in (tmp_path / "run" / "card.md").read_text()


def test_resuming_trains_nothing_again(config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config("model=lda", "final=true", "resume=true")
    train_final(cfg, tmp_path / "run", "lda", CorpusReader())
    (tmp_path / "run" / "run.json").unlink()
    trained: list[Path] = []

    def counted(one: DictConfig, folder: Path, *more: object, **named: object) -> object:
        trained.append(folder)
        return train(one, folder, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("genregrid.final.train.train", counted)
    train_final(cfg, tmp_path / "run", "lda", CorpusReader())
    assert trained == [tmp_path / "run"]
    assert train_final(cfg, tmp_path / "run", "lda", CorpusReader()) == tmp_path / "run"


def test_training_on_every_track_alone_has_no_score(config: MakeConfig, tmp_path: Path) -> None:
    result = train(config("model=lda", "split=none"), tmp_path / "run", "lda")
    assert isinstance(result, Untested)
    assert "no track was left" in result.summary()
    assert provenance(tmp_path / "run").card is None


def test_its_own_tracks_are_no_test(
    config: MakeConfig,
    composed: MakeConfig,
    corpus: Path,
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    train(config("model=lda", "split=none"), tmp_path / "run", "lda")
    cfg = composed("dataset=csv", f"dataset.path={corpus}", f"checkpoint={tmp_path / 'run'}", config="evaluate")
    with user_error("checkpoint"):
        evaluate(cfg, tmp_path / "again", checkpoint=tmp_path / "run" / "checkpoint.ckpt")


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("final", ["split=none", "final=true"]),
        ("final", ["split=row", "split.allow_leak=true", "final=true"]),
    ],
)
def test_a_final_model_needs_an_honest_score(
    key: str,
    overrides: list[str],
    config: MakeConfig,
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    with user_error(key):
        train_final(config("model=lda", *overrides), tmp_path / "run", "lda", CorpusReader())


def test_predictions_of_a_table_without_labels_are_calibrated(config: MakeConfig, tmp_path: Path) -> None:
    cfg = config("model=lda", "final=true")
    train_final(cfg, tmp_path / "run", "lda", CorpusReader())
    trained = provenance(tmp_path / "run")
    settings = typed(cfg, TrainConfig)
    corpus = CorpusReader().read(settings.dataset, settings.slice)
    module = datamodule_of(corpus.table, split_of(corpus, SplitConfig(protocol=EVERY_TRACK)), trained)
    model = load_checkpoint(tmp_path / "run")
    names = [f"p_{genre}" for genre in model.genres]
    raw, calibrated = (
        predict_unlabelled(model, module, one, same_names=False).predictions[names].to_numpy()
        for one in (replace(trained, card=None), trained)
    )
    assert trained.card is not None
    powers = raw ** (1 / trained.card.temperature)
    assert np.allclose(calibrated, powers / powers.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "expected"), [((), 1.0), (("test",), "test"), (("validation", "test"), "validation")]
)
def test_tracks_that_are_all_right_determine_no_temperature(
    wrong: tuple[str, ...], expected: float | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = {
        name: pd.DataFrame({"genre": ["a", "b"], "predicted": ["a", "a" if name in wrong else "b"], "part": name})
        for name in ("validation", "test")
    }
    cell = SimpleNamespace(validation=frames["validation"], predictions=frames["test"], genres=["a", "b"])
    monkeypatch.setattr("genregrid.final.card.log_probs_of", lambda frame: frame["part"].iloc[0])
    monkeypatch.setattr("genregrid.final.card.fit_temperature", lambda log_probs, _: log_probs)
    assert _temperature(cell) == expected  # type: ignore[arg-type]
