"""Guessing, floods of polls, and a queue of approvals that somebody fills: over sockets, from several addresses
(AC-058, AC-061, AC-094)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from scepra.errors import FailInfo
from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import at_once, is_pending
from tests.rig.blackbox.device import Answer
from tests.rig.blackbox.rig import Rig

Rigs = Callable[..., Rig]

GUESS = "correct-horse-battery-staple"
THIEVES = ("127.0.7.1", "127.0.7.2", "127.0.7.3")
ABREAST = 10

pytestmark = pytest.mark.slow


def throttled(answer: Answer) -> bool:
    """Whether a client was told, without an answer to what it asks, that it asks too often, and when to come again."""
    return answer.http == 429 and answer.status is None and (answer.retry_after or 0) >= 1


def all_of(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """The answers to many requests, so many of which are made at the same time."""
    return [answer for start in range(0, len(calls), ABREAST) for answer in at_once(calls[start : start + ABREAST])]


@pytest.mark.proves("AC-094", "AC-100", "I1", "I3", "I7", "I9", "I10")
def test_whoever_guesses_is_turned_away_and_nobody_else(rigs: Rigs, store: str | None) -> None:
    """Three addresses guess sixty times each, ten at a time: each guess is refused in the standard way until the budget
    of its address is used up, and is a 429 then; so is the right challenge from there. Nothing reaches the CA, there is
    a record for each refusal and a line for each address that is turned away; devices elsewhere enrol meanwhile.
    """
    budget = {"count": 20, "per": "1h"}
    rig = rigs(store=store, extra={"rates": {"failures": budget}})
    rig.canaries.append(GUESS)
    guesses = [
        rig.device(f"guess-{number}.example", challenge=GUESS, source=thief).enrol
        for number in range(60)
        for thief in THIEVES
    ]
    honest = [rig.device(f"honest-{number}.example", source=f"127.0.8.{number + 1}") for number in range(18)]
    answers: list[Answer] = []
    for number, device in enumerate(honest):
        answers += at_once(guesses[number * ABREAST : (number + 1) * ABREAST])
        assert device.enrol().status is PKIStatus.SUCCESS
    refused = [answer for answer in answers if answer.status is PKIStatus.FAILURE]
    assert {answer.fail_info for answer in refused} == {FailInfo.BAD_REQUEST}
    # Those that were under way at the same moment may come on top.
    assert 60 <= len(refused) <= 60 + 3 * ABREAST
    assert all(throttled(answer) for answer in answers if answer not in refused)
    assert len(rig.ra.records(outcome="refused")) == len(refused)
    assert throttled(rig.device("late.example", source=THIEVES[0]).enrol())
    assert {line["subject"] for line in rig.upstream.requests()} == {device.name for device in honest}
    lines = _turned_away(rig)
    assert len(lines) == len(THIEVES), lines
    assert all("more wrong challenges than may come from one address" in line for line in lines)


@pytest.mark.proves("AC-061", "I1", "I3")
def test_a_flood_does_not_fill_the_queue_of_approvals(rigs: Rigs, store: str | None) -> None:
    """Sixty requests from three addresses want to be approved: each address has its share of the queue, and what is
    more is a 429 of which nothing is stored; there is room for somebody else, and nothing reaches the CA.
    """
    rig = rigs(store=store, extra={"profiles": {"approval": {"held": {"requests": 20, "per-address": 4}}}})
    flood = [rig.device(f"flood-{number}.example", "approval", source=THIEVES[number % 3]) for number in range(60)]
    answers = all_of([device.enrol for device in flood])
    assert all(is_pending(answer) or throttled(answer) for answer in answers)
    held = Counter(row["source"] for row in rig.database.transactions())
    # On PostgreSQL, those that commit at the same moment do not see each other.
    assert set(held) == set(THIEVES)
    assert all(4 <= count <= (4 if store is None else 7) for count in held.values()), held
    assert sum(map(is_pending, answers)) == sum(held.values())
    assert is_pending(rig.device("honest.example", "approval", source="127.0.8.1").enrol())
    assert rig.upstream.operations() == []


@pytest.mark.proves("AC-058", "MSG-40", "I9")
def test_a_flood_of_polls_costs_the_ca_nothing(rigs: Rigs) -> None:
    """A device polls without end for what the CA holds back, and for transactions that do not exist: it is answered
    from what is stored until its key has used up its budget, nothing is written, and the CA is polled at the RA's own
    pace.
    """
    slow = {"upstreams": {"ca": {"queue": {"first-poll": "30m", "longest-poll": "30m"}}}}
    rig = rigs(extra={"rates": {"key": {"count": 60, "per": "1h"}}, **slow})
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    device = rig.device("polling.example")
    assert is_pending(device.enrol())
    before = _rows(rig)
    answers = all_of([device.poll] * 100)
    assert Counter(map(is_pending, answers)) == {True: 59, False: 41}
    assert all(is_pending(answer) or throttled(answer) for answer in answers)
    stranger = rig.device("stranger.example")
    unknown = all_of([partial(stranger.send, stranger.poll_message(f"{number:032X}")) for number in range(50)])
    assert {answer.fail_info for answer in unknown} == {FailInfo.BAD_CERT_ID}
    assert _rows(rig) == before
    assert rig.upstream.polls() == []


def _turned_away(rig: Rig) -> list[str]:
    return [line for line in rig.ra.output().splitlines() if " 429 " in line]


def _rows(rig: Rig) -> dict[str, int]:
    return {table: len(rig.database.rows(table)) for table in ("transactions", "routes", "audit", "reservations")}
