"""Checkpoints, their provenance and their estimators, damaged or hostile."""

from collections.abc import Callable

import pytest
from tests.faults.areas import first_cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("area", "number"), first_cases(checkpoints=9, provenance=8, estimators=8))
def test_a_checkpoint_is_refused_in_one_sentence_or_scores_as_before(
    survives: Callable[[str, int], None], area: str, number: int
) -> None:
    survives(area, number)
