"""What a command of evaluate.py declares: the key that starts it, the keys that it takes, and its function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genregrid.errors import UserError


@dataclass(frozen=True)
class Command:
    """One thing that evaluate.py does.

    Attributes:
        usage: the override that starts it, such as ``runs=FOLDER``.
        about: what it does, in a few words.
        run: receives a composed `EvaluateConfig` and the run folder, and returns what to print.
        needs: overrides without which it cannot run.
        takes: other keys that may be given with it.
    """

    usage: str
    about: str
    run: Callable[[DictConfig, Path], str]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key that starts it."""
        return self.usage.partition("=")[0]

    @property
    def keys(self) -> set[str]:
        """All keys that may be given with it."""
        return {self.key, *self.takes, *(usage.partition("=")[0] for usage in self.needs)}


def choose(commands: Sequence[Command], cfg: DictConfig) -> Command:
    """Return the first of the commands whose key is given.

    Raises:
        UserError: no command's key is given, a needed key is missing, a path is empty, or the command does not take a
            given key.
    """
    given: dict[Any, Any] = {key: value for key, value in cfg.items() if value is not None and value != {}}
    command = next((command for command in commands if command.key in given), None)
    if command is None:
        raise UserError(f"give one of {', '.join(command.usage for command in commands)}")
    for usage in [command.usage, *command.needs, *(other.usage for other in commands)]:
        if given.get(usage.partition("=")[0]) in ("", [], [""]):  # a path that is empty is the current folder
            raise UserError("it is empty", key=usage.partition("=")[0], value="", hint=f"give {usage}")
    for usage in command.needs:
        if usage.partition("=")[0] not in given:
            raise UserError(f"it needs {usage}", key=command.key, value=given[command.key])
    for key in sorted(set(given) - command.keys):
        about = {} if isinstance(given[key], DictConfig) else {"value": given[key]}
        others = " or ".join(other.usage for other in commands if key in (*other.takes, other.key))
        hint = f"give it with {others}" if others else None
        raise UserError(f"{command.usage} does not take it", key=key, hint=hint, **about)
    return command
