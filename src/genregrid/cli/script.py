"""What train.py and evaluate.py share: a user's mistake ends in one sentence and exit code 2, never in a traceback."""

import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from traceback import format_exception
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from genregrid.errors import UserError
from genregrid.grid.progress import Progress
from genregrid.record.folder import ERROR_FILE
from genregrid.training.devices import is_first_process

# overrides that name files
_PATHS = {"audio", "checkpoint", "ensemble", "human", "runs"}
_PATHS |= {f"dataset.{name}" for name in ("path", "root", "artists", "cache")}
_failed: list[Path] = []
_started: list[Path] = []


def job(task: Callable[[DictConfig, Path], Any]) -> Callable[[DictConfig], Any]:
    """Make `task(cfg, run folder)` a job for Hydra, which returns what the task does.

    A user's mistake is told in one sentence. In a grid whatever goes wrong with one job is: it lies in its folder as
    error.txt, the job returns ``None``, and the others run.
    """

    @wraps(task)
    def told(cfg: DictConfig) -> Any:
        folder = Path(HydraConfig.get().runtime.output_dir)
        in_grid = HydraConfig.get().mode == RunMode.MULTIRUN
        shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        _started.append(shown)
        (folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
        try:
            value = task(cfg, shown)
            if folder.is_dir() and any(folder.iterdir()):
                print(f"run: {shown}", flush=True)
            return value
        except Exception as error:
            is_mistake = isinstance(error, UserError | HydraException | OmegaConfBaseException)
            if not is_mistake and not in_grid:
                raise
            sentence = _sentence(error) if is_mistake else f"{type(error).__name__}: {error}".splitlines()[0]
            _complain(f"{shown}: {sentence}" if in_grid else sentence)
            _failed.append(shown)
            if in_grid:
                detail = "" if is_mistake else f"\n{''.join(format_exception(error))}"
                (folder / ERROR_FILE).write_text(f"{sentence}\n{detail}", encoding="utf-8")
            return None
        finally:
            if is_first_process() and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # nothing was written
            if Progress.current is not None and in_grid:
                Progress.current.job_ended()

    return told


def run_script(main: Callable[[], None]) -> None:
    """Run a script's Hydra main and end the process: code 0 if all went well, 2 for a user's mistake."""
    if not is_first_process():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for good: the first process says it all
    if not {"-m", "--multirun"} & set(sys.argv):  # there, commas divide values
        sys.argv[1:] = [_quoted(word) for word in sys.argv[1:]]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands errors on, where it would print them and exit with 1
    if os.environ.get("GENREGRID_DATA") == "":
        del os.environ["GENREGRID_DATA"]  # set but empty, it would name the root of the file system
    has_failed = False
    try:
        main()
        if Progress.current is not None:
            has_failed |= Progress.current.conclude()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _complain(_sentence(error))
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
        _complain(f"{error.filename or 'output'}: {error.strerror}; hydra.run.dir=PATH writes elsewhere.")
        sys.exit(2)
    except KeyboardInterrupt:
        if Progress.current is not None:
            _complain(f"interrupted; {Progress.current.folder} has what is done, and resume=true goes on from there.")
        else:
            _complain(f"interrupted; what was written so far is in {_started[-1]}." if _started else "interrupted.")
        sys.exit(130)
    sys.exit(2 if has_failed or _failed else 0)


def _complain(sentence: str) -> None:
    """Tell what went wrong, once: the other processes of a run meet the same mistake."""
    if is_first_process():
        print(sentence, file=sys.stderr, flush=True)


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
    if "StudySweeperConf" in str(error) and "experiment/" in str(error):
        return "sweep=optuna searches the settings of one model, and an experiment is a grid: leave out one of them."
    # what follows these words is Hydra's search path, or advice that the schema does not let one follow
    text = str(error).split("Config search path")[0].split("To append to your config use")[0]
    if error.__cause__ is not None and isinstance(error, HydraException):
        text += " " + str(error.__cause__).splitlines()[0]
    words = " ".join(
        line.strip() for line in text.splitlines() if "object_type" not in line and "full_key: " not in line
    )
    return f"{' '.join(words.split())} (`--cfg job` shows every key, `--help` every choice.)"
