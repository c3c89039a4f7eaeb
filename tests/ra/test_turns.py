"""A CA with which as much is under way as may be: a burst waits a moment, unrecorded (DR-15)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scepra.scep.message import PKIStatus
from scepra.transaction import State
from tests.rig.device import THIEF, Response, ask, counted, granted, impatient, pki_status, sound
from tests.rig.durable import Durable, bare, begin, durable, only, reached, transactions
from tests.web.wire import Connection

ONE: Mapping[str, Any] = {"concurrency": 1, "queue": {"concurrency": 1, "waiting": 2, "patience": "3s"}}


def answer(connection: Connection) -> Response | None:
    """What has come back, if anything."""
    answers = [Response(each.status, each.headers, each.body) for each in connection.read()]
    return answers[0] if answers else None


def is_success(house: Durable, connection: Connection) -> bool:
    """Whether a certificate has come back."""
    response = answer(connection)
    return response is not None and pki_status(house, response) is PKIStatus.SUCCESS


@pytest.mark.proves("DR-15", "FT-26", "RA-25")
def test_a_burst_is_smoothed(lab: Path) -> None:
    """What exceeds the upstream's concurrency waits, unrecorded, until there is room, and is answered with its
    certificate: nobody has to come again.
    """
    with durable(lab, upstream=ONE) as house:
        house.way.slow = True
        connections = [begin(house, sound(house).message()) for _ in range(3)]
        assert len(transactions(house)) == 1
        for connection in connections:
            assert answer(connection) is None
            assert len(house.way.waiting) == 1
            house.way.release()
            assert is_success(house, connection)
        assert [each.state for each in transactions(house)] == [State.ISSUED] * 3


@pytest.mark.proves("DR-15", "FT-26", "I3")
def test_what_waits_too_long_is_pending_and_sent_by_the_backlog(lab: Path) -> None:
    """After its patience it is recorded and queued, its client is told to poll, and the backlog sends it."""
    with durable(lab, upstream=ONE) as house:
        house.way.slow = True
        first, second = (begin(house, sound(house).message()) for _ in range(2))
        house.clock.advance(3)
        told = answer(second)
        assert told is not None
        assert pki_status(house, told) is PKIStatus.PENDING
        assert [each.state for each in transactions(house)] == [State.SENDING, State.QUEUED]
        house.way.slow = False
        house.way.release()
        assert is_success(house, first)
        house.reconcile(3)
        assert [each.state for each in transactions(house)] == [State.ISSUED] * 2
        assert len(reached(house)) == 2


@pytest.mark.proves("DR-15", "FT-26", "I3")
def test_clients_that_cannot_poll_are_turned_away_with_nothing_recorded(lab: Path) -> None:
    """Those that have waited too long, and those that come when as many wait as may, get a 503 that says when to come
    again, the latter before anything is opened; what anyone may ask for is answered meanwhile, and what they ask for is
    theirs when they come again.
    """
    with durable(lab, upstream=ONE) as polling:
        house = impatient(polling)
        polling.way.slow = True
        first = begin(house, sound(house).message())
        forge = sound(house)
        waiting = [begin(house, forge.message()), begin(house, sound(house).message())]
        counting, key = counted(house)
        full = answer(begin(counting, sound(house).message()))
        assert full is not None
        bare(full, house)
        assert (key.opened, key.signed) == (0, 0)
        for operation in ("GetCACert", "GetCACaps"):
            assert ask(house, "GET", f"/scep?operation={operation}").status == 200
        house.clock.advance(3)
        for connection in waiting:
            late = answer(connection)
            assert late is not None
            bare(late, house)
        assert only(house).state is State.SENDING
        polling.way.slow = False
        polling.way.release()
        assert answer(first) is not None
        granted(house, forge)
        assert house.stored["transactions"] == 2


@pytest.mark.proves("FT-21", "DR-15")
def test_a_client_that_hangs_up_while_it_waits_cancels_nothing(lab: Path) -> None:
    """Its turn comes, its request is sent once, and when it asks again it gets what has been issued."""
    with durable(lab, upstream=ONE) as house:
        house.way.slow = True
        begin(house, sound(house).message())
        forge = sound(house)
        begin(house, forge.message()).hang_up()
        house.way.release()
        house.way.release()
        assert [each.state for each in transactions(house)] == [State.ISSUED] * 2
        granted(house, forge)
        assert len(reached(house)) == 2


@pytest.mark.proves("DR-15", "FT-01")
def test_nobody_waits_for_a_ca_that_does_not_answer(lab: Path) -> None:
    """While the CA is known not to answer, what comes when all turns are taken is told so at once."""
    with durable(lab, upstream=ONE) as house:
        house.way.slow = True
        begin(house, sound(house).message())
        for _ in range(3):
            house.upstream.breaker.failed(sent=True)
        told = answer(begin(house, sound(house).message()))
        assert told is not None
        assert pki_status(house, told) is PKIStatus.PENDING


@pytest.mark.proves("FT-22", "DR-15")
def test_a_copy_of_a_request_keeps_no_turn(lab: Path) -> None:
    """A copy that finds its request recorded waits for the same answer, and others have their turn meanwhile."""
    with durable(lab, upstream={"concurrency": 2, "queue": {"concurrency": 1}}) as house:
        house.way.slow = True
        forge = sound(house)
        copies = [begin(house, forge.message()) for _ in range(4)]
        other = begin(house, sound(house, key=THIEF).message())
        assert len(house.way.waiting) == 2
        house.way.release()
        assert is_success(house, other)
        house.clock.advance(1)
        assert all(is_success(house, copy) for copy in copies)
        assert len(reached(house)) == 2
