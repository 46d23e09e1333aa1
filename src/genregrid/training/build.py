"""Build objects from the configuration, from the corpus to the model: what a fit needs."""

from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from genregrid.config import PUBLISHED_PROTOCOLS, EvaluateConfig, SplitConfig, TrainConfig, TrainerConfig
from genregrid.data.corpus import Corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.split import TRAIN, VAL, Split, split_table
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError, printable
from genregrid.files import write_text
from genregrid.models.argument import check_known, parameters
from genregrid.models.base import GenreClassifier
from genregrid.models.trained import blank_model
from genregrid.record.facts import Provenance, RunFacts, training_facts
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.devices import check_devices

Settings = TypeVar("Settings", TrainConfig, EvaluateConfig)


@dataclass(frozen=True)
class Prepared:
    """Everything that a fit needs."""

    settings: TrainConfig  # the configuration, typed
    config: dict[str, Any]  # the configuration, resolved, as plain values
    datamodule: GenreDataModule  # the windows of all parts
    model: GenreClassifier  # untrained; its transform is fitted on training slices, and its provenance is set
    facts: RunFacts  # the content of run.json


def prepare(cfg: DictConfig, model_name: str, corpora: CorpusReader) -> Prepared:
    """Build everything that a fit needs from a composed `TrainConfig`, and seed all random numbers.

    Raises:
        UserError: a mistake in the configuration or in the data it names.
    """
    settings = typed(cfg, TrainConfig)
    check_devices(settings.trainer)
    torch.set_num_threads(1)  # the last bits of initial weights depend on the number of threads
    pl.seed_everything(settings.seed, verbose=False)
    corpus = corpora.read(settings.dataset, settings.slice, settings.features)
    _check_genres(corpus.table)
    config = plain_config(cfg, corpus)
    datamodule = datamodule_of(corpus.table, split_of(corpus, settings.split), settings)
    model = _model(settings.model, settings.trainer, corpus.table)
    model.transform.fit(datamodule.table.features, datamodule.training_rows)
    dataset = replace(settings.dataset, recipe=corpus.recipe)
    facts = training_facts(model_name, config, dataset, settings.split, datamodule)
    seen = np.unique(datamodule.table.track[np.isin(datamodule.split.part, (TRAIN, VAL))])
    model.provenance = Provenance(
        facts=facts,
        corpus=dataset.corpus,
        twin_tracks=dataset.num_tracks,
        split=settings.split,
        window=None if settings.window == "track" else int(settings.window),
        hop_slices=settings.hop_slices,
        batch_size=settings.batch_size,
        seed=settings.seed,
        tracks=datamodule.tracks,
        seen=track_fingerprints(datamodule.table)[seen].tolist(),
        source_slice_seconds=float(corpus.source.slice_seconds),
        window_slices=int(datamodule.windows[TRAIN].length.max()),
    ).to_json()
    return Prepared(settings, config, datamodule, model, facts)


def _check_genres(table: FeatureTable) -> None:
    """Refuse to train on tracks of one genre.

    Raises:
        UserError: all tracks are of one genre, although `dataset.genres` lists several.
    """
    numbers = np.unique(table.genre)
    if len(numbers) < 2:
        problem = f"all tracks are '{printable(table.genres[numbers[0]], most=100)}'"
        raise UserError(problem, key="dataset", hint="a classifier needs tracks of two genres or more")


def plain_config(cfg: DictConfig, corpus: Corpus) -> Any:
    """Return the configuration as plain values, with the recipe of the corpus."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    config["dataset"]["recipe"] = corpus.recipe
    return config


def write_config(config: Any, folder: Path) -> None:
    """Write a resolved configuration as config.yaml; a recipe that looks like an expression is only text there."""
    text = yaml.safe_dump(config, default_flow_style=False, allow_unicode=True, sort_keys=False)
    write_text(folder / "config.yaml", text)


def typed(cfg: DictConfig, schema: type[Settings]) -> Settings:
    """Return the configuration as the dataclass that it was composed for, which checks its values."""
    settings = OmegaConf.to_object(cfg)
    if not isinstance(settings, schema):
        raise TypeError(f"expected a config of the schema {schema.__name__}, got {type(settings).__name__}")
    _check_keys(cfg, settings, "")
    return settings


def _check_keys(cfg: DictConfig, settings: Any, part: str) -> None:
    """Raise for keys that `+key=value` added, which nothing would read, and for those that `~key` removed."""
    known, found = settings.__dataclass_fields__.keys(), cfg.keys()
    for key in sorted(found - known, key=str):
        hint = "`--cfg job` shows every key"
        raise UserError("there is no such key", key=f"{part}{key}", value=cfg[key], hint=hint)
    for key in sorted(known - found):
        raise UserError("it cannot be removed", key=f"{part}{key}", hint=f"leave out ~{part}{key}")
    for key in known:
        if is_dataclass(value := getattr(settings, key)):
            _check_keys(cfg[key], value, f"{part}{key}.")


def split_of(corpus: Corpus, split: SplitConfig) -> Split:
    """Split a corpus; read artists and published lists only if the protocol needs them."""
    parts_of = {"filtered": corpus.lists, "official": corpus.official}
    return split_table(
        corpus.table,
        split,
        source=corpus.source,
        artists=corpus.artists() if split.protocol in ("artist", *PUBLISHED_PROTOCOLS) else None,
        lists=parts_of[split.protocol]() if split.protocol in PUBLISHED_PROTOCOLS else None,
    )


def datamodule_of(table: FeatureTable, split: Split, training: TrainConfig | Provenance) -> GenreDataModule:
    """Cut a split table into the windows of a training."""
    return GenreDataModule(
        table,
        split,
        window=None if training.window in (None, "track") else int(training.window),
        hop_slices=training.hop_slices,
        batch_size=training.batch_size,
        seed=training.seed,
    )


def _model(model_config: Any, settings: TrainerConfig, table: FeatureTable) -> GenreClassifier:
    """Build the model for the genres and features of a table; its arguments are plain values, for the checkpoint."""
    if "_target_" not in model_config:
        problem = "it has no _target_: model=shared/... are settings of many models"
        raise UserError(problem, key="model", hint="choose one by name")
    target = model_config["_target_"]
    # partial, as Hydra would resolve expressions in the text of a table
    constructor = instantiate(model_config, _partial_=True, _convert_="all")

    def build() -> Any:
        return constructor(
            genres=list(table.genres),
            feature_names=list(table.feature_names),
            slice_seconds=float(table.slice_seconds),
        )

    try:
        blank_model(build)
        model = build()
    except UserError:
        raise
    except Exception as error:  # an argument that the class does not have, or a fault in a network of the user
        if isinstance(error, TypeError) and isinstance(constructor.func, type):
            known = parameters(constructor.func).keys() - {"genres", "feature_names", "slice_seconds"}
            check_known(constructor.keywords, sorted(known))
        raise UserError(f"{type(error).__name__}: {error}", key="model._target_", value=target) from error
    if not isinstance(model, GenreClassifier):
        raise UserError("a model is a subclass of GenreClassifier", key="model._target_", value=target)
    if settings.gradient_clip_val is not None and not model.automatic_optimization:
        key, value = "trainer.gradient_clip_val", settings.gradient_clip_val
        raise UserError("this model has no gradients", key=key, value=value, hint="set it to null")
    return model
