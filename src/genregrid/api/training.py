"""Train and test one model: ``gg.train("lda", table, split="artist", shrinkage=0.1)``."""

from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from genregrid.api.mistake import offered, python_words
from genregrid.api.outcome import Outcome
from genregrid.api.protocol import TrackSplit, run_config
from genregrid.api.runs import RunsFolder, copied, own_state
from genregrid.api.setting import check_choice
from genregrid.api.table import HeldCorpus, Table, check_table
from genregrid.api.trained import Model
from genregrid.config import NO_TEST
from genregrid.errors import UserError
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.record.result import Result
from genregrid.report.cell import read_grid
from genregrid.training.run import train as train_run


class TrainResult(Outcome):
    """A trained model and its test. `genregrid.train` makes it.

    Attributes:
        name: of the model, with the settings that were given.
        folder: with the files of the run; a temporary one is removed with this object.
    """

    def __init__(self, name: str, result: Result, runs: RunsFolder, folder: Path) -> None:
        super().__init__(name, read_grid(folder)[0][0])
        self.folder = folder
        self._runs = runs
        self._result = result

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that was left out, merged or ignored."""
        return [python_words(note) for note in self._result.notes]

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per test track: track, genre, predicted, certainty, probabilities, second and third."""
        return self._result.predictions.drop(columns="part")

    @property
    def validation(self) -> pd.DataFrame:
        """The same for validation tracks."""
        return self._result.validation.drop(columns="part", errors="ignore")

    @property
    def timeline(self) -> pd.DataFrame:
        """One row per test slice: the prediction of the window that ends with it."""
        return self._result.timeline

    @property
    def curves(self) -> pd.DataFrame:
        """One row per epoch: scores of training and validation; empty for a model without epochs."""
        return self._result.curves

    @property
    def tracks(self) -> pd.DataFrame:
        """One row per track: track, part, genre, group, num_slices."""
        return self._result.split

    @property
    def model(self) -> Model:
        """The trained model, to predict other tracks with."""
        return Model(self.folder / BEST_CHECKPOINT, self._runs)

    @offered
    def save(self, path: str | PathLike[str]) -> Path:
        """Write the checkpoint into a file, which `genregrid.load` and the commands read, and return its path.

        Raises:
            UserError: the name does not end in ``.ckpt``.
        """
        return copied(self.folder / BEST_CHECKPOINT, path)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return super()._repr_html_() + (f"<ul>{notes}</ul>" if notes else "")


@offered
def train(
    model: str,
    table: Table,
    *,
    split: str | TrackSplit = "track",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a model on one fold, and test it on the fold's test tracks.

    Nothing is printed, logged or kept on disk, unless a `folder` is given. The result is that of the command
    ``genregrid train`` with these settings, to the last bit.

    Args:
        model: name of a file in conf/model: ``lda``, ``lstm``, ``set_mlp`` ... (docs/models.md).
        table: from `read_table` or `read_corpus`; also the path of a table, or a DataFrame.
        split: name of a protocol, or what `genregrid.split` returned.
        fold: the fold to test on, from 0.
        folds: number of folds.
        seed: of the folds, the initial weights and the order of the batches.
        folder: for the files of the run; ``None`` for a temporary one.
        settings: of the model, of its training and of the split: shrinkage, max_epochs, window, batch_size, val_folds,
            allow_leak ... (`genregrid.settings` lists them).

    Raises:
        UserError: there is no such model or setting, or the table lacks what the model or the protocol needs.

    >>> import genregrid as gg
    >>> result = gg.train("lda", gg.read_corpus("twin", num_tracks=50), shrinkage=0.1, transform="log")
    >>> result.title
    "lda, shrinkage=0.1, transform='log', 3 s slices, twin-synthetic (SYNTHETIC), track"
    >>> result.scores.index.tolist()
    ['accuracy', 'top3', 'f1_macro']
    """
    check_choice("model", model)
    table = check_table(table)
    cfg = run_config(model, table, split, {"fold": fold, "folds": folds} | settings, seed)
    runs = RunsFolder(folder)
    check_tested(cfg)
    with own_state():
        result = train_run(cfg, runs.path, model, HeldCorpus(table.corpus), quiet=True)
    assert isinstance(result, Result)  # its split has test tracks
    return TrainResult(described(model, settings), result, runs, runs.path)


def check_tested(cfg: DictConfig) -> None:
    """Refuse a split without test tracks.

    Raises:
        UserError: the protocol is ``none``.
    """
    if cfg.split.protocol == NO_TEST:
        hint = "cross-validate, and call final() of the result: it trains on every track"
        raise UserError("no track would be left to test", key="split", value=cfg.split.protocol, hint=hint)


def described(model: str, settings: dict[str, Any]) -> str:
    """Return the name of a model with settings.

    >>> described("lda", {"shrinkage": 0.1, "summary": ["mean"], "allow_leak": True})
    "lda, shrinkage=0.1, summary=['mean']"
    """
    return ", ".join([model, *(f"{name}={value!r}" for name, value in settings.items() if name != "allow_leak")])
