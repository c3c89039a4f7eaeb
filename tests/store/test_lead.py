"""Which of all processes does what only one may do, and looking again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra.lead import Lead
from scepra.recurring import Recurring
from tests.rig.house import run
from tests.store.sample import NOW, Bench

LEASE = 20.0


class Time(Clock):
    """A clock, and a time of day that goes along."""

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds())


@pytest.mark.proves("FT-43", "FT-17")
def test_one_leads_until_it_gives_up_or_falls_silent(bench: Bench) -> None:
    """Who is first leads for as long as it says so; another does when it has given up, or has not been heard of."""
    time = Time()
    first, second = (Lead(bench.database, "it", owner, time.now, time, LEASE) for owner in ("first", "second"))
    assert run(first.is_ours())
    assert not run(second.is_ours())
    for _ in range(5):
        time.advance(LEASE - 1)
        assert run(first.is_ours())
        assert not run(second.is_ours())
    run(first.give_up())
    assert run(second.is_ours())
    time.advance(LEASE + 1)
    assert run(first.is_ours())
    assert not run(second.is_ours())


class Looks(Recurring):
    """Looks that take as long as the test wants, or fail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, "looking", 10.0)
        self.looks: list[Deferred[None]] = []
        self.ended = False

    async def look(self) -> None:
        self.looks.append(Deferred())
        await self.looks[-1]

    def pause(self) -> float:
        return 5.0

    async def end(self) -> None:
        self.ended = True


def test_the_next_look_comes_after_the_last_has_ended() -> None:
    """A look that fails is no reason to stop, and one that is under way is waited for at the end."""
    clock = Clock()
    service = Looks(clock)
    service.startService()
    clock.advance(0)
    clock.advance(100)
    assert len(service.looks) == 1
    service.looks[0].callback(None)
    clock.advance(4.9)
    assert len(service.looks) == 1
    clock.advance(0.2)
    assert len(service.looks) == 2
    service.looks[1].errback(ZeroDivisionError())
    clock.advance(5.1)
    assert len(service.looks) == 3
    stopped = service.stopService()
    assert not stopped.called
    assert not service.ended
    service.looks[2].callback(None)
    assert stopped.called
    assert service.ended
    clock.advance(100)
    assert len(service.looks) == 3


def test_a_service_that_never_looked_ends_at_once() -> None:
    """Stopped before its first look, it has nothing to wait for."""
    clock = Clock()
    service = Looks(clock)
    service.startService()
    assert service.stopService().called
    clock.advance(100)
    assert service.looks == []


def test_a_look_that_is_hurried() -> None:
    """It comes at once, or at once when the look that is under way has ended, and then the usual pause."""
    clock = Clock()
    service = Looks(clock)
    service.startService()
    clock.advance(0)
    for _ in range(3):
        service.hurry()
    clock.advance(100)
    assert len(service.looks) == 1
    service.looks[0].callback(None)
    clock.advance(0)
    assert len(service.looks) == 2
    service.looks[1].callback(None)
    clock.advance(4.9)
    assert len(service.looks) == 2
    service.hurry()
    clock.advance(0)
    assert len(service.looks) == 3
    service.looks[2].callback(None)
    assert service.stopService().called
    service.hurry()
    clock.advance(100)
    assert len(service.looks) == 3
