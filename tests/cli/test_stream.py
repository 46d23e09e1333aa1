"""Standard streams that are closed, or whose reader has ended, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

# opens a file as a library would, then prints more than a pipe holds
_PROGRAM = """
import os, sys
from genregrid.stream import safe_streams
with safe_streams():
    file = open("result.txt", "w")
    for _ in range(20_000):
        print("a line of output")
        print("a line of errors", file=sys.stderr)
    sys.stdout.flush()
    os.write(1, b"what a library prints")
    os.write(2, b"what a library prints")
    print("\\u266b \\ud800", sys.stdin and sys.stdin.read(1))
    file.write("whole")
    file.close()
"""


@pytest.mark.parametrize(
    "redirected",
    [
        "",
        ">&-",
        "2>&-",
        "<&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        "| true",
        "2>&1 | true",
        "2>&1 >/dev/null | true",
        "| head -n 1",
    ],
)
def test_streams_that_are_closed_or_have_no_reader_change_no_result(redirected: str, tmp_path: Path) -> None:
    shell = f'{{ "$@"; echo $? > code.txt; }} {redirected}'
    words = ["sh", "-c", shell, "sh", sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        words, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert (tmp_path / "code.txt").read_text() == "0\n", done.stderr
    assert (tmp_path / "result.txt").read_text() == "whole"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
