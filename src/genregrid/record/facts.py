"""What was run, on what, and by which versions: the content of run.json."""

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genregrid.config import PROTOCOLS, DatasetConfig, SplitConfig, split_label
from genregrid.data.datamodule import GenreDataModule

_PACKAGES = ("genregrid", "torch", "lightning", "torchmetrics", "numpy", "pandas", "scikit-learn", "skops")
# Keys that name a run or its data and have facts of their own; the rest tells settings of one model apart.
_NOT_SETTINGS = {"dataset", "split", "slice", "seed", "logger", "resume", "search"}
# Keys that change where and how fast a run is, not what comes out.
_NO_MATTER = {
    f"trainer.{name}" for name in ("accelerator", "strategy", "threads", "progress_bar", "stack", "checkpoint_seconds")
}
# Keys that say where data lie, which are known by their hashes.
_PLACES = {f"dataset.{name}" for name in ("root", "path", "cache", "downloads", "hint")}


def run_facts(model_name: str, config: Any) -> dict[str, Any]:
    """Facts about a training run: model, seed, settings, versions and commit.

    Args:
        model_name: what outputs call the model.
        config: the resolved `TrainConfig` as plain dicts.
    """
    flat = _flatten({key: value for key, value in config.items() if key not in _NOT_SETTINGS})
    settings = {key: value for key, value in flat.items() if key not in _NO_MATTER}
    if settings["trainer.devices"] == 1:  # several make larger batches; one is what runs had before there was a choice
        del settings["trainer.devices"]
    return {
        "model": model_name,
        "seed": config["seed"],
        "settings": settings | {"dataset.include_length": config["dataset"]["include_length"]},
        **origin(),
    }


def identity(model_name: str, config: Any, data_hashes: dict[str, str]) -> str:
    """A name of 16 hexadecimal digits for what a run would be: settings and data, not where and how fast.

    Args:
        model_name: what outputs call the model.
        config: the resolved `TrainConfig` as plain dicts.
        data_hashes: SHA-256 of every table.
    """
    flat = _flatten({key: value for key, value in config.items() if key not in ("logger", "resume")})
    told = {key: value for key, value in flat.items() if key not in _NO_MATTER | _PLACES}
    content = json.dumps([model_name, told, sorted(data_hashes.values())], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def origin() -> dict[str, Any]:
    """When and by what a run is made: started, versions, commit."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def data_facts(dataset: DatasetConfig, split: SplitConfig, datamodule: GenreDataModule, leaks: bool) -> dict[str, Any]:
    """Facts about a table and its split: corpus, slice length, protocol, fold, parts and hashes."""
    has_folds = split.protocol in PROTOCOLS and split.protocol != "filtered"
    return {
        "dataset": dataset.name,
        "dataset_label": dataset.label,
        "synthetic": dataset.synthetic,
        "recipe": dataset.recipe,
        "slice_seconds": datamodule.table.slice_seconds,
        "protocol": split.protocol,
        "split_label": split_label(split.protocol, leaks),
        "leaks": leaks,
        "folds": split.folds if has_folds else 1,
        "fold": split.fold if has_folds else 0,
        "val_folds": split.val_folds if has_folds else None,
        "val_fold": split.val_fold if has_folds else 0,
        "split_seed": split.seed,
        "num_tracks": {part: len(tracks) for part, tracks in datamodule.tracks.items()},
        "data_hashes": datamodule.table.hashes,
    }


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _commit() -> str | None:
    """The commit of this source tree, with a plus where it has uncommitted changes; ``None`` outside of git."""
    here = Path(__file__).parent
    try:
        words = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
