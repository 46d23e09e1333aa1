"""Training and evaluation of one configuration: the only place where objects are built from config."""

import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from genregrid.config import DatasetConfig, EvaluateConfig, SplitConfig, TrainConfig, TrainerConfig
from genregrid.data.corpus import Corpus, load_corpus
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import (
    LEAKING_PROTOCOLS,
    TRAIN,
    VAL,
    Split,
    split_by_name,
    split_table,
)
from genregrid.data.table import FeatureTable
from genregrid.devices import check_devices, check_shares, is_first_process
from genregrid.errors import UserError
from genregrid.models.base import CHECKPOINT_KEY, GenreClassifier, load_checkpoint
from genregrid.models.estimator import EstimatorHead
from genregrid.models.last_checkpoint import LastCheckpoint
from genregrid.models.network import Network
from genregrid.models.stack import Fitted, can_be_stacked, fit_stack
from genregrid.multirun import finished_run
from genregrid.report.facts import data_facts, identity, run_facts, split_label
from genregrid.report.result import Result, result_of

# Models far below this size gain nothing from a second thread on idle cores, and lose beside other jobs. The bound
# itself is a guess: it lies between them and models whose matrices fill a core.
_WEIGHTS_WORTH_THREADS = 1_000_000
_CHECKPOINT = "checkpoint"
_LAST = "last.ckpt"  # what a run that is stopped goes on from
_NO_MODEL = "no epoch had a finite validation loss, so there is no model: lower model.learning_rate."
# What was trained together with others and waits for its test, by identity.
_fitted: dict[str, Fitted] = {}
# What a checkpoint keeps beside the facts of run.json.
_NOT_FACTS = ("config", "tracks", "seen", "root", "source_slice_seconds", "window_slices", "identity")
Settings = TypeVar("Settings", TrainConfig, EvaluateConfig)


def train(cfg: DictConfig, folder: Path, model_name: str) -> Result:
    """Train one model on one fold, test its best epoch, and write the run folder.

    With ``cfg.resume`` a run that was stopped in this folder goes on from its last checkpoint, to the same numbers.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder; made if missing.
        model_name: what outputs call the model: the name of its YAML.

    Raises:
        UserError: a mistake in the configuration or in the data it names.
    """
    run = _prepare(cfg, model_name)
    notes = _announce(run.facts, run.datamodule)
    check_shares(run.settings.trainer, len(run.datamodule.windows[TRAIN].genre), _has_estimator(run.model))
    folder.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        OmegaConf.save(OmegaConf.create(run.config), folder / "config.yaml")
        if run.settings.resume:
            shutil.rmtree(folder / "wandb", ignore_errors=True)  # the whole run is logged anew, and counted once
    with _logger(run.settings.logger if is_first_process() else None, run.facts, folder) as logger:
        _fit_and_test(run, folder, logger)
        result = result_of(run.model, run.datamodule, run.facts, notes)
        if is_first_process():
            _keep(result, folder, logger)
            (folder / _LAST).unlink(missing_ok=True)
    return result


def finished_before(cfg: DictConfig, folder: Path, model_name: str) -> Path | None:
    """Where this very run was finished before: a folder of the same settings and data, in the same grid.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder.
        model_name: what outputs call the model.
    """
    settings = _typed(cfg, TrainConfig)
    corpus = _corpus(settings.dataset, settings.slice)
    return finished_run(folder, identity(model_name, _plain(cfg, corpus), corpus.table.hashes))


def keep_corpus(folder: Path) -> None:
    """Have this process read a corpus once for runs that follow each other on it; its files must not change.

    Args:
        folder: where processes that call this share the tables, mapped into the memory of each.
    """
    global _corpora
    if _corpora is None:
        _corpora = _Corpora(folder)


def fit_together(jobs: Sequence[tuple[DictConfig, Path, str]]) -> None:
    """Train runs of one cell as one computation, where their model can; `train` then finds each of them fitted.

    What goes wrong with one of them `train` will say.

    Args:
        jobs: the arguments of `train`, for each run.
    """
    runs, chances = [], []
    for cfg, folder, model_name in jobs:
        with suppress(UserError):
            if not (cfg.resume and finished_before(cfg, folder, model_name)):
                runs.append(_prepare(cfg, model_name))
                chances.append(torch.get_rng_state())
    models = [run.model for run in runs]
    if len(runs) > 1 and can_be_stacked(
        models, settings := runs[0].settings.trainer, len(runs[0].datamodule.table.track)
    ):
        fitted = fit_stack(models, [run.datamodule for run in runs], chances, settings)
        _fitted.update({run.facts["identity"]: result for run, result in zip(runs, fitted, strict=True)})


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
    corpus = _corpus(dataset, model.slice_seconds)
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
    notes = _announce(facts, datamodule, ["the files differ from those that were trained on"] if changed else [])
    folder.mkdir(parents=True, exist_ok=True)
    with _logger(settings.logger, facts, folder) as logger, _quiet_lightning():
        trainer = pl.Trainer(**_trainer_basics(folder, logger), accelerator="cpu", enable_checkpointing=False)
        with _interruptible():
            trainer.test(model, datamodule, verbose=False)
        result = result_of(model, datamodule, facts, notes)
        _keep(result, folder, logger)
    return result


# --- building --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """What is trained and on what, before any training."""

    settings: TrainConfig
    config: Any
    model: GenreClassifier
    datamodule: GenreDataModule
    facts: dict[str, Any]


def _prepare(cfg: DictConfig, model_name: str) -> _Run:
    settings = _typed(cfg, TrainConfig)
    _check(settings)
    check_devices(settings.trainer)
    torch.set_num_threads(1)  # initial weights differ in their last bits with the number of threads
    pl.seed_everything(settings.seed, verbose=False)
    corpus = _corpus(settings.dataset, settings.slice)
    config = _plain(cfg, corpus)
    split = _split(corpus, settings.split)
    datamodule = _datamodule(corpus.table, split, config)
    model = _model(settings.model, settings.trainer, corpus.table)
    model.transform.fit(datamodule.table.features, datamodule.training_rows)
    dataset = replace(settings.dataset, recipe=corpus.recipe)
    facts = run_facts(model_name, config) | data_facts(dataset, settings.split, datamodule, split.leaks)
    facts["identity"] = identity(model_name, config, corpus.table.hashes)
    model.provenance = facts | {"config": config, "tracks": datamodule.tracks, "seen": _seen_tracks(datamodule)}
    unresolved: Any = OmegaConf.to_container(cfg.dataset)
    model.provenance["root"] = unresolved["root"]  # data may move, and GENREGRID_DATA with it
    model.provenance["source_slice_seconds"] = float(corpus.source.slice_seconds)
    model.provenance["window_slices"] = int(datamodule.windows[TRAIN].length.max())
    return _Run(settings, config, model, datamodule, facts)


def _plain(cfg: DictConfig, corpus: Corpus) -> Any:
    """The configuration as plain values, with the recipe that the corpus is known to have."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    config["dataset"]["recipe"] = corpus.recipe
    return config


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


def _corpus(dataset: DatasetConfig, slice_seconds: float) -> Corpus:
    arguments = asdict(dataset)
    for name in ("corpus", "label"):  # of outputs and checkpoints, not of files
        del arguments[name]
    arguments["slice_seconds"] = slice_seconds
    return load_corpus(**arguments) if _corpora is None else _corpora.load(arguments)


class _Corpora:
    """The corpus that was read last, its table shared with other processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ""
        self._corpus: Corpus | None = None

    def load(self, arguments: dict[str, Any]) -> Corpus:
        key = json.dumps(arguments)
        if self._corpus is None or key != self._key:
            if arguments["cache"] is None and not arguments["synthetic"]:
                arguments = arguments | {"cache": str(self._folder)}
            self._corpus = None  # two would take twice the memory
            self._corpus, self._key = load_corpus(**arguments), key
        return self._corpus


_corpora: _Corpora | None = None  # where `keep_corpus` asks for it


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
def _logger(logger_config: Any, facts: dict[str, Any], folder: Path) -> Iterator[Logger | None]:
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


def _trainer_basics(folder: Path, logger: Logger | None) -> dict[str, Any]:
    return {
        "default_root_dir": folder,
        "logger": logger or False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,  # Lightning warns of epochs shorter than its default of 50
        "use_distributed_sampler": False,  # batches come from no DataLoader that it could be put into
    }


def _fit_and_test(run: _Run, folder: Path, logger: Logger | None) -> None:
    model, settings = run.model, run.settings.trainer
    num_threads = _num_threads(model, settings.devices) if settings.threads is None else settings.threads
    torch.set_num_threads(num_threads)
    if settings.devices > 1:
        os.environ["OMP_NUM_THREADS"] = str(num_threads)  # else Lightning chooses anew
    checkpoint = ModelCheckpoint(folder, _CHECKPOINT, monitor="val/loss", enable_version_counter=False)
    callbacks: list[Callback] = [checkpoint, LastCheckpoint(folder / _LAST, settings.checkpoint_seconds)]
    if settings.patience is not None:
        callbacks.append(EarlyStopping("val/loss", patience=settings.patience))
    shows_bar = sys.stdout.isatty() if settings.progress_bar is None else settings.progress_bar
    if shows_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=25))  # redrawn each step, it would cost more than a small model
    with _quiet_lightning():
        try:
            trainer = pl.Trainer(
                **_trainer_basics(folder, logger) | {"enable_progress_bar": shows_bar},
                max_epochs=settings.max_epochs,
                accelerator=settings.accelerator,
                devices=settings.devices,
                strategy=settings.strategy,
                precision=settings.precision,  # type: ignore[arg-type]  # one of Lightning's names, which it checks
                gradient_clip_val=settings.gradient_clip_val,
                callbacks=callbacks,
            )
        except (MisconfigurationException, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"trainer.accelerator={settings.accelerator}, trainer.precision={settings.precision}, "
                f"trainer.devices={settings.devices}: {reason}"
            ) from error
        best = str(folder / f"{_CHECKPOINT}.ckpt")
        if (fitted := _fitted.pop(run.facts["identity"], None)) is not None:
            _take_over(trainer, model, fitted, logger, len(run.datamodule.train_dataloader()))
            with _interruptible():
                trainer.test(model, run.datamodule, verbose=False)
            trainer.save_checkpoint(best)
            return
        with _interruptible():
            last = _last_checkpoint(run, folder)
            trainer.fit(model, run.datamodule, ckpt_path=last, weights_only=None if last is None else True)
        if trainer.global_step == 0:  # an estimator takes no steps, and without one Lightning keeps no checkpoint
            trainer.save_checkpoint(best)
        # Lightning keeps the first epoch whatever its loss, and writes down a loss that is not a number as infinite
        elif checkpoint.best_model_score is None or not torch.isfinite(checkpoint.best_model_score):
            raise UserError(_NO_MODEL)
        with _interruptible():
            trainer.test(model, run.datamodule, ckpt_path=best, verbose=False, weights_only=True)


def _take_over(
    trainer: pl.Trainer, model: GenreClassifier, fitted: Fitted, logger: Logger | None, steps_per_epoch: int
) -> None:
    """Give a model what was learnt for it in a stack, the logger its curves, and the trainer the count of its steps."""
    if not fitted.weights:
        raise UserError(_NO_MODEL)
    assert isinstance(model, Network)  # others are not stacked
    model.load_state_dict(model.state_dict() | fitted.weights)
    model.curves = fitted.curves
    if logger is not None:
        model.log_curves(logger, steps_per_epoch)
    num_epochs, loop = len(fitted.curves), trainer.fit_loop
    loop.epoch_progress.current.completed = num_epochs
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = num_epochs * steps_per_epoch
    loop.epoch_loop.on_load_checkpoint({"_batches_that_stepped": num_epochs * steps_per_epoch})  # as loggers count


def _last_checkpoint(run: _Run, folder: Path) -> Path | None:
    """The checkpoint that the run goes on from: its own, of the same settings and data."""
    path = folder / _LAST
    if not (run.settings.resume and path.is_file()):
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    return path if content[CHECKPOINT_KEY].get("identity") == run.facts["identity"] else None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let ctrl-C be a KeyboardInterrupt, of which Lightning makes a SystemExit."""
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None


def _num_threads(model: GenreClassifier, num_processes: int) -> int:
    """One thread for a small model; for a large one every core, shared among processes."""
    num_weights = sum(weight.numel() for weight in model.parameters())
    return max(1, (os.cpu_count() or 1) // num_processes) if num_weights >= _WEIGHTS_WORTH_THREADS else 1


def _has_estimator(model: GenreClassifier) -> bool:
    return any(isinstance(part, EstimatorHead) for part in model.modules())


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners and its hints for other uses off the screen."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* directory .* exists and is not empty")  # it is the run folder
            # the checkpoint's weights are the average already, and testing needs no more
            warnings.filterwarnings("ignore", ".*WeightAveraging callback, but loading a checkpoint.*")
            warnings.filterwarnings("ignore", ".*configure_optimizers. returned .None.*")  # an estimator has none
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning 2.6 against torch 2.13
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)


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


def _announce(facts: dict[str, Any], datamodule: GenreDataModule, more: Sequence[str] = ()) -> list[str]:
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
