"""A report as one HTML file. It loads nothing from elsewhere but recordings, and can be read without its script."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Column, Figure, Section, Table
from genregrid.program import command_name

_TEMPLATE = Path(__file__).parent / "template"
_OWN_ANCHORS = ("main", "contents", "theme", "listening-test", "listening-data")
_MINUS, _FIGURE_SPACE = "\N{MINUS SIGN}", "\N{FIGURE SPACE}"


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
        marks: the warnings below the title.
        sections: in order. Their names and those of exhibits become anchors; a repeated name is numbered.
        listening: slices of the listening test, which is left out if there are none. Keys: ``track``,
            ``start_seconds``, ``stop_seconds``, ``audio`` (URL without fragment), ``genre``, ``model``, ``predicted``,
            ``certainty`` (decades).
        genres: the choices of the listening test, in order; by default the genres in `listening`, sorted.
    """
    offered = list(genres) or sorted({item[key] for item in listening for key in ("genre", "predicted")})
    items = [{key: _json_value(value) for key, value in item.items()} for item in listening]
    # Base64 hides the answers from a glance at the source, and no name can end the script element.
    data = base64.b64encode(json.dumps({"genres": offered, "items": items}).encode()).decode()
    style, script = Inlined.of("base.css", "report.css"), Inlined.of("base.js", "report.js")
    return template("report.html").render(
        title=title,
        subtitle=subtitle,
        marks=marks,
        sections=_page_sections(sections),
        listening=Markup(data) if items else "",
        listening_key=hashlib.sha256(data.encode()).hexdigest()[:16],
        num_listening=len(items),
        evaluate=command_name("evaluate"),
        style=Markup(style.text),
        script=Markup(script.text),
        script_hash=script.digest,
    )


class Inlined(NamedTuple):
    """Style or script that a page holds itself, and its hash, by which a Content-Security-Policy allows it."""

    text: str
    digest: str  # base64 of sha256

    @classmethod
    def of(cls, *names: str, folder: Path = _TEMPLATE) -> Self:
        """Join files of `folder` or, if they are not there, of this room's own templates."""
        paths = (folder / name if (folder / name).is_file() else _TEMPLATE / name for name in names)
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        return cls(text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())


def template(name: str, folder: Path = _TEMPLATE) -> Template:
    """Load a template of HTML, in which values are escaped and must be given; it may include those of this room."""
    blocks: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATE]), autoescape=True, undefined=StrictUndefined, **blocks
    )
    return environment.get_template(name)


class _Head(NamedTuple):
    """The heading of a column of a table."""

    column: Column
    suffixes: list[str]  # of the frame's columns that are shown in brackets
    css: str  # its classes


def _page_sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return sections for the template: each anchor occurs once; tables and figures are numbered through the page."""
    taken = set(_OWN_ANCHORS)
    numbers = {"Table": count(1), "Figure": count(1)}
    shown_sections = []
    for section in sections:
        shown: dict[str, Any] = {"anchor": _anchor(section.name, taken), "title": section.title, "exhibits": []}
        shown["paragraphs"] = [text.strip() for text in re.split(r"\n\s*\n", section.text) if text.strip()]
        for exhibit in section.exhibits:
            kind, anchor = type(exhibit).__name__, _anchor(exhibit.name, taken)
            about: dict[str, Any] = {"anchor": anchor, "label": f"{kind} {next(numbers[kind])}"}
            about |= {"marks": exhibit.marks, "title": exhibit.title, "note": exhibit.note}
            if isinstance(exhibit, Table):
                heads = _heads(exhibit)
                shown["exhibits"].append(about | {"heads": heads, "rows": _rows(exhibit, heads)})
            else:
                shown["exhibits"].append(about | {"svg": _inlined(exhibit, anchor)})
        shown_sections.append(shown)
    return shown_sections


def _anchor(name: str, taken: set[str]) -> str:
    """Make an unused id of letters, digits, ``_`` and ``-``; ids derived from it have a dot.

    >>> taken = set()
    >>> _anchor("by genre", taken), _anchor("by genre", taken), _anchor("runs", taken)
    ('by-genre', 'by-genre-2', 'runs')
    """
    stem = re.sub(r"[^\w-]+", "-", name)
    candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
    anchor = next(one for one in candidates if one not in taken)
    taken.add(anchor)
    return anchor


def _heads(table: Table) -> list[_Head]:
    heads = []
    for column in table.columns:
        is_number = column.form not in ("text", "audio")
        beside = ("low", "high", "num") if column.form == "share" else ("low", "high")
        suffixes = [name for name in beside if is_number and f"{column.name}_{name}" in table.frame]
        heads.append(_Head(column, suffixes, f"{column.form} numeric" if is_number else column.form))
    return heads


def _rows(table: Table, heads: Sequence[_Head]) -> list[tuple[Sequence[Mark], list[Markup]]]:
    """Return the marks of each row, and its cells."""
    columns = [_column_cells(table, head, number) for number, head in enumerate(heads)]
    row_marks = table.row_marks or [()] * len(table.frame)
    return list(zip(row_marks, map(list, zip(*columns, strict=True)), strict=True))


def _column_cells(table: Table, head: _Head, number: int) -> list[Markup]:
    """Make the cells of one column: the shown text, and the unrounded value, by which a script sorts and saves."""
    name, form = head.column.name, head.column.form
    parts = [row[number] for row in table.parts]
    values = [_raw(value) for value in table.frame[name].tolist()]
    if form == "text":
        tag = 'th scope="row"' if number == 0 else "td"
        return [_cell(tag, head.css, value, escape(part.text)) for value, part in zip(values, parts, strict=True)]
    if form == "audio":
        link = Markup('<a class="play" href="{}">play</a>')
        return [_cell("td", head.css, "", link.format(part.text) if part.text else "") for part in parts]
    width = max((len(part.beside) for part in parts), default=0)
    others = [[_raw(value) for value in table.frame[f"{name}_{suffix}"].tolist()] for suffix in head.suffixes]
    cells = []
    for row, (part, value) in enumerate(zip(parts, values, strict=True)):
        inner, attributes = escape(part.text.replace("-", _MINUS)), ""
        if part.beside:  # of one width in all rows, so that the values before them are aligned
            beside = part.beside.replace("-", _MINUS).rjust(width, _FIGURE_SPACE)
            inner += Markup('<span class="beside">{}</span>').format(beside)
            attributes = f' data-more="{" ".join(other[row] for other in others)}"'
        attributes += f' style="--share: {value}"' if form == "share" and value else ""
        cells.append(_cell("td", head.css, value, inner, attributes))
    return cells


def _cell(tag: str, css: str, value: str, inner: str, attributes: str = "") -> Markup:
    raw = f' data-value="{value}"' if value else ""
    return Markup(f'<{tag} class="{css}"{raw}{attributes}>{inner}</{tag[:2]}>')


def _raw(value: Any) -> str:
    """Write a number as in the table's CSV, in a form that a script reads; empty for anything else.

    >>> _raw(0.123456789), _raw(1234567), _raw(float("inf")), _raw(float("nan")), _raw("rock")
    ('0.123457', '1234567', 'Infinity', '', '')
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return ""
    return f"{value}" if isinstance(value, int) else f"{value:.6g}".replace("inf", "Infinity")


def _json_value(value: Any) -> Any:
    """Convert a NumPy scalar to Python's, and a number that is not finite to ``None``: JSON has neither."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _inlined(figure: Figure, anchor: str) -> Markup:
    """Return a drawing as a part of the page: its ids get the anchor as a prefix, so that figures do not share ids."""
    svg = re.sub(r'\bid="', f'id="{anchor}.', figure.svg)
    return Markup(re.sub(r'(\bhref="#|url\(["\']?#)', rf"\g<1>{anchor}.", svg))
