"""Settings of a run as keywords: which there are, and the configuration that they make with the YAML files of conf."""

from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from numbers import Number
from os import PathLike, fspath
from typing import Any

import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from genregrid.api.mistake import offered
from genregrid.config import DatasetConfig, register_schemas
from genregrid.errors import UserError
from genregrid.program import conf_folder

#: Keys of the whole configuration that are settings of a call too.
_WHOLE = ("window", "hop_slices", "batch_size")
# Keys of a part that have a parameter of their own, or no meaning in a call.
_NOT_SETTINGS = {
    "model": {"_target_"},
    "trainer": {"stack", "checkpoint_seconds", "devices", "strategy"},  # several devices start processes by a command
    "split": {"protocol", "label", "seed"},
}
_SPLIT_SEED = "split_seed"


@offered
def settings(model: str) -> "pd.Series[Any]":
    """List the settings that `genregrid.train` takes for a model, with the values that they have otherwise.

    Args:
        model: name of a file in conf/model.

    Raises:
        UserError: there is no such model.

    >>> import genregrid as gg
    >>> gg.settings("lda")["shrinkage"] is None
    True
    """
    cfg = composed(model=model)
    values = {name: _plain_value(cfg, key) for name, key in _keys(cfg).items()}
    return pd.Series(values, name=f"settings of {model}", dtype=object)


def composed(**chosen: str) -> DictConfig:
    """Compose conf/train.yaml with a choice for some of its groups, without a logger.

    Raises:
        UserError: a group has no such choice.
    """
    register_schemas()
    for group, name in chosen.items():
        check_choice(group, name)
    overrides = tuple(f"{group}={name}" for group, name in ({"logger": "none"} | chosen).items())
    changed = max(path.stat().st_mtime_ns for path in conf_folder().rglob("*.yaml"))
    return deepcopy(_composed(overrides, changed))


@lru_cache(maxsize=32)
def _composed(overrides: tuple[str, ...], _: int) -> DictConfig:
    """Compose a configuration; it takes a tenth of a second, and a cross-validation in a notebook has many calls."""
    with initialize_config_dir(str(conf_folder().absolute()), version_base="1.3"):
        return compose("train", [*overrides])


def choices(group: str) -> list[str]:
    """Return the names of the files of a group of conf."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def check_choice(group: str, name: object) -> None:
    """Refuse a name that is no file of a group of conf.

    Raises:
        UserError: with the names that there are, and the one that was probably meant.
    """
    names = choices(group)
    if name in names:
        return
    near = get_close_matches(name.lower(), names, n=1) if isinstance(name, str) else []
    key = {"dataset": "corpus"}.get(group, group)
    meant = f"is {near[0]!r} meant? " if near else ""
    raise UserError(f"there is no such {key}", key=key, value=name, hint=f"{meant}choose one of {', '.join(names)}")


def with_values(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Set values by their dotted keys, and return the configuration.

    Raises:
        UserError: a value that no setting can have.
    """
    for key, value in values.items():
        OmegaConf.update(cfg, key, plain(key, value), force_add=key.startswith("dataset."))
    return cfg


def with_settings(cfg: DictConfig, given: Mapping[str, Any]) -> DictConfig:
    """Set the settings of a model, of its training and of its split by their names, and return the configuration.

    Raises:
        UserError: the model has no such setting, or a value that no setting can have.
    """
    keys = _keys(cfg)
    for name, value in given.items():
        if name in ("slice", *DatasetConfig.__dataclass_fields__) and name not in keys:
            hint = f"read the table with it: gg.read_table(FILE, {name}=...)"
            raise UserError("it is a setting of a table", key=name, value=value, hint=hint)
        if name not in keys:
            near = get_close_matches(name, keys, n=1)
            own = [key for key in cfg.model if key not in _NOT_SETTINGS["model"]]
            hint = f"{f'is {near[0]!r} meant? ' if near else ''}it has {', '.join(own)}; gg.settings(MODEL) shows all"
            raise UserError("the model has no such setting", key=name, value=value, hint=hint)
    return with_values(cfg, {keys[name]: value for name, value in given.items()})


def _keys(cfg: DictConfig) -> dict[str, str]:
    """Return the dotted key of every setting by its name; a model's own come first."""
    keys: dict[str, str] = {}
    for part in ("model", "trainer", "split"):
        own = [name for name in cfg[part] if name not in _NOT_SETTINGS[part] and name not in keys]
        keys |= {name: f"{part}.{name}" for name in own}
    return keys | {name: name for name in _WHOLE} | {_SPLIT_SEED: "split.seed"}


def _plain_value(cfg: DictConfig, key: str) -> Any:
    value = OmegaConf.select(cfg, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def plain(key: str, value: Any) -> Any:
    r"""Return a value as YAML has it: NumPy's numbers as Python's, tuples as lists, paths as text.

    Raises:
        UserError: it is neither text, a number, ``True``, ``False``, ``None``, nor a list or dict of those.

    >>> plain("model.summary", ("mean", "late")), plain("dataset.path", "a${b}")
    (['mean', 'late'], 'a\\${b}')
    """
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str):
        return value.replace("${", "\\${")  # otherwise it would be an expression of OmegaConf
    if isinstance(value, Number) and hasattr(value, "item"):
        value = value.item()
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(key, one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: plain(key, one) for name, one in value.items()}
    problem = "expected text, a number, True, False, None, or a list or dict of those"
    raise UserError(f"{problem}, not {type(value).__name__}", key=key)
