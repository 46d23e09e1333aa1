"""The vote of runs is one checkpoint, which predicts what the vote predicted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.vote import vote
from genregrid.config import EVERY_TRACK, SplitConfig, TrainConfig
from genregrid.errors import UserError
from genregrid.exhibit.spreadsheet import read_csv
from genregrid.final.vote import write_votes
from genregrid.models.base import voted
from genregrid.models.trained import load_checkpoint
from genregrid.models.vote import Vote
from genregrid.record.facts import Provenance
from genregrid.report.cell import log_probs_of, read_grid
from genregrid.report.ensemble import ensemble
from genregrid.training.build import datamodule_of, split_of, typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import train


@pytest.fixture
def run(
    composed: Callable[..., DictConfig], write_csv: Callable[..., Path], tmp_path: Path
) -> Callable[..., DictConfig]:
    """`run("name", *overrides)` trains on a drawn corpus and returns the configuration."""
    corpus = write_csv(genres=("blues", "metal"), tracks=9, slices=4)

    def trained(name: str, *overrides: str) -> DictConfig:
        data = ("dataset=csv", f"dataset.path={corpus}", "logger=none", "split.folds=3", "trainer.accelerator=cpu")
        cfg = composed(*data, f"model={name}", "trainer.max_epochs=2", *overrides)
        train(cfg, tmp_path / "runs" / "-".join([name, *overrides]).replace("=", ""), name)
        return cfg

    return trained


def test_the_checkpoint_predicts_as_the_vote_did(run: Callable[..., DictConfig], tmp_path: Path) -> None:
    run("lda")
    cfg = run("mlp", "window=1")  # single slices, whose votes vote
    evaluate = OmegaConf.create({"ensemble": str(tmp_path / "runs")})
    *_, line, following = vote(evaluate, tmp_path / "vote").splitlines()
    path = Path(line.removeprefix("checkpoint of the vote: "))
    assert f"hear song.mp3 --model {path}" in following
    model = load_checkpoint(path)
    assert isinstance(model, Vote)
    provenance = Provenance.of(model, path)
    assert provenance.card is not None
    assert provenance.card.num_tracks == 6
    assert len(provenance.tracks["train"]) == 12  # training and validation; one fold was trained
    expected = read_csv(next((tmp_path / "vote").glob("*/*fold0*/predictions.csv"))).set_index("track").sort_index()
    settings = typed(cfg, TrainConfig)
    corpus = CorpusReader().read(settings.dataset, 3.0)
    module = datamodule_of(corpus.table, split_of(corpus, SplitConfig(protocol=EVERY_TRACK)), provenance)
    log_probs, _, number = voted(*model.predict_logits(module.test_dataloader()))
    row = {corpus.table.tracks[one]: place for place, one in enumerate(number.tolist())}
    found = log_probs[torch.tensor([row[name] for name in expected.index])]
    assert np.allclose(found.exp().numpy(), np.exp(log_probs_of(expected.reset_index())), atol=2e-5)


def test_a_vote_of_all_folds_is_no_run_of_a_report(run: Callable[..., DictConfig], tmp_path: Path) -> None:
    for fold in range(2):
        run("lda", f"split.fold={fold}")
        run("logistic", f"split.fold={fold}")
    ensemble(str(tmp_path / "runs"), tmp_path / "vote")
    (line,) = write_votes([tmp_path / "runs"], tmp_path / "vote")
    (cell,), _ = read_grid(tmp_path / "vote")
    assert len(cell.runs) == 2
    model = load_checkpoint(Path(line.removeprefix("checkpoint of the vote: ")))
    assert isinstance(model, Vote)
    assert len(model.members) == 4
    assert sum(member["weight"] for member in model.hparams["members"]) == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_one_checkpoint_is_said(run: Callable[..., DictConfig], tmp_path: Path) -> None:
    run("lda")
    run("mlp", "slice=6")
    ensemble(str(tmp_path / "runs"), tmp_path / "vote")
    (line,) = write_votes([tmp_path / "runs"], tmp_path / "vote")
    assert "different slice seconds" in line
    next((tmp_path / "runs").glob("lda*/checkpoint.ckpt")).unlink()
    (line,) = write_votes([tmp_path / "runs"], tmp_path / "vote")
    assert "no checkpoint any more" in line


MEMBER = {
    "model_class": "genregrid.models.mlp.MLP",
    "arguments": {},
    "window": None,
    "hop_slices": None,
    "temperature": 1.0,
    "weight": 1.0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"model_class": "os.system"},
        {"model_class": "genregrid.models.vote.Vote", "arguments": {"members": [MEMBER]}},
        {"window": 0},
        {"weight": 2.0},
        {"temperature": float("nan")},
        {"more": 1},
    ],
)
def test_members_of_a_hostile_checkpoint_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Vote(members=[MEMBER | change], genres=["a", "b"], feature_names=["x"], slice_seconds=3.0)
