"""The one kind of error that ends a command with a sentence instead of a traceback."""

from typing import Any

_NOT_GIVEN: Any = object()


class UserError(ValueError):
    """A user's mistake or a missing thing, as fields that make one sentence, ``key=value: problem; hint``.

    ``train.py`` and ``evaluate.py`` print the sentence to standard error and exit with code 2.

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
        self.problem = problem
        self.key = None if key is None else str(key)
        self.value = None if value is _NOT_GIVEN else value
        self.hint = hint
        about = "" if key is None else f"{key}: " if value is _NOT_GIVEN else f"{key}={_written(value)}: "
        sentence = about + "; ".join(filter(None, (problem, hint)))
        super().__init__(sentence if sentence.endswith((".", "!", "?")) else f"{sentence}.")
        self._given = (problem, key if key is None else str(key), value is not _NOT_GIVEN, self.value, hint)

    def __reduce__(self) -> Any:
        """Let it cross from one process to another."""
        return _remade, self._given


def _remade(problem: str, key: str | None, has_value: bool, value: object, hint: str | None) -> UserError:
    return UserError(problem, key=key, value=value if has_value else _NOT_GIVEN, hint=hint)


def _written(value: object) -> str:
    """A value as a command line has it.

    >>> _written(None), _written(True), _written(0.5), _written([1, "a"])
    ('null', 'true', '0.5', '[1,a]')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{','.join(map(_written, value))}]" if isinstance(value, list | tuple) else str(value)
