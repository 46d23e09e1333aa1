"""Run folders that are reported or vote, and interrupted runs that are resumed, damaged or hostile."""

from collections.abc import Callable

import pytest
from tests.faults.areas import first_cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("area", "number"), first_cases(runs=7, resume=6))
def test_a_damaged_run_folder_changes_no_number(survives: Callable[[str, int], None], area: str, number: int) -> None:
    survives(area, number)
