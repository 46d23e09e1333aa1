"""A user's mistake in the configuration, as a `UserError` made from the errors of Hydra and OmegaConf."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from traceback import walk_tb

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from genregrid.config import TEXT_KEYS
from genregrid.errors import UserError, system_error
from genregrid.training.devices import is_first_process

_HINT = "`--cfg job` shows every key, `--help` every choice"
_SEVERAL = re.compile("(?:Ambiguous value for argument|Sweep parameters) '(.*)'")
# of Hydra, followed by a value
_OPTIONS_WITH_VALUE = {"--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"}
_OPTIONS_WITH_VALUE |= {"--experimental-rerun", "--info", "-i", "--package", "-p"}
_OVERRIDE = re.compile(r"~|\+{0,2}[A-Za-z_$][\w$./@-]*=", re.ASCII)
_SET_BY_LIGHTNING = "PYTORCH_NVML_BASED_CUDA_CHECK"
# OmegaConf names Python's types; by a part of its message, the same in plain words
_EXPECTED = {
    "is not Optional": "it must not be null",
    "to Integer": "expected a whole number",
    "to Float": "expected a number",
    "Union[int, float]": "expected a number",
    "valid bool": "expected true or false",
}


def mistake_of(error: BaseException) -> UserError | None:
    """Return the user's mistake that caused an exception; ``None`` for a fault of the program."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, UserError):
            return cause
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _of_torch(error)
    if isinstance(error, InstantiationException) and len(causes) > 1:
        return UserError(f"{causes[1]} ({_on_one_line(error).split(':')[0]})", hint=_HINT)
    for cause in causes:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file is not None:
            group, _, name = cause.missing_cfg_file.rpartition("/")
            choices = ", ".join(cause.options or ())
            return UserError(f"choose one of {choices}", key=group or "--config-name", value=name)
        if isinstance(cause, OverrideParseException):
            return _of_form(cause.override)
        if isinstance(cause, ConfigCompositionException) and (several := _SEVERAL.match(str(cause))):
            key, _, value = several[1].partition("=")
            of_list = f"; a list has brackets: {key}=[{value}]" if "." in key else ""
            hint = f"they need -m: python {Path(sys.argv[0]).name} -m {shlex.quote(several[1])}{of_list}"
            return UserError("these are several values", key=key, value=value, hint=hint)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            if isinstance(cause, ConfigKeyError | ConfigAttributeError):
                return UserError("there is no such key", key=cause.full_key, hint=_HINT)
            message = str(cause.msg).splitlines()[0]
            problem = next((plain for part, plain in _EXPECTED.items() if part in message), message)
            return UserError(problem, key=cause.full_key, value=cause.value, hint=_HINT)
    return UserError(_on_one_line(error), hint=_HINT)


def check_form(arguments: Sequence[str], script: str, conf: Path) -> None:
    """Refuse arguments without a key, with the command that has one; a file or a choice of `conf` shows which.

    Raises:
        UserError: an argument is no option and not key=value.
    """
    if bare := _bare_words(arguments):
        without = [arguments[place] for place in sorted(bare)]
        sign = next((word for word in without if word.startswith("=")), None)  # key = value
        mistake = None if sign else _without_key(bare, arguments, script, conf)
        raise mistake or _of_form(sign or without[0])


def _bare_words(arguments: Sequence[str]) -> set[int]:
    """Return the positions of arguments that are neither options, nor their values, nor overrides."""
    values = {place + 1 for place, argument in enumerate(arguments) if argument in _OPTIONS_WITH_VALUE}
    return {
        place
        for place, argument in enumerate(arguments)
        if place not in values and not _OVERRIDE.match(argument) and (argument[:1] != "-" or " " in argument)
    }


def _without_key(bare: set[int], arguments: Sequence[str], script: str, conf: Path) -> UserError | None:
    """Return the mistake with the right command; ``None`` if it is not clear what the words mean."""
    first = min(bare)
    word = arguments[first]
    if whole := _whole_path(bare, arguments):
        hint = f"a path with spaces has quotation marks: {shlex.quote(whole)}"
        return UserError("it is not key=value", key=word, hint=hint)
    with_keys = [_with_key(text, script, conf) if place in bare else [text] for place, text in enumerate(arguments)]
    if not all(with_keys):
        return None
    words = [text for words in with_keys for text in words]
    if script == "evaluate" and not any(text.startswith(("checkpoint=", "runs=")) for text in words):
        words.insert(0, "checkpoint=PATH")
    command = f"python {script}.py {shlex.join(words)}"
    if script == "train" and any(text.startswith("audio=") for text in words):
        command = "python -m genregrid.features FOLDER --slice 3 --out FILE.csv` and `python train.py dataset=csv "
        command += "dataset.path=FILE.csv slice=3"
    return UserError("it is not key=value", key=word, hint=f"write `{command}`")


def _whole_path(bare: set[int], arguments: Sequence[str]) -> str | None:
    """Join a path that the shell divided at its spaces; ``None`` if the first word does not look like a part of one."""
    first = min(bare)
    key, _, begin = arguments[first - 1].partition("=") if first else ("", "", "")
    if key.lstrip("+") not in TEXT_KEYS:
        return None
    end = next((place for place in range(first, len(arguments)) if place not in bare), len(arguments))
    path = " ".join([begin, *arguments[first:end]])
    is_part = not (os.path.exists(begin) or Path(begin).suffix or os.path.exists(arguments[first]))
    return f"{key}={path}" if is_part or os.path.exists(path) else None


def _with_key(word: str, script: str, conf: Path) -> list[str]:
    """Return a word with the key that takes it; nothing if no key is clear.

    >>> _with_key("my song.mp3", "evaluate", Path("conf")), _with_key("lstm", "evaluate", Path("conf"))
    (['audio=my song.mp3'], [])
    """
    groups = ("model", "dataset", "split", "experiment") if script == "train" else ("dataset", "split")
    if re.fullmatch(r"\w+", word):
        for group in groups:
            if os.path.isfile(conf / group / f"{word}.yaml"):
                return [f"{group}={word}"]
    path, suffix = Path(word), Path(word.lower().removesuffix(".gz")).suffix
    if suffix == ".csv":
        return ["dataset=csv", f"dataset.path={word}"]
    if suffix == ".ckpt":
        return [f"checkpoint={word}"]
    if script == "evaluate" and word and os.path.isdir(path):
        if os.path.isfile(path / "checkpoint.ckpt"):
            return [f"checkpoint={path / 'checkpoint.ckpt'}"]
        if any(next(path.glob(f"{depth}run.json"), None) for depth in ("", "*/", "*/*/", "*/*/*/")):
            return [f"runs={word}"]
    return [f"audio={word}"] if suffix or os.path.exists(word) else []


def _of_form(override: str) -> UserError:
    """Return the mistake in an override that Hydra cannot parse."""
    key, equals, value = override.partition("=")
    if not (key and equals and value) or " " in key:
        return UserError("it is not key=value", key=override, hint="write key=value without spaces, such as model=lstm")
    hint = f"""put quotation marks around it: "{key}='...'\""""
    return UserError("its value cannot be read", key=key, value=value, hint=hint)


def _of_torch(error: BaseException) -> UserError | None:
    """Return an error of the import of torch as a mistake in its variables; ``None`` if none is set, or it is another.

    torch reads some twenty variables when it is imported, such as TORCH_LOGS, and raises errors of many types.
    """
    names = sorted(name for name in os.environ if name.startswith(("TORCH", "PYTORCH")) and name != _SET_BY_LIGHTNING)
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"]
    if not names or not any(frame.f_globals.get("__name__", "").startswith("torch") for frame in frames):
        return None
    hint = f"is a value wrong? `env -u {' -u '.join(names)} python {Path(sys.argv[0]).name} ...` leaves them out"
    problem = f"torch cannot be imported ({type(error).__name__})"
    return UserError(problem, key=", ".join(names), hint=hint)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _on_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def missing_group(overrides: Sequence[str], optional_groups: Mapping[str, str]) -> UserError | None:
    """Return the mistake of a key such as ``dataset.path`` without its group; ``None`` if there is no such override.

    OmegaConf 2.3 reports it as an `AssertionError` without a cause, and the dict ``dataset={path:FILE}`` as an
    `AttributeError`. `optional_groups` has an override for each part of the configuration that may be null.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        part, dot, _ = key.lstrip("+").partition(".")
        if (dot or value.startswith("{")) and part in optional_groups:
            return UserError("its group is not chosen", key=key, value=value, hint=f"add {optional_groups[part]}")
    return None


def output_mistake(error: OSError, *, in_grid: bool) -> UserError:
    """Return an error of the system, such as a full disk or a folder without permission, as a user's mistake."""
    setting = "hydra.sweep.dir" if in_grid else "hydra.run.dir"
    return system_error(error, f"{setting}=PATH writes elsewhere")


def print_mistake(sentence: object) -> None:
    """Print to standard error, only in the first process of a run: the others have the same mistake."""
    if is_first_process():
        print(sentence, file=sys.stderr, flush=True)
