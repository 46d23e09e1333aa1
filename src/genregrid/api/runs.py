"""Folders of runs that end with the object that needs them, and the state of a notebook that runs leave alone."""

import random
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from genregrid.errors import UserError
from genregrid.files import replacing

_ENDING = ".ckpt"


class RunsFolder:
    """A folder for the files of runs: one that was given and stays, or a temporary one that ends with this object."""

    def __init__(self, given: str | PathLike[str] | None) -> None:
        self.is_kept = given is not None
        if given is not None:
            self.path = Path(given).expanduser()
        else:
            self.path = Path(tempfile.mkdtemp(prefix="genregrid-"))
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def copied(checkpoint: Path, path: str | PathLike[str]) -> Path:
    """Copy a checkpoint to a path, and return it.

    Raises:
        UserError: its name does not end in ``.ckpt``, or its folder does not exist.
    """
    target = check_target(path)
    with replacing(target) as part:
        shutil.copyfile(checkpoint, part)
    return target


def check_target(path: str | PathLike[str]) -> Path:
    """Return the path of a checkpoint that will be written.

    Raises:
        UserError: its name does not end in ``.ckpt``, or its folder does not exist.
    """
    target = Path(path).expanduser()
    if target.suffix != _ENDING:
        raise UserError(f"the name of a checkpoint ends in {_ENDING}", key="path", value=str(path))
    if not target.parent.is_dir():
        raise UserError("its folder does not exist", key="path", value=str(path))
    return target


@contextmanager
def own_state() -> Iterator[None]:
    """Restore random states and the number of threads, which a run sets, at the end: a notebook has its own."""
    states, threads = (random.getstate(), np.random.get_state(), torch.get_rng_state()), torch.get_num_threads()  # noqa: NPY002  # of the whole process, which Lightning seeds
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  # as above
        torch.set_rng_state(states[2])
        torch.set_num_threads(threads)
