"""What has taken too long ends, what is old goes, and the clock is watched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from scepra.config.store import Retention
from scepra.errors import FailInfo
from scepra.store import approvals, housekeeping, intents, leases, outcomes, signers
from scepra.store.database import Database
from scepra.store.housekeeping import STEP
from scepra.store.outcomes import Outcome
from scepra.store.tables import audit, transactions
from scepra.transaction import TRANSITIONS, Event, State
from tests.store.sample import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Bench,
    again,
    certificate,
    digest,
    intent,
    just_before,
    together,
)
from tests.store.test_listing import each_state

RETENTION = Retention()


@pytest.mark.proves("FT-15", "I7")
def test_only_what_may_expire_does(bench: Bench) -> None:
    """What nothing is known of at the CA, and what the CA holds back, ends; what may have been issued never does."""
    made = each_state(bench)
    end = made[State.HELD].expires
    assert bench(housekeeping.expire, end - SECOND) == []
    expiring = {state for state in State if (state, Event.EXPIRED) in TRANSITIONS}
    assert expiring == {State.HELD, State.QUEUED, State.WAITING}
    assert set(bench(housekeeping.expire, end)) == {made[state].id for state in expiring}
    for state, before in made.items():
        after = bench.get(before)
        if state not in expiring:
            assert after == before
            continue
        assert (after.state, after.fail_info, after.next_at) == (State.REFUSED, FailInfo.BAD_REQUEST, None)
        assert (after.changed, after.fence) == (end, before.fence + 1)
        assert after.reason == "it took longer than is configured"
        assert bench.events(after)[-1] == "expired"
        assert bench.rows("audit", transaction=after.id)[-1]["record"]["was"] == state.value
    assert bench(housekeeping.expire, end + DAY) == []


@pytest.mark.proves("FT-15", "FT-43")
def test_what_somebody_is_at_work_on_does_not_expire_under_their_hands(bench: Bench) -> None:
    """A poll that is under way may bring the certificate: it is waited for, as long as its lease lasts."""
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW + HOUR)
    end = waiting.expires
    polling = bench.claim(waiting, end)
    assert bench(housekeeping.expire, end) == []
    assert bench.happen(polling, Event.GRANTED, end, certificate=certificate()).state is State.ISSUED
    assert bench(housekeeping.expire, end + DAY) == []


@pytest.mark.proves("FT-58", "FT-15")
def test_what_is_without_an_end_or_quarantined_does_not_expire(bench: Bench) -> None:
    """Neither is housekeeping's to decide."""
    bench.record(request="for ever", state=State.HELD, expires=None)
    broken = bench.record(request="broken", state=State.HELD)
    bench(outcomes.quarantine, broken.id, "broken", NOW)
    assert bench(housekeeping.expire, NOW + 1000 * DAY) == []


@pytest.mark.proves("FT-43", "I5")
@pytest.mark.parametrize("product", ["postgresql"])
def test_a_grant_of_this_moment_does_not_expire(bench: Bench, other: Callable[..., Database]) -> None:
    """What is granted late, between housekeeping's look and its writing, stays granted."""
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW + HOUR)
    polling = bench.claim(waiting, NOW + HOUR)
    granted = partial(other().call, outcomes.apply, polling, Outcome(Event.GRANTED, certificate=certificate()), NOW)
    with just_before(bench.engine, "UPDATE transactions", granted):
        assert bench(housekeeping.expire, waiting.expires) == []
    assert bench.get(polling).state is State.ISSUED
    assert bench.events(polling)[-1] == "granted"


@pytest.mark.proves("FT-15")
def test_steps_are_bounded(bench: Bench) -> None:
    """However much there is to end or to take away, one database transaction does so much of it and no more."""
    some = [
        {**intent(f"{number}", state=State.HELD).values, "request": digest(f"{number}")} for number in range(STEP + 1)
    ]
    bench(lambda connection: connection.execute(sa.insert(transactions), some))
    later = NOW + 8 * DAY
    assert [len(bench(housekeeping.expire, later)) for _ in range(3)] == [STEP, 1, 0]
    swept = [bench(housekeeping.sweep, RETENTION, later + 31 * DAY) for _ in range(2)]
    assert [each.counts["transactions"] for each in swept] == [STEP, 1]
    assert [each.more for each in swept] == [True, False]
    bench(lambda connection: connection.execute(sa.update(audit).values(at=NOW - 1000 * DAY)))
    assert [bench(housekeeping.sweep, RETENTION, NOW).counts["audit"] for _ in range(3)] == [STEP, 1, 0]


@pytest.mark.proves("FT-15")
def test_each_table_keeps_for_as_long_as_it_is_told(bench: Bench) -> None:
    """A moment before its time nothing goes; after it each kind goes by itself, and leaves the others."""
    ends = certificate().not_after
    bench.happen(bench.record(once="code"), Event.GRANTED, certificate=certificate())
    held = bench.record(request="held", state=State.HELD, routes=["held"])
    case = bench(approvals.case, held.id)
    bench(approvals.say, held.id, approve=False, person="ann", why="", shown_digest=case.digest, now=NOW)
    bench(signers.keep, "key", "ca", b"sealed", NOW)

    def kept() -> dict[str, int]:
        return {name: len(rows) for name, rows in bench.content().items() if rows}

    retention = Retention(transactions="2d", certificates="1d", challenges="30d", audit="40d")
    everything = kept()
    assert everything == {
        "approvals": 1, "audit": 4, "certificates": 1, "reservations": 1, "routes": 2, "signer_keys": 1,
        "transactions": 2,
    }  # fmt: skip
    gone: dict[str, int] = {}
    for moment, names in (
        (NOW + 2 * DAY, {"transactions", "routes", "approvals", "signer_keys"}),
        (NOW + 30 * DAY, {"reservations"}),
        (NOW + 40 * DAY, {"audit"}),
    ):
        keep_certificates = retention.model_copy(update={"certificates": 10000.0 * 86400})
        assert bench(housekeeping.sweep, keep_certificates, moment).counts.keys() >= {"transactions", "audit"}
        assert kept() == {name: count for name, count in everything.items() if name not in gone}
        bench(housekeeping.sweep, keep_certificates, moment + timedelta(milliseconds=1))
        gone |= dict.fromkeys(names, 0)
        assert kept() == {name: count for name, count in everything.items() if name not in gone}
    bench(housekeeping.sweep, retention, ends + DAY)
    assert kept() == {"certificates": 1}
    assert bench(housekeeping.sweep, retention, ends + DAY + SECOND).counts["certificates"] == 1
    assert kept() == {}


@pytest.mark.proves("FT-15", "I13", "I5")
def test_what_is_not_decided_stays_however_old_it_is(bench: Bench) -> None:
    """Only what is issued or refused is ever taken away, with its routes."""
    made = each_state(bench)
    bench(housekeeping.sweep, RETENTION, NOW + 36500 * DAY)
    left = {row["id"] for row in bench.rows("transactions")}
    assert left == {transaction.id for state, transaction in made.items() if not state.final}


@pytest.mark.proves("RA-20")
def test_a_signer_key_in_use_stays(bench: Bench) -> None:
    """A key goes when it is old and no transaction needs it any more; and not before."""
    for name in ("used", "unused"):
        bench(signers.keep, name, "ca", b"sealed", NOW)
    bench(signers.keep, "young", "ca", b"sealed", NOW + 31 * DAY)
    made = bench.record(signer_key_id="used")
    assert bench(housekeeping.sweep, RETENTION, NOW + 31 * DAY).counts["signer_keys"] == 1
    assert {row["id"] for row in bench.rows("signer_keys")} == {"used", "young"}
    bench.happen(made, Event.REFUSED)
    assert bench(housekeeping.sweep, RETENTION, NOW + 31 * DAY).counts["signer_keys"] == 1
    assert {row["id"] for row in bench.rows("signer_keys")} == {"young"}


@pytest.mark.proves("FT-46")
def test_the_latest_time_that_was_seen_is_kept(bench: Bench) -> None:
    """A clock that goes forward is behind nothing; one that was set back is behind by as much as it was."""
    assert bench(housekeeping.tick, NOW) == timedelta(0)
    assert bench(housekeeping.tick, NOW + HOUR) == -HOUR
    assert bench(housekeeping.tick, NOW + MINUTE) == HOUR - MINUTE
    assert bench(housekeeping.tick, NOW + MINUTE) == HOUR - MINUTE
    assert bench(housekeeping.tick, NOW + HOUR) == timedelta(0)
    assert [row["seen"] for row in bench.rows("clock")] == [NOW + HOUR]


@pytest.mark.proves("FT-46")
def test_a_clock_that_is_set_back_makes_no_pause_longer(bench: Bench) -> None:
    """What was put off, and what is leased, comes forward by as much as the clock went back: once."""
    bench(housekeeping.tick, NOW + HOUR)
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW + HOUR + MINUTE)
    bench(leases.drive, "ca", "me", NOW + HOUR, NOW + HOUR + MINUTE)
    for _ in range(2):
        bench(housekeeping.tick, NOW)
        assert bench.get(waiting).next_at == NOW + MINUTE
        assert bench(leases.driver, "ca", NOW + MINUTE / 2) == "me"
        assert bench(leases.driver, "ca", NOW + MINUTE) is None


@pytest.mark.proves("FT-46")
def test_many_first_looks_at_the_clock_are_one(bench: Bench) -> None:
    """Processes that start together note one time of day."""
    behind = together(*[partial(bench, housekeeping.tick, NOW) for _ in range(8)])
    assert behind == [timedelta(0)] * 8
    assert len(bench.rows("clock")) == 1


@pytest.mark.proves("FT-43", "AC-092")
def test_keeping_house_beside_enrolments(bench: Bench) -> None:
    """What is swept and what is recorded at the same moment do not harm each other."""
    for number in range(20):
        bench.happen(bench.record(request=f"{number}", routes=[f"{number}"]), Event.REFUSED)

    def enrol(number: int) -> object:
        what = again(intent(f"{number}", routes=[f"{number}"], at=NOW + 31 * DAY))
        return bench(intents.record, what, NOW + 31 * DAY)

    results = together(
        *[partial(enrol, number) for number in range(6)],
        *[partial(bench, housekeeping.sweep, RETENTION, NOW + 31 * DAY) for _ in range(2)],
    )
    assert [each for each in results if isinstance(each, Exception)] == []
    for number in range(6):
        assert bench(intents.find, digest(f"{number}")).state is State.SENDING
