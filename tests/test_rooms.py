"""Claims about the package as a whole: its rooms, their size, and the words of its text. Imports: lint-imports."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "genregrid"
TOP_LEVEL = {
    "__init__.py",
    "__main__.py",
    "config.py",
    "errors.py",
    "files.py",
    "name.py",
    "program.py",
    "py.typed",
    "stream.py",
}
LARGEST_SHARE = 0.15
# Words of a private dialect that readers had to decode; CONTRIBUTING.md names the plain ones.
DIALECT = re.compile(r"\b(said|told|tell|say|says|heard|behind|stands?)\b", re.IGNORECASE)
MOST_DIALECT_LINES = 25


def lines_of(folder: Path) -> list[str]:
    return [line for path in sorted(folder.rglob("*.py")) for line in path.read_text(encoding="utf-8").splitlines()]


def rooms() -> list[Path]:
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def test_nothing_lies_loose_on_the_top_level() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == TOP_LEVEL


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_no_room_holds_more_than_its_share_of_the_package(room: Path) -> None:
    share = len(lines_of(room)) / len(lines_of(PACKAGE))
    assert share <= LARGEST_SHARE, f"{room.name} holds {100 * share:.1f} % of the package's lines"


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_every_room_has_a_docstring(room: Path) -> None:
    assert (room / "__init__.py").read_text(encoding="utf-8").startswith('"""')


def test_the_text_of_the_sources_is_plain() -> None:
    found = [line for line in lines_of(PACKAGE.parent) if DIALECT.search(line)]
    assert len(found) < MOST_DIALECT_LINES, "\n".join(found)
