from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from scepra.config.source import Source
from scepra.errors import ConfigError, Problem
from scepra.lab import LabState
from scepra.workers.obedience import Obedience
from scepra.workers.order import Answer, Prepare, Refuse, Take

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
PROBLEM = Problem("scepra.yaml", 3, 1, "ra.key", "no such key")


class RA:
    """Remembers what it is asked; it is ready when the test says so."""

    def __init__(self) -> None:
        self.preparing: list[Deferred[str]] = []
        self.took: list[str] = []
        self.refused: list[str] = []

    async def prepare(self, source: Source, settings: Any) -> str:
        self.preparing.append(Deferred())
        return await self.preparing[-1]

    async def take(self, works: str) -> None:
        if works == "broken":
            raise ZeroDivisionError
        self.took.append(works)

    def refuse(self, failure: str) -> None:
        self.refused.append(failure)


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Desk:
    """A worker's part, and what comes of it."""

    def __init__(self, directory: Path) -> None:
        LabState.load_or_create(directory / "lab")
        self.source = Source("scepra.yaml", str(directory), EXAMPLE.read_bytes(), 0o600)
        self.ra: Any = RA()
        self.answers: list[Answer] = []
        self.obedience = Obedience(self.ra, at_once, self.answers.append)

    def tell(self, *orders: Prepare | Take | Refuse) -> None:
        for order in orders:
            self.obedience(order.encode().rstrip(b"\n"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.proves("FT-51")
def test_in_two_steps(desk: Desk) -> None:
    """Ready, and then going by it; each is answered when it is so."""
    desk.tell(Prepare(1, desk.source))
    assert desk.answers == []
    desk.ra.preparing[0].callback("works")
    assert (desk.answers, desk.ra.took) == ([Answer(1)], [])
    desk.tell(Take(1))
    assert (desk.answers, desk.ra.took) == ([Answer(1), Answer(1)], ["works"])
    desk.tell(Take(1))
    assert desk.ra.took == ["works"]


@pytest.mark.proves("FT-51")
def test_what_is_refused_is_never_gone_by(desk: Desk) -> None:
    """Not when it is ready after all, nor by another attempt's number."""
    desk.tell(Prepare(1, desk.source), Refuse("another cannot"))
    desk.ra.preparing[0].callback("works")
    desk.tell(Take(1))
    assert (desk.answers, desk.ra.took, desk.ra.refused) == ([], [], ["another cannot"])
    desk.tell(Prepare(2, desk.source))
    desk.ra.preparing[1].callback("works")
    desk.tell(Refuse("again"), Take(2), Prepare(3, desk.source), Take(3))
    desk.ra.preparing[2].callback("works")
    desk.tell(Take(2))
    assert (desk.answers, desk.ra.took) == ([Answer(2), Answer(3)], [])


@pytest.mark.proves("FT-51")
def test_what_is_wrong_is_answered(desk: Desk) -> None:
    """Mistakes of the file, and of what it names."""
    desk.tell(Prepare(1, Source("scepra.yaml", "/", b"unknown: 1\n", 0o600)))
    assert any("unknown" in problem.sentence or problem.path == "unknown" for problem in desk.answers[0].problems)
    desk.tell(Prepare(2, desk.source))
    desk.ra.preparing[0].errback(ConfigError((PROBLEM,)))
    assert desk.answers[1:] == [Answer(2, (PROBLEM,))]


class BugTests(SynchronousTestCase):
    """What must not happen."""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    @pytest.mark.proves("FT-51", "FT-59")
    def test_a_bug_is_no_readiness(self) -> None:
        """Whatever is raised is logged, and refuses the configuration; a worker that cannot go by it says nothing, and
        is replaced for that."""
        desk = Desk(self.directory)
        desk.tell(Prepare(1, desk.source))
        desk.ra.preparing[0].errback(ZeroDivisionError())
        assert [each.sentence for each in desk.answers[0].problems] == ["cannot be taken (ZeroDivisionError)"]
        desk.tell(Prepare(2, desk.source))
        desk.ra.preparing[1].callback("broken")
        desk.tell(Take(2))
        assert desk.answers[1:] == [Answer(2)]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 2
