"""Feature CSVs, notes, cached tables and recordings, damaged or hostile."""

from collections.abc import Callable

import pytest
from tests.faults.areas import first_cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("area", "number"), first_cases(csvs=9, caches=4, recordings=6))
def test_an_input_is_refused_in_one_sentence_or_gives_the_same_numbers(
    survives: Callable[[str, int], None], area: str, number: int
) -> None:
    survives(area, number)
