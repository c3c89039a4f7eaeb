"""Who is at work on what: one at a time, and never for ever."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import pytest
import sqlalchemy as sa

from scepra.store import intents, leases, listing, outcomes
from scepra.store.approvals import NotPossible
from scepra.store.leases import FAR
from scepra.store.rows import Corrupt
from scepra.store.tables import transactions
from scepra.transaction import Event, State, Transaction
from tests.store.sample import DAY, HOUR, LEASE, MINUTE, NOW, SECOND, Bench, digest, intent, together


def try_claim(bench: Bench, transaction: Transaction, now: datetime, owner: str = "another") -> Transaction | None:
    """Take up a transaction, if it is free."""
    return bench(leases.claim, transaction.id, transaction.fence, owner, now, now + LEASE)


def due(bench: Bench, now: datetime, limit: int = 10, *, latest: bool = False) -> list[str]:
    """The subjects of what is due, in order."""
    names = {row["id"]: row["subject"].removeprefix("CN=") for row in bench.rows("transactions")}
    return [names[each] for each, _ in bench(partial(leases.due, latest=latest), "ca", now, limit)]


@pytest.mark.proves("FT-43", "I4")
def test_of_two_who_claim_one_has_it(bench: Bench) -> None:
    """A transaction that is queued is taken up once, however many try at the same moment."""
    queued = bench.record(state=State.QUEUED)
    claims = [partial(try_claim, bench, queued, NOW, f"process {number}") for number in range(8)]
    taken = together(*claims)
    (held,) = [each for each in taken if each is not None]
    assert isinstance(held, Transaction), taken
    assert (held.state, held.fence, held.next_at) == (State.SENDING, queued.fence + 1, NOW + LEASE)
    (row,) = bench.rows("transactions")
    assert (row["owner"], row["lease_ends"]) == (f"process {taken.index(held)}", NOW + LEASE)


@pytest.mark.proves("DR-7")
def test_what_is_queued_is_sending_before_anything_is_sent(bench: Bench) -> None:
    """Taking it up commits that octets may leave from now on."""
    held = try_claim(bench, bench.record(state=State.QUEUED), NOW + HOUR)
    assert held is not None
    assert (held.state, held.changed) == (State.SENDING, NOW + HOUR)


@pytest.mark.proves("FT-43", "I13", "FT-13")
def test_what_a_process_left_behind_while_sending_is_unknown(bench: Bench) -> None:
    """Nobody can tell how far it got; before its lease ends nobody may take it up."""
    left = bench.record()
    assert try_claim(bench, left, NOW + LEASE - SECOND) is None
    held = try_claim(bench, left, NOW + LEASE)
    assert held is not None
    assert (held.state, held.fence, held.changed) == (State.UNKNOWN, left.fence + 1, NOW + LEASE)


@pytest.mark.proves("I13", "RA-20")
@pytest.mark.parametrize("event", [Event.PENDED, Event.LOST])
def test_what_waits_stays_what_it_is_when_it_is_taken_up(bench: Bench, event: Event) -> None:
    """WAITING and UNKNOWN are asked about as such; since when they are stays."""
    before = bench.happen(bench.record(), event, next_at=NOW + MINUTE)
    held = bench.claim(before, NOW + MINUTE)
    assert (held.state, held.changed) == (before.state, NOW)
    assert held.fence == before.fence + 1


@pytest.mark.proves("FT-43")
def test_what_cannot_be_taken_up(bench: Bench) -> None:
    """What is held, decided or of another fence belongs to nobody; nor does what is not there."""
    held = bench.record(state=State.HELD)
    refused = bench.happen(bench.record(request="two"), Event.REFUSED)
    queued = bench.record(request="three", state=State.QUEUED)
    assert try_claim(bench, held, NOW + DAY) is None
    assert try_claim(bench, refused, NOW + DAY) is None
    assert bench(leases.claim, queued.id, queued.fence + 1, "process", NOW, NOW + LEASE) is None
    assert bench(leases.claim, "nothing", 1, "process", NOW, NOW + LEASE) is None
    assert due(bench, NOW + DAY) == ["three"]


@pytest.mark.proves("FT-17")
def test_what_is_due_is_found_from_either_end(bench: Bench) -> None:
    """The longest due or the latest first, only of this upstream, only as many as are wanted, and only what is free."""
    for name, minutes in (("c", 3), ("a", 1), ("d", 4), ("b", 2)):
        bench.record(request=name, state=State.QUEUED, next_at=NOW + minutes * MINUTE)
    bench.record(request="elsewhere", state=State.QUEUED, upstream="other")
    bench.record(request="never", state=State.QUEUED, next_at=None)
    bench.record(request="being sent", next_at=NOW, at=NOW)
    assert due(bench, NOW) == []
    assert due(bench, NOW + HOUR) == ["being sent", "a", "b", "c", "d"]
    assert due(bench, NOW + HOUR, 2) == ["being sent", "a"]
    assert due(bench, NOW + HOUR, latest=True) == ["d", "c", "b", "a", "being sent"]
    assert due(bench, NOW + 3 * MINUTE, 2, latest=True) == ["c", "b"]


@pytest.mark.proves("FT-46")
def test_a_clock_that_was_set_back_stops_nothing(bench: Bench) -> None:
    """Moments further ahead than anything is ever put off were written before: they count as past."""
    stuck = bench.record(at=NOW + 365 * DAY, request="being sent")
    bench.record(request="put off", state=State.QUEUED, next_at=NOW + FAR + SECOND)
    bench.record(request="not yet", state=State.QUEUED, next_at=NOW + FAR)
    assert due(bench, NOW) == ["put off", "being sent"]
    assert due(bench, NOW, latest=True) == ["being sent", "put off"]
    held = try_claim(bench, stuck, NOW)
    assert held is not None
    assert held.state is State.UNKNOWN
    assert due(bench, NOW) == ["put off"]


@pytest.mark.proves("FT-17", "FT-43")
def test_one_process_drives_an_upstream(bench: Bench) -> None:
    """Until its lease ends, or it lets go, nobody else does; it can go on by itself."""
    assert bench(leases.driver, "ca", NOW) is None
    assert bench(leases.drive, "ca", "one", NOW, NOW + LEASE)
    assert bench(leases.driver, "ca", NOW) == "one"
    assert not bench(leases.drive, "ca", "two", NOW + LEASE - SECOND, NOW + 2 * LEASE)
    assert bench(leases.drive, "other", "two", NOW, NOW + LEASE), "another upstream is another lease"
    assert bench(leases.drive, "ca", "one", NOW + SECOND, NOW + LEASE + SECOND)
    bench(leases.release, "ca", "two", NOW)
    assert bench(leases.driver, "ca", NOW + LEASE) == "one"
    assert bench(leases.driver, "ca", NOW + LEASE + SECOND) is None
    assert bench(leases.drive, "ca", "two", NOW + LEASE + SECOND, NOW + 2 * LEASE)
    bench(leases.release, "ca", "two", NOW + LEASE + SECOND)
    assert bench(leases.driver, "ca", NOW + LEASE + SECOND) is None
    assert bench(leases.drive, "ca", "one", NOW + LEASE + SECOND, NOW + 2 * LEASE)


@pytest.mark.proves("FT-46")
def test_a_driver_from_before_the_clock_was_set_back_is_none(bench: Bench) -> None:
    """A lease that ends in a year does not keep an upstream for a year."""
    assert bench(leases.drive, "ca", "one", NOW + 365 * DAY, NOW + 365 * DAY + LEASE)
    assert bench(leases.driver, "ca", NOW) is None
    assert bench(leases.drive, "ca", "two", NOW, NOW + LEASE)
    assert bench(leases.driver, "ca", NOW) == "two"


@pytest.mark.proves("FT-43")
def test_of_many_who_want_to_drive_one_does(bench: Bench) -> None:
    """Eight that ask at the same moment, for a lease that is new and then for one that has ended."""
    for now in (NOW, NOW + LEASE):
        answers = together(
            *[partial(bench, leases.drive, "ca", f"{now} {number}", now, now + LEASE) for number in range(8)]
        )
        assert sorted(answers) == [False] * 7 + [True]


@pytest.mark.proves("I13", "FT-43")
def test_what_a_process_that_is_no_more_had_is_due_at_once(bench: Bench) -> None:
    """Its leases end, those of others and what is decided stay; the fence still keeps a late word of it out."""
    sending = bench.record(request="sending")
    waiting = bench.claim(bench.happen(bench.record(request="waiting"), Event.PENDED, next_at=NOW), NOW)
    others = bench.claim(bench.record(request="others", state=State.QUEUED), NOW, "another")
    refused = bench.happen(bench.record(request="refused"), Event.REFUSED)
    bench(leases.drive, "ca", "process", NOW, NOW + LEASE)
    bench(leases.drive, "other", "another", NOW, NOW + LEASE)
    assert bench(leases.owners, NOW) == {"process", "another"}
    assert due(bench, NOW + SECOND) == []
    bench(leases.bury, "process", NOW + SECOND)
    assert bench(leases.owners, NOW + SECOND) == {"another"}
    assert set(due(bench, NOW + SECOND)) == {"sending", "waiting"}
    assert bench(leases.driver, "ca", NOW + SECOND) is None
    assert bench(leases.driver, "other", NOW + SECOND) == "another"
    assert bench.get(others) == others
    assert bench.get(refused) == refused
    taken = bench.claim(sending, NOW + SECOND, "another")
    assert taken.state is State.UNKNOWN
    assert bench.apply(sending, Event.REFUSED) is None
    assert bench.get(waiting).state is State.WAITING
    assert bench(leases.owners, NOW + DAY) == set()


@pytest.mark.proves("FT-58")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "'elsewhere'"),
        ("credential", "'stolen'"),
        ("names", "'5'"),
        ("csr_digest", "'short'"),
        ("public_key", "''"),
        ("fail_info", "77"),
        ("received", "9223372036854775807"),
    ],
)
def test_a_row_that_is_no_transaction_is_set_apart_from_the_others(bench: Bench, name: str, value: str) -> None:
    """It raises Corrupt with its id, which is what quarantine needs; the others go on, and lists show it."""
    bad, good = bench.record(request="bad", state=State.QUEUED), bench.record(request="good", state=State.QUEUED)
    bench(spoil, bad, name, value)
    assert set(due(bench, NOW)) == {"bad", "good"}
    with pytest.raises(Corrupt) as caught:
        try_claim(bench, bad, NOW)
    assert caught.value.transaction == bad.id
    for function, argument in ((intents.get, bad.id), (intents.recall, intent("bad").request)):
        with pytest.raises(Corrupt, match=bad.id):
            bench(function, argument)
    bench(outcomes.quarantine, caught.value.transaction, caught.value.reason, NOW)
    assert due(bench, NOW) == ["good"]
    assert try_claim(bench, good, NOW) is not None
    assert {each.subject for each in bench(listing.entries)} == {"CN=bad", "CN=good"}
    with pytest.raises(NotPossible, match="cannot be read"):
        bench(listing.close, bad.id, person="ann", why="broken", now=NOW)
    assert bench(listing.entries, attention=True)[0].quarantine == caught.value.reason


@pytest.mark.proves("FT-58")
@pytest.mark.parametrize("product", ["sqlite"])
@pytest.mark.parametrize(("name", "value"), [("names", "'no JSON'"), ("received", "'yesterday'"), ("state", "5")])
def test_a_file_that_was_tampered_with_may_hold_anything(bench: Bench, name: str, value: str) -> None:
    """SQLite keeps to no types: what cannot be read at all is Corrupt too."""
    bad = bench.record(state=State.QUEUED)
    bench(spoil, bad, name, value)
    with pytest.raises(Corrupt) as caught:
        bench(intents.find, digest("route"))
    assert caught.value.transaction == bad.id
    (entry,) = bench(listing.entries)
    assert entry.id == bad.id


def spoil(connection: sa.Connection, transaction: Transaction, name: str, value: str) -> None:
    """Write a literal into a row."""
    connection.exec_driver_sql(f"UPDATE transactions SET {name} = {value} WHERE id = '{transaction.id}'")  # noqa: S608 - nothing in it comes from outside


# --- Another CA ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("I4", "FT-43")
def test_what_was_never_sent_goes_to_another_ca_once(bench: Bench) -> None:
    """Of several who let it go elsewhere at the same moment one does, with a record of it; under the same transactionID
    there, and due at once.
    """
    queued = bench.record(state=State.QUEUED)
    moves = [
        partial(bench, leases.move, queued.id, queued.fence, "ca", f"other-{number}", NOW + HOUR) for number in range(4)
    ]
    (fence,) = [each for each in together(*moves) if each is not None]
    after = bench.get(queued)
    assert (after.fence, after.state, after.next_at) == (fence, State.QUEUED, NOW + HOUR)
    assert after.upstream.startswith("other-")
    assert after.upstream_transaction == queued.upstream_transaction
    assert bench.events(queued) == ["authorised", "moved"]
    assert bench(leases.stranded, "ca", ["wifi"], NOW, 10) == []
    assert bench(leases.stranded, after.upstream, ["wifi"], NOW, 10) == [(queued.id, fence, "wifi")]
    assert bench(leases.stranded, after.upstream, ["vpn"], NOW, 10) == []


@pytest.mark.proves("I4")
@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (State.SENDING, {}),
        (State.HELD, {}),
        # A process was killed while it sent this, before it could count.
        (State.QUEUED, {"state": "unknown"}),
        (State.QUEUED, {"sends": 1}),
        (State.QUEUED, {"approvals": 1}),
        (State.QUEUED, {"authority": b"a" * 32}),
        (State.QUEUED, {"quarantine": "a row that cannot be read"}),
        (State.QUEUED, {"lease_ends": NOW + MINUTE}),
    ],
)
def test_what_may_have_been_sent_or_is_for_one_ca_stays(bench: Bench, state: State, changes: dict[str, object]) -> None:
    """What is being sent, is somebody's now, waits for people or was approved by them, is for the next CA, or cannot be
    read, goes nowhere else."""
    recorded = bench.record(state=state)
    statement = sa.update(transactions).where(transactions.c.id == recorded.id)
    bench(lambda connection: connection.execute(statement.values(fence=recorded.fence, **changes)) and None)
    assert bench(leases.stranded, "ca", ["wifi"], NOW, 10) == []
    assert bench(leases.move, recorded.id, recorded.fence, "ca", "other", NOW) is None
    assert bench.rows("transactions")[0]["upstream"] == "ca"


@pytest.mark.proves("I4")
def test_what_waits_or_is_unknown_stays(bench: Bench) -> None:
    """What a CA holds back, or may have carried out, is that CA's."""
    for name, event in (("waits", Event.PENDED), ("unknown", Event.LOST)):
        held = bench.record(intent(name, routes=[name]))
        after = bench.happen(held, event, sends=1, next_at=NOW)
        assert bench(leases.move, after.id, after.fence, "ca", "other", NOW + HOUR) is None
    assert bench(leases.stranded, "ca", ["wifi"], NOW + HOUR, 10) == []
