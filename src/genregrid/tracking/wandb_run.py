"""A W&B run with files of its own: where it goes, and what marks it."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from genregrid.errors import UserError

if TYPE_CHECKING:
    import wandb

# Seconds to wait for the server before a run goes on offline; wandb's own 90 would look like a hang.
_INIT_TIMEOUT_SECONDS = 20


def start_run(folder: Path, mode: str, **settings: Any) -> "wandb.Run":
    """Start a W&B run with files of its own; offline where the server refuses or cannot be reached.

    Args:
        folder: its files go into ``wandb/`` below this.
        mode: ``online``, ``offline``, ``disabled``, or ``auto``, see `resolved_mode`.
        settings: what `wandb.init` takes.

    Raises:
        UserError: an unknown mode.
    """
    import wandb  # takes a second, which other loggers need not wait for

    mode = resolved_mode(mode)
    settings |= {
        "dir": folder,
        "settings": wandb.Settings(silent=True, console="off", init_timeout=_INIT_TIMEOUT_SECONDS),
        "reinit": "create_new",  # a multirun's job must not write into the run of the job before it
    }
    if mode == "online":
        try:
            return wandb.init(**settings, mode="online")
        except wandb.Error as error:
            reason = str(error).splitlines()[0]
            print(f"W&B refuses or cannot be reached ({reason}): logging offline, for `wandb sync` to upload later.")
            mode = "offline"
    return wandb.init(**settings, mode="disabled" if mode == "disabled" else "offline")


def resolved_mode(mode: str) -> str:
    """Where a run goes: ``auto`` is what WANDB_MODE says, else online where the user is logged in, else offline.

    Raises:
        UserError: an unknown mode.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _is_logged_in() else "offline")
    if mode not in ("online", "offline", "disabled"):
        raise UserError(f"logger.mode or WANDB_MODE is '{mode}': choose online, offline or disabled.")
    return mode


def _is_logged_in() -> bool:
    """Whether W&B would find a key; never asks, never prompts."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    # where this release logs in, and where those before it did
    hosts = {urlsplit(wandb.Settings().base_url).hostname or "", "api.wandb.ai"}
    try:
        known = netrc(os.environ.get("NETRC"))
        return any(known.authenticators(host) is not None for host in hosts)
    except (OSError, NetrcParseError):
        return False
