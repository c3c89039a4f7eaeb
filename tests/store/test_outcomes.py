"""What became of a transaction: written once, by whoever holds it, with its audit record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from scepra.errors import FailInfo
from scepra.store import intents, leases, listing, outcomes
from scepra.store.database import Database
from scepra.store.outcomes import ALREADY_ISSUED, Outcome
from scepra.transaction import Event, Impossible, State, Transaction
from tests.store.sample import DAY, HOUR, LEASE, NOW, SECOND, Bench, certificate, just_before, together


def pended(bench: Bench, **changes: object) -> Transaction:
    """A transaction that the CA holds back, taken up for a poll."""
    waiting = bench.happen(bench.record(**changes), Event.PENDED, next_at=NOW + HOUR)
    return bench.claim(waiting, NOW + HOUR)


@pytest.mark.proves("I5", "I7", "DR-10")
def test_a_grant_is_stored_whole(bench: Bench) -> None:
    """The certificate, its entry in the inventory, the end of the lease and one audit record come together."""
    held, issued = bench.record(), certificate()
    after = bench.happen(held, Event.GRANTED, NOW + SECOND, certificate=issued, sends=1, next_at=NOW, record={"a": 1})
    assert (after.state, after.certificate, after.certificate_ends) == (State.ISSUED, issued.der, issued.not_after)
    assert (after.sends, after.polls, after.changed, after.next_at) == (1, 0, NOW + SECOND, None)
    assert bench.get(held) == after
    (row,) = bench.rows("transactions")
    assert (row["owner"], row["lease_ends"], row["misissued"]) == (None, None, None)
    (kept,) = bench.rows("certificates")
    assert kept["fingerprint"].hex() == issued.fingerprint()
    assert kept["serial"] == f"{issued.serial:x}"
    for name, value in {
        "transaction": held.id,
        "profile": "wifi",
        "public_key": held.public_key,
        "subject": held.subject,
        "issued": NOW + SECOND,
        "ends": issued.not_after,
    }.items():
        assert kept[name] == value
    first, second = listing_of(bench, held)
    assert (first.event, second.event, second.record) == ("authorised", "granted", {"a": 1})
    assert second.sequence > first.sequence


def listing_of(bench: Bench, transaction: Transaction) -> list[listing.Happening]:
    """What the audit says of a transaction."""
    return bench(listing.history, transaction.id)


@pytest.mark.proves("I7")
@pytest.mark.parametrize(
    ("event", "state", "fail_info"),
    [
        (Event.REFUSED, State.REFUSED, FailInfo.BAD_REQUEST),
        (Event.MISISSUED, State.REFUSED, FailInfo.BAD_REQUEST),
        (Event.PENDED, State.WAITING, None),
        (Event.LOST, State.UNKNOWN, None),
        (Event.NOT_SENT, State.QUEUED, None),
    ],
)
def test_each_outcome_is_audited_once(bench: Bench, event: Event, state: State, fail_info: FailInfo | None) -> None:
    """What changes the state of a transaction writes one record of why; only what is refused has a failInfo."""
    after = bench.happen(bench.record(), event, next_at=NOW + HOUR, reason="because", attention="look")
    assert (after.state, after.fail_info, after.reason, after.attention) == (state, fail_info, "because", "look")
    assert after.next_at == (None if state.final else NOW + HOUR)
    assert [(each.event, each.record) for each in listing_of(bench, after)][1:] == [
        (event.value, {"reason": "because"})
    ]
    assert bench.rows("certificates") == []


@pytest.mark.proves("RA-23")
def test_the_failinfo_of_the_ca_is_kept(bench: Bench) -> None:
    """badAlg, whose number is nought, is not taken for none."""
    assert bench.happen(bench.record(), Event.REFUSED, fail_info=FailInfo.BAD_ALG).fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("I7", "FT-15")
def test_a_poll_that_changes_nothing_is_no_decision(bench: Bench) -> None:
    """What is held back again is counted, put off and not audited; since when it has waited stays."""
    held = pended(bench, expires=None)
    after = bench.happen(
        held, Event.PENDED, NOW + 2 * HOUR, next_at=NOW + DAY, expires=NOW + 7 * DAY, polls=1, reason="held back"
    )
    assert (after.state, after.polls, after.next_at, after.expires) == (State.WAITING, 1, NOW + DAY, NOW + 7 * DAY)
    assert after.changed == NOW
    assert bench.events(held) == ["authorised", "pended"]
    held = bench.claim(after, NOW + DAY)
    assert bench.happen(held, Event.PENDED, NOW + DAY, expires=NOW + 9 * DAY).expires == NOW + 7 * DAY


@pytest.mark.proves("FT-43")
@pytest.mark.parametrize("event", [Event.GRANTED, Event.REFUSED, Event.PENDED, Event.MISISSUED])
def test_whoever_was_overtaken_writes_nothing(bench: Bench, event: Event) -> None:
    """An outcome under an old fence leaves no trace: no state, no certificate, no audit record."""
    stale = bench.record()
    bench.claim(stale, NOW + LEASE, "another")
    before = bench.content()
    assert bench.apply(stale, event, NOW + LEASE, certificate=certificate()) is None
    assert bench.content() == before


@pytest.mark.proves("FT-43", "I4", "DR-10")
@pytest.mark.parametrize("event", [Event.GRANTED, Event.PENDED, Event.REFUSED, Event.LOST])
def test_the_fence_alone_keeps_out_who_was_overtaken(bench: Bench, event: Event) -> None:
    """What waits is in the same state when another process has taken it up: the one that had it before is late."""
    waiting = bench.happen(bench.record(), Event.PENDED, next_at=NOW)
    slow = bench.claim(waiting, NOW, "slow")
    fast = bench.claim(slow, NOW + LEASE, "fast")
    assert (slow.state, slow.fence + 1) == (fast.state, fast.fence)
    before = bench.content()
    assert bench.apply(slow, event, certificate=certificate() if event is Event.GRANTED else None) is None
    assert bench.content() == before


@pytest.mark.proves("FT-43", "I5")
@pytest.mark.parametrize("event", Event)
def test_a_grant_cannot_be_undone(bench: Bench, event: Event) -> None:
    """Nothing that is said of an issued transaction afterwards changes it, not even by who issued it."""
    held = bench.record()
    issued = bench.happen(held, Event.GRANTED, certificate=certificate())
    before = bench.content()
    with pytest.raises(Impossible):
        bench.apply(issued, event, certificate=certificate("other"))
    if event in (Event.GRANTED, Event.REFUSED, Event.PENDED, Event.LOST, Event.NOT_SENT, Event.MISISSUED):
        assert bench.apply(held, event, certificate=certificate("other")) is None
    assert bench.content() == before


@pytest.mark.proves("AC-110", "I5")
def test_a_certificate_of_another_transaction_is_not_delivered(bench: Bench) -> None:
    """An issuer and serial number that another transaction was given is kept for people, and refused."""
    bench.happen(bench.record(), Event.GRANTED, certificate=certificate())
    second = bench.happen(bench.record(request="other"), Event.GRANTED, certificate=certificate(), reason="fine")
    assert (second.state, second.certificate, second.reason) == (State.REFUSED, None, ALREADY_ISSUED)
    assert bench.events(second) == ["authorised", "misissued"]
    assert bench.rows("transactions", id=second.id)[0]["misissued"] == certificate().der
    assert len(bench.rows("certificates")) == 1


@pytest.mark.proves("AC-110", "I5")
def test_two_transactions_and_one_certificate_at_the_same_moment(bench: Bench) -> None:
    """Of two that are granted the same certificate at once, one gets it."""
    held = [bench.record(request=name) for name in ("one", "two")]
    outcome = Outcome(Event.GRANTED, certificate=certificate())
    after = together(*[partial(bench, outcomes.apply, each, outcome, NOW) for each in held])
    assert sorted(each.state.value for each in after) == ["issued", "refused"]


@pytest.mark.proves("AC-110", "I5")
@pytest.mark.parametrize("product", ["postgresql"])
def test_a_certificate_that_another_process_gives_away_this_moment(
    bench: Bench, other: Callable[..., Database]
) -> None:
    """Between looking and writing another process may have given the certificate to another transaction."""
    one, two = bench.record(request="one"), bench.record(request="two")
    outcome = Outcome(Event.GRANTED, certificate=certificate())
    with just_before(
        bench.engine, "INSERT INTO certificates", partial(other().call, outcomes.apply, one, outcome, NOW)
    ):
        after = bench.apply(two, Event.GRANTED, certificate=certificate())
    assert (bench.get(one).state, after.state) == (State.ISSUED, State.REFUSED)
    assert bench.events(two) == ["authorised", "misissued"]


@pytest.mark.proves("FT-13", "AC-110")
def test_a_surplus_certificate_is_kept_and_told_once(bench: Bench) -> None:
    """A second certificate for a finished transaction is noted; the one that it has, and another's, are not."""
    held = bench.record()
    bench.happen(held, Event.GRANTED, certificate=certificate())
    bench.happen(bench.record(request="other"), Event.GRANTED, certificate=certificate("other"))
    assert not bench(outcomes.surplus, held, certificate(), NOW)
    assert not bench(outcomes.surplus, held, certificate("other"), NOW)
    assert bench.events(held) == ["authorised", "granted"]
    assert bench(outcomes.surplus, held, certificate("second"), NOW)
    assert not bench(outcomes.surplus, held, certificate("second"), NOW)
    assert bench.events(held) == ["authorised", "granted", "surplus"]
    assert listing_of(bench, held)[-1].record == {"certificate": certificate("second").fingerprint()}
    assert bench.get(held).certificate == certificate().der
    assert len(bench.rows("certificates", transaction=held.id)) == 2


@pytest.mark.proves("FT-13", "AC-110")
def test_the_certificate_that_a_slower_process_kept_may_be_granted(bench: Bench) -> None:
    """A transaction may be granted what it was issued before: the CA says the same twice."""
    stale = bench.record()
    held = bench.claim(stale, NOW + LEASE, "another")
    assert bench.apply(stale, Event.GRANTED, certificate=certificate()) is None
    bench(outcomes.surplus, stale, certificate(), NOW)
    assert bench.happen(held, Event.GRANTED, certificate=certificate()).state is State.ISSUED
    assert len(bench.rows("certificates")) == 1


@pytest.mark.proves("FT-58")
def test_a_quarantined_transaction_is_left_alone_until_somebody_has_it_redriven(bench: Bench) -> None:
    """It is noted once, is not due and not taken up; redriven it is tried again."""
    made = bench.record(state=State.QUEUED)
    for _ in range(2):
        bench(outcomes.quarantine, made.id, "it cannot be read", NOW)
    assert bench.events(made) == ["authorised", "quarantined"]
    assert bench(leases.due, "ca", NOW + DAY, 10) == []
    assert bench(leases.claim, made.id, made.fence, "process", NOW, NOW + LEASE) is None
    (entry,) = bench(listing.entries, attention=True)
    assert (entry.id, entry.quarantine) == (made.id, "it cannot be read")
    after = bench(listing.redrive, made.id, person="ann", why="repaired", now=NOW + DAY)
    assert bench(leases.due, "ca", NOW + DAY, 10) == [(made.id, after.fence)]


@pytest.mark.proves("FT-43", "I5")
@pytest.mark.parametrize("product", ["postgresql"])
def test_a_late_grant_is_not_lost_to_who_takes_the_transaction_up(bench: Bench, other: Callable[..., Database]) -> None:
    """While one process takes over a lease that has ended, its slow holder stores the certificate: it stays stored."""
    slow = bench.record()
    granted = partial(
        other().call, outcomes.apply, slow, Outcome(Event.GRANTED, certificate=certificate()), NOW + LEASE
    )
    with just_before(bench.engine, "UPDATE transactions", granted):
        taken = bench(leases.claim, slow.id, slow.fence, "another", NOW + LEASE, NOW + 2 * LEASE)
    assert taken is None
    assert bench.get(slow).state is State.ISSUED


def test_get_and_history_of_nothing(bench: Bench) -> None:
    """What is not there has no history."""
    assert bench(intents.get, "nothing") is None
    assert bench(listing.history, "nothing") == []
