"""Where epochs and results are logged: the targets of conf/logger/*.yaml."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, WandbLogger

# Seconds to wait for the server before a run goes on offline; wandb's own 90 would look like a hang.
_INIT_TIMEOUT_SECONDS = 20


def csv_logger(*, folder: Path, **_: Any) -> CSVLogger:
    """A logger that writes metrics.csv, epoch by epoch, into the run folder."""
    return CSVLogger(folder, name="", version="")


def wandb_logger(
    *, facts: dict[str, Any], folder: Path, project: str = "genregrid", mode: str = "auto", group: str | None = None
) -> WandbLogger:
    """A logger for one run, its files in the run folder, named, grouped and tagged by what was run.

    Args:
        facts: the content of run.json, which becomes the run's config.
        folder: the run folder.
        project: W&B project.
        mode: ``online``, ``offline``, or ``auto``: online where WANDB_MODE says so or the user is logged in.
        group: W&B group; ``None`` groups folds and seeds of a cell.
    """
    import wandb  # takes a second, which other loggers need not wait for

    cell = f"{facts['dataset_label']}/{facts['model']}-slice{facts['slice_seconds']:g}-{facts['split_label']}"
    tags = [facts["model"], facts["dataset_label"], facts["split_label"], f"slice{facts['slice_seconds']:g}"]
    tags += ["LEAKS"] if facts["leaks"] else []
    tags += ["synthetic"] if facts["synthetic"] else []
    settings: dict[str, Any] = {
        "project": project,
        "dir": folder,
        "name": f"{cell}-fold{facts['fold']}-seed{facts['seed']}",
        "group": group or cell,
        "tags": tags,
        "config": facts,
        "settings": wandb.Settings(silent=True, console="off", init_timeout=_INIT_TIMEOUT_SECONDS),
        "reinit": "create_new",  # a multirun's job must not write into the run of the job before it
    }
    if mode == "online" or (mode == "auto" and _is_logged_in()):
        try:
            return WandbLogger(experiment=wandb.init(**settings, mode="online"))
        except wandb.Error as error:
            print(f"W&B cannot be reached ({error}); this run is logged offline, `wandb sync` uploads it later.")
    return WandbLogger(experiment=wandb.init(**settings, mode="offline"))


def _is_logged_in() -> bool:
    """Whether W&B would find a key; never asks, never prompts."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode == "online"
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc().authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
