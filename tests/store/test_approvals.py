"""What people say about a transaction that is held: bound to what they were shown, and each of them counts once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest

from scepra.errors import FailInfo
from scepra.store import approvals, intents, leases
from scepra.store.approvals import Approval, NotPossible, digest, shown
from scepra.store.database import Database
from scepra.transaction import Event, State, Transaction
from tests.store.sample import DAY, HOUR, LEASE, MINUTE, NOW, Bench, just_before, together


def held(bench: Bench, people: int = 1, **changes: object) -> Transaction:
    """A transaction that waits for people."""
    return bench.record(state=State.HELD, approvals=people, reason="servers are looked at", **changes)


def say(
    bench: Bench | Callable[..., Transaction],
    transaction: Transaction,
    person: str = "ann",
    *,
    approve: bool = True,
    seen: str | None = None,
) -> Transaction:
    """What a person who was shown the transaction says."""
    return bench(
        approvals.say,
        transaction.id,
        approve=approve,
        person=person,
        why="known device",
        shown_digest=digest(shown(transaction)) if seen is None else seen,
        now=NOW + HOUR,
    )


@pytest.mark.proves("DR-18", "I7")
def test_one_approval_is_enough_where_one_is_asked_for(bench: Bench) -> None:
    """What is approved is queued, due at once, expires no more, and its record says who and why."""
    made = held(bench)
    after = say(bench, made)
    assert (after.state, after.next_at, after.expires) == (State.QUEUED, NOW + HOUR, None)
    assert (after.changed, after.reason) == (NOW + HOUR, "approved by ann: known device")
    assert after.fence == made.fence + 1
    assert bench(leases.due, "ca", NOW + HOUR, 10) == [(made.id, after.fence)]
    assert bench(approvals.given, made.id) == [Approval("ann", True, "known device", NOW + HOUR)]
    assert bench.events(made) == ["held", "approved"]
    record = bench.rows("audit", transaction=made.id)[1]["record"]
    assert record == {"person": "ann", "why": "known device", "shown": digest(shown(made))}


@pytest.mark.proves("DR-18", "I7")
def test_two_approvals_are_by_two_people(bench: Bench) -> None:
    """The first of two changes nothing but the count; the same person again is refused; the second approves."""
    made = held(bench, 2)
    after = say(bench, made)
    assert (after.state, after.next_at, after.expires, after.changed) == (State.HELD, None, made.expires, NOW)
    with pytest.raises(NotPossible, match=r"ann has approved .* already: somebody else has to"):
        say(bench, made)
    assert len(bench.rows("approvals")) == 1
    assert say(bench, made, "bob").state is State.QUEUED
    assert bench.events(made) == ["held", "approval", "approved"]
    assert [each.person for each in bench(approvals.given, made.id)] == ["ann", "bob"]


@pytest.mark.proves("DR-18")
@pytest.mark.parametrize("people", [1, 2])
def test_one_denial_refuses(bench: Bench, people: int) -> None:
    """Whoever denies it decides, whatever others have said, and however many were to approve it."""
    made = held(bench, people)
    if people == 2:
        say(bench, made)
    after = say(bench, made, "bob", approve=False)
    assert (after.state, after.fail_info, after.next_at) == (State.REFUSED, FailInfo.BAD_REQUEST, None)
    assert after.reason == "denied by bob: known device"
    assert bench.events(made)[-1] == "denied"
    assert [each.approved for each in bench(approvals.given, made.id)] == [True, False][2 - people :]


@pytest.mark.proves("DR-18")
def test_an_approval_of_something_else_is_refused(bench: Bench) -> None:
    """What was shown of another transaction, or of one that has changed since, approves nothing and leaves nothing."""
    made, other = held(bench), held(bench, request="other")
    before = bench.content()
    for seen in (digest(shown(other)), "", "0" * 64):
        with pytest.raises(NotPossible, match="is not what was shown: look at it again"):
            say(bench, made, seen=seen)
    assert bench.content() == before


@pytest.mark.proves("DR-18")
def test_each_thing_that_is_shown_is_in_the_digest() -> None:
    """A digest is of all that is shown, whatever the order, and of nothing else."""
    what = {"subject": "CN=a", "names": ["dns:ä"], "approvals": 1}
    assert digest(what) == digest(dict(reversed(what.items())))
    different = [digest(what | change) for change in ({}, {"subject": "CN=b"}, {"names": []}, {"approvals": 2})]
    assert len(set(different)) == 4
    assert {len(each) for each in different} == {64}


@pytest.mark.proves("DR-18")
def test_what_is_shown_says_what_is_asked_for_and_no_secret(bench: Bench) -> None:
    """Who asks for what from where, by digests and names; the request itself is not in it."""
    made = held(bench, challenge="code 5", csr=b"sealed", subject="CN=a")
    what = shown(made)
    assert what["challenge"] == "code 5"
    assert what["request"] == made.csr_digest.hex()
    assert what["public_key"] == made.public_key.hex()
    assert what["received"] == "2026-05-04T12:00:00.000+00:00"
    assert b"sealed".hex() not in str(what)
    assert shown(bench.get(made)) == what, "what is read again is shown alike"


@pytest.mark.proves("DR-18")
def test_only_what_is_held_can_be_approved(bench: Bench) -> None:
    """What is under way, decided or not there at all is nobody's to approve or deny."""
    queued = bench.record(state=State.QUEUED)
    refused = bench.happen(bench.record(request="two"), Event.REFUSED)
    approved = say(bench, held(bench, request="three"))
    for made, state in ((queued, "queued"), (refused, "refused"), (approved, "queued")):
        for approve in (True, False):
            with pytest.raises(NotPossible, match=f"{made.id} is not held any more: it is {state}"):
                say(bench, made, "bob", approve=approve)
    with pytest.raises(NotPossible, match="there is no transaction nothing"):
        bench(approvals.say, "nothing", approve=True, person="ann", why="", shown_digest="", now=NOW)


@pytest.mark.proves("DR-18", "I4")
def test_two_people_at_the_same_moment(bench: Bench) -> None:
    """Where two have to approve, two who do so at once, as often as they are told to look again, approve it once."""
    made = held(bench, 2)

    def insist(person: str) -> Transaction:
        while True:
            try:
                return say(bench, made, person)
            except NotPossible as problem:
                assert "at the same moment" in str(problem)

    after = together(partial(insist, "ann"), partial(insist, "bob"))
    assert {each.state for each in after} == {State.HELD, State.QUEUED}, after
    assert bench.get(made).state is State.QUEUED
    assert sorted(bench.events(made)) == ["approval", "approved", "held"]


@pytest.mark.proves("DR-18", "I4")
def test_one_person_on_two_consoles_counts_once(bench: Bench) -> None:
    """Eight approvals by one person at once are one."""
    made = held(bench, 2)
    after = together(*[partial(say, bench, made) for _ in range(8)])
    assert [type(each) for each in after].count(Transaction) == 1, after
    assert [type(each) for each in after].count(NotPossible) == 7, after
    assert bench.get(made).state is State.HELD
    assert bench.events(made) == ["held", "approval"]


@pytest.mark.proves("DR-18")
@pytest.mark.parametrize("product", ["postgresql"])
def test_who_is_second_by_a_moment_looks_again(bench: Bench, other: Callable[..., Database]) -> None:
    """An approval between looking and writing is not overlooked: nothing is written, and the next try counts."""
    made = held(bench, 2)
    with (
        just_before(bench.engine, "UPDATE transactions", partial(say, other().call, made, "ann")),
        pytest.raises(NotPossible, match="was changed at the same moment by somebody else"),
    ):
        say(bench, made, "bob")
    assert [each.person for each in bench(approvals.given, made.id)] == ["ann"]
    assert say(bench, made, "bob").state is State.QUEUED


def test_the_list_of_what_is_held(bench: Bench) -> None:
    """The longest waiting first, with what people have said of each; what is not held is not in it."""
    assert bench(approvals.waiting) == []
    late = held(bench, 2, request="late", received=NOW + MINUTE)
    early = held(bench, request="early")
    say(bench, held(bench, request="approved"))
    bench.record(request="sending")
    say(bench, late)
    listed = bench(approvals.waiting)
    assert [(each.id, len(each.said)) for each in listed] == [(early.id, 0), (late.id, 1)]
    assert listed[1].said == (Approval("ann", True, "known device", NOW + HOUR),)
    assert (listed[1].approvals, listed[1].expires) == (2, late.expires)


@pytest.mark.proves("DR-18")
def test_a_case_is_what_is_approved(bench: Bench) -> None:
    """The digest of a case is what an approval is bound to; only of what is held there is a case."""
    made = held(bench, 2)
    say(bench, made)
    case = bench(approvals.case, made.id)
    assert case.said == (Approval("ann", True, "known device", NOW + HOUR),)
    assert say(bench, made, "bob", seen=case.digest).state is State.QUEUED
    for identifier in (made.id, "nothing"):
        with pytest.raises(NotPossible):
            bench(approvals.case, identifier)


@pytest.mark.proves("FT-43", "I7")
def test_every_change_raises_the_fence(bench: Bench) -> None:
    """What was read before an approval, its sending included, cannot be claimed under the old fence."""
    made = held(bench, 2)
    states = [made, say(bench, made), say(bench, made, "bob")]
    for before, after in pairwise(states):
        assert after.fence == before.fence + 1
        assert bench(leases.claim, made.id, before.fence, "process", NOW + DAY, NOW + DAY + LEASE) is None
    assert bench(intents.get, made.id) == states[-1]
