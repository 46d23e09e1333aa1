"""Train a final model: ``python train.py model=lda split=artist final=true``."""

from copy import deepcopy
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from genregrid.config import NO_TEST, UNFOLDED_PROTOCOLS, TrainConfig
from genregrid.errors import UserError
from genregrid.final.card import card_of
from genregrid.record.card import Card
from genregrid.record.folder import check_replaceable
from genregrid.record.result import Result
from genregrid.record.untested import Untested
from genregrid.report.cell import Cell, read_grid
from genregrid.training.build import typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import TRAINED_FILES, finished_before, train


def train_final(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader) -> Untested | Path:
    """Score the settings of `cfg` by all folds of its split, then train a model on every track.

    The runs of the folds are in the folders ``fold0`` and so on of `folder`, as those of a grid would be. With
    ``cfg.resume``, those that are finished are not trained again.

    Args:
        cfg: a composed `TrainConfig` with ``final`` set.
        folder: the run folder of the final model; made if missing.
        model_name: name of the model in outputs.
        corpora: reads the corpus.

    Returns:
        The final model, or its folder if `cfg.resume` finds that it was finished before.

    Raises:
        UserError: a mistake in the configuration or in the data it names, or the folder has files of others.
    """
    typed(cfg, TrainConfig)  # checks the values
    check_replaceable(folder, TRAINED_FILES)
    last = _with(cfg, protocol=NO_TEST)
    if cfg.resume and (finished := finished_before(last, folder, model_name, corpora)) is not None:
        return finished
    cell = cross_validate(cfg, folder, model_name, corpora)
    return train_on_all(cfg, folder, model_name, corpora, card_of(cell))


def cross_validate(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader) -> Cell:
    """Train and test on every fold of a split; arguments and errors as in `train_final`."""
    num_folds = 1 if cfg.split.protocol in UNFOLDED_PROTOCOLS else int(cfg.split.folds)
    for number in range(num_folds):
        one, where = _with(cfg, fold=number), folder / f"fold{number}"
        if cfg.resume and finished_before(one, where, model_name, corpora) is not None:
            print(f"{where} is finished already", flush=True)
            continue
        result = train(one, where, model_name, corpora, quiet=number > 0)
        assert isinstance(result, Result)  # its split has test tracks
        correct = (result.predictions["genre"] == result.predictions["predicted"]).sum()
        tested = f"{correct} of {len(result.predictions)} test tracks right"
        print(f"{model_name}, fold {number} of {num_folds}: {tested}", flush=True)
    cells, _ = read_grid(*(folder / f"fold{number}" for number in range(num_folds)))
    if len(cells) != 1:
        problem = "its folds were trained with different settings or data"
        raise UserError(problem, key="final", value=folder, hint="leave out resume=true, or give another folder")
    return cells[0]


def train_on_all(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader, card: Card) -> Untested:
    """Train on every track, with a card in the checkpoint; arguments and errors as in `train_final`."""
    result = train(_with(cfg, protocol=NO_TEST), folder, model_name, corpora, card=card, quiet=True)
    assert isinstance(result, Untested)  # its split has no test tracks
    return result


def _with(cfg: DictConfig, **split: object) -> DictConfig:
    """Return the configuration of one of the runs, with other values of its split."""
    one = deepcopy(cfg)
    OmegaConf.update(one, "final", False)
    for name, value in split.items():
        OmegaConf.update(one, f"split.{name}", value)
    return one
