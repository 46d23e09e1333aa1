"""genregrid.exhibit.spreadsheet: no formulas in our CSVs, and nothing lost."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genregrid.exhibit.spreadsheet import guarded, parse_csv, unguarded, write_csv

BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@given(st.text(alphabet=st.sampled_from(f"'{BEGINNINGS}a1.")) | st.text())
def test_guarded_text_runs_nowhere_and_reads_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    is_number = text[:1] in "+-" and cell == text
    assert is_number or cell[:1] not in BEGINNINGS or not cell


def test_a_table_keeps_cells_names_and_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=x": ["@a", "b"], "n": [-1.5, 2.0]}, index=["+c", "'=d"])
    write_csv(frame, tmp_path / "t.csv", index_label="genre")
    text = (tmp_path / "t.csv").read_text()
    assert text == "genre,'=x,n\n'+c,'@a,-1.5\n''=d,b,2.0\n"
    back = parse_csv(text.encode(), "t.csv", text=["genre"])
    assert back.set_index("genre").to_dict() == frame.to_dict()


def test_a_mixed_column_is_guarded_too(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"value": [1, "=1+1", None]}), tmp_path / "t.csv", index=False)
    assert (tmp_path / "t.csv").read_text() == 'value\n1\n\'=1+1\n""\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,a\n1,2\n",
        b"a,b\n1,2,3\n",
        b"a,b\n1,2\n1,2,3\n",
        b'a,b\n"x,2\n3,4\n',
        b"a,b\n\xff,1\n",
        b"a,b\n\0,1\n",
        "a,b\n1,2\n".encode("utf-16"),
        b",".join(b"c%d" % number for number in range(10**5)) + b"\n1\n",
        b"x" * 10**7,
        b"a,b\n" + b"y" * 10**5 + b",1\n",
    ],
)
def test_what_is_no_csv_is_refused_by_name(
    content: bytes, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error("file", hint="out"):
        parse_csv(content, "file", hint="out")
