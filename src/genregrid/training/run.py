"""Training, validation and evaluation of one configuration."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from genregrid.config import EVERY_TRACK, DatasetConfig, EvaluateConfig, SplitConfig, TrainConfig
from genregrid.data.corpus import Corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import TRAIN, Split, split_by_name
from genregrid.errors import UserError
from genregrid.models.base import GenreClassifier, load_checkpoint
from genregrid.models.estimator import EstimatorHead
from genregrid.record.facts import Provenance, RunFacts, evaluation_facts, identity
from genregrid.record.folder import finished_run
from genregrid.record.result import Result, ResultLogger, result_of
from genregrid.training.build import Prepared, datamodule_of, plain_config, prepare, read_corpus, split_of, typed
from genregrid.training.devices import check_shares, is_first_process
from genregrid.training.fit import (
    DIVERGED,
    LAST_CHECKPOINT,
    Epochs,
    build_trainer,
    fit_and_test,
    fit_together,
    interruptible,
    quiet_lightning,
    trainer_basics,
)


def train(cfg: DictConfig, folder: Path, model_name: str) -> Result:
    """Train one model on one fold, test its best epoch, and write the run folder.

    With ``cfg.resume`` a run that was stopped in this folder goes on from its last checkpoint, to the same numbers.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder; made if missing.
        model_name: what outputs call the model: the name of its YAML.

    Raises:
        UserError: a mistake in the configuration or in the data it names, or with `resume` another run in the folder.
    """
    ready = prepare(cfg, model_name)
    if ready.settings.resume and (folder / "run.json").is_file():  # of this run, `finished_before` would have found it
        raise UserError(
            f"resume=true: {folder} holds a finished run of other settings or data: go on in another folder, or leave "
            "out resume=true to begin anew."
        )
    notes = announce(ready.facts, ready.datamodule)
    check_shares(ready.settings.trainer, len(ready.datamodule.windows[TRAIN].genre), _has_estimator(ready.model))
    folder.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        (folder / "run.json").unlink(missing_ok=True)  # of an earlier run; this one is not finished
        OmegaConf.save(OmegaConf.create(ready.config), folder / "config.yaml")
        if ready.settings.resume:
            shutil.rmtree(folder / "wandb", ignore_errors=True)  # the whole run is logged anew, and counted once
    with run_logger(ready.settings.logger if is_first_process() else None, ready.facts, folder) as logger:
        fit_and_test(ready, folder, logger)
        result = result_of(ready.model, ready.datamodule, ready.facts, notes)
        if is_first_process():
            _keep(result, folder, logger)
            (folder / LAST_CHECKPOINT).unlink(missing_ok=True)
    return result


def finished_before(cfg: DictConfig, folder: Path, model_name: str) -> Path | None:
    """Where this very run was finished before: a folder of the same settings and data, in the same grid.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder.
        model_name: what outputs call the model.
    """
    settings = typed(cfg, TrainConfig)
    corpus = read_corpus(settings.dataset, settings.slice)
    return finished_run(folder, identity(model_name, plain_config(cfg, corpus), corpus.table.hashes))


def train_together(jobs: Sequence[tuple[DictConfig, Path, str]]) -> None:
    """Fit runs of one cell as one computation, where their model can; `train` of each then has it tested and written.

    What goes wrong with one of them `train` will say. stack.ckpt in the first one's folder is what they go on from,
    until the caller, when all are written, deletes it.

    Args:
        jobs: the arguments of `train`, for each run.
    """
    runs, chances = [], []
    for cfg, folder, model_name in jobs:
        with suppress(UserError):
            if not (cfg.resume and finished_before(cfg, folder, model_name)):
                runs.append(prepare(cfg, model_name))
                chances.append(torch.get_rng_state())
                folder.mkdir(parents=True, exist_ok=True)
                OmegaConf.save(OmegaConf.create(runs[-1].config), folder / "config.yaml")  # who looks sees it has begun
    fit_together(runs, chances, jobs[0][1])


def validate(ready: Prepared, told: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
    """Train one model on one fold as `train` does, and end there: no test track is scored, and no file written.

    Args:
        ready: what `prepare` built.
        told: is given each epoch, from 1, and the validation scores of the best epoch so far (``val/loss``,
            ``val/accuracy``, ``val/f1_macro``), as soon as one has a finite loss; what it raises ends the training.

    Returns:
        Validation scores of the epoch of the lowest validation loss, the one that `train` would keep.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    epochs = Epochs(told)
    with quiet_lightning():
        trainer = build_trainer(ready.model, ready.settings.trainer, None, None, [epochs])
        with interruptible():
            trainer.fit(ready.model, ready.datamodule)
    if not epochs.best:
        raise UserError(DIVERGED)
    return epochs.best


def evaluate(cfg: DictConfig, folder: Path) -> Result:
    """Score a checkpoint, by default on the test part that its training set aside, and write a run folder.

    Args:
        cfg: a composed `EvaluateConfig` with `checkpoint` set.
        folder: the run folder; made if missing.

    Raises:
        UserError: the checkpoint does not fit the table, or was trained on tracks that it would be tested on.
    """
    settings = typed(cfg, EvaluateConfig)
    torch.set_num_threads(1)
    model = load_checkpoint(Path(str(settings.checkpoint)))
    trained = Provenance.from_json(model.provenance, settings.checkpoint)
    dataset = _dataset_for(model, trained, settings.dataset)
    corpus = read_corpus(dataset, model.slice_seconds)
    dataset = replace(dataset, recipe=corpus.recipe)
    _refuse_other_recipe(dataset, trained.facts.recipe)
    split_config, split = _split_for(settings, trained, dataset, corpus)
    datamodule = datamodule_of(corpus.table, split, trained.config)
    leaks = split.leaks or trained.facts.leaks or _tests_on_seen_tracks(datamodule, trained, dataset, split_config)
    checkpoint = str(settings.checkpoint)
    facts = evaluation_facts(trained.facts, dataset, split_config, datamodule, leaks=leaks, checkpoint=checkpoint)
    changed = dataset.name == trained.facts.dataset and facts.data_hashes != trained.facts.data_hashes
    notes = announce(facts, datamodule, ["the files differ from those that were trained on"] if changed else [])
    folder.mkdir(parents=True, exist_ok=True)
    with run_logger(settings.logger, facts, folder) as logger, quiet_lightning():
        trainer = pl.Trainer(**trainer_basics(folder, logger), accelerator="cpu", enable_checkpointing=False)
        with interruptible():
            trainer.test(model, datamodule, verbose=False)
        result = result_of(model, datamodule, facts, notes)
        _keep(result, folder, logger)
    return result


def _has_estimator(model: GenreClassifier) -> bool:
    return any(isinstance(part, EstimatorHead) for part in model.modules())


# --- evaluating a checkpoint -----------------------------------------------------------------------------------------


def _dataset_for(model: GenreClassifier, provenance: Provenance, chosen: DatasetConfig | None) -> DatasetConfig:
    """The dataset to score, fitted to the model; that of its training where none is chosen."""
    trained = DatasetConfig(**provenance.config["dataset"])
    if chosen is None:
        chosen = replace(trained, root=str(OmegaConf.create({"root": provenance.root}).root))
    if chosen.recipe != UNKNOWN_RECIPE:  # a note beside the table may still name it
        _refuse_other_recipe(chosen, trained.recipe)
    # a genre that the model does not know is then refused with its row, and features come in the model's order
    return replace(chosen, genres=model.genres, include_length="length" in model.feature_names)


def _refuse_other_recipe(dataset: DatasetConfig, trained: str | None) -> None:
    if dataset.recipe != trained:
        raise UserError(
            f"the checkpoint was trained on descriptors of the recipe '{trained}', but dataset={dataset.name} holds "
            f"'{dataset.recipe}': extract one of them again, or say dataset.recipe={trained} if they are the same."
        )


def _is_same_corpus(dataset: DatasetConfig, trained: Provenance) -> bool:
    """Whether a track's name stands for the recording that it stood for in training."""
    return bool(dataset.corpus == trained.config["dataset"]["corpus"])


def _split_for(
    settings: EvaluateConfig, trained: Provenance, dataset: DatasetConfig, corpus: Corpus
) -> tuple[SplitConfig, Split]:
    """The split that was asked for; else, by name, the tracks that training set aside; else every track.

    Every track it is for a corpus that was not trained on. A leaking protocol has no tracks of its own to set aside
    and is dealt again.
    """
    own = SplitConfig(**trained.config["split"])
    if settings.split is not None:
        seed = settings.split.seed if settings.seed is None else settings.seed
        chosen = replace(settings.split, seed=trained.facts.split_seed if seed is None else seed)
    elif settings.seed is not None or (trained.facts.leaks and corpus.table.hashes == trained.facts.data_hashes):
        chosen = replace(own, seed=own.seed if settings.seed is None else settings.seed)
    else:
        same_corpus = _is_same_corpus(dataset, trained)
        set_aside = set(trained.tracks["test"]) & set(corpus.table.tracks) if same_corpus else set()
        if set_aside:
            return own, split_by_name(corpus.table, own.protocol, set_aside)
        chosen = SplitConfig(protocol=EVERY_TRACK)
    return chosen, split_of(corpus, chosen)


def _tests_on_seen_tracks(
    datamodule: GenreDataModule, trained: Provenance, dataset: DatasetConfig, split: SplitConfig
) -> bool:
    """Whether test tracks were trained or validated on; refused unless the split allows the leak.

    A track is known by its features, and within a corpus by its name.
    """
    same_corpus = _is_same_corpus(dataset, trained)
    fingerprint = dict(zip(datamodule.table.tracks, track_fingerprints(datamodule.table).tolist(), strict=True))
    seen, test = set(trained.seen), datamodule.tracks["test"]
    known = [track for track in test if fingerprint[track] in seen or (same_corpus and track in trained.known_tracks)]
    if known and not split.allow_leak:
        raise UserError(
            f"{len(known)} of {len(test)} test tracks, such as {known[0]}, were in the training or validation part of "
            "this checkpoint: leave out `dataset`, `split` and `seed` to test on its own test part, say "
            "dataset.corpus=NAME if they are other recordings, or add a split with split.allow_leak=true."
        )
    return bool(known)


# --- telling ------------------------------------------------------------------------------------------------------


def announce(facts: RunFacts, datamodule: GenreDataModule, more: Sequence[str] = ()) -> list[str]:
    """Print what is about to run, and every note on the data and `more`; return the notes."""
    unused = datamodule.num_unused_slices
    notes = [*more, *datamodule.table.notes, *datamodule.split.notes]
    notes += [f"{unused} slices stand in no window"] if unused else []
    parts = ", ".join(f"{count} {part}" for part, count in facts.num_tracks.items())
    print(
        f"{facts.dataset_title}: {len(datamodule.table.tracks)} tracks, {len(datamodule.table.track)} slices of "
        f"{facts.slice_seconds:g} s; split {facts.split_label}: {parts} tracks",
        *(f"  {note}" for note in notes),
        sep="\n",
        flush=True,
    )
    return notes


@contextmanager
def run_logger(logger_config: Any, facts: RunFacts, folder: Path) -> Iterator[Logger | None]:
    """The logger of one run, closed behind it: the next job of a multirun must not write into this one."""
    logger = None
    if logger_config:  # logger=none is empty
        # Partial: Hydra would turn the dataclass of the facts into a dict.
        logger = instantiate(logger_config, _partial_=True, _convert_="all")(facts=facts, folder=folder)
    failed = True
    try:
        yield logger
        failed = False
    finally:
        if isinstance(logger, ResultLogger):
            logger.close(failed=failed)


def _keep(result: Result, folder: Path, logger: object) -> None:
    """Write the run folder, and log the result where the logger takes results."""
    result.write(folder)
    if isinstance(logger, ResultLogger):
        logger.log_result(result)
