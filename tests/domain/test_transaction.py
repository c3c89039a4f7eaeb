"""The life of an enrolment as one table, and what names it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.enrolment import Credential
from scepra.scep.message import PKIStatus
from scepra.transaction import (
    INITIAL,
    TRANSITIONS,
    Event,
    Impossible,
    State,
    Transaction,
    follow,
    request_identity,
    route,
    upstream_transaction_id,
)
from tests.rig.material import ec_key, request, self_signed_identity

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HELD, QUEUED, SENDING, WAITING = State.HELD, State.QUEUED, State.SENDING, State.WAITING
UNKNOWN, ISSUED, REFUSED = State.UNKNOWN, State.ISSUED, State.REFUSED
TABLE = {
    HELD: {Event.APPROVED: QUEUED, Event.DENIED: REFUSED, Event.EXPIRED: REFUSED, Event.REDRIVEN: HELD},
    QUEUED: {Event.SENT: SENDING, Event.EXPIRED: REFUSED, Event.REDRIVEN: QUEUED, Event.CLOSED: REFUSED},
    SENDING: {
        Event.NOT_SENT: QUEUED,
        Event.GRANTED: ISSUED,
        Event.PENDED: WAITING,
        Event.REFUSED: REFUSED,
        Event.MISISSUED: REFUSED,
        Event.LOST: UNKNOWN,
    },
    WAITING: {
        Event.GRANTED: ISSUED,
        Event.PENDED: WAITING,
        Event.REFUSED: REFUSED,
        Event.MISISSUED: REFUSED,
        Event.NOT_SENT: WAITING,
        Event.LOST: WAITING,
        Event.EXPIRED: REFUSED,
        Event.REDRIVEN: UNKNOWN,
        Event.CLOSED: REFUSED,
    },
    UNKNOWN: {
        Event.GRANTED: ISSUED,
        Event.PENDED: WAITING,
        Event.REFUSED: UNKNOWN,
        Event.MISISSUED: REFUSED,
        Event.NOT_SENT: UNKNOWN,
        Event.LOST: UNKNOWN,
        Event.REDRIVEN: UNKNOWN,
        Event.CLOSED: REFUSED,
    },
    ISSUED: {},
    REFUSED: {Event.CLOSED: REFUSED},
}
"""The whole life, written down a second time: a change of it is meant."""


def transaction(state: State, *, ends: datetime | None = None) -> Transaction:
    """A transaction of which only the state, the message and the certificate's end are looked at."""
    return Transaction(
        id="0123456789abcdef",
        profile="wifi",
        upstream="ca",
        state=state,
        credential=Credential.INITIAL,
        message=b"m" * 32,
        attempt=0,
        client_transaction="T",
        signer_key=bytes(32),
        public_key=bytes(32),
        csr=b"",
        csr_digest=bytes(32),
        subject="",
        names=(),
        source="",
        challenge="",
        upstream_transaction="U",
        signer_key_id=None,
        signer_certificate=None,
        sends=0,
        polls=0,
        received=NOW,
        changed=NOW,
        next_at=None,
        expires=None,
        fence=1,
        certificate=None,
        certificate_ends=ends,
        fail_info=None,
        reason="",
        attention="",
        approvals=0,
        device="",
        notify=(),
        policy="",
    )


@pytest.mark.proves("DR-10")
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_each_event_in_each_state_leads_where_the_table_says_or_nowhere(state: State, event: Event) -> None:
    """The table is what is written down here; everything else is impossible, and says so by both names."""
    if event in TABLE[state]:
        assert follow(state, event) is TABLE[state][event]
    else:
        with pytest.raises(Impossible, match=f"^what is {state.value} cannot be {event.value}$"):
            follow(state, event)


def test_final_is_what_no_event_leaves() -> None:
    """Exactly the states without a transition are final, and every other has one that leaves it."""
    for state in State:
        leaves = {after for (before, _), after in TRANSITIONS.items() if before is state} - {state}
        assert state.final == (not leaves)
    assert [state for state in State if state.final] == [ISSUED, REFUSED]


def test_every_state_is_reached_and_none_is_a_trap() -> None:
    """From the beginnings every state is reached; from every state that is not final both ends are, after an approval
    if one is needed."""

    def reached(*states: State) -> set[State]:
        found = set(states)
        for _ in State:
            found |= {after for (before, _), after in TRANSITIONS.items() if before in found}
        return found

    assert reached(*INITIAL) == set(State)
    for state in State:
        assert state.final or {ISSUED, REFUSED} <= reached(state)


def test_every_event_happens_somewhere_and_is_explained() -> None:
    """No event and no state is without a use and a sentence for people."""
    assert {event for _, event in TRANSITIONS} == set(Event)
    sentences = [each.meaning for each in (*State, *Event)]
    assert all(sentences)
    assert len(set(sentences)) == len(sentences)


@pytest.mark.proves("FT-01", "MSG-45", "DR-10")
def test_what_is_not_decided_is_pending() -> None:
    """A client is told SUCCESS and FAILURE of what is decided, and of nothing else."""
    assert {state: state.status for state in State} == dict.fromkeys(State, PKIStatus.PENDING) | {
        ISSUED: PKIStatus.SUCCESS,
        REFUSED: PKIStatus.FAILURE,
    }


@pytest.mark.proves("FT-01", "FT-13", "DR-10")
@given(st.sampled_from(INITIAL), st.lists(st.sampled_from(Event), max_size=30))
def test_whatever_happens_an_end_is_an_end_and_trouble_on_the_way_refuses_nobody(
    state: State, events: list[Event]
) -> None:
    """No sequence of events leaves a final state; and neither an unreachable CA nor a lost answer ends anything."""
    for event in events:
        try:
            after = follow(state, event)
        except Impossible:
            continue
        if state.final:
            assert after is state
            continue
        if event in (Event.NOT_SENT, Event.LOST):
            assert not after.final
            assert (state, after) != (UNKNOWN, QUEUED), "it may have been sent before"
        if after is ISSUED:
            assert event is Event.GRANTED
        state = after


@pytest.mark.proves("FT-13", "I4")
@given(st.lists(st.sampled_from(Event), max_size=30))
def test_what_may_be_at_the_ca_is_never_queued_as_if_it_were_not(events: list[Event]) -> None:
    """After octets may have left, a transaction is asked about and not begun again: never QUEUED, HELD or SENDING."""
    state = UNKNOWN
    for event in events:
        if (state, event) in TRANSITIONS:
            state = follow(state, event)
        assert state in (UNKNOWN, WAITING, ISSUED, REFUSED)


@pytest.mark.proves("MSG-25", "FT-23", "DR-9")
@pytest.mark.parametrize("state", State)
def test_what_is_under_way_answers_every_message_and_what_was_refused_its_own_only(state: State) -> None:
    """A request that is made again in another message is judged anew only where it was refused."""
    assert transaction(state).answers(b"m" * 32, NOW)
    assert transaction(state).answers(b"n" * 32, NOW) == (state is not REFUSED)


@pytest.mark.proves("MSG-25")
def test_a_certificate_answers_until_it_ends() -> None:
    """At the moment of its end a certificate is no answer any more, whatever message asks."""
    issued = transaction(ISSUED, ends=NOW)
    for message in (b"m" * 32, b"n" * 32):
        assert issued.answers(message, NOW - timedelta(milliseconds=1))
        assert not issued.answers(message, NOW)
    assert replace(issued, certificate_ends=None).answers(b"m" * 32, NOW)


@pytest.mark.proves("DR-9", "FT-23", "FT-25")
def test_the_identity_of_a_request_is_profile_credential_signer_and_content() -> None:
    """Each of the four makes another request, the challenge inside it too; a new signature on the same does not."""
    key, other = ec_key(), ec_key("other")
    one = request(private_key=key, challenge="one")
    signed_again = request(private_key=key, challenge="one")
    assert one.der != signed_again.der, "ECDSA signs differently each time"
    assert one.signed == signed_again.signed
    signer, renewed_signer = (
        self_signed_identity(each, key).certificate for each in (one, request("x", private_key=key))
    )
    foreign = self_signed_identity(one, other).certificate
    of = request_identity("wifi", Credential.INITIAL, signer, one)
    assert of == request_identity("wifi", Credential.INITIAL, signer, signed_again)
    assert of == request_identity("wifi", Credential.INITIAL, renewed_signer, one), (
        "the same key in another certificate"
    )
    renewal = request_identity("wifi", Credential.RENEWAL, signer, one)
    different = [
        of,
        request_identity("vpn", Credential.INITIAL, signer, one),
        renewal,
        request_identity("wifi", Credential.RENEWAL, renewed_signer, one),
        request_identity("wifi", Credential.INITIAL, foreign, one),
        request_identity("wifi", Credential.INITIAL, signer, request(private_key=key, challenge="two")),
        request_identity("wifi", Credential.INITIAL, signer, request(private_key=key)),
        request_identity("wifi", Credential.INITIAL, signer, request("other", private_key=key, challenge="one")),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.proves("MSG-03", "MSG-42", "SEC-08")
def test_a_route_is_profile_key_and_transaction_together() -> None:
    """Another profile, another key and another transactionID lead elsewhere; the parts cannot run into each other."""
    keys = (bytes(32), b"k" * 32)
    routes = {
        route(profile, transaction_id, key)
        for profile, transaction_id, key in itertools.product(("a", "ab", ""), ("T", "bT", "T "), keys)
    }
    assert len(routes) == 18
    assert {len(each) for each in routes} == {32}
    assert route("a", "T", keys[1]) == route("a", "T", keys[1])


@pytest.mark.proves("RA-16", "I4")
def test_the_transaction_at_the_ca_is_the_same_for_the_same_request_and_attempt() -> None:
    """It is 32 upper-case hexadecimal digits that depend on request, the client's transactionID and attempt, and shows
    none of them."""
    made = [
        upstream_transaction_id(request, transaction_id, attempt)
        for request, transaction_id, attempt in itertools.product((bytes(32), b"r" * 32), ("T", "T1"), (0, 1, 2, 11))
    ]
    assert len(set(made)) == len(made) == 16
    for each in made:
        assert len(each) == 32
        assert set(each) <= set("0123456789ABCDEF")
    assert upstream_transaction_id(bytes(32), "T") == upstream_transaction_id(bytes(32), "T", 0)
    # What is in the database of an older run has to be found again.
    assert upstream_transaction_id(bytes(32), "T") == "6931089E050CD8499DF073C33954557C"
