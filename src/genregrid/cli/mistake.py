"""A user's mistake in the configuration, as a `UserError` made from the errors of Hydra and OmegaConf."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from traceback import walk_tb

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from genregrid.config import plain_problem
from genregrid.errors import UserError, system_error
from genregrid.training.devices import is_first_process

NO_SUCH_KEY = "there is no such key"
NOT_KEY_VALUE = "it is not key=value"
SEVERAL = "these are several values"
CHOOSE = "choose one of "
UNREADABLE = "its value cannot be read"
_HINT = "`--cfg job` shows every key, `--help` every choice"
_NO_GROUP = re.compile("Could not override '([^'@]*)'. No match in the defaults list")
_SEVERAL = re.compile("(?:Ambiguous value for argument|Sweep parameters) '(.*)'")
_SET_BY_LIGHTNING = "PYTORCH_NVML_BASED_CUDA_CHECK"


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
            return UserError(f"{CHOOSE}{choices}", key=group or "--config-name", value=name)
        if isinstance(cause, OverrideParseException):
            return of_form(cause.override)
        if isinstance(cause, ConfigCompositionException) and (several := _SEVERAL.match(str(cause))):
            key, _, value = several[1].partition("=")
            return UserError(SEVERAL, key=key, value=value, hint="several values need -m")
        if isinstance(cause, ConfigCompositionException) and (without := _NO_GROUP.match(str(cause))):
            return UserError(NO_SUCH_KEY, key=without[1], hint=_HINT)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            if isinstance(cause, ConfigKeyError | ConfigAttributeError):
                return UserError(NO_SUCH_KEY, key=cause.full_key, hint=_HINT)
            return UserError(plain_problem(cause), key=cause.full_key, value=cause.value, hint=_HINT)
    return UserError(_on_one_line(error), hint=_HINT)


def of_form(override: str) -> UserError:
    """Return the mistake in an override that Hydra cannot parse."""
    key, equals, value = override.partition("=")
    if not (key and equals and value) or " " in key:
        return UserError(NOT_KEY_VALUE, key=override, hint="write key=value without spaces, such as model=lstm")
    hint = f"""put quotation marks around it: "{key}='...'\""""
    return UserError(UNREADABLE, key=key, value=value, hint=hint)


def _of_torch(error: BaseException) -> UserError | None:
    """Return an error of the import of torch as a mistake in its variables; ``None`` if none is set, or it is another.

    torch reads some twenty variables when it is imported, such as TORCH_LOGS, and raises errors of many types.
    """
    names = sorted(name for name in os.environ if name.startswith(("TORCH", "PYTORCH")) and name != _SET_BY_LIGHTNING)
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"]
    if not names or not any(frame.f_globals.get("__name__", "").startswith("torch") for frame in frames):
        return None
    hint = f"is a value wrong? `unset {' '.join(names)}` removes them"
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
    chosen = {override.partition("=")[0].lstrip("+") for override in overrides}
    for override in overrides:
        key, _, value = override.partition("=")
        part, dot, _ = key.lstrip("+").partition(".")
        if (dot or value.startswith("{")) and part in optional_groups and (dot == "" or part not in chosen):
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
