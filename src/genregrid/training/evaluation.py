"""Evaluate a checkpoint: on the test part of its training, on another table, or on tracks without labels."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from genregrid.config import EVERY_TRACK, NO_TEST, DatasetConfig, EvaluateConfig, SplitConfig, TrainerConfig
from genregrid.data.columns import chosen_columns
from genregrid.data.corpus import Corpus, with_features
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import Split, split_by_name
from genregrid.errors import UserError, counted, printable
from genregrid.models.base import GenreClassifier
from genregrid.models.trained import load_checkpoint
from genregrid.name import look_alikes, shown_apart
from genregrid.record.facts import Provenance, evaluation_facts
from genregrid.record.result import Result, result_of
from genregrid.record.unlabelled import Unlabelled, predict_unlabelled
from genregrid.training.build import datamodule_of, split_of, typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.fit import build_trainer, lightning_run
from genregrid.training.run import announce, run_logger, write_result

# Tracks of a twin for each that a checkpoint names. Protocols leave out a tenth at most, or tracks of unknown artists.
_MOST_TWIN_TRACKS = 4
# So many names of tracks may be the same in two corpora by chance.
_FEW_NAMES = 4


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
        write_result(result, folder, logger)
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
