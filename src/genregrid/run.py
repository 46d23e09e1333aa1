"""Training and evaluation of one configuration: the only place where objects are built from config."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from genregrid.config import DatasetConfig, EvaluateConfig, SplitConfig, TrainConfig, TrainerConfig
from genregrid.data.corpus import Corpus, load_corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import (
    LEAKING_PROTOCOLS,
    TRAIN,
    VAL,
    Split,
    split_by_name,
    split_table,
    track_fingerprints,
)
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError
from genregrid.fitting import Epochs, build_trainer, interruptible, quiet_lightning, trainer_basics
from genregrid.models.base import GenreClassifier, load_checkpoint
from genregrid.report.facts import data_facts, run_facts, split_label
from genregrid.report.result import Result, result_of

_CHECKPOINT = "checkpoint"
_DIVERGED = "no epoch had a finite validation loss, so there is no model: lower model.learning_rate."
# What a checkpoint keeps beside the facts of run.json.
_NOT_FACTS = ("config", "tracks", "seen", "root", "source_slice_seconds", "window_slices")
Settings = TypeVar("Settings", TrainConfig, EvaluateConfig)


@dataclass(frozen=True)
class Prepared:
    """All that a fit needs.

    Attributes:
        settings: the configuration, typed.
        config: the same, resolved, as plain values.
        datamodule: windows of all parts.
        model: untrained, its transform fitted on training slices, its provenance set.
        facts: the content of run.json.
    """

    settings: TrainConfig
    config: dict[str, Any]
    datamodule: GenreDataModule
    model: GenreClassifier
    facts: dict[str, Any]


def prepare(cfg: DictConfig, model_name: str, read: Callable[[DatasetConfig, float], Corpus] | None = None) -> Prepared:
    """Build what a fit needs, from seed to provenance.

    Args:
        cfg: a composed `TrainConfig`.
        model_name: what outputs call the model: the name of its YAML.
        read: reads the corpus; ``None`` reads its files.

    Raises:
        UserError: a mistake in the configuration or in the data it names.
    """
    settings = _typed(cfg, TrainConfig)
    _check(settings)
    torch.set_num_threads(1)  # initial weights differ in their last bits with the number of threads
    pl.seed_everything(settings.seed, verbose=False)
    corpus = (read or read_corpus)(settings.dataset, settings.slice)
    dataset = replace(settings.dataset, recipe=corpus.recipe)
    split = _split(corpus, settings.split)
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    config["dataset"]["recipe"] = corpus.recipe
    datamodule = _datamodule(corpus.table, split, config)
    model = _model(settings.model, settings.trainer, corpus.table)
    model.transform.fit(datamodule.training_features)
    facts = run_facts(model_name, config) | data_facts(dataset, settings.split, datamodule, split.leaks)
    model.provenance = facts | {"config": config, "tracks": datamodule.tracks, "seen": _seen_tracks(datamodule)}
    unresolved: Any = OmegaConf.to_container(cfg.dataset)
    model.provenance["root"] = unresolved["root"]  # data may move, and GENREGRID_DATA with it
    model.provenance["source_slice_seconds"] = float(corpus.source.slice_seconds)
    model.provenance["window_slices"] = int(datamodule.windows[TRAIN].length.max())
    return Prepared(settings, config, datamodule, model, facts)


def train(cfg: DictConfig, folder: Path, model_name: str) -> Result:
    """Train one model on one fold, test its best epoch, and write the run folder.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder; made if missing.
        model_name: what outputs call the model: the name of its YAML.

    Raises:
        UserError: a mistake in the configuration or in the data it names.
    """
    ready = prepare(cfg, model_name)
    model, datamodule, facts = ready.model, ready.datamodule, ready.facts
    notes = announce(facts, datamodule)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(ready.config), folder / "config.yaml")
    with run_logger(ready.settings.logger, facts, folder) as logger:
        _fit_and_test(model, datamodule, ready.settings.trainer, folder, logger)
        result = result_of(model, datamodule, facts, notes)
        _keep(result, folder, logger)
    return result


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
        raise UserError(_DIVERGED)
    return epochs.best


def evaluate(cfg: DictConfig, folder: Path) -> Result:
    """Score a checkpoint, by default on the test part that its training set aside, and write a run folder.

    Args:
        cfg: a composed `EvaluateConfig` with `checkpoint` set.
        folder: the run folder; made if missing.

    Raises:
        UserError: the checkpoint does not fit the table, or was trained on tracks that it would be tested on.
    """
    settings = _typed(cfg, EvaluateConfig)
    torch.set_num_threads(1)
    model = load_checkpoint(Path(str(settings.checkpoint)))
    trained = model.provenance
    dataset = _dataset_for(model, settings.dataset)
    corpus = read_corpus(dataset, model.slice_seconds)
    dataset = replace(dataset, recipe=corpus.recipe)
    _refuse_other_recipe(dataset, trained["recipe"])
    split_config, split = _split_for(settings, trained, dataset, corpus)
    datamodule = _datamodule(corpus.table, split, trained["config"])
    leaks = split.leaks or trained["leaks"] or _tests_on_seen_tracks(datamodule, trained, dataset, split_config)
    facts = {name: value for name, value in trained.items() if name not in _NOT_FACTS}
    facts |= data_facts(dataset, split_config, datamodule, leaks)
    facts |= {"synthetic": dataset.synthetic or trained["synthetic"], "checkpoint": str(settings.checkpoint)}
    facts |= {"trained_on": f"{trained['dataset_label']} ({trained['split_label']})"}
    changed = dataset.name == trained["dataset"] and facts["data_hashes"] != trained["data_hashes"]
    notes = announce(facts, datamodule, ["the files differ from those that were trained on"] if changed else [])
    folder.mkdir(parents=True, exist_ok=True)
    with run_logger(settings.logger, facts, folder) as logger, quiet_lightning():
        trainer = pl.Trainer(**trainer_basics(folder, logger), accelerator="cpu", enable_checkpointing=False)
        with interruptible():
            trainer.test(model, datamodule, verbose=False)
        result = result_of(model, datamodule, facts, notes)
        _keep(result, folder, logger)
    return result


# --- building --------------------------------------------------------------------------------------------------


def _typed(cfg: DictConfig, schema: type[Settings]) -> Settings:
    settings = OmegaConf.to_object(cfg)
    if not isinstance(settings, schema):
        raise TypeError(f"expected a config of the schema {schema.__name__}, got {type(settings).__name__}")
    return settings


def _check(settings: TrainConfig) -> None:
    """Refuse values that no constructor below would name well."""
    if settings.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs={settings.trainer.max_epochs}: training takes 1 epoch or more.")
    if settings.trainer.threads is not None and settings.trainer.threads < 1:
        raise UserError(f"trainer.threads={settings.trainer.threads}: 1 thread or more, or null to choose.")
    if settings.trainer.patience is not None and settings.trainer.patience < 1:
        raise UserError(f"trainer.patience={settings.trainer.patience}: 1 epoch or more, or null for no early stop.")
    if settings.trainer.precision in ("16-true", "bf16-true"):
        raise UserError(
            f"trainer.precision={settings.trainer.precision}: descriptors from 1e-9 to 1e7 need 32 bits; take "
            "16-mixed or bf16-mixed, which compute in half precision what can be."
        )
    if settings.split.label != split_label(settings.split.protocol, settings.split.protocol in LEAKING_PROTOCOLS):
        raise UserError(
            f"split.protocol={settings.split.protocol} under the label '{settings.split.label}': choose a protocol by "
            f"split={settings.split.protocol}, so that the run folder says what it holds."
        )
    if settings.split.seed is None:
        raise UserError("split.seed=null: give a number of 0 or more.")
    if not 0 <= settings.seed < 2**32:
        raise UserError(f"seed={settings.seed}: a seed is 0 to 4294967295.")
    if isinstance(settings.window, str) and settings.window != "track":
        raise UserError(f"window={settings.window}: a window is a number of slices, or 'track' for all of a track.")


def read_corpus(dataset: DatasetConfig, slice_seconds: float) -> Corpus:
    """The corpus of a config, at one slice length in seconds."""
    arguments = asdict(dataset)
    for name in ("corpus", "label"):  # of outputs and checkpoints, not of files
        del arguments[name]
    return load_corpus(**arguments, slice_seconds=slice_seconds)


def _split(corpus: Corpus, split: SplitConfig) -> Split:
    arguments = asdict(split)
    del arguments["label"]
    needs_artists, needs_lists = split.protocol in ("artist", "filtered"), split.protocol == "filtered"
    return split_table(
        corpus.table,
        **arguments,
        source=corpus.source,
        artists=corpus.artists() if needs_artists else None,
        lists=corpus.lists() if needs_lists else None,
    )


def _datamodule(table: FeatureTable, split: Split, config: Any) -> GenreDataModule:
    return GenreDataModule(
        table,
        split,
        window=None if config["window"] == "track" else config["window"],
        hop_slices=config["hop_slices"],
        batch_size=config["batch_size"],
        seed=config["seed"],
    )


def _model(model_config: Any, settings: TrainerConfig, table: FeatureTable) -> GenreClassifier:
    """The model, built for the table's genres and features; plain values only, as a checkpoint keeps them."""
    if "_target_" not in model_config:
        raise UserError("the model has no _target_: model=shared/... are settings of many models; choose one by name.")
    facts = {
        "genres": list(table.genres),
        "feature_names": list(table.feature_names),
        "slice_seconds": float(table.slice_seconds),
    }
    model = instantiate(model_config, **facts, _convert_="all")
    if not isinstance(model, GenreClassifier):
        raise UserError(f"model._target_={model_config['_target_']}: a model is a subclass of GenreClassifier.")
    if settings.gradient_clip_val is not None and not model.automatic_optimization:
        raise UserError(
            f"trainer.gradient_clip_val={settings.gradient_clip_val:g}: this model has no gradients; set it to null."
        )
    return model


@contextmanager
def run_logger(logger_config: Any, facts: dict[str, Any], folder: Path) -> Iterator[Logger | None]:
    """The logger of one run, closed behind it: the next job of a multirun must not write into this one."""
    logger = (
        instantiate(logger_config, facts=facts, folder=folder, _convert_="all") if logger_config else None
    )  # logger=none is empty
    failed = True
    try:
        yield logger
        failed = False
    finally:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))


def _fit_and_test(
    model: GenreClassifier, datamodule: GenreDataModule, settings: TrainerConfig, folder: Path, logger: Logger | None
) -> None:
    checkpoint = ModelCheckpoint(folder, _CHECKPOINT, monitor="val/loss", enable_version_counter=False)
    with quiet_lightning():
        trainer = build_trainer(model, settings, folder, logger, [checkpoint])
        with interruptible():
            trainer.fit(model, datamodule)
        best = checkpoint.best_model_path
        if trainer.global_step == 0:  # an estimator takes no steps, and without one Lightning keeps no checkpoint
            best = str(folder / f"{_CHECKPOINT}.ckpt")
            trainer.save_checkpoint(best)
        # Lightning keeps the first epoch whatever its loss, and writes down a loss that is not a number as infinite
        elif checkpoint.best_model_score is None or not torch.isfinite(checkpoint.best_model_score):
            raise UserError(_DIVERGED)
        with interruptible():
            trainer.test(model, datamodule, ckpt_path=best, verbose=False, weights_only=True)


# --- evaluating a checkpoint -----------------------------------------------------------------------------------------


def _seen_tracks(datamodule: GenreDataModule) -> list[int]:
    """Fingerprints of the tracks of training and validation, by which they are known under other names."""
    seen = np.unique(datamodule.table.track[np.isin(datamodule.split.part, (TRAIN, VAL))])
    return [int(number) for number in track_fingerprints(datamodule.table)[seen]]


def _dataset_for(model: GenreClassifier, chosen: DatasetConfig | None) -> DatasetConfig:
    """The dataset to score, fitted to the model; that of its training where none is chosen."""
    trained = DatasetConfig(**model.provenance["config"]["dataset"])
    if chosen is None:
        chosen = replace(trained, root=str(OmegaConf.create({"root": model.provenance["root"]}).root))
    if chosen.recipe != UNKNOWN_RECIPE:  # a note beside the table may still name it
        _refuse_other_recipe(chosen, trained.recipe)
    # a genre that the model does not know is then refused with its row, and features come in the model's order
    return replace(chosen, genres=model.genres, include_length="length" in model.feature_names)


def _refuse_other_recipe(dataset: DatasetConfig, trained: str) -> None:
    if dataset.recipe != trained:
        raise UserError(
            f"the checkpoint was trained on descriptors of the recipe '{trained}', but dataset={dataset.name} holds "
            f"'{dataset.recipe}': extract one of them again, or say dataset.recipe={trained} if they are the same."
        )


def _is_same_corpus(dataset: DatasetConfig, trained: dict[str, Any]) -> bool:
    """Whether a track's name stands for the recording that it stood for in training."""
    return bool(dataset.corpus == trained["config"]["dataset"]["corpus"])


def _split_for(
    settings: EvaluateConfig, trained: dict[str, Any], dataset: DatasetConfig, corpus: Corpus
) -> tuple[SplitConfig, Split]:
    """The split that was asked for; else, by name, the tracks that training set aside; else every track.

    Every track it is for a corpus that was not trained on. A leaking protocol has no tracks of its own to set aside
    and is dealt again.
    """
    own = SplitConfig(**trained["config"]["split"])
    if settings.split is not None:
        seed = settings.split.seed if settings.seed is None else settings.seed
        chosen = replace(settings.split, seed=trained["split_seed"] if seed is None else seed)
    elif settings.seed is not None or (trained["leaks"] and corpus.table.hashes == trained["data_hashes"]):
        chosen = replace(own, seed=own.seed if settings.seed is None else settings.seed)
    else:
        same_corpus = _is_same_corpus(dataset, trained)
        set_aside = set(trained["tracks"]["test"]) & set(corpus.table.tracks) if same_corpus else set()
        if set_aside:
            return own, split_by_name(corpus.table, own.protocol, set_aside)
        return SplitConfig(protocol="all", label="all"), split_by_name(corpus.table, "all")
    return chosen, _split(corpus, chosen)


def _tests_on_seen_tracks(
    datamodule: GenreDataModule, trained: dict[str, Any], dataset: DatasetConfig, split: SplitConfig
) -> bool:
    """Whether test tracks were trained or validated on; refused unless the split allows the leak.

    A track is known by its features, and within a corpus by its name.
    """
    names = {*trained["tracks"]["train"], *trained["tracks"]["val"]}
    same_corpus = _is_same_corpus(dataset, trained)
    fingerprint = dict(zip(datamodule.table.tracks, track_fingerprints(datamodule.table).tolist(), strict=True))
    seen, test = set(trained["seen"]), datamodule.tracks["test"]
    known = [track for track in test if fingerprint[track] in seen or (same_corpus and track in names)]
    if known and not split.allow_leak:
        raise UserError(
            f"{len(known)} of {len(test)} test tracks, such as {known[0]}, were in the training or validation part of "
            "this checkpoint: leave out `dataset`, `split` and `seed` to test on its own test part, say "
            "dataset.corpus=NAME if they are other recordings, or add a split with split.allow_leak=true."
        )
    return bool(known)


# --- telling ------------------------------------------------------------------------------------------------------


def announce(facts: dict[str, Any], datamodule: GenreDataModule, more: Sequence[str] = ()) -> list[str]:
    """Print what is about to run, and every note on the data and `more`; return the notes."""
    unused = datamodule.num_unused_slices
    notes = [*more, *datamodule.table.notes, *datamodule.split.notes]
    notes += [f"{unused} slices stand in no window"] if unused else []
    parts = ", ".join(f"{count} {part}" for part, count in facts["num_tracks"].items())
    print(
        f"{facts['dataset_label']}: {len(datamodule.table.tracks)} tracks, {len(datamodule.table.track)} slices of "
        f"{facts['slice_seconds']:g} s; split {facts['split_label']}: {parts} tracks",
        *(f"  {note}" for note in notes),
        sep="\n",
        flush=True,
    )
    return notes


def _keep(result: Result, folder: Path, logger: Logger | None) -> None:
    """Write the run folder, and show the result where the logger is a W&B run."""
    result.write(folder)
    if isinstance(logger, WandbLogger):
        from genregrid.report.dashboard import log_result  # wandb takes a second to import

        log_result(logger.experiment, result)
