"""Claims about `genregrid.name`: names in every script are good, names that are no text are not."""

import pytest

from genregrid.name import MOST_GENRE_CHARACTERS, name_fault

GOOD = [
    "rock",
    "r&b",
    "Música",
    "音楽",
    "موسيقى",
    "संगीत",
    "می‌خواهم",
    " rock",
    "a\u00a0b",
    "a\u3000b",
    "👩‍🎤",
    "=1+1",
    "../../..",
]


@pytest.mark.parametrize("name", [*GOOD, "${oc.env:HOME}", "r" * MOST_GENRE_CHARACTERS])
def test_names_of_every_script_are_good(name: str) -> None:
    assert name_fault(name, MOST_GENRE_CHARACTERS) is None


@pytest.mark.parametrize(
    "name", ["", "  ", "\u200b\u3000", "\u00ad", "a\nb", "a\tb", "\x1b[31m", "\x7f", "a\u2028b", "r" * 256]
)
def test_names_without_a_visible_character_or_with_control_characters_are_not(name: str) -> None:
    assert name_fault(name, MOST_GENRE_CHARACTERS)
