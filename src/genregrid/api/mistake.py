"""A user's mistake in a call: one sentence with the words of Python, and no traceback of other programs below it."""

import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from os import PathLike
from typing import ParamSpec, TypeVar

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from genregrid.config import DatasetConfig, SplitConfig, TrainerConfig, plain_problem
from genregrid.errors import UserError, system_error
from genregrid.program import command_name

_P = ParamSpec("_P")
_R = TypeVar("_R")
_FIELDS = {
    part: {field.name for field in fields(schema)}
    for part, schema in (("dataset", DatasetConfig), ("split", SplitConfig), ("trainer", TrainerConfig))
}
_KEY = re.compile(r"\b(dataset|split|trainer|model)\.([a-z]\w*)(=(?:\{[^}]*\}|\[[^\]]*\]|[^\s,;:)`]+))?")
_FILE_ENDINGS = {"ckpt", "csv", "gz", "npz", "parquet", "yaml", "json"}
_CHOICE = re.compile(r"\b(split|model|window|features|slice)=([a-z]\w*)")
_OPTION = re.compile(r"(?<![\w-])--([a-z]+)(?: (\d+))?")
# Keys of whole things that a call names otherwise.
_NAMES = {"dataset": "table", "features": "recipe", "--model": "checkpoint"}
_WORDS = {"null": "None", "true": "True", "false": "False"}
_PLAIN_WORD = re.compile(r"(?<![\w'\"/.-])(null|true|false)(?![\w'\"/.-])")
# Words of the command line that only a few sentences have, and what a call has in their place.
_SENTENCES = {
    "dataset=csv dataset.path=FILE": 'gg.read_table("FILE")',
    "set dataset.path=FILE to yours": 'give the path of yours, gg.read_table("FILE")',
    "set dataset.artists to a CSV with the columns track,artist": (
        "read the table with a CSV of the columns track,artist: gg.read_table(FILE, artists=CSV)"
    ),
    "or resume the training with resume=true": "or resume the training by the command that started it",
    "`--cfg job` shows every key": "gg.settings(MODEL) shows every setting",
    "leave out -m and experiment, or set": "set",
}


def offered(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function that a notebook calls: every mistake of the user is one `UserError`, without a cause below it."""

    @wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            mistake = in_python(error)
        except OmegaConfBaseException as error:
            key = (error.full_key or "").rpartition(".")[2] or "settings"
            mistake = in_python(UserError(plain_problem(error), key=key, value=error.value))
        except HydraException as error:
            mistake = UserError(" ".join(str(error).split()), key="settings")
        except OSError as error:  # a folder without permission, a full disk
            mistake = system_error(error)
        raise mistake from None

    return wrapped


def in_python(error: UserError) -> UserError:
    """Return a mistake with the words of Python in place of those of the command line.

    >>> from genregrid.errors import UserError
    >>> print(in_python(UserError("it leaks", key="split", value="row", hint="add split.allow_leak=true to run it")))
    split='row': it leaks; add allow_leak=True to run it.
    """
    key = error.key
    if key is not None:
        key = _NAMES.get(key, key.removeprefix("--"))
        key = _KEY.sub(_keyword, key) if _KEY.fullmatch(key) else key
    hint = None if error.hint is None else python_words(error.hint)
    problem = python_words(error.problem)
    if key is None or "value" not in vars(error) or not _has_value(error):
        return UserError(problem, key=key, hint=hint)
    value = str(error.value) if isinstance(error.value, PathLike) else error.value
    mistake = UserError(problem, key=key, value=repr(value), hint=hint)
    mistake.value = error.value  # as it was given, and not as it is written
    return mistake


def _has_value(error: UserError) -> bool:
    # `UserError` keeps None for no value too; only its sentence shows which it was
    return error.value is not None or str(error).startswith(f"{error.key}=null")


def python_words(text: str) -> str:
    """Return a sentence with the keywords of a call in place of keys of the command line.

    >>> python_words("set dataset.recipe=kaggle-reflect, or model.whitening to null")
    "set recipe='kaggle-reflect', or whitening to None"
    >>> python_words("take split=artist, split.folds=3 and split.fold=0 to 2; run.csv and model.ckpt are files")
    "take split='artist', folds=3 and fold=0 to 2; run.csv and model.ckpt are files"
    """
    features = re.escape(command_name("features"))
    if found := re.search(rf"{features} --get \w+", text):  # only a command gets weights
        before, after = (python_words(part) for part in (text[: found.start()], text[found.end() :]))
        return before + found[0] + after
    text = re.sub(rf"`{features}([^`]*)`|{features}([^;`]*)", "gg.extract(MUSIC, out=FILE)", text)
    for written, meant in _SENTENCES.items():
        text = text.replace(written, meant)
    text = _KEY.sub(_keyword, text)
    text = _CHOICE.sub(lambda found: f"{_NAMES.get(found[1], found[1])}={found[2]!r}", text)
    text = _OPTION.sub(lambda found: found[1] + (f"={found[2]}" if found[2] else ""), text)
    return _PLAIN_WORD.sub(lambda found: _WORDS[found[1]], text)


def _keyword(found: "re.Match[str]") -> str:
    """Return a key, and its value if it has one, as a keyword of a call."""
    part, name, given = found.groups()
    if name in _FILE_ENDINGS or (part in _FIELDS and name not in _FIELDS[part]):
        return found[0]
    return name if given is None else f"{name}={_value(given[1:])}"


def _value(text: str) -> str:
    """Write a value of the command line in Python; names in capitals are examples that a user replaces.

    >>> _value("true"), _value("3"), _value("mean"), _value("[A,B]"), _value("FILE")
    ('True', '3', "'mean'", '[A, B]', 'FILE')
    """
    if text[:1] == "[" and text[-1:] == "]":
        return f"[{', '.join(map(_value, text[1:-1].split(',')))}]"
    if text[:1] == "{" and text[-1:] == "}":
        pairs = (pair.partition(":") for pair in text[1:-1].split(","))
        return f"{{{', '.join(f'{key!r}: {_value(value)}' for key, _, value in pairs)}}}"
    if text in _WORDS:
        return _WORDS[text]
    return text if text.isupper() or re.fullmatch(r"[-+.\de]+", text) else repr(text)
