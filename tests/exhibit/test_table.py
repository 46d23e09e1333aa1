"""A table's numbers are the same in every form, and what is missing is empty."""

from pathlib import Path

import numpy as np
import pandas as pd

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


def test_markdown_has_one_line_a_row_and_no_players() -> None:
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
