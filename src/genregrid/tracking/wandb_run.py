"""Start a W&B run with separate files, online or offline."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from genregrid.errors import UserError, printable

if TYPE_CHECKING:
    import wandb

# Seconds to wait for the server before a run is logged offline; the default of 90 looks like a hang.
_INIT_TIMEOUT_SECONDS = 20
_LONGEST_NAME, _LONGEST_TAG = 126, 62  # W&B takes 128 and 64 characters; dots in place of others are two more


def start_run(folder: Path, mode: str, **settings: Any) -> "wandb.Run":
    """Start a W&B run with files in ``wandb/`` below a folder; offline if the server refuses or cannot be reached.

    An id in WANDB_RUN_ID is that of one run. A job of a grid has its own id, or each would replace the one before.

    Args:
        folder: of the files.
        mode: ``online``, ``offline``, ``disabled``, or ``auto``, see `resolved_mode`.
        settings: arguments of `wandb.init`.

    Raises:
        UserError: an unknown mode, or a project whose name W&B does not take.
    """
    import wandb  # takes a second, so it is imported only for this logger

    mode = resolved_mode(mode)
    for name in ("name", "group"):
        if settings.get(name):
            settings[name] = printable(settings[name], _LONGEST_NAME)
    settings["tags"] = list(dict.fromkeys(printable(tag, _LONGEST_TAG) for tag in settings.get("tags", ()) if tag))
    settings |= {
        "dir": folder,
        "settings": wandb.Settings(silent=True, console="off", init_timeout=_INIT_TIMEOUT_SECONDS),
        "reinit": "create_new",  # each job of a multirun has a separate run
    }
    if _is_in_grid():
        settings |= {"id": token_hex(4), "resume": "never"}
    if mode == "online":
        try:
            return wandb.init(**settings, mode="online")
        except wandb.Error as error:
            reason = printable(str(error))
            print(f"W&B refuses or cannot be reached ({reason}): logging offline, for `wandb sync` to upload later.")
            mode = "offline"
    try:
        return wandb.init(**settings, mode="disabled" if mode == "disabled" else "offline")
    except (wandb.Error, ValueError) as error:
        problem = f"W&B does not take it ({' '.join(str(error).split())})"
        raise UserError(problem, key="logger.project", value=settings.get("project")) from None


def _is_in_grid() -> bool:
    """Return whether this is a job of a grid; a trial of a W&B sweep belongs to the run that its agent made."""
    if not HydraConfig.initialized():
        return False
    hydra = HydraConfig.get()
    return bool(hydra.mode == RunMode.MULTIRUN and hydra.runtime.choices.get("sweep") != "wandb")


def resolved_mode(mode: str) -> str:
    """Resolve ``auto``: the value of WANDB_MODE if set, otherwise online if the user is logged in, otherwise offline.

    Raises:
        UserError: an unknown mode.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline")
    if mode not in ("online", "offline", "disabled"):
        problem = "choose online, offline or disabled, here or in WANDB_MODE"
        raise UserError(problem, key="logger.mode", value=mode)
    return mode


def _is_logged_in() -> bool:
    """Return whether W&B would find a key, without a request or a prompt."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    # the host of this release, and that of older ones
    hosts = {urlsplit(wandb.Settings().base_url).hostname or "", "api.wandb.ai"}
    try:
        known = netrc(os.environ.get("NETRC"))
        return any(known.authenticators(host) is not None for host in hosts)
    except (OSError, NetrcParseError):
        return False
