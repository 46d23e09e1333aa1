"""Cross-validate a model over folds and seeds, and compare two models on the same tracks."""

from copy import deepcopy
from os import PathLike
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from genregrid.api.mistake import offered
from genregrid.api.outcome import Outcome
from genregrid.api.protocol import run_config
from genregrid.api.runs import RunsFolder, check_target, copied, own_state
from genregrid.api.setting import check_choice, with_values
from genregrid.api.table import HeldCorpus, Table, check_table
from genregrid.api.trained import Model
from genregrid.api.training import check_tested, described
from genregrid.config import NO_TEST, UNFOLDED_PROTOCOLS
from genregrid.errors import UserError
from genregrid.exhibit.mark import Mark
from genregrid.final.card import card_of
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.report.cell import read_grid
from genregrid.report.comparison import compared
from genregrid.training.run import train as train_run


class CrossValidation(Outcome):
    """The tests of a model on every fold, pooled. `genregrid.cross_validate` makes it.

    Attributes:
        name: of the model, with the settings that were given.
        folder: with a folder for each run; a temporary one is removed with this object.
    """

    def __init__(self, name: str, runs: RunsFolder, cfg: DictConfig, corpus: HeldCorpus) -> None:
        super().__init__(name, read_grid(runs.path)[0][0])
        self._runs = runs
        self._cfg = cfg
        self._corpus = corpus
        self.folder = runs.path

    @property
    def folds(self) -> pd.DataFrame:
        """One row per run: fold, seed, number of training and test tracks, and accuracy."""
        return self._cell.runs[["fold", "seed", "num_train", "num_test", "accuracy"]]

    @offered
    def final(self, path: str | PathLike[str] | None = None) -> Model:
        """Train a model of these settings on every track, with a card of these scores in its checkpoint.

        Args:
            path: to save the checkpoint to; ``None`` for a temporary one.

        Raises:
            UserError: the protocol leaks, the name of the file does not end in ``.ckpt``, or its folder does not exist.
        """
        if path is not None:
            check_target(path)
        card = card_of(self._cell)
        folder = self.folder / "final"
        OmegaConf.update(self._cfg, "split.protocol", NO_TEST)
        with own_state():
            train_run(self._cfg, folder, self._cell.model, self._corpus, card=card, quiet=True)
        checkpoint = folder / BEST_CHECKPOINT
        return Model(checkpoint if path is None else copied(checkpoint, path), self._runs)


@offered
def cross_validate(
    model: str,
    table: Table,
    *,
    split: str = "track",
    folds: int = 5,
    seeds: int = 1,
    folder: str | PathLike[str] | None = None,
    **settings: Any,
) -> CrossValidation:
    """Train a model once for each fold and seed, and test it on each fold's test tracks.

    Args:
        model: name of a file in conf/model.
        table: from `read_table` or `read_corpus`; also the path of a table, or a DataFrame.
        split: name of a protocol. A protocol with published parts has one fold.
        folds: number of folds, all of which are tested.
        seeds: number of seeds, from 0; each divides the tracks anew.
        folder: for the files of the runs; ``None`` for a temporary one.
        settings: as of `genregrid.train`.

    Raises:
        UserError: as `genregrid.train` does.

    >>> import genregrid as gg
    >>> table = gg.read_corpus("twin", num_tracks=50)
    >>> cv = gg.cross_validate("gaussian", table, folds=2)
    >>> len(cv.predictions), cv.folds["num_test"].tolist()
    (50, [25, 25])
    >>> gg.compare(cv, gg.train("gaussian", table, folds=2))["difference"].tolist()  # the same on 25 tracks
    [0.0]
    """
    check_choice("model", model)
    table = check_table(table)
    if not isinstance(seeds, int) or seeds < 1:
        raise UserError("1 seed or more", key="seeds", value=seeds)
    if wrong := next((name for name in ("fold", "seed") if name in settings), None):
        raise UserError("every one is tested", key=wrong, value=settings[wrong], hint=f"give the number of {wrong}s")
    runs = RunsFolder(folder)
    corpus = HeldCorpus(table.corpus)
    first = run_config(model, table, split, {"fold": 0, "folds": folds} | settings, 0)
    check_tested(first)
    with own_state():
        for seed in range(seeds):
            for fold in range(1 if split in UNFOLDED_PROTOCOLS else folds):
                cfg = with_values(deepcopy(first), {"split.fold": fold, "seed": seed})
                train_run(cfg, runs.path / f"fold{fold}-seed{seed}", model, corpus, quiet=True)
    return CrossValidation(described(model, settings), runs, first, corpus)


@offered
def compare(first: Outcome, second: Outcome) -> pd.DataFrame:
    """Compare two models on the test tracks that both have, with the same seeds.

    Args:
        first: from `genregrid.cross_validate` or `genregrid.train`.
        second: the same, of another model, settings or protocol.

    Returns:
        A row with the accuracy of the first minus that of the second (a fraction) and its 95 % interval, low to high;
        how often only one of them is right; p of McNemar's test, adjusted for tracks that stay together; the number of
        tracks; and the difference by folds, with its interval and the p of the corrected resampled t-test.

    Raises:
        UserError: they have no test track with the same seed in common.
    """
    given: dict[str, object] = {"first": first, "second": second}
    for key, one in given.items():
        if not isinstance(one, Outcome):
            hint = "give what gg.cross_validate or gg.train returned"
            raise UserError(f"expected a tested model, not {type(one).__name__}", key=key, hint=hint)
    cells = first._cell, second._cell
    if len({Mark.SYNTHETIC in cell.marks for cell in cells}) > 1:
        hint = "test both on the same table"
        raise UserError("one is of a synthetic corpus and the other is not", key="second", hint=hint)
    row = compared(*cells)
    if row is None:
        problem = "they have no test track with the same seed in common"
        raise UserError(problem, key="second", hint="test both on the same fold and seed, or cross-validate both")
    titles = {"t_difference": "by_folds", "t_difference_low": "by_folds_low", "t_difference_high": "by_folds_high"}
    titles |= {"difference_low": "low", "difference_high": "high", "t_p": "p_by_folds"}
    shown = {titles.get(key, key): value for key, value in row.items() if not key.endswith("_why")}
    for key in ("first", "second", "exact"):
        del shown[key]
    names = [cell.model for cell in cells]
    if names[0] == names[1]:
        names = [first.name, second.name]
    if cells[0].split != cells[1].split:
        names = [f"{name} ({cell.split})" for name, cell in zip(names, cells, strict=True)]
    return pd.DataFrame([shown], index=[" - ".join(names)])
