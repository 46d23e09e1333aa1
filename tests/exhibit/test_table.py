"""A table has the same numbers and marks in every form, and missing values are empty."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Column, Table

FRAME = pd.DataFrame(
    {
        "name": ["a|b", "c\nd"],
        "accuracy": [0.6543, np.nan],
        "accuracy_low": [0.6, np.nan],
        "accuracy_high": [0.7, np.nan],
        "change": [-0.0004, 0.123],
        "audio": ["x.wav", None],
        "blues": [0.25, np.nan],
        "blues_num": [3, 0],
    }
)
COLUMNS = (
    Column("name", "name"),
    Column("accuracy", "accuracy %", "percent"),
    Column("change", "change", "points"),
    Column("audio", "listen", "audio"),
    Column("blues", "as blues %", "share"),
)


def test_cells_have_units_intervals_counts_and_gaps() -> None:
    table = Table("t", "Title", FRAME, COLUMNS)
    assert table.cells == [
        ["a|b", "65.4 (60.0 to 70.0)", "+0.0", "x.wav", "25.0 (3)"],
        ["c\nd", "", "+12.3", "", ""],
    ]


def test_a_score_without_an_interval_has_the_reason_in_its_place() -> None:
    frame = FRAME.assign(accuracy=0.6543, accuracy_low=np.nan, accuracy_high=np.nan, accuracy_why=["2 artists", np.nan])
    table = Table("t", "Title", frame, COLUMNS)
    assert [row[1] for row in table.cells] == ["65.4 (2 artists)", "65.4"]
    assert "| 65.4 (2 artists) |" in table.markdown()


def test_markdown_has_one_line_per_row_and_no_recordings() -> None:
    lines = Table("t", "Title", FRAME, COLUMNS, "A note.").markdown().splitlines()
    assert lines == [
        "### Title",
        "",
        "| name | accuracy % | change | as blues % |",
        "|---|---:|---:|---:|",
        r"| a\|b | 65.4 (60.0 to 70.0) | +0.0 | 25.0 (3) |",
        "| c d |  | +12.3 |  |",
        "",
        "A note.",
    ]


def test_the_csv_keeps_numbers_and_intervals(tmp_path: Path) -> None:
    Table("t", "Title", FRAME, COLUMNS).write(tmp_path)
    read = pd.read_csv(tmp_path / "t.csv")
    assert read["accuracy"][0] == 0.6543
    assert read["accuracy_low"][0] == 0.6


def test_marks_of_rows_are_in_every_form(tmp_path: Path) -> None:
    table = Table("t", "Title", FRAME, COLUMNS, row_marks=[(), (Mark.SYNTHETIC, Mark.LEAKS)])
    assert table.marks == (Mark.LEAKS, Mark.SYNTHETIC)
    assert [row[1] for row in table.cells] == ["", "SYNTHETIC LEAKS"]
    assert "SYNTHETIC LEAKS" in table.text()
    assert table.markdown().splitlines()[5] == "| c d | SYNTHETIC LEAKS |  | +12.3 |  |"
    table.write(tmp_path)
    assert pd.read_csv(tmp_path / "t.csv")["marks"].fillna("").tolist() == ["", "SYNTHETIC LEAKS"]


def test_a_table_without_marks_has_no_column_for_them(tmp_path: Path) -> None:
    table = Table("t", "Title", FRAME, COLUMNS, row_marks=[(), ()])
    table.write(tmp_path)
    assert list(pd.read_csv(tmp_path / "t.csv")) == list(FRAME)
    assert "marks" not in table.text() + table.markdown()


def test_marks_must_be_as_many_as_rows() -> None:
    with pytest.raises(ValueError, match="2 rows, and marks for 1"):
        Table("t", "Title", FRAME, COLUMNS, row_marks=[()])


def test_markdown_has_no_markup_of_a_name() -> None:
    name = "# <img src=x>|[a](javascript:b)`c`\n\n- d"
    table = Table(name="t", title=name, frame=pd.DataFrame({"x": [name]}), columns=(Column("x", name),), note=name)
    lines = table.markdown().splitlines()
    assert len(lines) == 7
    assert not any("<" in line or "](" in line.replace("\\](", "") for line in lines)
    assert [line.count("|") - line.count("\\|") for line in lines[2:5]] == [2, 2, 2]
    assert lines[6].startswith("\\#")


def test_no_control_character_of_a_name_reaches_a_terminal() -> None:
    table = Table("t", "t", pd.DataFrame({"x": ["\x1b[31mred"]}), (Column("x", "\x1b]0;y"),))
    assert "\x1b" not in table.text()
