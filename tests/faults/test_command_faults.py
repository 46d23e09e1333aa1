"""Variables of the environment, settings of the command line, and SIGKILL at random moments."""

from collections.abc import Callable

import pytest
from tests.faults.areas import first_cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("area", "number"), first_cases(environment=6, kills=3))
def test_a_command_ends_in_one_sentence_or_with_the_same_numbers(
    survives: Callable[[str, int], None], area: str, number: int
) -> None:
    survives(area, number)
