"""Run a search from the command line: configuration, space and fingerprint, trials, report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig

from genregrid.config import SearchConfig
from genregrid.errors import UserError
from genregrid.grid.job import without_hydra
from genregrid.models.network import Network
from genregrid.record.facts import RunFacts
from genregrid.search.report import write_study_report
from genregrid.search.space import SEARCHABLE, Space, build_space, is_searchable, keys_not_in, nearest
from genregrid.search.study import Launch, Search
from genregrid.search.trial import inner_fold, num_inner_folds
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import announce

_FAMILIES = ("network", "estimator")
Sections = Mapping[str, Mapping[str, Any]]  # ranges by key, of each family of models and of single models


def sweep(
    loader: ConfigLoader,
    config_name: str | None,
    hydra_overrides: Sequence[str],
    arguments: Sequence[str],
    folder: Path,
    sections: Sections,
    launch: Launch,
    corpora: CorpusReader | None = None,
) -> None:
    """Search the settings of one model in the study of `folder`, or resume a search, and write its report.

    `hydra_overrides` are those of Hydra's own configuration; sweeps among the other `arguments` of the command line
    replace ranges. In `sections`, ranges of a single model replace those of its family. `launch` runs jobs.

    Raises:
        UserError: a mistake in the command line, the ranges or the data, or the folder holds another study.
    """
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    for override in overrides:
        if override.is_sweep_override() and not is_searchable(override.get_key_element()):
            key, value = override.get_key_element(), override.get_value_string()
            raise UserError(f"a search has one model and one corpus, and varies {SEARCHABLE}", key=key, value=value)
    fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]

    given = [*hydra_overrides, *fixed]
    cfg = loader.load_configuration(config_name, given, RunMode.RUN)
    model = str(cfg.hydra.runtime.choices["model"])
    swept = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    # raises Hydra's error for a key that the model does not have
    loader.load_configuration(config_name, [*given, *(f"{key}=1" for key in swept)], RunMode.RUN)
    family = "network" if issubclass(get_class(cfg.model._target_), Network) else "estimator"
    space, missing = build_space(sections, (family, model), cfg, overrides)
    _check_sections(sections, missing, model, loader, config_name)
    search = _prepared(without_hydra(cfg), model, space, fixed, folder, corpora or CorpusReader())
    search.run(launch)
    print(write_study_report(folder))


def _prepared(
    cfg: DictConfig, model: str, space: Space, fixed: list[str], folder: Path, corpora: CorpusReader
) -> Search:
    settings = SearchConfig(**cfg.search)
    num_folds = num_inner_folds(cfg)
    # the last of the inner folds, with the first trial's values: a mistake is reported before any trial
    ready = inner_fold(cfg, model, num_folds - 1, corpora)
    announce(ready.facts, ready.datamodule)
    if num_folds < settings.num_folds:
        print(f"split={cfg.split.protocol} has one validation part, so a trial is one fit")
    num_epochs = int(cfg.trainer.max_epochs)
    return Search(
        folder=folder,
        settings=settings,
        space=space,
        fixed=fixed,
        fingerprint=_fingerprint(ready.facts, cfg, space, num_folds),
        marks=ready.facts.marks,
        first=nearest(cfg, space),
        num_steps=num_folds * num_epochs,
        warmup_steps=num_epochs // 2,  # of the first fold: a small learning rate may improve late
    )


def _check_sections(
    sections: Sections, missing: list[str], model: str, loader: ConfigLoader, config_name: str | None
) -> None:
    """Reject ranges of keys that no model has: otherwise a misspelt key would be ignored silently."""
    models = loader.get_group_options("model", ObjectType.CONFIG)
    unknown = sorted(set(sections) - {*_FAMILIES, *models})
    if unknown:
        problem = f"ranges belong under {', '.join(_FAMILIES)} or the name of a model"
        raise UserError(problem, key=f"hydra.sweeper.space.{unknown[0]}")
    wrong = [key for key in missing if key in sections.get(model, {})]
    left = missing
    for name in models:
        if left and not wrong:  # composing takes a tenth of a second
            left = keys_not_in(loader.load_configuration(config_name, [f"model={name}"], RunMode.RUN), left)
    wrong += left
    if wrong:
        hint = "correct the key or remove its range from hydra.sweeper.space"
        raise UserError("no such model has this key", key=wrong[0], hint=hint)


def _fingerprint(facts: RunFacts, cfg: DictConfig, space: Space, num_folds: int) -> dict[str, Any]:
    """Return what must stay the same when a study is resumed; data by hash."""
    names = ("model", "dataset_label", "slice_seconds", "protocol", "folds", "fold", "val_folds", "split_seed", "seed")
    own = {name: getattr(facts, name) for name in (*names, "data_hashes")}
    own |= {f"search.{name}": cfg.search[name] for name in ("score", "prune")} | {"search.num_folds": num_folds}
    return own | {key: value for key, value in facts.settings.items() if key not in space}
