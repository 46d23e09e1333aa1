"""Files and folders that a command of evaluate.py is given: one or a list of them, and the newest training."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from genregrid.errors import UserError
from genregrid.record.place import LATEST, find_checkpoint


def given_paths(cfg: DictConfig, key: str) -> list[Path]:
    """Return the paths of a key that takes one, or a list of them.

    Raises:
        UserError: the list is empty, or an element is no text or empty.
    """
    value = cfg[key]
    texts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        problem = "it needs a path, or a list of paths in brackets"
        raise UserError(problem, key=key, value=texts, hint=f"write {key}=PATH or {key}=[PATH,PATH]")
    return [Path(text) for text in texts]


def given_checkpoint(text: str) -> Path:
    """Return what `find_checkpoint` returns, and print the path of ``latest``."""
    path = find_checkpoint(text)
    if text == LATEST:
        print(f"checkpoint={LATEST}: {path}", flush=True)
    return path
