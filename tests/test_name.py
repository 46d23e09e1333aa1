"""Claims about `genregrid.name`: names in every script are good, names that are no text are not."""

import unicodedata

import pytest

from genregrid.name import MOST_GENRE_CHARACTERS, look_alikes, name_fault, shown_apart

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


ALIKE = {
    "case": ("Rock", "rock"),
    "hyphen": ("hip-hop", "hiphop"),
    "blank": ("Hip Hop", "hip_hop"),
    "no-break space": ("hip hop", "hip\u00a0hop"),
    "soft hyphen": ("post\u00adrock", "postrock"),
    "zero width": ("rock", "rock\u200b"),
    "Unicode form": ("m\u00fasica", unicodedata.normalize("NFD", "m\u00fasica")),
    "Hangul": ("\ud55c\uad6d", unicodedata.normalize("NFD", "\ud55c\uad6d")),
    "wide letters": ("\uff32\uff4f\uff43\uff4b", "rock"),
    "sharp s": ("Stra\u00dfe", "STRASSE"),
    "sigma": ("\u03bb\u03b1\u03ca\u03ba\u03cc\u03c2", "\u039b\u0391\u03aa\u039a\u038c\u03a3"),
    "Cyrillic": ("\u0420\u043e\u043a", "\u0440\u043e\u043a"),
    "ampersand": ("r&b", "rb"),
    "apostrophe": ("80's", "80\u2019s"),
    "none": ("80s", "80\u2019s"),
    "ligature": ("\ufb01lm", "film"),
    "joiner": ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
    "emoji": ("\u2764", "\u2764\ufe0f"),
}


@pytest.mark.parametrize(("first", "second"), ALIKE.values(), ids=ALIKE)
def test_spellings_of_one_genre_are_alike_and_shown_apart(first: str, second: str) -> None:
    assert look_alikes([first, "x", second]) == (first, second)
    assert look_alikes([second, first]) == (second, first)
    shown = shown_apart(first, second)
    assert len(set(shown)) == 2
    assert unicodedata.normalize("NFC", shown[0]) != unicodedata.normalize("NFC", shown[1])
    assert "\u200b" not in "".join(shown)


@pytest.mark.parametrize(
    "genres",
    [
        ["musica", "m\u00fasica"],
        ["\u0915\u093f", "\u0915\u0940", "\u0915"],  # vowels of Devanagari are marks
        ["\u0e19\u0e34", "\u0e19\u0e35", "\u0e19"],  # and of Thai
        ["drum&bass", "drum and bass"],
        ["80s", "90s", "1980s"],
        ["!!!", "???", "\U0001f3b8", "\U0001f3b7"],
        ["rock", "punk rock", "rock'n'roll"],
        ["\u306f", "\u3070", "\u3071"],  # kana that differ in their marks
    ],
)
def test_different_letters_digits_and_marks_are_different_genres(genres: list[str]) -> None:
    assert look_alikes(genres) is None


def test_letters_of_other_scripts_that_look_alike_are_no_second_genre() -> None:
    cyrillic = "r\N{CYRILLIC SMALL LETTER O}ck"
    assert look_alikes([cyrillic, "rock"]) == (cyrillic, "rock")
    assert shown_apart(cyrillic, "rock") == (r"r\u043eck", "rock")
    assert look_alikes(["R\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}A", "ria"]) is not None
    assert look_alikes(["r\N{GREEK SMALL LETTER OMICRON}ck", "rock"]) is not None
    assert look_alikes(["1.0", "10", "m\u00fasica", "musica", "\u0440\u043e\u043a", "rock"]) is None
