"""Fixtures of the fault matrix: one server and one set of honest inputs for each test process."""

import os
from collections.abc import Callable, Iterator

import pytest
from tests.faults.areas import AREAS
from tests.faults.process import Server
from tests.faults.trial import try_case
from tests.faults.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Honest inputs, which the test processes of one run share."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    server = Server(own / "server")
    yield Workshop(shared / "faults", server)
    server.close()


@pytest.fixture
def survives(workshop: Workshop, request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """`survives("checkpoints", 7)` tries this case, and fails with its reproduction if it is lost."""

    def tried(area: str, number: int) -> None:
        verdict = try_case(area, AREAS[area], number, workshop)
        request.node.user_properties.append(("fault", (area, not verdict.lost)))  # tests/conftest.py counts them
        assert not verdict.lost, f"{verdict}\nreproduce: {verdict.reproduction}"

    return tried
