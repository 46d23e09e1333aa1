"""Objects from the configuration, and the only place where they are: what a fit needs, from the corpus to the model."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from genregrid.config import DatasetConfig, EvaluateConfig, SplitConfig, TrainConfig, TrainerConfig
from genregrid.data.corpus import Corpus, load_corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.note import note_path
from genregrid.data.split import TRAIN, VAL, Split, split_table
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError
from genregrid.features.recipe import columns_of
from genregrid.models.base import GenreClassifier
from genregrid.record.facts import Provenance, RunFacts, training_facts
from genregrid.training.devices import check_devices

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
    facts: RunFacts


def prepare(cfg: DictConfig, model_name: str) -> Prepared:
    """Build what a fit needs, from seed to provenance.

    Args:
        cfg: a composed `TrainConfig`.
        model_name: what outputs call the model: the name of its YAML.

    Raises:
        UserError: a mistake in the configuration or in the data it names.
    """
    settings = typed(cfg, TrainConfig)
    check_devices(settings.trainer)
    torch.set_num_threads(1)  # initial weights differ in their last bits with the number of threads
    pl.seed_everything(settings.seed, verbose=False)
    corpus = read_corpus(settings.dataset, settings.slice)
    config = plain_config(cfg, corpus)
    split = split_of(corpus, settings.split)
    datamodule = datamodule_of(corpus.table, split, config)
    model = _model(settings.model, settings.trainer, corpus.table)
    model.transform.fit(datamodule.table.features, datamodule.training_rows)
    dataset = replace(settings.dataset, recipe=corpus.recipe)
    facts = training_facts(model_name, config, dataset, settings.split, datamodule)
    unresolved: Any = OmegaConf.to_container(cfg.dataset)
    model.provenance = Provenance(
        facts=facts,
        config=config,
        tracks=datamodule.tracks,
        seen=_seen_tracks(datamodule),
        root=unresolved["root"],  # not resolved: data may move, and GENREGRID_DATA with it
        source_slice_seconds=float(corpus.source.slice_seconds),
        window_slices=int(datamodule.windows[TRAIN].length.max()),
    ).to_json()
    return Prepared(settings, config, datamodule, model, facts)


def plain_config(cfg: DictConfig, corpus: Corpus) -> Any:
    """The configuration as plain values, with the recipe that the corpus is known to have."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    config["dataset"]["recipe"] = corpus.recipe
    return config


def typed(cfg: DictConfig, schema: type[Settings]) -> Settings:
    """The configuration as the dataclass that it was composed for."""
    settings = OmegaConf.to_object(cfg)
    if not isinstance(settings, schema):
        raise TypeError(f"expected a config of the schema {schema.__name__}, got {type(settings).__name__}")
    return settings


def read_corpus(dataset: DatasetConfig, slice_seconds: float) -> Corpus:
    """The corpus of a config, at one slice length in seconds; the one that was asked for last is not read again."""
    return _corpora.load(dataset, slice_seconds)


def share_tables(folder: Path) -> None:
    """Have this process keep tables in a folder that others share, mapped into the memory of each."""
    _corpora.folder = folder


class _Corpora:
    """Keeps the last corpus, as runs of a grid that follow each other are mostly on one."""

    folder: Path | None = None
    _key = ""
    _corpus: Corpus | None = None

    def load(self, dataset: DatasetConfig, slice_seconds: float) -> Corpus:
        key = json.dumps([asdict(dataset), slice_seconds, self._states(dataset)])
        if self._corpus is None or key != self._key:
            if self.folder is not None and dataset.cache is None and not dataset.synthetic:
                dataset = replace(dataset, cache=str(self.folder))
            self._corpus = None  # two would take twice the memory
            self._corpus, self._key = load_corpus(dataset, slice_seconds, columns_of), key
        return self._corpus

    @staticmethod
    def _states(dataset: DatasetConfig) -> list[Any]:
        """Size and time of change of the tables and their notes: a file that changed is read again."""
        paths = [Path(dataset.root) / name for name in dataset.tables]
        paths += [Path(dataset.path)] if dataset.path else []
        states = [path.stat() if path.exists() else None for table in paths for path in (table, note_path(table))]
        return [os.getcwd(), [state and (state.st_size, state.st_mtime_ns) for state in states]]


_corpora = _Corpora()


def split_of(corpus: Corpus, split: SplitConfig) -> Split:
    """The split of a config, dealt to a corpus."""
    needs_artists, needs_lists = split.protocol in ("artist", "filtered"), split.protocol == "filtered"
    return split_table(
        corpus.table,
        split,
        source=corpus.source,
        artists=corpus.artists() if needs_artists else None,
        lists=corpus.lists() if needs_lists else None,
    )


def datamodule_of(table: FeatureTable, split: Split, config: Any) -> GenreDataModule:
    """Windows of a split table, as a resolved `TrainConfig` asks for them."""
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


def _seen_tracks(datamodule: GenreDataModule) -> list[int]:
    """Fingerprints of the tracks of training and validation, by which they are known under other names."""
    seen = np.unique(datamodule.table.track[np.isin(datamodule.split.part, (TRAIN, VAL))])
    return [int(number) for number in track_fingerprints(datamodule.table)[seen]]
