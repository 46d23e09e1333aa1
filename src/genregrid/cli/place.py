"""Files and folders that a command of evaluate.py is given: one or a list of them, and the newest training."""

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from genregrid.errors import UserError, counted
from genregrid.files import files_below, read_json
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT

LATEST = "latest"
_OUTPUTS = Path("outputs")
_RUN = "run.json"
_LONGEST = 250  # characters of the folders that a sentence names


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
    """Return the path of a checkpoint: a file, the folder of a training, or ``latest`` for the newest training.

    The newest training is the one that started last, of all finished ones below outputs/. It is printed.

    Raises:
        UserError: there is no training below outputs/, or the folder has none, several or an unfinished one.
    """
    if text == LATEST:
        path = _newest()
        print(f"checkpoint={LATEST}: {path}", flush=True)
        return path
    path = Path(text)
    if not path.is_dir():
        return path
    if os.path.lexists(path / BEST_CHECKPOINT):
        return path / BEST_CHECKPOINT
    found = sorted(str(folder) for folder, _ in files_below(path, [BEST_CHECKPOINT]))
    if found:
        shown = [name for num, name in enumerate(found) if not num or len(", ".join(found[: num + 1])) < _LONGEST]
        more = ", ..." if len(shown) < len(found) else ""
        several = counted(len(found), "run with a checkpoint is below it", "runs with a checkpoint are below it")
        raise UserError(several, key="checkpoint", value=text, hint=f"choose {', '.join(shown)}{more}")
    problem, hint = "the folder has no checkpoint", f"give the folder of a training, or its {BEST_CHECKPOINT}"
    if os.path.lexists(path / LAST_CHECKPOINT):
        problem = "its training is not finished"
        hint = f"give {path / LAST_CHECKPOINT}, or resume the training with resume=true"
    raise UserError(problem, key="checkpoint", value=text, hint=hint)


def _newest() -> Path:
    found = []
    for folder, names in files_below(_OUTPUTS, [BEST_CHECKPOINT, _RUN]):
        if names == {BEST_CHECKPOINT, _RUN}:
            try:
                started = str(read_json(folder / _RUN).get("started", ""))
            except UserError:  # damaged; a report names it
                continue
            found.append((started, (folder / _RUN).stat().st_mtime_ns, folder / BEST_CHECKPOINT))
    if not found:
        hint = f"train a model first, or give a path; a file of this name is ./{LATEST}"
        raise UserError(f"there is no finished training below {_OUTPUTS}/", key="checkpoint", value=LATEST, hint=hint)
    return max(found)[-1]
