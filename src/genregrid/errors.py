"""A mistake of the user as an error with fields, and how a command reports it: a sentence and an exit code."""

import argparse
import os
import sys
import unicodedata
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

from genregrid.program import install_command
from genregrid.stream import safe_streams

_NOT_GIVEN: Any = object()
_JOINERS = "\u200c\u200d"
# Characters of a sentence's part that are shown; a name or a cell of a file may have megabytes.
_LONGEST = 300
_P = ParamSpec("_P")


class UserError(ValueError):
    """A user's mistake or a missing thing, as fields that make one sentence, ``key=value: problem; hint``.

    Args:
        problem: what is wrong, and what was expected; without a full stop at the end.
        key: what it is about: a setting (``split.fold``), an option (``--slice``), a file or a column.
        value: what was given for `key`; leave it out where `key` is a thing and not a setting.
        hint: what the user can do about it; without a full stop at the end.

    >>> print(UserError("there are 5 folds", key="split.fold", value=9, hint="choose 0 to 4"))
    split.fold=9: there are 5 folds; choose 0 to 4.
    >>> print(UserError("the file has no column 'label'", key="mine.csv"))
    mine.csv: the file has no column 'label'.
    """

    def __init__(
        self, problem: str, *, key: object = None, value: object = _NOT_GIVEN, hint: str | None = None
    ) -> None:
        self.problem = printable(problem)
        self.key = None if key is None else printable(str(key))
        self.value = None if value is _NOT_GIVEN else value
        self.hint = hint
        sentence = "; ".join(filter(None, (self.problem, hint and printable(hint))))
        if key is not None:
            given = "" if value is _NOT_GIVEN else f"={printable(_written(value))}"
            sentence = f"{self.key}{given}: {sentence}"
        # Pickling makes a copy from the sentence alone, and then restores its attributes.
        super().__init__(sentence if sentence.endswith((".", "!", "?")) else f"{sentence}.")


def printable(text: str, most: int = _LONGEST) -> str:
    r"""Make text from a file or a command line safe to print: one line, without control characters, of limited length.

    A terminal runs control characters as commands, and some format characters of Unicode change the order in which text
    is shown. Both are written as escapes. Of a longer text the beginning and the end are kept, `most` characters.

    >>> print(printable("a\x1b[31mred"), printable("0123456789", most=7))
    a\x1b[31mred 0123...89
    """
    if not text.isprintable():
        text = "".join(map(_escaped, text))
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}...{text[-end:]}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things.

    >>> counted(1, "track"), counted(2, "track"), counted(1, "track repeats", "tracks repeat")
    ('1 track', '2 tracks', '1 track repeats')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def _escaped(character: str) -> str:
    # spaces of all kinds; joiners, which letters of some scripts and emoji need
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) in ("Zs", "Co", "Cn"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _written(value: object) -> str:
    """Write a value as on a command line.

    >>> _written(None), _written(True), _written(0.5), _written([1, "a"])
    ('null', 'true', '0.5', '[1,a]')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{','.join(map(_written, value))}]" if isinstance(value, list | tuple) else str(value)


def command(
    *, extra: str | None = None, resume: str | None = None
) -> Callable[[Callable[_P, int | None]], Callable[_P, int]]:
    """Make a function the main function of a command: it returns an exit code, and reports mistakes on standard error.

    The exit code is that of the function (``None`` is 0), 2 for a `UserError`, an `OSError` or a missing package of
    `extra`, and 130 after ctrl-C.

    Args:
        extra: the extra of pyproject.toml that the command needs; ``None``: a missing package raises.
        resume: how to resume after ctrl-C.

    >>> @command()
    ... def main() -> None:
    ...     raise UserError("1 or more", key="--limit", value=0)
    >>> main()
    2
    """

    def decorated(main: Callable[_P, int | None]) -> Callable[_P, int]:
        @wraps(main)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> int:
            with safe_streams():
                _forget_bars()
                try:
                    code = main(*args, **kwargs) or 0
                    sys.stdout.flush()
                    return code
                except UserError as error:
                    mistake = error
                except ModuleNotFoundError as error:
                    if extra is None:
                        raise
                    mistake = UserError("not installed", key=error.name, hint=f"run `{install_command(extra)}`")
                except OSError as error:  # a folder without permission, a full disk
                    mistake = system_error(error)
                except (Exception, KeyboardInterrupt) as error:
                    if not is_interruption(error):
                        raise
                    print(UserError("interrupted", hint=resume), file=sys.stderr)
                    return 130
                print(mistake, file=sys.stderr)
                return 2

        return wrapped

    return decorated


def _forget_bars() -> None:
    """Remove variables of tqdm, which it reads when it is imported: a wrong number among them would be an error."""
    for name in [name for name in os.environ if name.startswith("TQDM_") and name != "TQDM_DISABLE"]:
        del os.environ[name]


class Options(argparse.ArgumentParser):
    """The options of a command; a wrong one is a `UserError`, without the lines about all options."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake."""
        raise UserError(message, hint="`--help` shows every option")


def is_interruption(error: BaseException) -> bool:
    """Return whether ctrl-C caused an error; Python raises others where it ends the definition of a class, for example.

    >>> is_interruption(KeyboardInterrupt()), is_interruption(ValueError())
    (True, False)
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def system_error(error: OSError, hint: str | None = None) -> UserError:
    """Return an error of the operating system as a user's mistake."""
    return UserError(error.strerror or str(error) or type(error).__name__, key=error.filename or "output", hint=hint)
