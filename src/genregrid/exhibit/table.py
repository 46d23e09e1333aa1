"""What a report shows: tables, which keep their numbers whatever form they are read in, and figures."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

Form = Literal["text", "count", "seconds", "percent", "points", "decimal", "fine", "p", "share", "audio"]


@dataclass(frozen=True)
class Column:
    """How one column of a table is written.

    Attributes:
        name: of the frame's column. Where the frame also has ``<name>_low`` and ``<name>_high``, they follow in
            brackets as the 95 % interval; for a `share`, ``<name>_num`` follows as the count behind it.
        title: what stands above it.
        form: ``text``; ``count``, a whole number; ``seconds``, with their unit; ``percent``, a fraction written in per
            cent; ``points``, a difference of fractions in signed percentage points; ``decimal`` and ``fine``, two
            and three decimals; ``p``, a p-value; ``share``, a fraction in per cent, shaded by its size; ``audio``,
            the URL of a recording.
    """

    name: str
    title: str
    form: Form = "text"


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: file name without suffix, and the anchor in a page.
        title: one line.
        frame: the numbers; written as CSV, to six digits.
        columns: what is shown of them, in order.
        note: what a reader must know: unit, n, protocol, how to read it.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    note: str = ""

    @cached_property
    def cells(self) -> list[list[str]]:
        """What is shown, row by row; empty where a value is missing."""
        return [[_written(row, column) for column in self.columns] for row in self.frame.to_dict(orient="records")]

    def text(self) -> str:
        """The table as a screen shows it."""
        return str(pd.DataFrame(self.cells, columns=[column.title for column in self.columns]).to_string(index=False))

    def markdown(self) -> str:
        """The table in Markdown, its title above and its note below."""
        columns = [column for column in self.columns if column.form != "audio"]
        place = [self.columns.index(column) for column in columns]
        lines = [
            "| " + " | ".join(_escaped(column.title) for column in columns) + " |",
            "|" + "|".join("---" if column.form == "text" else "---:" for column in columns) + "|",
            *("| " + " | ".join(_escaped(row[number]) for number in place) + " |" for row in self.cells),
        ]
        return "\n".join([f"### {self.title}", "", *lines, *(["", self.note] if self.note else []), ""])

    def write(self, folder: Path) -> None:
        """Write ``<name>.csv`` (numbers, to six digits) and ``<name>.md`` into a folder that exists."""
        self.frame.to_csv(folder / f"{self.name}.csv", index=False, float_format="%.6g")
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        name: file name without suffix, and the anchor in a page.
        title: one line.
        svg: the drawing, an ``<svg>`` element; what is drawn in black takes the page's text colour.
        alt: what it shows, for those who do not see it.
        note: what a reader must know.
    """

    name: str
    title: str
    svg: str
    alt: str
    note: str = ""

    def write(self, folder: Path) -> None:
        """Write ``<name>.svg`` into a folder that exists."""
        (folder / f"{self.name}.svg").write_text(self.svg, encoding="utf-8")


Exhibit = Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        name: the anchor in a page.
        title: its heading.
        text: what it says, in plain sentences; paragraphs are divided by an empty line.
        exhibits: tables and figures in order.
    """

    name: str
    title: str
    text: str
    exhibits: tuple[Exhibit, ...] = ()


def _written(row: dict[Any, Any], column: Column) -> str:
    value = row[column.name]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = written(value, column.form)
    low, high = row.get(f"{column.name}_low"), row.get(f"{column.name}_high")
    if low is not None and high is not None and not math.isnan(low + high):
        text += f" ({written(low, column.form)} to {written(high, column.form)})"
    if column.form == "share":
        text += f" ({row[f'{column.name}_num']:.0f})" if f"{column.name}_num" in row else ""
    return text


def written(value: Any, form: Form) -> str:
    """One value as a reader sees it.

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
            return f"{round(100 * value, 1) + 0.0:+.1f}"  # + 0.0: a zero has no minus
        case "decimal":
            return f"{round(value, 2) + 0.0:.2f}"
        case "fine":
            return f"{value:.3f}"
        case "p":
            return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return str(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
