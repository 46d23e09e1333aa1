"""Kinds of descriptors: every column of every recipe is in one, and none is unknown."""

import pytest

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.kind import ALL, ALL_BRIGHTNESS, LEARNED, kinds_and_unions, kinds_of
from genregrid.features.rich import RICH_FEATURE_NAMES

LEARNED_NAMES = ("mtt1_mean", "msd200_mean", "hf768_mean")


@pytest.mark.parametrize("names", [FEATURE_NAMES, RICH_FEATURE_NAMES, (*FEATURE_NAMES, "length"), LEARNED_NAMES])
def test_every_descriptor_of_a_recipe_is_of_one_known_kind(names: tuple[str, ...]) -> None:
    kinds = kinds_of(names)
    assert sorted(column for columns in kinds.values() for column in columns) == list(range(len(names)))
    assert "other descriptors" not in kinds


def test_all_of_brightness_and_all_descriptors_are_unions() -> None:
    groups = kinds_and_unions(FEATURE_NAMES)
    assert len(groups[ALL_BRIGHTNESS]) == 8
    assert groups[ALL] == list(range(57))
    assert list(kinds_and_unions(LEARNED_NAMES)) == [LEARNED]
