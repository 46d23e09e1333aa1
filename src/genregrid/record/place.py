"""Where the checkpoint of a training is: a file, in the folder of a run, or of the newest one."""

import os
from pathlib import Path

from genregrid.errors import UserError, counted
from genregrid.files import files_below, read_json
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT

#: Means the newest training in place of a path.
LATEST = "latest"
_OUTPUTS = Path("outputs")
_RUN = "run.json"
_LONGEST = 250  # characters of the folders that a sentence names


def find_checkpoint(text: str, key: str = "checkpoint") -> Path:
    """Return the path of a checkpoint: a file, the folder of a training, or ``latest`` for the newest training.

    The newest training is the one that started last, of all finished ones below outputs/.

    Args:
        text: as it was given.
        key: of the command line that `text` is the value of, for mistakes.

    Raises:
        UserError: there is no training below outputs/, or the folder has none, several or an unfinished one.
    """
    if text == LATEST:
        return _newest(key)
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
        raise UserError(several, key=key, value=text, hint=f"choose {', '.join(shown)}{more}")
    problem, hint = "the folder has no checkpoint", f"give the folder of a training, or its {BEST_CHECKPOINT}"
    if os.path.lexists(path / LAST_CHECKPOINT):
        problem = "its training is not finished"
        hint = f"give {path / LAST_CHECKPOINT}, or resume the training with resume=true"
    raise UserError(problem, key=key, value=text, hint=hint)


def _newest(key: str) -> Path:
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
        raise UserError(f"there is no finished training below {_OUTPUTS}/", key=key, value=LATEST, hint=hint)
    return max(found)[-1]
