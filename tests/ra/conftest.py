"""Houses for the tests of the RA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.house import House, house


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's directory: its keys are made once."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def built(lab: Path) -> Iterator[House]:
    """The usual house."""
    with house(lab) as made:
        yield made
