"""From labelled music to a model: describe it, score two or three models by folds, train the best one on all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from genregrid.config import TrainConfig
from genregrid.data.corpus import Corpus
from genregrid.errors import UserError, counted, printable
from genregrid.final.card import card_of
from genregrid.final.music import MusicTable, music_table
from genregrid.final.train import cross_validate, train_on_all
from genregrid.name import name_fault
from genregrid.program import next_line
from genregrid.record.facts import marked_name
from genregrid.report.cell import Cell
from genregrid.report.comparison import difference, paired
from genregrid.training.build import split_of, typed
from genregrid.training.corpus_reader import CorpusReader

_FOLDS = (5, 4, 3)  # numbers of folds that are tried
_FEW_TRACKS, _MANY_TRACKS = 100, 3000
_MOST_NAME = 100

#: Composes a configuration from overrides.
Compose = Callable[[Sequence[str]], DictConfig]


def train_on_music(music: Path, folder: Path, given: Sequence[str], compose: Compose, corpora: CorpusReader) -> str:
    """Train a model on music, and return what to print: the scores, the choice, and the next command.

    The model with the highest accuracy on validation tracks is chosen. Its card has its scores on test tracks, which
    chose nothing.

    Args:
        music: a folder with one folder per genre, a CSV of path and label, or a feature CSV.
        folder: the run folder; descriptors are kept beside it, in ``features``.
        given: overrides of the user. A model, a split or a number of folds among them is not chosen here.
        compose: composes a configuration from overrides.
        corpora: reads the corpus.

    Raises:
        UserError: there is no music, a genre has too few tracks, or another mistake in the data or the settings.
    """
    settings = typed(compose(given), TrainConfig)
    own_slice = settings.slice if _names(given, "slice") else None
    table = music_table(music, folder.parent / "features", settings.features, own_slice)
    config = _Configuration(music, table, given, compose)
    corpus = _read(config(), corpora)
    split = [] if _names(given, "split") else [f"split={'track' if table.artists is None else 'artist'}"]
    if not _names(given, "split.folds"):
        split.append(f"split.folds={_num_folds(config(*split), corpus)}")
    is_learned = corpus.recipe.startswith(("musicnn", "hf"))
    candidates: Mapping[str, list[str]] = fitting_models(len(corpus.table.tracks), is_learned=is_learned)
    if own := _names(given, "model"):
        candidates = {own: []}
    cells = {
        model: cross_validate(config(*split, f"model={model}", *more), folder / model, model, corpora)
        for model, more in candidates.items()
    }
    ranked = sorted(cells, key=lambda model: -_validated(cells[model]))
    best = ranked[0]
    cfg, card = config(*split, f"model={best}", *candidates[best]), card_of(cells[best])
    trained = train_on_all(cfg, folder, best, corpora, card)
    lines = [trained.summary(), "", *_choice([cells[model] for model in ranked], ranked)]
    if cfg.split.protocol == "track":
        lines.append(
            "note: artists are not known, so one artist may be in training and in test, and new artists are harder; "
            "a CSV of path,label,artist keeps artists apart"
        )
    lines.append(next_line("hear", "song.mp3", "--model", str(folder)))
    return "\n".join(lines)


def fitting_models(num_tracks: int, *, is_learned: bool) -> dict[str, list[str]]:
    """Return two or three models that fit a number of tracks, each with its settings.

    >>> list(fitting_models(50, is_learned=False)), list(fitting_models(5000, is_learned=False))
    (['lda', 'logistic'], ['lda', 'logistic', 'mlp'])
    """
    # on learned descriptors the mean alone is as good as all eight summaries (docs/results.md)
    refit = ["model.refit=true", *(["model.summary=[mean]"] if is_learned else [])]
    models = {"lda": refit, "logistic": refit}
    if _FEW_TRACKS <= num_tracks <= _MANY_TRACKS:  # its time grows with the cube of the number of tracks
        models["kernel_ridge"] = refit
    elif num_tracks > _MANY_TRACKS:
        models["mlp"] = []
    return models


class _Configuration:
    """Composes configurations for the music: `config(*overrides)`."""

    def __init__(self, music: Path, table: MusicTable, given: Sequence[str], compose: Compose) -> None:
        name = music.resolve().stem
        self._name = "music" if name_fault(name, _MOST_NAME) or name.startswith(".") else name
        self._table = table
        self._given = [one for one in given if not one.startswith(("features=", "slice="))]
        self._given += [] if _names(given, "logger") else ["logger=none"]
        self._compose = compose

    def __call__(self, *more: str) -> DictConfig:
        cfg = self._compose([*self._given, "dataset=csv", f"slice={self._table.slice_seconds:g}", *more])
        values = {"path": str(self._table.path), "corpus": self._name, "label": self._name}
        if self._table.artists is not None:
            values["artists"] = str(self._table.artists.absolute())
        for key, value in values.items():
            OmegaConf.update(cfg, f"dataset.{key}", value)
        return cfg


def _names(given: Sequence[str], key: str) -> str:
    """Return the value of a key among overrides; empty if it is not among them."""
    return next((one.partition("=")[2] for one in given if one.partition("=")[0] == key), "")


def _read(cfg: DictConfig, corpora: CorpusReader) -> Corpus:
    settings = typed(cfg, TrainConfig)
    return corpora.read(settings.dataset, settings.slice)


def _num_folds(cfg: DictConfig, corpus: Corpus) -> int:
    """Return the largest number of folds that every genre has enough tracks for.

    Raises:
        UserError: a genre has too few tracks, or tracks of too few artists.
    """
    split = typed(cfg, TrainConfig).split
    for folds in _FOLDS:
        try:
            for fold in range(folds):
                split_of(corpus, replace(split, folds=folds, fold=fold))
        except UserError as error:
            if folds == _FOLDS[-1] or error.key != "split.folds":
                raise
        else:
            return folds
    raise AssertionError  # the last number returns or raises


def _validated(cell: Cell) -> float:
    return float((cell.validation["genre"] == cell.validation["predicted"]).mean())


def _choice(cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
    """Say what was chosen, how good each model is on test tracks, and whether the difference is real."""
    shares = []
    for cell, name in zip(cells, names, strict=True):
        score = cell.bootstrap.mean(cell.correct)
        interval = "" if score.low != score.low else f" ({100 * score.low:.1f} to {100 * score.high:.1f})"
        shares.append(f"{name} {100 * score.value:.1f} %{interval}")
    tested = counted(len(cells[0].tracks), "test track")
    corpus = printable(marked_name(cells[0].dataset, cells[0].marks))
    lines = [f"{corpus}, accuracy on {tested}: {', '.join(shares)}"]
    if len(cells) == 1:
        return lines
    gap = difference(*paired(cells[0], cells[1]))
    points = f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}) against {names[1]}"
    is_real = gap.low > 0 or gap.high < 0
    meaning = "the interval leaves out zero" if is_real else "the difference may be chance"
    return [*lines, f"chosen by validation tracks: {names[0]}, {points}: {meaning}"]
