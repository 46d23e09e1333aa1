r"""Overrides as people write them: a path or a label is text, whatever characters its name has.

Hydra reads values by a grammar: brackets are lists, commas divide values of a sweep, ``1e5`` is a number, ``null`` is
nothing, and letters beyond ASCII need quotation marks. `with_literal_text` adds the marks that Hydra needs to read
exactly the text that was given. What Hydra reads so already stays as it is.
"""

import os
import re
from collections.abc import Sequence
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

from genregrid.config import LABEL_KEYS, TEXT_DICTS, TEXT_KEYS, TEXT_LISTS, TEXT_OR_NULL
from genregrid.files import home_expanded

_PARSER = OverridesParser.create()
# Hydra's QUOTED_VALUE: text in quotation marks, with an even number of backslashes before the last mark.
_QUOTED = r"(?:'(?:(?:\\\\)*|.*?[^\\](?:\\\\)*)'|\"(?:(?:\\\\)*|.*?[^\\](?:\\\\)*)\")"
_PART = re.compile(rf"\s*{_QUOTED}\s*(?=,|$)|[^,]+", re.DOTALL)
_BEFORE_NAME = re.compile(r",\s*(?=\w{2,}\s*:)")  # a letter alone is a drive of Windows


def with_literal_text(argument: str) -> str:
    r"""Quote the value of a key that takes a path or a label, so that Hydra reads it as it is written.

    A path that exists is that path, and ``~/`` at the start of another is the home folder. Otherwise ``choice(A,B)``, a
    list of quoted texts and a text that is quoted as a whole have Hydra's meaning, and so have ``A,B`` if both exist.

    >>> with_literal_text("audio=Song (Live), pt 1.wav"), with_literal_text("slice=3,6")
    ("audio='Song (Live), pt 1.wav'", 'slice=3,6')
    >>> print(with_literal_text("dataset.filtered={train:C:\\my lists\\a.txt,val:1e5,test:c}"))
    dataset.filtered={train:'C:\my lists\a.txt',val:'1e5',test:'c'}
    """
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    if not equals or name not in TEXT_KEYS | TEXT_LISTS | TEXT_DICTS:
        return argument
    if name.rpartition(".")[0] in TEXT_DICTS:
        key = f"++{name}"  # the dict may be null
    if name in TEXT_OR_NULL and value.lower() == "null":
        return argument
    if name in TEXT_KEYS - LABEL_KEYS:
        value = home_expanded(value)
    if name in TEXT_KEYS and os.path.exists(value):
        return f"{key}={quoted(_escaped(value))}"
    if name in TEXT_LISTS and value.startswith("[") and value.endswith("]"):
        return f"{key}={_list(value)}"
    if name in TEXT_DICTS and value.startswith("{") and value.endswith("}"):
        return f"{key}={_dict(value)}"
    return f"{key}={_text(value)}" if name in TEXT_KEYS else argument


def quoted(text: str) -> str:
    """Write text so that Hydra reads it as it is, without quotation marks where it needs none."""
    forms = (text, *(QuotedString(text, quote).with_quotes() for quote in Quote))
    return next((form for form in forms if _is_read_as(form, text)), forms[1])


def listed(texts: Sequence[str]) -> str:
    """Write texts as a list of which Hydra reads each as it is.

    >>> listed(["a", "b (1), c"])
    "['a','b (1), c']"
    """
    return f"[{','.join(QuotedString(text, Quote.single).with_quotes() for text in texts)}]"


def _escaped(path: str) -> str:
    r"""Escape expressions in the name of a file: ``a${b}`` is ``a\${b}``."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", path)


def _text(value: str) -> str:
    if _is_quoted(value):
        return value
    is_choice = value.startswith("choice(") and value.endswith(")")
    parts = _parts(value[7:-1] if is_choice else value) or []
    are_paths = len(parts) > 1 and (all(map(_is_quoted, parts)) or all(map(os.path.exists, parts)))
    if parts and (is_choice or are_paths):
        # not choice(...), in which Hydra forgets quotation marks
        return value if all(_is_read_as(part, part) for part in parts) else ",".join(map(_element, parts))
    return quoted(value)


def _list(value: str) -> str:
    parts = _parts(value[1:-1])
    if parts is None or re.search(r"\]\s*,\s*\[", value):  # several lists, or an error that Hydra reports
        return value
    parts = [*map(home_expanded, parts)]
    return _unless_read_so(value, parts, f"[{','.join(map(_element, parts))}]")


def _dict(value: str) -> str:
    items = [item.partition(":") for item in _BEFORE_NAME.split(value[1:-1])]
    texts = {name.strip(): home_expanded(text.strip()) for name, _, text in items}
    if not all(colon for _, colon, _ in items):
        return value
    written = ",".join(f"{name}:{_element(text)}" for name, text in texts.items())
    return _unless_read_so(value, texts, f"{{{written}}}")


def _unless_read_so(value: str, texts: Sequence[str] | dict[str, str], written: str) -> str:
    """Return the value itself if Hydra reads these texts from it."""
    return value if _is_read_as(value, texts) else written


def _element(text: str) -> str:
    return text if _is_quoted(text) else QuotedString(text, Quote.single).with_quotes()


def _parts(text: str) -> list[str] | None:
    """Divide text at the commas outside quotation marks; ``None`` if a part is empty."""
    parts = _PART.findall(text)
    return [part.strip() for part in parts] if ",".join(parts) == text else None


def _is_quoted(text: str) -> bool:
    read = _read(text)
    return read is not None and isinstance(read._value, QuotedString)


def _is_read_as(value: str, expected: object) -> bool:
    read = _read(value)
    return read is not None and not isinstance(read._value, ChoiceSweep) and read.value() == expected


@lru_cache(maxsize=256)
def _read(value: str) -> Override | None:
    """Return what Hydra reads; ``None`` if it cannot read it."""
    try:
        return _PARSER.parse_override(f"key={value}")
    except HydraException:
        return None
