"""Values that a file holds as plain data, checked against the types of a dataclass."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from genregrid.errors import UserError
from genregrid.models.argument import is_number
from genregrid.name import UNFIT

_LONGEST_TEXT = 10_000
#: Characters of all texts of a record; members of an ensemble of a thousand runs have 100,000.
_MOST_TEXT = 10_000_000
#: What to do about a record that cannot be read.
HINT = "its version of genregrid may differ: make it again"


def checked(cls: Any, content: Mapping[str, Any], source: object, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of a dataclass's fields, each of the declared type, other than those `without`.

    Args:
        cls: the dataclass. A rule in the `Annotated` type of a field is checked, too.
        content: values by name; names that are no fields are ignored.
        source: the file, for the error.
        without: names of fields that are checked elsewhere.

    Raises:
        UserError: a field without a default is missing, a value has another type, or there is too much text.
    """
    hints = _type_hints(cls)
    names = {field.name: field.default is MISSING for field in fields(cls) if field.name not in without}
    for name, is_required in names.items():
        if is_required and name not in content:
            raise UserError(f"it has no key '{name}'", key=source, hint=HINT)
        if name in content and not _has_type(content[name], hints[name]):
            value = repr(content[name]) if isinstance(content[name], str | float | int | None) else "no such value"
            raise UserError(f"its key '{name}' has a value of a wrong type, {value}", key=source, hint=HINT)
    if sum(_num_characters(content[name]) for name in names if name in content) > _MOST_TEXT:
        raise UserError(f"its texts have more than {_MOST_TEXT} characters", key=source, hint=HINT)
    return {name: content[name] for name in names if name in content}


def checked_dict(content: Mapping[str, Any], name: str, source: object) -> dict[str, Any]:
    """Return the dict that a key has.

    Raises:
        UserError: the key is missing, or its value is no dict with texts as keys.
    """
    value = content.get(name)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"its key '{name}' is missing or no dict", key=source, hint=HINT)
    return value


@cache
def _type_hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)  # a report reads hundreds of runs


def _has_type(value: Any, hint: Any) -> bool:
    """Return whether a value has a type, and all that it holds; a whole number is a float, true and false are not.

    >>> from genregrid.models.argument import Positive
    >>> _has_type(3, float), _has_type(True, int), _has_type(None, str | None), _has_type([1], dict[str, int])
    (True, False, True, False)
    >>> _has_type({"a": "1"}, dict[str, int]), _has_type([1, 2], list[int]), _has_type(-1, Positive)
    (False, True, False)
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return _is_plain(value)
    if isinstance(hint, UnionType) or kind is Union:
        return any(_has_type(value, one) for one in arguments)
    if hasattr(hint, "__metadata__"):
        return _has_type(value, arguments[0]) and all(rule.accepts(value) for rule in hint.__metadata__)
    if kind is list:
        return isinstance(value, list) and all(_has_type(item, arguments[0]) for item in value)
    if kind is dict:
        whole = isinstance(value, dict) and all(_has_type(key, arguments[0]) for key in value)
        return whole and all(_has_type(item, arguments[1]) for item in value.values())
    if kind is str:
        return isinstance(value, str) and len(value) <= _LONGEST_TEXT and not UNFIT.search(value)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float) and is_number(value, -1e30)
    return isinstance(value, kind)


def _is_plain(value: Any) -> bool:
    r"""Return whether a value is made of what JSON has, with clean text.

    >>> _is_plain({"a": [1, None, "x"]}), _is_plain({"a": {1, 2}}), _is_plain("a\x1b[31m")
    (True, False, False)
    """
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_has_type(key, str) and _is_plain(item) for key, item in value.items())
    return _has_type(value, str) if isinstance(value, str) else isinstance(value, bool | int | float | None)


def _num_characters(value: Any) -> int:
    """Count the characters of all text in a plain value; a text that is there twice is written twice."""
    if isinstance(value, dict):
        return sum(len(key) + _num_characters(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_num_characters, value))
    return len(value) if isinstance(value, str) else 0
