"""Houses for the tests of the RA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.denial import Denials, denials
from tests.rig.device import impatient
from tests.rig.house import House, house
from tests.rig.outside import watched


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's directory: its keys are made once."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def built(lab: Path) -> Iterator[House]:
    """The usual house."""
    with house(lab) as made:
        yield made


@pytest.fixture(scope="session")
def shared(lab: Path) -> Iterator[House]:
    """The usual house, for tests that change nothing about it: its upstream key is made once."""
    with house(lab) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["polling", "not-polling"])
def either(shared: House, request: pytest.FixtureRequest) -> House:
    """The usual house, with clients that can poll and with clients that cannot."""
    return shared if request.param else impatient(shared)


@pytest.fixture
def deny(shared: House) -> Iterator[Denials]:
    """Refusals by the usual house; at the end of the test a legitimate device enrols there."""
    with denials(shared) as made:
        yield made


@pytest.fixture
def outside() -> Iterator[list[str]]:
    """What the process tries to reach during the test, by network or by programs."""
    with watched() as tried:
        yield tried
