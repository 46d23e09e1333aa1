"""Train, validate and evaluate one configuration."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from genregrid.config import (
    EVERY_TRACK,
    NO_TEST,
    DatasetConfig,
    EvaluateConfig,
    SplitConfig,
    TrainConfig,
    TrainerConfig,
)
from genregrid.data.columns import chosen_columns
from genregrid.data.corpus import Corpus, with_features
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import TRAIN, Split, split_by_name
from genregrid.errors import UserError, counted, printable
from genregrid.files import remove_parts
from genregrid.models.base import GenreClassifier
from genregrid.models.estimator import EstimatorHead
from genregrid.models.trained import load_checkpoint
from genregrid.name import look_alikes, shown_apart
from genregrid.record.card import Card
from genregrid.record.facts import Provenance, RunFacts, evaluation_facts, identity
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT, RESULT_FILES, check_replaceable, finished_run
from genregrid.record.result import Result, ResultLogger, result_of, split_frame
from genregrid.record.unlabelled import Unlabelled, predict_unlabelled
from genregrid.record.untested import Untested
from genregrid.training.build import Prepared, datamodule_of, plain_config, prepare, split_of, typed, write_config
from genregrid.training.card import add_card
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.devices import check_divisible, is_first_process
from genregrid.training.fit import (
    BestScores,
    build_trainer,
    diverged,
    fit_and_test,
    fit_untested,
    lightning_run,
    score_fitted,
)
from genregrid.training.resume import check_names_free
from genregrid.training.stack import STACK_CHECKPOINT, Fitted, StackCheckpoint, can_be_stacked, fit_stack

# Tracks of a twin for each that a checkpoint names. Protocols leave out a tenth at most, or tracks of unknown artists.
_MOST_TWIN_TRACKS = 4
# So many names of tracks may be the same in two corpora by chance.
_FEW_NAMES = 4
_TRAINED_FILES = (*RESULT_FILES, "config.yaml", BEST_CHECKPOINT)


def train(
    cfg: DictConfig,
    folder: Path,
    model_name: str,
    corpora: CorpusReader | None = None,
    fitted: Mapping[str, Fitted] | None = None,
    card: Card | None = None,
    *,
    quiet: bool = False,
) -> Result | Untested:
    """Train one model on one fold, test its best epoch, and write the run folder.

    With ``split=none`` it is trained on every track, and nothing is tested.

    With ``cfg.resume``, a run that was interrupted in this folder resumes from its last checkpoint, with the same
    results as without the interruption.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder; made if missing.
        model_name: name of the model in outputs: that of its YAML file.
        corpora: reads the corpus.
        fitted: from `train_together`; a run whose identity is in it is tested and not trained again.
        card: of a final model, for its checkpoint; a network is trained for its number of epochs.
        quiet: print nothing; the result has the notes that are printed otherwise.

    Raises:
        UserError: a mistake in the configuration or in the data it names, the folder has files of others, or with
            `resume` another run.
    """
    replaced = check_replaceable(folder, _TRAINED_FILES)
    ready = prepare(cfg, model_name, corpora or CorpusReader())
    if ready.settings.resume and (folder / "run.json").is_file():  # `finished_before` would have found the same run
        problem = f"{folder} holds a finished run of other settings or data"
        hint = "resume in another folder, or leave out resume=true to start again"
        raise UserError(problem, key="resume", value=True, hint=hint)
    notes = notes_on(ready.datamodule) if quiet else announce(ready.facts, ready.datamodule)
    has_estimator = any(isinstance(part, EstimatorHead) for part in ready.model.modules())
    check_divisible(ready.settings.trainer, len(ready.datamodule.windows[TRAIN].genre), has_estimator)
    folder.mkdir(parents=True, exist_ok=True)
    check_names_free(folder)
    if is_first_process():
        if replaced and not quiet:
            print(replaced, flush=True)
        (folder / "run.json").unlink(missing_ok=True)  # of an earlier run; a run folder with this file is finished
        write_config(ready.config, folder)
        if ready.settings.resume:
            remove_parts(folder)
            shutil.rmtree(folder / "wandb", ignore_errors=True)  # the whole run is logged again, as one W&B run
    own = (fitted or {}).get(ready.facts.identity or "")
    is_final = ready.settings.split.protocol == NO_TEST
    with run_logger(ready.settings.logger if is_first_process() else None, ready.facts, folder) as logger:
        if is_final:
            add_card(ready, card)
            fit_untested(ready, folder, logger, None if card is None else card.epochs)
        elif own is None:
            fit_and_test(ready, folder, logger)
        else:
            score_fitted(ready, own, folder, logger)
        result = (
            _untested(ready, card, notes) if is_final else result_of(ready.model, ready.datamodule, ready.facts, notes)
        )
        if is_first_process():
            _write(result, folder, logger)
            (folder / LAST_CHECKPOINT).unlink(missing_ok=True)
    return result


def _untested(ready: Prepared, card: Card | None, notes: list[str]) -> Untested:
    curves = pd.DataFrame(ready.model.curves)
    return Untested(ready.facts, split_frame(ready.datamodule.table, ready.datamodule.split), curves, card, notes)


def finished_before(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader | None = None) -> Path | None:
    """Return the folder in which a run of equal settings and data is finished; arguments as in `train`.

    Folders of the same grid that differ only in the job's number are searched too.
    """
    settings = typed(cfg, TrainConfig)
    corpus = (corpora or CorpusReader()).read(settings.dataset, settings.slice, settings.features)
    return finished_run(folder, identity(model_name, plain_config(cfg, corpus), corpus.table.hashes))


def train_together(jobs: Sequence[tuple[DictConfig, Path, str]], corpora: CorpusReader) -> dict[str, Fitted]:
    """Train runs of one cell as one computation, if their model allows it; `train` then tests and writes each.

    A run with a mistake is left out, and `train` raises its error. Training resumes from stack.ckpt in the folder of
    the first run; the caller deletes that file after it has written all runs. If some runs were finished before an
    interruption, they are trained again with the others, since a fit has other last bits in a smaller stack.

    Returns:
        The result of each fit, by identity of its run; empty if the runs are to be trained one by one.
    """
    runs, rng_states = [], []
    num_finished = 0
    for cfg, folder, model_name in jobs:
        with suppress(UserError):
            check_replaceable(folder, _TRAINED_FILES)
            is_finished = bool(cfg.resume and finished_before(cfg, folder, model_name, corpora))
            num_finished += is_finished
            runs.append(prepare(cfg, model_name, corpora))
            rng_states.append(torch.get_rng_state())
            if not is_finished:
                folder.mkdir(parents=True, exist_ok=True)
                write_config(runs[-1].config, folder)  # marks the run as started
    if num_finished == len(runs):
        return {}
    models, modules = [run.model for run in runs], [run.datamodule for run in runs]
    if any(run.settings.final or run.settings.split.protocol == NO_TEST for run in runs):
        return {}
    if len(runs) < 2 or not can_be_stacked(models, runs[0].settings.trainer, len(modules[0].table.track)):
        return {}
    settings = runs[0].settings
    identities = [run.facts.identity or "" for run in runs]
    path = jobs[0][1] / STACK_CHECKPOINT
    checkpoint = StackCheckpoint(path, identities, settings.trainer.checkpoint_seconds, settings.resume)
    fitted = fit_stack(models, modules, rng_states, settings.trainer, checkpoint)
    return dict(zip(identities, fitted, strict=True))


def validate(ready: Prepared, on_epoch: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
    """Train as `train` does, but score no test track and write no file; return validation scores of the best epoch.

    Args:
        ready: from `prepare`.
        on_epoch: called with each epoch, from 1, and the validation scores of the best epoch so far (``val/loss``,
            ``val/accuracy``, ``val/f1_macro``), once one has a finite loss. An exception that it raises ends the
            training.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    scores = BestScores(on_epoch)
    with lightning_run():
        trainer = build_trainer(ready.model, ready.settings.trainer, None, None, [scores])
        trainer.fit(ready.model, ready.datamodule)
    if not scores.best:
        raise diverged()
    return scores.best


def evaluate(
    cfg: DictConfig,
    folder: Path,
    corpora: CorpusReader | None = None,
    checkpoint: Path | None = None,
    dataset_named: Callable[[str], DatasetConfig | None] = lambda _: None,
) -> Result | Unlabelled:
    """Score a checkpoint, by default on the test part of its training, and write a run folder.

    Tracks without labels are only predicted.

    Args:
        cfg: a composed `EvaluateConfig`.
        folder: the run folder; made if missing.
        corpora: reads the corpus.
        checkpoint: to score; ``None`` is that of `cfg`.
        dataset_named: returns a dataset of conf by its name; used if `cfg` has none.

    Raises:
        UserError: the checkpoint does not fit the table, or was trained on tracks that it would be tested on, or `cfg`
            has no dataset and the name of its own is not enough.
    """
    settings = typed(cfg, EvaluateConfig)
    checkpoint = checkpoint or Path(str(settings.checkpoint))
    model, trained, dataset, corpus = open_trained(checkpoint, settings.dataset, corpora, dataset_named)
    same_names = dataset.corpus == trained.corpus  # track names mean the same recordings
    if corpus.table.is_unlabelled:
        return _predict(model, trained, corpus, settings, same_names, folder)
    split_config, split = _split_for(settings, trained, corpus, same_names)
    datamodule = datamodule_of(corpus.table, split, trained)
    name_notes: list[str] = []
    leaks = split.leaks or trained.facts.leaks
    if not leaks:
        leaks = _tests_on_seen_tracks(datamodule, trained, same_names, split_config.allow_leak)
    if not (leaks or same_names or dataset.synthetic or trained.facts.synthetic):
        leaks, name_notes = _names_of_seen_tracks(datamodule, trained, dataset.corpus, split_config.allow_leak)
    facts = evaluation_facts(trained.facts, dataset, split_config, datamodule, leaks, str(checkpoint))
    changed = dataset.name == trained.facts.dataset and facts.data_hashes != trained.facts.data_hashes
    changes = ["the files differ from those that were trained on"] if changed else []
    notes = announce(facts, datamodule, [*name_notes, *changes])
    folder.mkdir(parents=True, exist_ok=True)
    with run_logger(settings.logger, facts, folder) as logger, lightning_run():
        on_cpu = TrainerConfig(accelerator="cpu", threads=1, progress_bar=False)
        trainer = build_trainer(model, on_cpu, folder, logger, [])
        trainer.test(model, datamodule, verbose=False)
        result = result_of(model, datamodule, facts, notes)
        _write(result, folder, logger)
    return result


def open_trained(
    checkpoint: Path,
    given: DatasetConfig | None,
    corpora: CorpusReader | None = None,
    dataset_named: Callable[[str], DatasetConfig | None] = lambda _: None,
) -> tuple[GenreClassifier, Provenance, DatasetConfig, Corpus]:
    """Load a checkpoint and read a corpus that fits it; arguments and errors as in `evaluate`.

    Args:
        checkpoint: a file, or a folder with one.
        given: the dataset; ``None`` for that of the training.
        corpora: reads the corpus.
        dataset_named: returns a dataset of conf by its name.

    Returns:
        The model, its provenance, the dataset with the genres and features of the model, and its corpus.
    """
    torch.set_num_threads(1)
    model = load_checkpoint(checkpoint)
    trained = Provenance.of(model, checkpoint)
    chosen = given and _of_recipe(given, trained)
    dataset = _dataset_for(model, trained, chosen or _own_dataset(trained, dataset_named(trained.facts.dataset)))
    corpus = (corpora or CorpusReader()).read(dataset, model.slice_seconds, needs_labels=False)
    check_features(model, corpus)
    dataset = replace(dataset, recipe=corpus.recipe)
    check_recipe(dataset, trained.facts.recipe)
    return model, trained, dataset, corpus


def _predict(
    model: GenreClassifier,
    trained: Provenance,
    corpus: Corpus,
    settings: EvaluateConfig,
    same_names: bool,
    folder: Path,
) -> Unlabelled:
    """Predict all tracks of a corpus without labels, and write the predictions."""
    if settings.split is not None or settings.seed is not None:
        problem = "the tracks have no labels, and a split divides them by genre"
        raise UserError(problem, key="split" if settings.split else "seed", hint="leave it out to predict all tracks")
    datamodule = datamodule_of(corpus.table, split_of(corpus, SplitConfig(protocol=EVERY_TRACK)), trained)
    predictions = predict_unlabelled(model, datamodule, trained, same_names)
    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(folder)
    return predictions


def _own_dataset(trained: Provenance, named: DatasetConfig | None) -> DatasetConfig:
    """Return the dataset of the training: that of conf with its name, if it reads files of the same names.

    A checkpoint chooses no files: it may come from anyone.
    """
    files = ", ".join(sorted(trained.facts.data_hashes))
    had = "" if trained.path is None else f"; training had dataset.path={trained.path}"
    recipe = trained.facts.recipe if trained.facts.recipe not in (None, UNKNOWN_RECIPE) else None
    more = f" dataset.recipe={recipe}" if recipe else ""
    hint = f"repeat the dataset of the training, such as dataset=csv dataset.path=FILE{more} (it read {files}{had})"
    if named is None:
        raise UserError(f"its dataset '{trained.facts.dataset}' is not in conf/dataset", key="checkpoint", hint=hint)
    named = _of_recipe(named, trained)
    known = {Path(name).name for name in (*named.tables, *([named.path] if named.path else []))}
    if named.synthetic != trained.facts.synthetic or not (
        named.synthetic or {Path(name).name for name in trained.facts.data_hashes} <= known
    ):
        problem = f"it was not trained on the files that conf has for dataset={trained.facts.dataset}"
        raise UserError(problem, key="checkpoint", hint=hint)
    num_named = sum(map(len, trained.tracks.values()))
    if named.synthetic and trained.twin_tracks > _MOST_TWIN_TRACKS * num_named:  # before any are drawn
        problem = f"its twin has {trained.twin_tracks} tracks, and its parts name {num_named} of them"
        raise UserError(problem, key="checkpoint", hint="train the model again")
    return replace(named, corpus=trained.corpus, num_tracks=trained.twin_tracks)


def _of_recipe(dataset: DatasetConfig, trained: Provenance) -> DatasetConfig:
    """Return a dataset with the tables of the training's recipe, if it has any; others are refused later."""
    if dataset.tables and trained.facts.recipe:
        with suppress(UserError):
            return with_features(dataset, trained.facts.recipe)
    return dataset


def _dataset_for(model: GenreClassifier, trained: Provenance, chosen: DatasetConfig) -> DatasetConfig:
    """Return a dataset with the genres and features of the model."""
    if chosen.recipe != UNKNOWN_RECIPE:  # otherwise a note beside the table may name the recipe
        check_recipe(chosen, trained.facts.recipe)
    if pair := look_alikes(model.genres):
        first, second = shown_apart(*pair)
        problem = f"'{first}' and '{second}' look like one genre, and it was trained on them as two"
        raise UserError(problem, key="checkpoint", hint="write one of them in the table, and train again")
    if trained.facts.settings.get("dataset.features") is not None:
        own = [name for name in model.feature_names if name != "length"]
        _check_choice(chosen.features, trained.facts.settings["dataset.features"], own)
        chosen = replace(chosen, features=own)
    # a genre that the model does not have is then refused with its row, and features are in the order of the model
    return replace(chosen, genres=model.genres, include_length="length" in model.feature_names)


def _check_choice(wanted: Any, trained: Any, own: Sequence[str]) -> None:
    """Refuse a choice of descriptors other than that of the training; the model takes its `own`, in their order."""
    if wanted is None or wanted == trained:
        return
    with suppress(UserError):
        if set(chosen_columns(own, ["0"] * len(own), wanted, "the checkpoint")) == set(own):
            return
    shown = printable(", ".join(own), most=100)
    problem = f"the checkpoint was trained on another choice, {counted(len(own), 'descriptor')}: {shown}"
    raise UserError(problem, key="dataset.features", value=wanted, hint="leave it out: those are read")


def check_features(model: GenreClassifier, corpus: Corpus) -> None:
    """Refuse a table with other features than those of a model, or with the same in another order."""
    own, table = set(model.feature_names), set(corpus.table.feature_names)
    if list(corpus.table.feature_names) == model.feature_names:
        return
    differing = sorted(own ^ table)
    names = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
    problem = f"the table has other features: {names}" if differing else "the table has its features in another order"
    raise UserError(problem, key="checkpoint", hint="give the table that it was trained on")


def check_recipe(dataset: DatasetConfig, trained: str | None) -> None:
    """Refuse descriptors of another recipe than those that the checkpoint was trained on."""
    if dataset.recipe != trained:
        problem = f"its recipe is '{dataset.recipe}', and the checkpoint was trained on the recipe '{trained}'"
        hint = f"extract one of them again, or set dataset.recipe={trained} if they are the same"
        raise UserError(problem, key="dataset", value=dataset.name, hint=hint)


def _split_for(
    settings: EvaluateConfig, trained: Provenance, corpus: Corpus, same_names: bool
) -> tuple[SplitConfig, Split]:
    """Return the split of the settings, or else the test part of the training by track name, or else all tracks.

    All tracks are tested if the corpus has none of the training's test tracks. The test part of a leaking protocol has
    no names of tracks, so such a split is drawn again.
    """
    own = trained.split
    if settings.split is not None:
        seed = settings.split.seed if settings.seed is None else settings.seed
        chosen = replace(settings.split, seed=trained.facts.split_seed if seed is None else seed)
    elif settings.seed is not None or (trained.facts.leaks and corpus.table.hashes == trained.facts.data_hashes):
        chosen = replace(own, seed=own.seed if settings.seed is None else settings.seed)
    else:
        set_aside = set(trained.tracks["test"]) & set(corpus.table.tracks) if same_names else set()
        if set_aside:
            return own, split_by_name(corpus.table, own.protocol, set_aside)
        chosen = SplitConfig(protocol=EVERY_TRACK)
    return chosen, split_of(corpus, chosen)


def _tests_on_seen_tracks(datamodule: GenreDataModule, trained: Provenance, same_names: bool, allow_leak: bool) -> bool:
    """Return whether test tracks were in the training or validation part; raise unless the split allows the leak.

    A track is recognised by its features, and within a corpus by its name.
    """
    fingerprint = dict(zip(datamodule.table.tracks, track_fingerprints(datamodule.table).tolist(), strict=True))
    seen, test = set(trained.seen), datamodule.tracks["test"]
    equal = [track for track in test if fingerprint[track] in seen]
    named = [track for track in test if same_names and track in trained.known_tracks and fingerprint[track] not in seen]
    known = [*equal, *named]
    if known and not allow_leak:
        count = f"{len(known)} of {len(test)} test tracks, such as {known[0]}, were in its training or validation part:"
        own_part = (
            "give the dataset of the training without dataset.corpus, split and seed to test on its own test part, "
        )
        card = "the score of its settings is in card.md beside it; test it on other tracks, "
        hint = card if trained.facts.protocol == NO_TEST else own_part
        if equal:
            reason = f"the features of {len(equal)} of them are equal" if named else "their features are equal"
        else:
            reason = f"their names are the same in the corpus {trained.corpus}"
            hint += "set dataset.corpus=NAME if they are other recordings, "
        hint += "or add a split with split.allow_leak=true"
        raise UserError(f"{count} {reason}", key="checkpoint", hint=hint)
    return bool(known)


def _names_of_seen_tracks(
    datamodule: GenreDataModule, trained: Provenance, corpus: str, allow_leak: bool
) -> tuple[bool, list[str]]:
    """Return whether test tracks of another corpus have the names of training tracks so often that they are the same.

    Numbers such as rock.00000 are used in many corpora, so there is only a note on them. Words are a title: if most
    tracks have titles of training tracks, they are the same music. The features of a copy may have fewer digits or come
    from another file, and are then not recognised.

    Raises:
        UserError: most have the titles of training tracks, and the split does not allow the leak.
    """
    test = datamodule.tracks["test"]
    named = [track for track in test if track in trained.known_tracks]
    titled = [track for track in named if not track.rpartition(".")[2].isdecimal()]
    most = max(_FEW_NAMES, min(len(test), len(trained.known_tracks)) / 2)
    if len(named) < most:
        return False, []
    count = f"{len(named)} of {len(test)} test tracks, such as {printable((titled or named)[0], most=100)}, have the "
    count += "names of tracks in its training or validation part"
    if len(titled) >= most and not allow_leak:
        hint = "if they are other recordings, give the tracks other names; or add a split with split.allow_leak=true"
        raise UserError(count, key="dataset.corpus", value=corpus, hint=hint)
    count += f", and dataset.corpus={printable(corpus, most=100)} means that they are other recordings"
    return len(titled) >= most, [] if len(titled) >= most else [f"{count}: if they are not, these scores are no test"]


def notes_on(datamodule: GenreDataModule) -> list[str]:
    """Return what was left out, merged or ignored, one sentence each."""
    unused = datamodule.num_unused_slices
    notes = [*datamodule.table.notes, *datamodule.split.notes]
    return notes + ([f"{counted(unused, 'slice is', 'slices are')} in no window"] if unused else [])


def announce(facts: RunFacts, datamodule: GenreDataModule, more: Sequence[str] = ()) -> list[str]:
    """Print which data and split are about to be used, with notes; return the notes, `more` first."""
    notes = [*more, *notes_on(datamodule)]
    parts = ", ".join(f"{count} {part}" for part, count in facts.num_tracks.items())
    title = printable(facts.dataset_title)
    print(
        f"{title}: {len(datamodule.table.tracks)} tracks, {len(datamodule.table.track)} slices of "
        f"{facts.slice_seconds:g} s; split {facts.split_label}: {parts} tracks",
        *(f"  {printable(note, 1000)}" for note in notes),
        sep="\n",
        flush=True,
    )
    return notes


@contextmanager
def run_logger(logger_config: Any, facts: RunFacts, folder: Path) -> Iterator[Logger | None]:
    """Make the logger of one run, and close it at the end: the next job of a multirun must not log into this run."""
    logger = None
    if logger_config:  # logger=none is empty
        # partial, because Hydra would turn the dataclass of the facts into a dict
        logger = instantiate(logger_config, _partial_=True, _convert_="all")(facts=facts, folder=folder)
    failed = True
    try:
        yield logger
        failed = False
    finally:
        if isinstance(logger, ResultLogger):
            logger.close(failed=failed)


def _write(result: Result | Untested, folder: Path, logger: object) -> None:
    """Write the run folder, and log a result with scores if the logger accepts results."""
    result.write(folder)
    if isinstance(logger, ResultLogger) and isinstance(result, Result):
        logger.log_result(result)
