"""Arguments that cannot be read as they are given: the command that was probably meant, before and after Hydra."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from hydra._internal.utils import get_args_parser

from genregrid.cli.mistake import CHOOSE, NO_SUCH_KEY, NOT_KEY_VALUE, SEVERAL, UNREADABLE, of_form
from genregrid.cli.nearest import Keys, command_of
from genregrid.config import EXPECTED_NUMBERS, LABEL_KEYS, TEXT_DICTS, TEXT_KEYS, TEXT_LISTS
from genregrid.errors import UserError
from genregrid.files import folder_name, home_expanded
from genregrid.program import command_name
from genregrid.recording.content import AUDIO_SUFFIXES

# of Hydra, followed by a value
_OPTIONS_WITH_VALUE = {"--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"}
_OPTIONS_WITH_VALUE |= {"--experimental-rerun", "--info", "-i", "--package", "-p"}
# keys that other programs take as options
_KEYS_LIKE_OPTIONS = {"model", "slice", "split", "dataset", "features", "seed", "checkpoint", "audio", "runs"}
_OVERRIDE = re.compile(r"~|\+{0,2}[A-Za-z_$][\w$./@-]*=", re.ASCII)
_SPACED = re.compile(r"\s*(\+{0,2}[A-Za-z_][\w./@-]*)\s*=\s*(.*?)\s*", re.ASCII | re.DOTALL)
_TABLE = re.compile(r"\.(csv|tsv|txt|parquet|npz)(\.gz)?$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:^|(?<=[\[{,:'\"\s]))[a-z][a-z0-9+.-]{1,9}://[^,\]}'\"]*", re.IGNORECASE)


def check_form(arguments: Sequence[str], script: str, conf: Path) -> None:
    """Refuse arguments that Hydra cannot read, or would misread, with the command that was probably meant.

    These are unknown options, words without a key, an address or a file where a path or a choice is needed, and unknown
    keys with a plus sign. A file, or a choice of `conf`, shows what a word means.

    Raises:
        UserError: the first of them.
    """
    bare = bare_words(arguments)
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        _check_path(argument)
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name[2:] in _KEYS_LIKE_OPTIONS:
            right = f"{name[2:]}={value if equals else following or 'VALUE'}"
            raise UserError("it is not an option", key=name, hint=f"write {shlex.quote(right)}")
        if script == "train" and re.fullmatch("~(model|dataset|split)(=.*)?", argument):
            hint = f"leave out {argument}, or choose another by {argument[1:].partition('=')[0]}=NAME"
            raise UserError("it cannot be removed", key=argument, hint=hint)
    if bare:
        raise _of_words(bare, arguments, Keys(arguments, script, conf))
    _check_options(arguments)
    for place, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        if name == "dataset" and equals and _is_file(value):
            keys = Keys(arguments, script, conf)
            command = keys.command(arguments, {place: ["dataset=csv", f"dataset.path={value}"]})
            raise UserError("it is a file, not a corpus", key=name, value=value, hint=f"write `{command}`")
        if key.startswith("+") and equals and re.fullmatch(r"\w+", name):
            keys = Keys(arguments, script, conf)
            if name in keys.choices and keys.has(name):
                hint = f"write `{keys.command(arguments, {place: [f'{name}={value}']})}`"
                raise UserError("it is a choice, which has no plus sign", key=key, value=value, hint=hint)
            if not keys.has(name):
                raise with_hint(UserError(NO_SUCH_KEY, key=name), arguments, script, conf)


def with_hint(mistake: UserError, arguments: Sequence[str], script: str, conf: Path) -> UserError:
    """Return a mistake in a key or a choice with the command that was probably meant; any other mistake as it is."""
    key = mistake.key or ""
    keys = Keys(arguments, script, conf)
    if mistake.problem == NO_SUCH_KEY or (mistake.problem == UNREADABLE and not keys.has(key)):
        return _of_key(key, arguments, keys) or mistake
    if mistake.problem == SEVERAL:
        return _of_several(mistake, arguments, keys)
    if mistake.problem in EXPECTED_NUMBERS and (place := _quoted(key, arguments)) is not None:
        hint = f"without quotation marks: `{keys.command(arguments, {place: [f'{key}={mistake.value}']})}`"
        return UserError("it is text, as it has quotation marks", key=key, value=f"'{mistake.value}'", hint=hint)
    if mistake.problem.startswith(CHOOSE):
        for place, argument in enumerate(arguments):
            group, _, value = argument.partition("=")
            group = group.lstrip("+")
            for one in value.split(","):
                wrong = os.path.normpath(f"{key}/{mistake.value}") == os.path.normpath(f"{group}/{one}")
                if wrong and (near := keys.near_choice(group, one)):
                    chosen = f"{group}={','.join(near if other == one else other for other in value.split(','))}"
                    hint = f"write `{keys.command(arguments, {place: [chosen]})}`"
                    return UserError(mistake.problem, key=group, value=one, hint=hint)
    return mistake


def _of_several(mistake: UserError, arguments: Sequence[str], keys: Keys) -> UserError:
    """Return the mistake of several values, with the whole command: a list has brackets, other values need -m."""
    key = mistake.key or ""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name.lstrip("+") == key and key in TEXT_LISTS and not value.startswith(("choice(", "[")):
            hint = f"a list has brackets: `{keys.command(arguments, {place: [f'{name}=[{value}]']})}`"
            return UserError(mistake.problem, key=key, value=value, hint=hint)
    of_list = f"; a list has brackets: {key}=[{mistake.value}]" if key.startswith("model.") else ""
    hint = f"they need -m: `{command_of(keys.script, ['-m', *arguments])}`{of_list}"
    return UserError(mistake.problem, key=key, value=mistake.value, hint=hint)


def _quoted(key: str, arguments: Sequence[str]) -> int | None:
    """Return the position of an override that has a number in quotation marks; ``None`` if there is none."""
    number = re.compile(rf"\+{{0,2}}{re.escape(key)}=(['\"])-?[0-9.]+\1")
    return next((place for place, argument in enumerate(arguments) if number.fullmatch(argument)), None)


def _of_key(key: str, arguments: Sequence[str], keys: Keys) -> UserError | None:
    """Return the mistake of a key that does not exist; ``None`` if it is not clear what was meant."""
    meant: dict[int, list[str]] = {}
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        name = name.lstrip("+")
        if equals and (name == key or not keys.has(name)):
            if os.path.isfile(argument):  # of a name such as E=mc2.mp3
                return _of_words({place}, arguments, keys)
            # Hydra composes a sweep over models with the default model first
            if key.startswith("model.") and keys.has(key):
                hint = f"write `{keys.command(arguments, {place: [f'++{name}={value}']})}`"
                return UserError("the default model has no such key", key=key, hint=hint)
            if words := keys.meant(name, value):
                meant[place] = words
            elif name == key:
                return _of_other_script(key, place, arguments, keys)
    if not meant:
        return None
    return UserError(NO_SUCH_KEY, key=key, hint=f"write `{keys.command(arguments, meant)}`")


def _of_other_script(key: str, place: int, arguments: Sequence[str], keys: Keys) -> UserError | None:
    """Return the mistake of a key that only the other script, or another model, has."""
    other = keys.other_script()
    words = [arguments[place]] if other.has(key) else other.meant(key, arguments[place].partition("=")[2])
    if words and not (keys.script == "train" and keys.lacking(key)) and not key.startswith("hydra"):
        return UserError(NO_SUCH_KEY, key=key, hint=f"another command has it: `{command_of(other.script, words)}`")
    if keys.script == "train" and (key.startswith("model.") or keys.lacking(key)):
        problem = f"the chosen model has no {keys.lacking(key) or key}"
        return UserError(problem, key=key, hint=f"it has {', '.join(keys.of_model())}")
    return None


def with_music(arguments: Sequence[str]) -> list[str]:
    """Write music that is given as a word as the key that takes it: ``train music`` is ``train music=music``.

    Music is a folder, or a table or list of it. Its runs are in a folder of its name.
    """
    words = sorted(bare_words(arguments))
    given = list(arguments)
    if len(words) == 1 and _is_music(path := home_expanded(given[words[0]])):
        given[words[0]] = f"music={path}"
    path = next((one.partition("=")[2] for one in given if one.startswith("music=")), "")
    if path and not any(one.startswith("hydra.run.dir=") for one in given):
        name = folder_name(Path(home_expanded(path)).resolve().stem)
        given.append(f"hydra.run.dir=outputs/{name}/${{now:%Y%m%dT%H%M%S.%f}}")
    return given


def _is_music(path: str) -> bool:
    return os.path.isdir(path) or (os.path.isfile(path) and bool(_TABLE.search(path)))


def bare_words(arguments: Sequence[str]) -> set[int]:
    """Return the positions of arguments that are neither options, nor their values, nor overrides."""
    values = {place + 1 for place, argument in enumerate(arguments) if argument in _OPTIONS_WITH_VALUE}
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return {
        place
        for place, argument in enumerate(arguments)
        if place not in values
        and place != end
        and not _OVERRIDE.match(argument)
        and (argument[:1] != "-" or place > end or " " in argument or _is_file(argument))
    }


def _is_file(word: str) -> bool:
    r"""Return whether a word is a file that exists, or ends like the name of one.

    >>> _is_file("-intro.mp3"), _is_file("my.csv"), _is_file("--cfg=job"), _is_file("gtzan"), _is_file("-m")
    (True, True, False, False, False)
    """
    is_named_so = re.search(r"\.[A-Za-z][A-Za-z0-9]{1,6}(\.gz)?$", word) and not re.match(r"--?[a-z-]+=", word)
    return bool(is_named_so) or os.path.isfile(word)


def _of_words(bare: set[int], arguments: Sequence[str], keys: Keys) -> UserError:
    """Return the mistake of words without a key, with the right command where it is clear what the words mean."""
    first = min(bare)
    word = arguments[first]
    sign = next((arguments[place] for place in sorted(bare) if arguments[place].startswith("=")), "")
    if joined := _without_spaces(bare, arguments):
        return UserError(NOT_KEY_VALUE, key=sign or word, hint=f"write `{command_of(keys.script, joined)}`")
    if whole := _whole_path(bare, arguments):
        hint = f"a path with spaces has quotation marks: {shlex.quote(whole)}"
        return UserError(NOT_KEY_VALUE, key=word, hint=hint)
    if keys.script == "train" and (of_music := _of_music([arguments[place] for place in sorted(bare)], keys)):
        return of_music
    with_keys = [keys.with_key(text) if place in bare else [text] for place, text in enumerate(arguments)]
    if keys.script == "train" and not sign and not all(with_keys):
        hint = "write key=value without spaces, such as model=lstm, or a folder of recordings that exists"
        return UserError(NOT_KEY_VALUE, key=word, hint=hint)
    if sign or not all(with_keys):
        return of_form(sign or word)
    words = [text for own in with_keys for text in own if text != "--"]
    if keys.script == "evaluate" and not any(text.startswith(("checkpoint=", "runs=")) for text in words):
        words.insert(0, "checkpoint=PATH")
    return UserError(NOT_KEY_VALUE, key=word, hint=f"write `{command_of(keys.script, words)}`")


def _of_music(words: Sequence[str], keys: Keys) -> UserError | None:
    """Return the mistake of words in place of music to train on; ``None`` if they may mean something else."""
    word, folder = words[0], "a folder with one folder per genre"
    if len(words) > 1:
        if not all(map(_is_music, words)):
            return None
        hint = f"give {folder}, or a CSV of path and label that lists the recordings of both"
        return UserError("a training takes one folder or table of music", key=" ".join(words), hint=hint)
    if Path(word).suffix.lower() in AUDIO_SUFFIXES:
        hint = f"write `{command_name('hear')} {shlex.quote(word)}` for its genre; a training takes {folder}"
        return UserError("it is one recording", key=word, hint=hint)
    if not word or "=" in word or os.path.exists(word) or keys.with_key(word):
        return None
    hint = f"write key=value without spaces, such as model=lstm, or give {folder}"
    return UserError("it is neither key=value nor a folder that exists", key=word, hint=hint)


def _without_spaces(bare: set[int], arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the spaces around an equal sign; nothing if there are none.

    >>> _without_spaces({0, 1, 2}, ["slice", "=", "3"]), _without_spaces({1}, ["slice=", "3"])
    (['slice=3'], ['slice=3'])
    """
    words: list[str] = []
    is_open = False  # whether the last word is a key that waits for its value
    for place, argument in enumerate(arguments):
        is_bare = place in bare and not os.path.exists(argument)
        is_value = is_bare and place - 1 in bare and argument.startswith("=")
        if is_value or (place in bare and is_open):
            words[-1] += argument
        elif is_bare and (spaced := _SPACED.fullmatch(argument)):
            words.append("=".join(spaced.groups()))
        else:
            words.append(argument)
        is_open = words[-1].endswith("=") and _OVERRIDE.fullmatch(words[-1]) is not None
    is_right = words != list(arguments) and not is_open and all(word[:1] in "-~" or "=" in word[1:] for word in words)
    return words if is_right else []


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


def _check_path(argument: str) -> None:
    """Refuse an address, and blanks around the name of a file that exists without them."""
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    is_path = name in (TEXT_KEYS | TEXT_LISTS | TEXT_DICTS) - LABEL_KEYS and not name.startswith("hydra")
    if not (equals and is_path):
        key, value = ("", argument) if _ADDRESS.match(argument) else ("", "")
    if (address := _ADDRESS.search(value)) and not os.path.exists(value):
        parts = urlsplit(address[0])
        is_local = parts.scheme.lower() == "file"
        hint = f"write the path {unquote(parts.path)}" if is_local else "download it, and give the path of the file"
        about = {"key": key, "value": value} if key else {"key": argument}
        raise UserError("it is an address, not a path", hint=hint, **about)
    if value != value.strip() and not os.path.exists(value) and os.path.exists(value.strip()):
        hint = f"write {shlex.quote(f'{key}={value.strip()}')}"
        raise UserError("there are blanks around the name of the file", key=key, value=repr(value), hint=hint)


def _check_options(arguments: Sequence[str]) -> None:
    """Refuse what Hydra's own options cannot be; Hydra would print all its options."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        word = message.rpartition("unrecognized arguments: ")[2].split()[0] if "unrecognized" in message else None
        problem = "it is not an option" if word else message
        raise UserError(problem, key=word, hint="`--help` shows every option and key")

    parser.error = refuse  # type: ignore[method-assign]  # its own prints usage and exits
    if not {"--version", "--hydra-help"} & set(arguments):
        parser.parse_args(list(arguments))
