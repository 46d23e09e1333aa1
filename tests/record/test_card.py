"""A card and a map of tracks survive a checkpoint, and changed ones are refused."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch

from genregrid.record.card import GENRE_SCORES, Card, Score, TrackMap

SCORE = Score(value=0.61, low=0.55, high=0.67)
CARD = Card(
    protocol="artist",
    folds=9,
    num_tracks=1000,
    num_groups=300,
    unit="artist",
    accuracy=SCORE,
    per_genre={genre: dict.fromkeys(GENRE_SCORES, SCORE) for genre in ("jazz", "rock")},
    tested={"jazz": 500, "rock": 500},
    temperature=1.5,
    threshold=0.8,
    set_size=1.5,
    epochs=None,
)
MAP = TrackMap(np.eye(3, 2, dtype=np.float32), np.array([[0, 0], [1, 0], [0, 3]], np.float32))
UserErrors = Callable[..., AbstractContextManager[None]]


def test_a_card_survives_plain_values() -> None:
    assert Card.from_json(CARD.to_json(), "here") == CARD


def test_evidence_names_the_share_and_what_was_new() -> None:
    assert CARD.evidence == "right for 61.0 % (55.0 to 67.0) of 1000 tracks by artists that it was not trained on"


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"threshold": 1.5},
        {"folds": 0},
        {"epochs": -1},
        {"accuracy": {"value": 2.0}},
        {"accuracy": {"value": None}},
        {"per_genre": {"jazz": {}}},
        {"per_genre": []},
        {"tested": {"jazz": -1}},
        {"protocol": "a\x1b[31m"},
    ],
)
def test_a_card_with_an_impossible_value_is_refused(change: dict[str, Any], user_error: UserErrors) -> None:
    with user_error("here"):
        Card.from_json(CARD.to_json() | change, "here")


def test_the_nearest_tracks_come_first() -> None:
    assert MAP.nearest(np.array([0.9, 0.0, 50.0], np.float32), 2) == [1, 0]


def test_a_map_survives_tensors() -> None:
    again = TrackMap.from_json(MAP.to_json(), 3, "here")
    assert np.array_equal(again.projection, MAP.projection)
    assert np.array_equal(again.position, MAP.position)


@pytest.mark.parametrize(
    "change",
    [
        {"position": torch.zeros(2, 2)},
        {"position": torch.full((3, 2), float("inf"))},
        {"projection": torch.zeros(3, 5)},
        {"projection": torch.zeros(3, 2, dtype=torch.float64)},
        {"projection": "no tensor"},
    ],
)
def test_a_map_that_does_not_fit_is_refused(change: dict[str, Any], user_error: UserErrors) -> None:
    with user_error("here"):
        TrackMap.from_json(MAP.to_json() | change, 3, "here")
