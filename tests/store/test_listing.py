"""What operators see of the transactions, and what they may do to one that is stuck."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import sqlalchemy as sa

from scepra.errors import FailInfo
from scepra.store import listing, outcomes
from scepra.store.approvals import NotPossible
from scepra.store.database import Database
from scepra.store.listing import Decided, Span
from scepra.store.outcomes import Outcome
from scepra.store.rows import Corrupt
from scepra.store.tables import transactions
from scepra.transaction import TRANSITIONS, Event, State, Transaction
from tests.store.sample import DAY, HOUR, LEASE, MINUTE, NOW, SECOND, Bench, certificate, just_before


def each_state(bench: Bench) -> dict[State, Transaction]:
    """One transaction in each state, each a minute younger than the one before."""
    made = {}
    for number, state in enumerate(State):
        began = state if state in (State.HELD, State.QUEUED) else State.SENDING
        made[state] = bench.record(request=state.value, state=began, received=NOW + number * MINUTE)
    for state, event in (
        (State.WAITING, Event.PENDED),
        (State.UNKNOWN, Event.LOST),
        (State.ISSUED, Event.GRANTED),
        (State.REFUSED, Event.REFUSED),
    ):
        granted = certificate() if event is Event.GRANTED else None
        made[state] = bench.happen(made[state], event, NOW, next_at=NOW + HOUR, certificate=granted)
    assert {each.state for each in made.values()} == set(State)
    return made


def test_the_newest_come_first_and_as_many_as_are_wanted(bench: Bench) -> None:
    """The list is cut to what is asked for: states, a profile, those that somebody should look at, a number."""
    made = each_state(bench)
    newest = [made[state].id for state in reversed(State)]
    assert [entry.id for entry in bench(listing.entries)] == newest
    assert [entry.id for entry in bench(listing.entries, limit=2)] == newest[:2]
    two = bench(listing.entries, states=(State.HELD, State.ISSUED))
    assert [entry.id for entry in two] == [made[State.ISSUED].id, made[State.HELD].id]
    assert bench(listing.entries, profile="vpn") == []
    assert len(bench(listing.entries, profile="wifi")) == len(State)
    assert bench(listing.entries, attention=True) == []
    bench(outcomes.quarantine, made[State.HELD].id, "broken", NOW)
    unknown = bench.claim(made[State.UNKNOWN], NOW + HOUR)
    bench.happen(unknown, Event.REFUSED, NOW + HOUR, attention="the CA refuses what it may have issued")
    looked_at = bench(listing.entries, attention=True)
    assert [entry.id for entry in looked_at] == [made[State.UNKNOWN].id, made[State.HELD].id]


def test_one_line_says_what_the_transaction_is(bench: Bench) -> None:
    """An entry has the values of its transaction; there is none of what is not there."""
    made = bench.record(profile="vpn")
    entry = bench(listing.entry, made.id)
    for name in ("id", "profile", "upstream", "subject", "received", "changed", "next_at", "sends", "polls", "reason"):
        assert getattr(entry, name) == getattr(made, name)
    assert (entry.state, entry.quarantine) == ("sending", None)
    assert bench(listing.entry, "nothing") is None


def test_an_id_is_found_by_how_it_begins(bench: Bench) -> None:
    """In order, of the states that are wanted, and no more than so many; what is no beginning finds nothing."""
    ids = [f"{number:016x}" for number in (0xA0 << 56, 0xAB << 56, 0xABC << 52, 0xB0 << 56)]
    for identifier in reversed(ids):
        state = State.HELD if identifier == ids[2] else State.QUEUED
        bench.record(request=identifier, state=state, id=identifier)
    for prefix, found in (("a", ids[:3]), ("ab", ids[1:3]), (ids[3], ids[3:]), ("c", []), (ids[0] + "0", [])):
        assert bench(listing.matching, prefix) == found
    assert bench(listing.matching, "a", states=(State.HELD,)) == ids[2:3]
    assert bench(listing.matching, "", limit=2) == ids[:2]


def test_circumstances_are_what_no_transaction_says(bench: Bench) -> None:
    """Who is at work on it and until when, and what the CA issued instead."""
    made = bench.record()
    found = bench(listing.circumstances, made.id)
    assert (found.owner, found.lease_ends, found.misissued) == ("process", NOW + LEASE, None)
    bench.happen(made, Event.MISISSUED, certificate=certificate())
    found = bench(listing.circumstances, made.id)
    assert (found.owner, found.lease_ends, found.misissued) == (None, None, certificate().der)
    assert bench(listing.circumstances, "nothing") is None


def test_counts_are_of_every_state(bench: Bench) -> None:
    """States without a transaction are counted too: none."""
    assert bench(listing.counts) == dict.fromkeys(State, 0)
    each_state(bench)
    bench.record(request="one more")
    assert bench(listing.counts) == dict.fromkeys(State, 1) | {State.SENDING: 2}


@pytest.mark.proves("I7", "FT-43")
@pytest.mark.parametrize("state", State)
def test_what_can_be_redriven_is_asked_about_at_once(bench: Bench, state: State) -> None:
    """It is due now, whoever had it loses it, and the record says who wanted it; elsewhere nothing happens."""
    made = each_state(bench)[state]
    before = bench.content()
    if (state, Event.REDRIVEN) not in TRANSITIONS:
        with pytest.raises(NotPossible, match=f"what is {state.value} cannot be redriven"):
            bench(listing.redrive, made.id, person="ann", why="the CA is back", now=NOW + SECOND)
        assert bench.content() == before
        return
    after = bench(listing.redrive, made.id, person="ann", why="the CA is back", now=NOW + SECOND)
    assert (after.state, after.next_at) == (TRANSITIONS[state, Event.REDRIVEN], NOW + SECOND)
    assert (after.changed, after.attention, after.fence) == (NOW + SECOND, "", made.fence + 1)
    last = bench(listing.history, made.id)[-1]
    assert last.event == "redriven"
    assert last.record == {"person": "ann", "why": "the CA is back", "was": state.value}


@pytest.mark.proves("I7", "FT-43")
@pytest.mark.parametrize("state", State)
def test_what_can_be_closed_is_refused(bench: Bench, state: State) -> None:
    """An operator ends what the CA will never decide; what is decided or being sent is not theirs to end."""
    made = each_state(bench)[state]
    before = bench.content()
    if (state, Event.CLOSED) not in TRANSITIONS:
        with pytest.raises(NotPossible, match=f"what is {state.value} cannot be closed"):
            bench(listing.close, made.id, person="ann", why="given up", now=NOW + SECOND)
        assert bench.content() == before
        return
    after = bench(listing.close, made.id, person="ann", why="given up", now=NOW + SECOND)
    assert (after.state, after.fail_info, after.next_at) == (State.REFUSED, FailInfo.BAD_REQUEST, None)
    # What had come to its end keeps its reason: somebody has looked at it, and nothing else has happened.
    assert after.reason == (made.reason if state is State.REFUSED else "closed by ann: given up")
    assert after.attention == ""
    assert bench.events(made)[-1] == "closed"


@pytest.mark.proves("FT-43", "FT-13")
def test_an_operator_takes_a_transaction_from_whoever_is_at_work_on_it(bench: Bench) -> None:
    """What that one says of it afterwards is not written."""
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW + HOUR)
    polling = bench.claim(waiting, NOW + HOUR)
    closed = bench(listing.close, polling.id, person="ann", why="given up", now=NOW + HOUR)
    assert bench.apply(polling, Event.GRANTED, NOW + HOUR, certificate=certificate()) is None
    assert bench.get(polling) == closed
    assert bench.rows("certificates") == []


@pytest.mark.proves("FT-43", "I5")
@pytest.mark.parametrize("product", ["postgresql"])
@pytest.mark.parametrize("act", [listing.redrive, listing.close])
def test_an_operator_does_not_undo_a_grant_of_this_moment(
    bench: Bench, other: Callable[..., Database], act: Callable[..., Transaction]
) -> None:
    """What is granted between an operator's look and their act stays granted, and they are told to look again."""
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW + HOUR)
    polling = bench.claim(waiting, NOW + HOUR)
    granted = partial(other().call, outcomes.apply, polling, Outcome(Event.GRANTED, certificate=certificate()), NOW)
    with (
        just_before(bench.engine, "UPDATE transactions SET state", granted),
        pytest.raises(NotPossible, match="was changed at the same moment: look at it again"),
    ):
        bench(act, polling.id, person="ann", why="", now=NOW + DAY)
    assert bench.get(polling).state is State.ISSUED
    assert bench.events(polling)[-1] == "granted"


@pytest.mark.parametrize("act", [listing.redrive, listing.close])
def test_what_is_not_there_is_not_acted_on(bench: Bench, act: Callable[..., Transaction]) -> None:
    """An id that nothing has is told as such."""
    with pytest.raises(NotPossible, match="there is no transaction nothing"):
        bench(act, "nothing", person="ann", why="", now=NOW)


def test_all_are_walked_page_by_page(bench: Bench) -> None:
    """Pages in the order of the ids have each transaction of a span once, with the record of its decision."""
    made = [
        bench.record(request=f"r{number}", received=NOW + number * DAY, routes=[f"r{number}"]) for number in range(5)
    ]
    bad = made[2]
    bench(
        lambda connection: connection.execute(
            sa.update(transactions).where(transactions.c.id == bad.id), {"state": "?"}
        )
    )
    span = Span("wifi", NOW + DAY, NOW + 4 * DAY)
    assert bench(listing.count, span) == 4
    found: list[Decided | Corrupt] = []
    after = ""
    while page := bench(listing.page, span, after, 3):
        found += page
        last = page[-1]
        after = last.transaction if isinstance(last, Corrupt) else last.transaction.id
    ids = [each.transaction if isinstance(each, Corrupt) else each.transaction.id for each in found]
    assert ids == sorted(each.id for each in made[1:])
    (corrupt,) = (each for each in found if isinstance(each, Corrupt))
    assert corrupt.transaction == bad.id
    decided = [each.decision for each in found if isinstance(each, Decided)]
    assert [each.event for each in decided if each is not None] == ["authorised"] * 3
    assert bench(listing.count, Span("vpn", None, NOW + 9 * DAY)) == 0
    assert bench(listing.page, Span(None, None, NOW - DAY), "", 9) == []


def test_the_decision_is_the_ra_s_own(bench: Bench) -> None:
    """Of all records of a transaction it is the first, before anything was sent; one that has gone is none."""
    made = bench.record(state=State.HELD)
    decision = bench(listing.decision, made.id)
    assert decision is not None
    assert (decision.event, decision.record) == ("held", {"profile": "wifi"})
    assert bench(listing.decision, "0" * 16) is None
