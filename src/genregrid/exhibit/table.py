"""Tables, figures and sections of a report. A table keeps its numbers, whatever form it is written in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from genregrid.errors import printable
from genregrid.exhibit.mark import Mark, union
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.files import write_text

Form = Literal["text", "count", "seconds", "percent", "points", "decimal", "fine", "p", "share", "audio"]


@dataclass(frozen=True)
class Column:
    """How one column of a table is written.

    Attributes:
        name: of the frame's column. If the frame also has ``<name>_low`` and ``<name>_high``, the 95 % interval follows
            in brackets, or where there is none the text of ``<name>_why``. For a `share`, it is the count
            ``<name>_num``.
        title: the heading.
        form: ``text``; ``count``, a whole number; ``seconds``, with their unit; ``percent``, a fraction written in per
            cent; ``points``, a difference of fractions in signed percentage points; ``decimal`` and ``fine``, two
            and three decimals; ``p``, a p-value; ``share``, a fraction in per cent, shaded by its size; ``audio``,
            the URL of a recording.
    """

    name: str
    title: str
    form: Form = "text"


def columns(form: Form = "text", /, **titles: str) -> list[Column]:
    """Make columns of one form, from their titles by name."""
    return [Column(name, title, form) for name, title in titles.items()]


class Shown(NamedTuple):
    """A cell as a reader sees it: the value, and in brackets the interval or the count; either may be empty."""

    text: str
    beside: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: file name without suffix, and the anchor in a page.
        title: one line.
        frame: the numbers; written as CSV, to six digits.
        columns: the columns that are shown, in order.
        note: what a reader must know: what the numbers are, their unit, n, the protocol, how to read them.
        row_marks: the marks of each row, such as ``(Mark.LEAKS,)``; empty if no row has any. They are shown after the
            first column, and are the last column of the CSV.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    note: str = ""
    row_marks: Sequence[Sequence[Mark]] = ()

    def __post_init__(self) -> None:
        if len(self.row_marks) not in (0, len(self.frame)):
            raise ValueError(f"table {self.name} has {len(self.frame)} rows, and marks for {len(self.row_marks)}")

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every mark of any row, once."""
        return union(self.row_marks)

    @cached_property
    def data(self) -> pd.DataFrame:
        """The frame, with the column `marks` if any row has a mark; this is what the CSV holds."""
        reasons = {name: self.frame[name].fillna("") for name in self.frame if str(name).endswith("_why")}
        marks = {"marks": [" ".join(row) for row in self.row_marks]} if self.marks else {}
        return self.frame.assign(**reasons, **marks)

    @cached_property
    def parts(self) -> list[list[Shown]]:
        """The shown cells, row by row, without the marks."""
        return [[_shown(row, column) for column in self.columns] for row in self.frame.to_dict(orient="records")]

    @cached_property
    def cells(self) -> list[list[str]]:
        """The shown cells as text, row by row, with the marks; empty where a value is missing."""
        rows = [[" ".join(filter(None, part)) for part in row] for row in self.parts]
        if self.marks:
            rows = [[row[0], mark, *row[1:]] for row, mark in zip(rows, self.data["marks"], strict=True)]
        return rows

    @property
    def _all_columns(self) -> tuple[Column, ...]:
        return (self.columns[0], Column("marks", "marks"), *self.columns[1:]) if self.marks else self.columns

    def text(self) -> str:
        """Write the table for a terminal."""
        titles = [column.title for column in self._all_columns]
        cells = [[printable(cell) for cell in row] for row in self.cells]
        return str(pd.DataFrame(cells, columns=[printable(title) for title in titles]).to_string(index=False))

    def markdown(self) -> str:
        """Write the table in Markdown, with its title above and its note below; their text is never markup."""
        columns = [(number, column) for number, column in enumerate(self._all_columns) if column.form != "audio"]
        lines = [
            "| " + " | ".join(_escaped(column.title) for _, column in columns) + " |",
            "|" + "|".join("---" if column.form == "text" else "---:" for _, column in columns) + "|",
            *("| " + " | ".join(_escaped(row[number]) for number, _ in columns) + " |" for row in self.cells),
        ]
        note = ["", _paragraph(self.note)] if self.note else []
        return "\n".join([f"### {_escaped(self.title)}", "", *lines, *note, ""])

    def write(self, folder: Path) -> None:
        """Write ``<name>.csv`` (numbers, to six digits) and ``<name>.md`` into a folder that exists."""
        write_csv(self.data, folder / f"{self.name}.csv", index=False, float_format="%.6g")
        write_text(folder / f"{self.name}.md", self.markdown())


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        name: as in `Table`, like title and note.
        svg: the drawing, an ``<svg>`` element with `alt` as its label, made by `genregrid.exhibit.drawing.finished`.
        alt: a description for readers who cannot see it.
        marks: the warnings for all that it shows; they are written in the drawing too.
    """

    name: str
    title: str
    svg: str
    alt: str
    note: str = ""
    marks: tuple[Mark, ...] = ()

    def write(self, folder: Path) -> None:
        """Write ``<name>.svg`` into a folder that exists."""
        write_text(folder / f"{self.name}.svg", self.svg)


Exhibit = Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of a report; `name` is its anchor in a page, and an empty line in `text` starts a new paragraph."""

    name: str
    title: str
    text: str
    exhibits: tuple[Exhibit, ...] = ()


def _shown(row: dict[Any, Any], column: Column) -> Shown:
    value = row[column.name]
    if pd.isna(value):
        return Shown("")
    low, high = row.get(f"{column.name}_low"), row.get(f"{column.name}_high")
    beside = ""
    if not (pd.isna(low) or pd.isna(high)):
        beside = f"({written(low, column.form)} to {written(high, column.form)})"
    elif isinstance(why := row.get(f"{column.name}_why"), str) and why:
        beside = f"({why})"
    elif column.form == "share" and f"{column.name}_num" in row:
        beside = f"({row[f'{column.name}_num']:.0f})"
    return Shown(written(value, column.form), beside)


def written(value: Any, form: Form) -> str:
    """Write one value as a reader sees it.

    >>> written(0.7254, "percent"), written(-0.021, "points"), written(0.00004, "p"), written(3.0, "count")
    ('72.5', '-2.1', '< 0.001', '3')
    """
    match form:
        case "count":
            return f"{value:.0f}"
        case "seconds":
            return f"{value:g} s"
        case "percent" | "share":
            return f"{100 * value:.1f}"
        case "points":
            return f"{round(100 * value, 1) + 0.0:+.1f}"  # adding 0.0 turns -0.0 into 0.0
        case "decimal":
            return f"{round(value, 2) + 0.0:.2f}"
        case "fine":
            return f"{value:.3f}"
        case "p":
            return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return str(value)


_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_BLANK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")  # what some program takes for the end of a line


def _escaped(text: str) -> str:
    r"""Escape text that Markdown or HTML would take for markup; underscores within words are none.

    >>> print(_escaped("<b>|[x](javascript:y)"), _escaped("model.hidden_size=8, < 0.001"))
    &lt;b&gt;\|\[x\](javascript:y) model.hidden_size=8, < 0.001
    """
    text = _BLANK.sub(" ", text).replace("&", "&amp;")
    text = re.sub("<(?! [0-9])", "&lt;", text).replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", text)


def _paragraph(text: str) -> str:
    r"""Escape text on a line of its own, which is no heading, list or rule.

    >>> print(_paragraph("# a"), _paragraph("1. b"))
    \# a 1\. b
    """
    return re.sub(r"^(\d*)([-+#.)])", r"\1\\\2", _escaped(text).strip())
