"""Colours of genres: the same everywhere, different for different genres, and readable for every eye on every paper."""

from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from genregrid.exhibit.colour import _COLOURS, _linear, genre_colours, ink_on, luminance

GTZAN = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
# linear RGB as seen by all cones, and without one kind (Machado et al. 2009, severity 1)
SIGHT = [
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
]
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)


def oklab(colour: str, sight: NDArray[np.float64]) -> NDArray[np.float64]:
    rgb = np.array(_linear(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)))
    return np.asarray(TO_LAB @ np.cbrt(TO_CONES @ (sight @ rgb).clip(0, 1)))


@pytest.mark.parametrize(("genres", "least"), [(GTZAN, 0.1), (list(_COLOURS), 0.05)])
def test_every_two_genres_differ_for_every_kind_of_sight(genres: list[str], least: float) -> None:
    colours = genre_colours(genres).values()
    for (one, other), sight in product(combinations(colours, 2), SIGHT):
        assert np.linalg.norm(oklab(one, sight) - oklab(other, sight)) > least, (one, other)


def test_every_colour_differs_from_both_papers_and_its_name_is_legible() -> None:
    for colour in _COLOURS.values():
        light, dark = 1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / 0.05
        assert min(light, dark) > 2
        assert {"#000000": dark, "#ffffff": light}[ink_on(colour)] >= 4.5


def test_a_known_genre_has_one_colour_among_any_others() -> None:
    assert genre_colours(["zydeco", "Rock"])["Rock"] == genre_colours(GTZAN)["rock"]


def test_unknown_genres_have_colours_of_their_own_in_any_order() -> None:
    names = [f"style {number}" for number in range(10)] + GTZAN
    colours = genre_colours(names)
    assert list(colours) == names
    assert len(set(colours.values())) == 20
    assert genre_colours(names[::-1]) == colours
    assert len(genre_colours([f"style {number}" for number in range(30)])) == 30
