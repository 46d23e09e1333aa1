"""A report as one HTML file: it asks for nothing outside itself but recordings, and reads without its script too."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from genregrid.exhibit.table import Column, Figure, Section, Table

_TEMPLATE = Path(__file__).parent / "template"
_LEAKS = re.compile(r"\bLEAKS\b")
_OWN_ANCHORS = ("main", "contents", "theme", "listening-test", "listening-data")


def render_page(
    title: str,
    subtitle: str,
    marks: Sequence[str],
    sections: Sequence[Section],
    listening: Sequence[dict[str, Any]] = (),
    genres: Sequence[str] = (),
) -> str:
    """Write a report as one self-contained HTML page.

    Args:
        title: of the page.
        subtitle: one line below it.
        marks: loud words that hold for the whole page, such as ``LEAKS`` and ``SYNTHETIC``.
        sections: the report, in order. Anchors are the names of sections and exhibits; a name that comes twice is
            numbered.
        listening: slices of the listening test, which is left out where there are none. Keys: ``track``,
            ``start_seconds``, ``stop_seconds``, ``audio`` (URL without fragment), ``genre``, ``model``, ``predicted``,
            ``certainty`` (decades).
        genres: what the listening test offers, in order; by default the names that occur in `listening`, sorted.
    """
    offered = list(genres) or sorted({item[key] for item in listening for key in ("genre", "predicted")})
    items = [{key: _plain(value) for key, value in item.items()} for item in listening]
    # Base64, so that a glance at the source tells no answer, and no name can end the script element. It keeps nothing
    # from those who decode it: whoever cheats in a listening test cheats themselves.
    data = base64.b64encode(json.dumps({"genres": offered, "items": items}).encode()).decode()
    script = (_TEMPLATE / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["loud"] = _loud
    return environment.get_template("report.html").render(
        title=title,
        subtitle=subtitle,
        marks=marks,
        sections=_arranged(sections),
        listening=Markup(data) if items else "",
        listening_key=hashlib.sha256(data.encode()).hexdigest()[:16],
        num_listening=len(items),
        style=Markup((_TEMPLATE / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


class _Head(NamedTuple):
    """A column of a table, and how it is set.

    Attributes:
        column: the column.
        more: suffixes of the columns that stand in brackets behind it.
        css: its classes.
    """

    column: Column
    more: list[str]
    css: str


def _arranged(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Sections as the template takes them: every anchor once, tables and figures numbered through the page."""
    taken = set(_OWN_ANCHORS)
    count = {"Table": 0, "Figure": 0}
    arranged = []
    for section in sections:
        shown: dict[str, Any] = {"anchor": _anchor(section.name, taken), "title": section.title, "exhibits": []}
        shown["paragraphs"] = [text.strip() for text in re.split(r"\n\s*\n", section.text) if text.strip()]
        for exhibit in section.exhibits:
            kind, anchor = type(exhibit).__name__, _anchor(exhibit.name, taken)
            count[kind] += 1
            about = {"anchor": anchor, "label": f"{kind} {count[kind]}", "title": exhibit.title, "note": exhibit.note}
            if isinstance(exhibit, Table):
                shown["exhibits"].append(about | {"heads": _heads(exhibit), "rows": _rows(exhibit)})
            else:
                shown["exhibits"].append(about | {"svg": _inlined(exhibit, anchor)})
        arranged.append(shown)
    return arranged


def _anchor(name: str, taken: set[str]) -> str:
    """An id that is not taken yet, of letters, digits, ``_`` and ``-``: ids derived from it carry a dot.

    >>> taken = set()
    >>> _anchor("by genre", taken), _anchor("by genre", taken), _anchor("runs", taken)
    ('by-genre', 'by-genre-2', 'runs')
    """
    stem = anchor = re.sub(r"[^\w-]+", "-", name)
    number = 1
    while anchor in taken:
        number += 1
        anchor = f"{stem}-{number}"
    taken.add(anchor)
    return anchor


def _heads(table: Table) -> list[_Head]:
    heads = []
    for column in table.columns:
        if column.form in ("text", "audio"):
            heads.append(_Head(column, [], column.form))
        else:
            suffixes = ["low", "high", *(["num"] if column.form == "share" else [])]
            more = [suffix for suffix in suffixes if f"{column.name}_{suffix}" in table.frame.columns]
            heads.append(_Head(column, more, f"{column.form} numeric"))
    return heads


def _rows(table: Table) -> list[tuple[bool, list[Markup]]]:
    """Whether a row leaks, and its cells."""
    columns = [_cells(table, head, place) for place, head in enumerate(_heads(table))]
    leaks = [any(_LEAKS.search(text) for text in row) for row in table.cells]
    return list(zip(leaks, map(list, zip(*columns, strict=True)), strict=True))


def _cells(table: Table, head: _Head, place: int) -> list[Markup]:
    """The cells of one column: what is shown, and unrounded to sort by and to save."""
    name, form = head.column.name, head.column.form
    texts = [row[place] for row in table.cells]
    values = [_raw(value) for value in table.frame[name].tolist()]
    if form == "text":
        tag = 'th scope="row"' if place == 0 else "td"
        return [_cell(tag, head.css, value, _loud(text)) for value, text in zip(values, texts, strict=True)]
    if form == "audio":
        link = Markup('<a class="play" href="{}">play</a>')
        return [_cell("td", head.css, "", link.format(text) if text else "") for text in texts]
    parts = [text.replace("-", "\N{MINUS SIGN}").partition(" (") for text in texts]
    besides = _aligned([bracket.strip() + rest for _, bracket, rest in parts])
    behind = [map(_raw, table.frame[f"{name}_{suffix}"].tolist()) for suffix in head.more]
    more = [" ".join(each) for each in zip(*behind, strict=True)] if behind else [""] * len(texts)
    cells = []
    for (text, _, _), beside, value, others in zip(parts, besides, values, more, strict=True):
        inner = escape(text) + (Markup('<span class="beside">{}</span>').format(beside) if beside else "")
        about = f' data-more="{others}"' if beside else ""
        about += f' style="--share: {value}"' if form == "share" and value else ""
        cells.append(_cell("td", head.css, value, inner, about))
    return cells


def _cell(tag: str, css: str, value: str, inner: str, about: str = "") -> Markup:
    raw = f' data-value="{value}"' if value else ""
    return Markup(f'<{tag} class="{css}"{raw}{about}>{inner}</{tag[:2]}>')


def _aligned(texts: list[str]) -> list[str]:
    """Words of equal width from row to row, so that what stands before them is aligned too.

    >>> [text.replace("\N{FIGURE SPACE}", "_") for text in _aligned(["(9.5 to 11.0)", "", "(10.1 to 12.0)"])]
    ['_(9.5 to 11.0)', '', '(10.1 to 12.0)']
    """
    split = [text.split(" ") for text in texts]
    widths = [max(map(len, words)) for words in zip_longest(*split, fillvalue="")]
    fill = "\N{FIGURE SPACE}"
    return [
        " ".join(word.rjust(width, fill) for word, width in zip(words, widths, strict=False)) if any(words) else ""
        for words in split
    ]


def _raw(value: Any) -> str:
    """A number as the table's CSV has it, in words that a script reads; empty for anything else.

    >>> _raw(0.123456789), _raw(1234567), _raw(float("inf")), _raw(float("nan")), _raw("rock")
    ('0.123457', '1234567', 'Infinity', '', '')
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return ""
    return f"{value}" if isinstance(value, int) else f"{value:.6g}".replace("inf", "Infinity")


def _plain(value: Any) -> Any:
    """A value as JSON knows it, which has neither NumPy's scalars nor NaN."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _loud(text: str) -> Markup:
    """Text in which the word LEAKS cannot be overlooked."""
    return Markup(_LEAKS.sub('<mark class="leaks">LEAKS</mark>', str(escape(text))))


def _inlined(figure: Figure, anchor: str) -> Markup:
    """A drawing as a part of the page: named, with ids and rules of its own, black as the page's text colour."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", figure.svg, flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{anchor}.', svg)
    svg = re.sub(r'(\bhref="#|url\(["\']?#)', rf"\g<1>{anchor}.", svg)
    # a style element of an inlined drawing holds for the whole page; matplotlib's begins with `*`
    svg = re.sub(r"<style[^>]*>(.*?)</style>", rf'<style>[id="{anchor}"] svg {{\1}}</style>', svg, flags=re.DOTALL)
    svg = re.sub(r'\b(fill|stroke|stop-color)(\s*[:=]\s*"?)(#000000|#000|black)\b', r"\1\2currentColor", svg)
    root, end, rest = svg.partition(">")
    root = re.sub(r'\s(role|aria-label)="[^"]*"', "", root)
    return Markup(f'{root} role="img" aria-label="{escape(figure.alt)}"{end}{rest.strip()}')
