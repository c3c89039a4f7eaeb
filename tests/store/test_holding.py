"""How much may wait for people: counted when one more is recorded (AC-061)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from scepra.enrolment import Reservation
from scepra.store import intents
from scepra.store.holding import Room
from scepra.store.intents import Full, Intent, Recorded
from scepra.transaction import State
from tests.store.sample import NOW, Bench, intent

ROOM = Room(4, 2, 1000, "192.0.2.1")


def held(number: int, neighbourhood: str = "192.0.2.1", room: Room = ROOM, **changes: object) -> Intent:
    """A request that has to wait for people."""
    values = {"state": State.HELD, "routes": (f"route {number}",), "neighbourhood": neighbourhood} | changes
    return replace(intent(f"request {number}", **values), room=replace(room, neighbourhood=neighbourhood))


def outcomes(bench: Bench, *what: Intent) -> list[bool]:
    """Which of these are recorded."""
    return [isinstance(bench(intents.record, each, NOW), Recorded) for each in what]


@pytest.mark.proves("AC-061", "I3")
def test_one_address_and_one_profile_have_so_much_room(bench: Bench) -> None:
    """An address that fills its share leaves room for others, and a profile that is full leaves other profiles alone;
    what has no room is recorded nowhere, and its credential is free.
    """
    assert outcomes(bench, held(1), held(2), held(3)) == [True, True, False]
    assert outcomes(bench, held(4, "192.0.2.2"), held(5, "192.0.2.3"), held(6, "192.0.2.4")) == [True, True, False]
    assert outcomes(bench, held(7, profile="other")) == [True]
    stored = len(bench.rows("transactions"))
    refused = bench(intents.record, held(8, reserve=(Reservation("code"),)), NOW)
    assert refused == Full("as many requests wait for approval as may from one address")
    full = bench(intents.record, held(9, "192.0.2.5"), NOW)
    assert full == Full("as many requests wait for approval as may of one profile")
    assert len(bench.rows("transactions")) == stored
    assert bench.rows("reservations") == []


@pytest.mark.proves("AC-061")
def test_octets_are_counted_too(bench: Bench) -> None:
    """Large requests fill the room before there are many."""
    large = {"csr": b"x" * 450}
    assert outcomes(bench, held(1, "a", **large), held(2, "b", **large), held(3, "c", **large)) == [True, True, False]
    assert outcomes(bench, held(4, "d", csr=b"x" * 100)) == [True]


@pytest.mark.proves("AC-061")
def test_what_is_decided_makes_room(bench: Bench) -> None:
    """What has been approved, or has expired, does not count any more; what need not wait never did."""
    assert outcomes(bench, held(1), held(2), held(3)) == [True, True, False]
    assert outcomes(bench, held(4, state=State.SENDING), held(5, state=State.QUEUED)) == [True, True]
    bench(lambda connection: connection.execute(sa.text("UPDATE transactions SET state = 'refused'")) and None)
    assert outcomes(bench, held(6)) == [True]


@pytest.mark.proves("AC-061", "MSG-25")
def test_what_is_held_already_is_answered_however_full_it_is(bench: Bench) -> None:
    """The same request again is the same transaction."""
    once = held(1)
    recorded = bench(intents.record, once, NOW)
    assert outcomes(bench, held(2), held(3)) == [True, False]
    again = bench(intents.record, once, NOW)
    assert isinstance(again, Recorded)
    assert (again.new, again.transaction.id) == (False, recorded.transaction.id)


@pytest.mark.proves("AC-061")
def test_many_at_once_exceed_it_by_no_more_than_there_are_writers(bench: Bench, product: str) -> None:
    """Four writers fill the room at the same moment: on SQLite it is kept exactly, on PostgreSQL but for the few that
    do not see each other."""
    room = Room(20, 20, 10**6, "192.0.2.1")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: bench(intents.record, held(number, room=room), NOW), range(60)))
    recorded = sum(isinstance(result, Recorded) for result in results)
    assert 20 <= recorded <= (20 if product == "sqlite" else 23)
