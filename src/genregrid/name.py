"""What the name of a genre, a track or a corpus may be. Names come from files and are text: nothing interprets them."""

import re
import unicodedata
from collections.abc import Iterable

#: Characters of a genre. It is mostly the name of a folder, and file systems allow 255 bytes.
MOST_GENRE_CHARACTERS = 255
#: Characters of a file name in a CSV. It may be a path within a genre's folder, and Linux allows paths of 4096 bytes.
MOST_TRACK_CHARACTERS = 4096
#: Characters of a recipe's name.
MOST_RECIPE_CHARACTERS = 100
#: Genres of a corpus. The largest public list, Every Noise at Once, has 6291; a model has an output for each.
MOST_GENRES = 10_000
#: Columns of a table. Learned descriptors have some thousands, and a million would take minutes to look through.
MOST_COLUMNS = 20_000
#: Control characters, line and paragraph separators, and halves of UTF-16 pairs, which UTF-8 does not have.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Letters and marks that are not shown, such as those that choose between the forms of an emoji.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")

# Letters of other scripts that look like Latin ones, after case is folded; a capital dotted I leaves a mark.
_LATIN = str.maketrans("авекмнорстухіјѕοαρνικτχı", "abekmhopctyxijsoapviktxi", "\u0307")

# Words for an artist that is not known, and for several, as `folded` writes them.
_UNKNOWN_ARTISTS = {"", "na", "n/a", "nan", "none", "null", "unknown", "unknown artist", "<unknown>", "?", "-"}
_SEVERAL_ARTISTS = {"various artists", "various", "va", "v.a.", "v/a"}
_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_GUEST = re.compile(r"\W+(feat|ft|featuring)\b.*")
_ARTICLE = re.compile(r"^the\s+(?=.)|(?<=.),\s*the$")
_ACCENT = re.compile("[\u0300-\u036f]")


def name_fault(name: str, most: int) -> str | None:
    r"""Return what is wrong with a name of at most `most` characters; ``None`` for a good name.

    Letters of every script, blanks and signs are allowed, but one character must be visible.

    >>> name_fault("Música 音楽", most=255), name_fault("rock", most=3)
    (None, 'it has 4 characters, and 3 are allowed')
    >>> name_fault("  ", most=255), name_fault("a\nb", most=255)
    ('it has no visible character', "it has the control character '\\n'")
    """
    if len(name) > most:
        return f"it has {len(name)} characters, and {most} are allowed"
    if name.isprintable() and name.strip():
        return None
    if unfit := UNFIT.search(name):
        return f"it has the control character {unfit[0]!a}"
    if not any(map(_is_visible, name)):
        return "it has no visible character"
    return None


def one_form(name: str) -> str:
    r"""Return a name in the one of its Unicode forms in which names from several files are compared (NFC).

    macOS writes é as two characters, e and an accent, and other systems as one.

    >>> one_form("e\N{COMBINING ACUTE ACCENT}") == "\N{LATIN SMALL LETTER E WITH ACUTE}"
    True
    """
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    r"""Return a name without what people take for the same: case, kinds and numbers of blanks, Unicode forms.

    >>> folded("The\N{NO-BREAK SPACE}Beatles ") == folded("the  BEATLES")
    True
    """
    if name.isascii() and "  " not in name:
        return name.casefold().strip()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(text.split())


def look_alikes(genres: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two genres that people take for one; ``None`` if all differ.

    Genres are compared by their letters and digits, without case: `Hip-Hop` and `hiphop` are one. Marks that belong to
    letters count: many scripts write their vowels as marks. Genres without letters and digits, such as emoji, are
    compared by all that can be seen.

    >>> look_alikes(["Hip-Hop", "rock", "hiphop"]), look_alikes(["r&b", "rock", "rock'n'roll", "m\u00fasica", "musica"])
    (('Hip-Hop', 'hiphop'), None)
    """
    known: dict[str, str] = {}
    for genre in genres:
        first = known.setdefault(_letters(genre), genre)
        if first != genre:
            return first, genre
    return None


def is_unknown_artist(artist: str) -> bool:
    """Return whether the name of an artist is a word for an artist that is not known.

    >>> is_unknown_artist("N/A"), is_unknown_artist("Unknown Artist"), is_unknown_artist("Nana")
    (True, True, False)
    """
    return folded(artist) in _UNKNOWN_ARTISTS


def is_several_artists(artist: str) -> bool:
    """Return whether the name of an artist stands for several, as ``Various Artists`` does."""
    return folded(artist) in _SEVERAL_ARTISTS


def artist_look_alikes(artists: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of artists that are probably one in two spellings; each with the first one of its kind.

    Names are compared by letters and digits, without case and accents, an article, ``feat.`` and what follows it; ``&``
    is ``and``. Names that `folded` makes equal are one artist already and no pair.

    >>> artist_look_alikes(["The Beatles", "AC/DC", "Beatles, The", "ACDC", "the beatles", "Wings"])
    [('The Beatles', 'Beatles, The'), ('AC/DC', 'ACDC')]
    """
    spellings: dict[str, str] = {}
    for artist in artists:
        spellings.setdefault(folded(artist), artist)
    first: dict[str, str] = {}
    found = [(first.setdefault(_artist_letters(spelling), artist), artist) for spelling, artist in spellings.items()]
    return [pair for pair in found if pair[0] != pair[1]]


def _artist_letters(spelling: str) -> str:
    """Return what two spellings of an artist have in common.

    >>> _artist_letters("beyonc\u00e9 feat. jay-z"), _artist_letters("simon & garfunkel")
    ('beyonce', 'simonandgarfunkel')
    """
    text = _ACCENT.sub("", unicodedata.normalize("NFKD", spelling))
    text = _ARTICLE.sub("", _GUEST.sub("", text)).replace("&", " and ")
    return "".join(letter for letter in text if unicodedata.category(letter)[0] in "LNM") or spelling


def shown_apart(first: str, second: str) -> tuple[str, str]:
    r"""Return two names as text for a sentence: with escapes if they look the same, or are of two scripts.

    >>> shown_apart("Rock", "rock"), shown_apart("hip hop", "hip\N{NO-BREAK SPACE}hop")
    (('Rock', 'rock'), ('hip hop', 'hip\\xa0hop'))
    """
    (look, plain), (other, other_plain) = ((_look(name), _look(name).casefold()) for name in (first, second))
    is_script = plain != other_plain and plain.translate(_LATIN) == other_plain.translate(_LATIN)
    return (ascii(first)[1:-1], ascii(second)[1:-1]) if look == other or is_script else (first, second)


def _look(name: str) -> str:
    """Return what a reader sees of a name."""
    text = _IGNORABLE.sub("", one_form(name))
    return " ".join("".join(letter for letter in text if _is_visible(letter) or letter.isspace()).split())


def _letters(genre: str) -> str:
    r"""Return what two spellings of a genre have in common.

    >>> _letters("Hip-Hop"), _letters("1.0"), _letters("r\N{CYRILLIC SMALL LETTER O}ck")
    ('hiphop', '1.0', 'rock')
    """
    text = _IGNORABLE.sub("", folded(genre)).translate(_LATIN)
    points = {found.start() for found in _POINT.finditer(text)}
    kept = (letter for at, letter in enumerate(text) if unicodedata.category(letter)[0] in "LNM" or at in points)
    letters = "".join(kept)
    return letters or "".join(character for character in text if _is_visible(character))


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] not in "ZC" or category in ("Co", "Cn")  # private, or newer than Python's tables
