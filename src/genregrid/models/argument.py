"""Allowed values of arguments: declared in the signatures of models, checked in one place.

A signature such as ``def __init__(self, *, hidden_size: Count = 64, dropout: Share = 0.3)`` is all that a class needs.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from types import FunctionType
from typing import Annotated, Any, get_args

from genregrid.errors import UserError
from genregrid.name import MOST_GENRES, name_fault

#: Beyond it, no setting has a meaning, and products of a few of them are infinite.
_LARGEST = 1e30
_MOST_FEATURES = 10_000
_LONGEST_NAME = 1_000  # characters


@dataclass(frozen=True)
class Allowed:
    """Which values an argument may have: a rule in words, for error messages, and its test of a value."""

    problem: str
    accepts: Callable[[Any], bool]


def is_number(value: object, low: float, high: float = _LARGEST) -> bool:
    """Return whether a value is a finite number from low to high, both included; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= min(high, _LARGEST)


def is_whole(value: object, low: int, high: float = _LARGEST) -> bool:
    """Return whether a value is a whole number from low to high, both included."""
    return isinstance(value, int) and is_number(value, low, high)


def _are_names(value: object, low: int, high: int) -> bool:
    if not isinstance(value, list | tuple) or not low <= len(value) <= high:
        return False
    are_fit = all(isinstance(name, str) and name_fault(name, _LONGEST_NAME) is None for name in value)
    return are_fit and len({*value}) == len(value)


Count = Annotated[int, Allowed("must be a whole number from 1 to 100000", lambda value: is_whole(value, 1, 100_000))]
#: Features of a layer; a layer of the largest has 17 million weights.
Width = Annotated[int, Allowed("must be a whole number from 1 to 4096", lambda value: is_whole(value, 1, 4096))]
#: Layers of a network.
Depth = Annotated[int, Allowed("must be a whole number from 1 to 100", lambda value: is_whole(value, 1, 100))]
#: Genre names, in the order of the logits.
Genres = Annotated[
    Sequence[str],
    Allowed(f"must be a list of 2 to {MOST_GENRES} different names", lambda value: _are_names(value, 2, MOST_GENRES)),
]
#: Names of descriptors, in the order of the feature axis.
FeatureNames = Annotated[
    Sequence[str],
    Allowed(
        f"must be a list of 1 to {_MOST_FEATURES} different names", lambda value: _are_names(value, 1, _MOST_FEATURES)
    ),
]
Positive = Annotated[float, Allowed("must be a number above 0", lambda value: is_number(value, 0) and value != 0)]
NotNegative = Annotated[float, Allowed("must be a number, 0 or more", lambda value: is_number(value, 0))]
#: A share that may be 0, but not 1.
Share = Annotated[
    float, Allowed("must be 0 or more, and less than 1", lambda value: is_number(value, 0, 1) and value != 1)
]
#: A share that is neither 0 nor 1.
Part = Annotated[
    float, Allowed("must be above 0 and less than 1", lambda value: is_number(value, 0, 1) and value not in (0, 1))
]
#: YAML's true or false; a ``no`` on the command line is text.
Switch = Annotated[bool, Allowed("must be true or false", lambda value: isinstance(value, bool))]


def parameters(cls: type) -> dict[str, Any]:
    """Return the annotations of a constructor's parameters by name, those of the base classes included."""
    inits = [vars(base).get("__init__") for base in reversed(cls.__mro__)]
    known = [item for init in inits if isinstance(init, FunctionType) for item in signature(init).parameters.values()]
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return {item.name: item.annotation for item in known if item.kind in named and item.name != "self"}


def split_arguments(cls: type, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split arguments into those of a constructor and the others."""
    own = {name: given[name] for name in parameters(cls) if name in given}
    return own, {name: value for name, value in given.items() if name not in own}


def check_known(given: Iterable[str], known: Collection[str]) -> None:
    """Raise a UserError for the first of the arguments that is not known, and name those that are."""
    for name in given:
        if name not in known:
            hint = f"the chosen model has {', '.join(known)}"
            raise UserError("the model has no such argument", key=f"model.{name}", hint=hint)


def check_arguments(cls: type, values: Mapping[str, Any]) -> None:
    """Check arguments of a constructor that its signature annotates with ``Count``, ``Positive | None`` and the like.

    Raises:
        UserError: a value that is not allowed; the key is ``model.`` and the argument's name.
    """
    for name, annotation in parameters(cls).items():
        alternatives = (annotation, *get_args(annotation))
        rules = [item for part in alternatives for item in getattr(part, "__metadata__", ())]
        if not rules or name not in values:
            continue
        value, may_be_null = values[name], type(None) in alternatives
        if not rules[0].accepts(value) and not (value is None and may_be_null):
            problem = rules[0].problem + (", or null" if may_be_null else "")
            raise UserError(problem, key=f"model.{name}", value=value)
