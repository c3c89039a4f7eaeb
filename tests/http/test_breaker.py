"""Whether a CA is worth asking now: what opens the breaker, who may try, and what closes it (FT-01, DR-15)."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from scepra.http.breaker import FIRST_PAUSE, LOST_IN_A_ROW, Breaker


@pytest.fixture
def clock() -> Clock:
    """What the breaker waits by."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """A new one, which pauses for half a minute at most."""
    return Breaker(clock, 30.0)


@pytest.mark.proves("FT-01")
def test_a_new_breaker_admits_everybody(breaker: Breaker) -> None:
    """Nothing is known against the CA."""
    assert all(breaker.admits() for _ in range(100))
    assert not breaker.trying


@pytest.mark.proves("FT-01")
def test_it_opens_at_once_when_the_ca_cannot_be_reached(breaker: Breaker) -> None:
    """Nothing left, so nothing is risked by waiting."""
    breaker.failed(sent=False)
    assert breaker.trying
    assert not breaker.admits()


@pytest.mark.proves("FT-13", "FT-14")
def test_it_opens_after_three_lost_in_a_row(breaker: Breaker) -> None:
    """One lost answer is an ordinary day; an answer in between counts from the beginning."""
    for _ in range(LOST_IN_A_ROW - 1):
        breaker.failed(sent=True)
        assert breaker.admits()
    breaker.answered()
    for _ in range(LOST_IN_A_ROW - 1):
        breaker.failed(sent=True)
    assert breaker.admits()
    breaker.failed(sent=True)
    assert not breaker.admits()


@pytest.mark.proves("FT-01", "FT-17")
def test_one_at_a_time_may_try(breaker: Breaker, clock: Clock) -> None:
    """When the pause is over one is let through, and while it has not come back nobody else before the next pause."""
    breaker.failed(sent=False)
    clock.advance(FIRST_PAUSE - 0.01)
    assert not breaker.admits()
    clock.advance(0.01)
    assert [breaker.admits() for _ in range(5)] == [True, False, False, False, False]
    clock.advance(2 * FIRST_PAUSE)
    assert [breaker.admits() for _ in range(5)] == [True, False, False, False, False]


@pytest.mark.proves("FT-01")
def test_it_closes_on_an_answer(breaker: Breaker, clock: Clock) -> None:
    """Whatever that says; and the next time it opens for a short while again."""
    for _ in range(5):
        breaker.failed(sent=False)
    breaker.answered()
    assert not breaker.trying
    assert all(breaker.admits() for _ in range(10))
    breaker.failed(sent=False)
    clock.advance(FIRST_PAUSE)
    assert breaker.admits()


@pytest.mark.proves("FT-01", "FT-17")
@pytest.mark.parametrize("sent", [True, False])
def test_it_pauses_for_longer_each_time_up_to_a_limit(breaker: Breaker, clock: Clock, sent: bool) -> None:
    """1, 2, 4, 8, 16 and then every 30 seconds."""
    breaker.failed(sent=False)
    pauses = []
    for _ in range(8):
        begun = clock.seconds()
        while not breaker.admits():
            clock.advance(0.5)
        pauses.append(clock.seconds() - begun)
        breaker.failed(sent=sent)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.proves("FT-01")
def test_the_first_pause_is_not_longer_than_the_longest(clock: Clock) -> None:
    """Where clients are told to come back after half a second, the CA is tried after half a second."""
    breaker = Breaker(clock, 0.5)
    breaker.failed(sent=False)
    clock.advance(0.5)
    assert breaker.admits()


@pytest.mark.proves("FT-09")
def test_who_turns_requests_away_is_left_alone(breaker: Breaker, clock: Clock) -> None:
    """For as long as it has said; being seen does not change that, an answer to a request does."""
    breaker.turned_away(600.0)
    assert breaker.remaining == 600.0
    breaker.seen()
    clock.advance(599.9)
    assert not breaker.admits()
    clock.advance(0.1)
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.answered()
    assert (breaker.trying, breaker.remaining) == (False, 0.0)


@pytest.mark.proves("FT-09")
def test_who_does_not_say_for_how_long_is_left_alone_ever_longer(breaker: Breaker, clock: Clock) -> None:
    """As when it cannot be reached; and never for less than a second, whatever it says."""
    for pause in (1, 2, 4):
        breaker.turned_away(None)
        assert breaker.remaining == pause
        clock.advance(pause)
    breaker.turned_away(0.0)
    assert breaker.remaining == FIRST_PAUSE


@pytest.mark.proves("FT-01", "FT-09")
def test_who_could_not_be_reached_is_back_when_it_is_seen(breaker: Breaker) -> None:
    """Also if it had turned requests away before it went."""
    breaker.turned_away(None)
    breaker.failed(sent=False)
    breaker.seen()
    assert breaker.admits()
