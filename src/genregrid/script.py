"""What train.py and evaluate.py share: a user's mistake ends in one sentence and exit code 2, never in a traceback."""

import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from genregrid.errors import UserError

# overrides that name files
_PATHS = {"audio", "checkpoint", "ensemble", "human", "runs", "dataset.path", "dataset.root", "dataset.artists"}
_failed_jobs: list[Path] = []
_sweep_folders: list[Path] = []
_started: list[Path] = []


def job(task: Callable[[DictConfig, Path], Any]) -> Callable[[DictConfig], Any]:
    """Make `task(cfg, run folder)` a job for Hydra: a user's mistake is told at once, and a multirun goes on."""

    @wraps(task)
    def told(cfg: DictConfig) -> Any:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _sweep_folders.append(Path(HydraConfig.get().sweep.dir))
        shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        _started.append(shown)
        try:
            value = task(cfg, shown)
            if folder.is_dir():  # a trial of a search leaves none
                print(f"run: {shown}", flush=True)
            return value
        except (UserError, HydraException, OmegaConfBaseException) as error:
            where = f"{shown}: " if _sweep_folders else ""
            print(where + _sentence(error), file=sys.stderr, flush=True)
            _failed_jobs.append(shown)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # nothing was written
            return None

    return told


def run_script(main: Callable[[], None]) -> None:
    """Run a script's Hydra main and end the process: code 0 if all went well, 2 for a user's mistake."""
    if not {"-m", "--multirun"} & set(sys.argv):  # there, commas divide values
        sys.argv[1:] = [_quoted(word) for word in sys.argv[1:]]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands errors on, where it would print them and exit with 1
    if os.environ.get("GENREGRID_DATA") == "":
        del os.environ["GENREGRID_DATA"]  # set but empty, it would name the root of the file system
    try:
        main()
        if len(_failed_jobs) > 0 and _sweep_folders:
            print(f"{len(_failed_jobs)} of {len(_started)} jobs failed.", file=sys.stderr)
        if _sweep_folders:
            print(f"run: {_sweep_folders[-1]}")
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(_sentence(error), file=sys.stderr)
        sys.exit(2)
    except AssertionError as error:
        if "Unexpected type for root" not in str(error):
            raise
        print(
            "a key such as dataset.path=FILE or split.fold=1 needs its group too: add dataset=csv, or split=track.",
            file=sys.stderr,
        )
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"{error.filename or 'output'}: {error.strerror}; hydra.run.dir=PATH writes elsewhere.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        where = f"; what was written so far is in {_started[-1]}" if _started else ""
        print(f"interrupted{where}.", file=sys.stderr)
        sys.exit(130)
    sys.exit(2 if _failed_jobs else 0)


def _quoted(word: str) -> str:
    """A path's override as Hydra takes it: names of recordings have brackets, commas and colons.

    >>> _quoted("audio=Song (Live), pt 1.wav"), _quoted("slice=3")
    ("audio='Song (Live), pt 1.wav'", 'slice=3')
    """
    key, _, value = word.partition("=")
    if key not in _PATHS or not value or value[0] in "'\"[" or re.fullmatch(r"[\w./-]+", value):
        return word
    return f"{key}='{value.replace(chr(39), chr(92) + chr(39))}'"


def _sentence(error: BaseException) -> str:
    """One line that says what was wrong; Hydra and OmegaConf spread theirs over several, and over causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return f"{error.__cause__} ({' '.join(str(error).split()).split(':')[0]}.)"
    # what follows these words is Hydra's search path, or advice that the schema does not let one follow
    text = str(error).split("Config search path")[0].split("To append to your config use")[0]
    if error.__cause__ is not None and isinstance(error, HydraException):
        text += " " + str(error.__cause__).splitlines()[0]
    words = " ".join(
        line.strip() for line in text.splitlines() if "object_type" not in line and "full_key: " not in line
    )
    return f"{' '.join(words.split())} (`--cfg job` shows every key, `--help` every choice.)"
