"""The colour of a genre: one owner, so that a genre has the same colour in every picture, page and report.

The colours were chosen by a search for the largest distance between any two of the first ten, and then of all, as seen
with normal sight and as seen without red, green or blue cones. Their luminance is 0.07 to 0.44, so that each differs
from white and from black paper. Colour alone never names a genre: areas have names, and legends follow their order.

Source: Ottosson, "A perceptual color space for image processing" (Oklab), 2020, for distances; Machado, Oliveira and
Fernandes, "A physiologically-based model for simulation of color vision deficiency", IEEE TVCG 15, 2009, for sight.
"""

import hashlib
from collections.abc import Iterable, Sequence

from genregrid.name import folded

# Genres of the corpora in conf/dataset; the first ten are GTZAN's.
_COLOURS = {
    "blues": "#0c84fa",
    "classical": "#dda72d",
    "country": "#5a4d00",
    "disco": "#c056b9",
    "hiphop": "#e44a0d",
    "jazz": "#4037bc",
    "metal": "#83826d",
    "pop": "#abaae7",
    "reggae": "#31c794",
    "rock": "#8b1d66",
    "soul": "#9c4f43",
    "electronic": "#18758a",
    "spoken": "#bf83a5",
    "experimental": "#7552cc",
    "easylistening": "#90a254",
    "folk": "#528c2a",
    "latin": "#bd247a",
    "instrumental": "#c086f2",
    "oldtimehistoric": "#7a169b",
    "international": "#f883c8",
}
_OTHER_NAMES = {"rap": "hiphop", "soulrnb": "soul", "rnb": "soul", "randb": "soul", "electronica": "electronic"}


def genre_colours(genres: Sequence[str]) -> dict[str, str]:
    """Return the colour of each genre, as ``#rrggbb``.

    A genre that is known here always has its own colour. Another one takes a free colour, chosen by its name: it is
    the same wherever the same genres are drawn. Genres share colours if there are more than 20.

    >>> genre_colours(["rock", "Hip-Hop"])
    {'rock': '#8b1d66', 'Hip-Hop': '#e44a0d'}
    """
    keys = {genre: _key(genre) for genre in genres}
    taken = {_COLOURS[key] for key in keys.values() if key in _COLOURS}
    found = {genre: _COLOURS[key] for genre, key in keys.items() if key in _COLOURS}
    every = list(_COLOURS.values())
    for genre in sorted(set(genres) - found.keys()):
        first = int.from_bytes(hashlib.sha256(keys[genre].encode("utf-8", "surrogatepass")).digest()[:4]) % len(every)
        in_turn = [*every[first:], *every[:first]]
        found[genre] = next((colour for colour in in_turn if colour not in taken), in_turn[0])
        taken.add(found[genre])
    return {genre: found[genre] for genre in genres}


def ink_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour; the contrast is 4.5 or more.

    >>> ink_on("#dda72d"), ink_on("#4037bc")
    ('#000000', '#ffffff')
    """
    return "#000000" if luminance(colour) > 0.179 else "#ffffff"


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb``, 0 to 1.

    Source: WCAG 2.2, definition of relative luminance.

    >>> round(luminance("#ffffff"), 3), round(luminance("#83826d"), 3)
    (1.0, 0.219)
    """
    red, green, blue = _linear(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(values: Iterable[float]) -> list[float]:
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def _key(genre: str) -> str:
    """Return what two spellings of a genre have in common: its letters and digits, without case.

    >>> _key("Hip-Hop"), _key("Soul-RnB"), _key("R&B")
    ('hiphop', 'soul', 'soul')
    """
    letters = "".join(letter for letter in folded(genre).replace("&", "and") if letter.isalnum()) or genre
    return _OTHER_NAMES.get(letters, letters)
