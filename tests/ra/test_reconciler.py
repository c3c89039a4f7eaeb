"""What goes on by itself, whatever the CA does: it is polled, asked again, and driven after an outage (FT-13, FT-15,
FT-17, FT-43; I13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from scepra.errors import FailInfo, ScepError
from scepra.lab.behaviour import Behaviour, Duplicates
from scepra.lab.service import CertificationService, Outcome
from scepra.scep import oid
from scepra.scep.message import MessageType, PKIStatus, parse_issuer_and_subject
from scepra.store import tables
from scepra.store.database import Database
from scepra.transaction import State, Transaction
from tests.rig.device import NEW, ask, post, rebuilt, request, sound, subject
from tests.rig.durable import (
    Durable,
    OneTime,
    bare,
    begin,
    certificate,
    content,
    durable,
    events,
    only,
    poll,
    reached,
    status,
    told,
    transactions,
)
from tests.rig.forge import Forge
from tests.rig.house import lab_state

LOST = ResponseFailed([Failure(ConnectionLost())])
POLL = MessageType.CERT_POLL


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house with an empty store."""
    with durable(lab) as made:
        yield made


@pytest.fixture
def other(lab: Path, house: Durable) -> Iterator[Durable]:
    """Another process over the same store."""
    with durable(lab, like=house) as made:
        yield made


def holding(house: Durable, **settings: Any) -> None:
    """Have the CA hold back what it is asked for from now on."""
    house.ca.behaviour = Behaviour(status=PKIStatus.PENDING, **settings)


def pending(house: Durable, forge: Forge) -> None:
    """Send a message that is answered with PENDING."""
    assert status(told(house, forge)) is PKIStatus.PENDING


def several(house: Durable, count: int, first: int = 0) -> list[Forge]:
    """Different requests of one key."""
    return [
        sound(house, csr=request(house, subject=subject(f"d{number}.example")), transaction_id=f"number {number}")
        for number in range(first, first + count)
    ]


# --- The CA holds it back --------------------------------------------------------------------------------------------


@pytest.mark.proves("RA-20", "RA-16", "FT-15", "MSG-41")
def test_the_ca_is_polled_as_it_was_asked(house: Durable) -> None:
    """By the same transactionID, key and certificate, for the CA's subject and the request's."""
    holding(house, polls=2)
    forge = sound(house)
    pending(house, forge)
    house.reconcile(600, step=1)
    (sent,) = reached(house)
    polls = reached(house, POLL)
    assert len(polls) == 3
    for each in polls:
        assert each.transaction_id == sent.transaction_id == only(house).upstream_transaction
        assert each.signer == sent.signer
        assert parse_issuer_and_subject(content(house, each)) == (
            house.state.authority.certificate.subject_der,
            sent.csr.subject.der,
        )
    assert certificate(told(house, poll(house, forge))) == only(house).certificate
    assert events(house) == ["authorised", "pended", "granted"]
    assert [record["outcome"] for record in house.records] == ["pending", "issued", "issued"]


@pytest.mark.proves("FT-15", "MSG-44")
def test_polls_of_the_ca_become_rarer(lab: Path) -> None:
    """From first-poll on to longest-poll, each time for twice as long, give or take a fifth; never all at once."""
    with durable(lab, upstream={"queue": {"first-poll": "10s", "longest-poll": "2m"}}) as house:
        holding(house)
        for forge in several(house, 3):
            pending(house, forge)
        house.reconcile(1200, step=1)
        pauses = [10.0, 20.0, 40.0, 80.0, *[120.0] * 10]
        moments: dict[str, list[float]] = {each.upstream_transaction: [0.0] for each in transactions(house)}
        asked = [item for item in house.ca.received if item.message_type in (MessageType.PKCS_REQ, POLL)]
        for item, moment in zip(asked, house.way.sent, strict=True):
            if item.message_type is POLL:
                assert item.transaction_id is not None
                moments[item.transaction_id].append(moment)
        for times in moments.values():
            assert len(times) >= 10
            for pause, (earlier, later) in zip(pauses, pairwise(times), strict=False):
                assert 0.8 * pause <= later - earlier <= 1.2 * pause + 3  # and the time to look
        assert len({times[-1] for times in moments.values()}) > 1


@pytest.mark.proves("RA-20", "I13", "FT-43", "I10")
def test_another_process_polls_with_the_same_key(house: Durable, other: Durable) -> None:
    """The key that signed is kept, sealed: after a restart it signs the polls, and not the new process's own."""
    holding(house, polls=0)
    forge = sound(house)
    pending(house, forge)
    other.reconcile(90)
    (sent,), (polled,) = reached(house), reached(house, POLL)
    assert polled.signer == sent.signer
    assert certificate(told(other, poll(other, forge))) == only(house).certificate
    (kept,) = house.rows(tables.signer_keys)
    assert b"PRIVATE" not in kept.sealed
    assert sent.signer is not None
    told(other, sound(other, key=NEW), NEW)
    assert not reached(house)[-1].signer.public_key.same_key(sent.signer.public_key)


@pytest.mark.proves("FT-15", "RA-23")
def test_what_the_ca_forgets_stays_until_it_is_given_up(lab: Path) -> None:
    """Nobody has refused it: somebody is to look at it, and its client goes on polling until it has taken too long."""
    with durable(lab, upstream={"queue": {"give-up-after": "2h"}}) as house:
        holding(house)
        forge = sound(house)
        pending(house, forge)
        holding(house, forgets=True)
        house.reconcile(3600, step=20)
        waiting = only(house)
        assert waiting.state is State.WAITING
        assert waiting.attention == "the CA does not know it any more"
        assert len(reached(house)) == 1
        assert any("needs somebody" in event["log_format"] for event in house.events)
        house.keep()
        pending(house, poll(house, forge))
        house.reconcile(3660, step=20)
        house.keep()
        assert only(house).state is State.REFUSED
        refused = told(house, poll(house, forge))
        assert status(refused) is PKIStatus.FAILURE
        asked = len(house.ca.received)
        house.reconcile(7200, step=60)
        assert len(house.ca.received) == asked
        assert events(house) == ["authorised", "pended", "expired"]


@pytest.mark.proves("FT-15")
def test_somebody_is_to_look_at_what_takes_long(lab: Path) -> None:
    """After half of the time, not before."""
    with durable(lab, upstream={"queue": {"give-up-after": "2d"}}) as house:
        holding(house)
        pending(house, sound(house))
        house.reconcile(20 * 3600, step=600)
        assert only(house).attention == ""
        house.reconcile(6 * 3600, step=600)
        assert only(house).attention == "the CA has not decided for 1 days"


# --- Answers that were lost ------------------------------------------------------------------------------------------


class Unpollable(CertificationService):
    """A CA that knows no CertPoll."""

    def _poll(self, *arguments: Any) -> Outcome:
        raise ScepError("what is a CertPoll?", FailInfo.BAD_CERT_ID)


def lose(house: Durable, forge: Forge) -> Transaction:
    """Have the CA carry out a request whose answer is lost."""
    house.way.lose(LOST)
    pending(house, forge)
    assert only(house).state is State.UNKNOWN
    return only(house)


@pytest.mark.proves("FT-13", "RA-24", "RA-16", "I4")
def test_a_lost_answer_is_asked_for_again(house: Durable) -> None:
    """By a poll first: the CA has issued once, and the client gets that, under whatever transactionID it asks."""
    issued = len(house.state.authority.issued)
    forge = sound(house)
    lose(house, forge)
    house.way.mend()
    house.reconcile(5)
    (sent,), (polled,) = reached(house), reached(house, POLL)
    assert (polled.transaction_id, polled.signer) == (sent.transaction_id, sent.signer)
    assert len(house.state.authority.issued) == issued + 1
    answers = [told(house, each) for each in (forge, poll(house, forge), replace(forge, transaction_id="new"))]
    assert {certificate(answer) for answer in answers} == {only(house).certificate}
    assert events(house) == ["authorised", "lost", "granted"]


@pytest.mark.proves("FT-09", "FT-43", "I4")
def test_another_process_leaves_a_ca_alone_too(house: Durable, other: Durable) -> None:
    """What the CA turned away waits for as long as it said, whichever process drives it."""
    house.ca.behaviour = Behaviour(http_status=503, retry_after=300)
    forge = sound(house)
    pending(house, forge)
    house.ca.behaviour = Behaviour()
    other.reconcile(299, step=1)
    assert reached(house, POLL) == []
    assert only(house).state is State.UNKNOWN
    other.reconcile(65, step=1)
    assert len(reached(house, POLL)) == 1
    assert certificate(told(other, poll(other, forge))) == only(house).certificate


@pytest.mark.proves("FT-13", "FT-23", "RA-24", "I4")
def test_a_ca_that_knows_no_polls_gets_the_same_request_again(lab: Path) -> None:
    """Under the same transactionID, with the same CSR, signed by the same key."""
    with durable(lab, ca=Unpollable(lab_state(lab).authority)) as house:
        lose(house, sound(house))
        house.way.mend()
        house.reconcile(5)
        first, second = reached(house)
        assert (first.transaction_id, first.signer) == (second.transaction_id, second.signer)
        assert first.csr.der == second.csr.der
        assert only(house).state is State.ISSUED
        assert (only(house).sends, only(house).polls) == (2, 1)


@pytest.mark.proves("FT-13", "I2", "I3", "RA-24")
def test_a_ca_that_refuses_duplicates_is_not_believed(lab: Path) -> None:
    """It may have issued: the client goes on polling, somebody is to look, the challenge stays with its key."""
    with durable(lab, ca=Unpollable(lab_state(lab).authority)) as made:
        house = rebuilt(made, provider=OneTime())
        house.ca.behaviour = Behaviour(duplicates=Duplicates.REFUSED)
        forge = sound(house)
        lose(house, forge)
        house.way.mend()
        house.reconcile(30)
        unknown = only(house)
        assert unknown.state is State.UNKNOWN
        assert unknown.attention.startswith("it may have been issued already")
        pending(house, poll(house, forge))
        pending(house, forge)
        assert status(told(house, sound(house, key=NEW), NEW)) is PKIStatus.FAILURE
        assert len({(item.transaction_id, item.csr.der) for item in reached(house)}) == 1
        house.clock.advance(30 * 86400)
        house.keep()
        assert only(house).state is State.UNKNOWN


@pytest.mark.proves("FT-13", "I4", "I5")
def test_a_ca_that_issues_again_is_believed_once(lab: Path) -> None:
    """The first certificate that is believed is the client's; what comes later changes nothing."""
    with durable(lab, ca=Unpollable(lab_state(lab).authority)) as house:
        house.ca.behaviour = Behaviour(duplicates=Duplicates.ISSUED)
        issued = len(house.state.authority.issued)
        forge = sound(house)
        lose(house, forge)
        house.way.mend()
        house.reconcile(30)
        assert len(house.state.authority.issued) == issued + 2
        first = certificate(told(house, forge))
        house.reconcile(600, step=5)
        assert certificate(told(house, poll(house, forge))) == first == only(house).certificate
        assert len(reached(house)) == 2


@pytest.mark.proves("FT-13", "I4")
def test_an_answer_that_comes_after_another_process_took_over_is_not_the_client_s(
    lab: Path, house: Durable, other: Durable
) -> None:
    """Both ask a CA that issues each time: one certificate is the client's, and the other is told of, loudly."""
    house.ca.behaviour = Behaviour(duplicates=Duplicates.ISSUED)
    house.way.slow = True
    forge = sound(house)
    connection = begin(house, forge.message())
    house.clock.advance(60)
    house.ca.transactions.clear()
    other.reconcile(5)
    assert only(house).state is State.ISSUED
    kept = only(house).certificate
    house.way.release()
    assert connection.read()[0].status == 200
    assert only(house).certificate == kept
    assert certificate(told(house, forge)) == kept
    assert events(house) == ["authorised", "granted", "surplus"]
    assert len(house.rows(tables.certificates)) == 2
    assert any("issued a second certificate" in event["log_format"] for event in house.events)


@pytest.mark.proves("RA-23", "RA-24")
@pytest.mark.parametrize(
    ("said", "relayed"),
    [
        (FailInfo.BAD_ALG, FailInfo.BAD_ALG),
        (FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_REQUEST),
        (FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
        (FailInfo.BAD_TIME, FailInfo.BAD_REQUEST),
        (FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
    ],
)
def test_a_refusal_of_what_was_sent_once_is_relayed(house: Durable, said: FailInfo, relayed: FailInfo) -> None:
    """With the CA's reason, unless that is about the RA's own message."""
    house.ca.behaviour = Behaviour(status=PKIStatus.FAILURE, fail_info=said)
    refused = told(house, sound(house))
    assert (status(refused), refused.text(oid.FAIL_INFO)) == (PKIStatus.FAILURE, str(int(relayed)))
    assert only(house).state is State.REFUSED
    assert events(house) == ["authorised", "refused"]


# --- A CA that is out of reach ---------------------------------------------------------------------------------------


@pytest.mark.proves("FT-01", "RA-24", "I3", "I4")
def test_what_could_not_be_sent_is_sent_when_the_ca_is_back(house: Durable) -> None:
    """Twenty clients are told to poll, and all of them get their certificate, by one message each."""
    house.way.cut()
    clients = several(house, 20)
    for forge in clients:
        pending(house, forge)
    assert {each.state for each in transactions(house)} == {State.QUEUED}
    house.reconcile(60)
    assert reached(house) == []
    for operation in ("GetCACert", "GetCACaps"):
        assert ask(house, "GET", f"/scep?operation={operation}").status == 200
    house.way.mend()
    house.reconcile(40)
    for forge in clients:
        assert status(told(house, poll(house, forge))) is PKIStatus.SUCCESS
    assert len(reached(house)) == 20
    assert reached(house, POLL) == []


@pytest.mark.proves("FT-17", "FT-01", "DR-15", "AC-058")
def test_a_backlog_is_driven_at_its_rate_and_new_requests_pass_it(house: Durable) -> None:
    """Twenty a second, not more and hardly less; who comes meanwhile is answered at once."""
    house.way.cut()
    for forge in several(house, 60):
        pending(house, forge)
    house.way.mend()
    house.clock.advance(30)  # the breaker's pause
    house.reconcile(1, step=0.05)
    newcomers = several(house, 3, first=100)
    for forge in newcomers:
        assert status(told(house, forge)) is PKIStatus.SUCCESS
    fresh = len(house.way.sent) - 3
    house.way.sent[fresh:] = []
    house.reconcile(4, step=0.05)
    sent = house.way.sent
    assert len(sent) == 60
    assert {each.state for each in transactions(house)} == {State.ISSUED}
    for moment in sent:
        assert len([each for each in sent if moment <= each < moment + 1]) <= 22
    assert sent[-1] - sent[0] <= 60 / 20 + 1


@pytest.mark.proves("FT-17", "DR-15")
def test_a_backlog_is_driven_from_both_ends(lab: Path) -> None:
    """The CA gets those who came last while those who came first are not done yet, and the other way round: with each
    exchange of the one kind there is one of the other, so nobody waits for longer than twice those before him.
    """
    with durable(lab, upstream={"queue": {"rate": 4, "concurrency": 1}}) as house:
        house.way.cut()
        for forge in several(house, 20):
            pending(house, forge)
            house.clock.advance(1)
        house.way.mend()
        house.clock.advance(30)
        house.reconcile(15, step=0.05)
        assert {each.state for each in transactions(house)} == {State.ISSUED}
        numbers = {each.upstream_transaction: place for place, each in enumerate(transactions(house))}
        order = [numbers[item.transaction_id or ""] for item in reached(house)]
        assert sorted(order) == list(range(20))
        assert {0, 19} == set(order[:2])
        for end in (order[0::2], order[1::2]):
            assert end in (sorted(end), sorted(end, reverse=True))
        halves = sorted(order[0::2])
        assert halves in (list(range(10)), list(range(10, 20)))


@pytest.mark.proves("FT-17", "SEC-13")
def test_a_backlog_takes_no_more_than_its_share_of_the_exchanges(lab: Path) -> None:
    """While the CA takes its time, only so many of the backlog are under way."""
    with durable(lab, upstream={"queue": {"concurrency": 3}}) as house:
        house.way.cut()
        for forge in several(house, 10):
            pending(house, forge)
        house.way.mend()
        house.clock.advance(30)
        house.reconcile(2)
        house.way.slow = True
        before = len(reached(house))
        house.reconcile(10)
        assert len(house.way.waiting) <= 3
        while house.way.waiting:
            house.way.release()
            house.reconcile(2)
        assert before < 10
        assert {each.state for each in transactions(house)} == {State.ISSUED}


@pytest.mark.proves("FT-01", "RA-24", "DR-15", "I3")
def test_for_clients_that_cannot_poll_nothing_is_recorded_while_the_ca_is_away(lab: Path) -> None:
    """They are told to come again before anything is consumed, and come again to a certificate."""
    with durable(lab, {"polling": False}) as made:
        challenges = OneTime()
        house = rebuilt(made, provider=challenges)
        house.way.cut()
        first = sound(house)
        bare(post(house, first.message()), house)
        assert only(house).state is State.QUEUED  # it found out that the CA is away
        for number in range(3):
            bare(post(house, sound(house, key=NEW, transaction_id=f"new {number}").message()), house)
        assert len(transactions(house)) == len(house.rows(tables.reservations)) == len(events(house)) - 1 == 1
        house.way.mend()
        house.reconcile(30)
        assert status(told(house, first)) is PKIStatus.SUCCESS
        assert status(told(house, sound(house, key=NEW, csr=request(house, key=NEW, challenge="own")), NEW)) is (
            PKIStatus.SUCCESS
        )


@pytest.mark.proves("FT-01", "FT-13")
def test_a_ca_that_loses_what_it_is_sent_is_left_alone_for_a_while(house: Durable) -> None:
    """After three in a row what comes is kept and not sent, until one of them gets an answer."""
    house.way.lose(LOST)
    for forge in several(house, 5):
        pending(house, forge)
    assert [each.state for each in transactions(house)] == [State.UNKNOWN] * 3 + [State.QUEUED] * 2
    house.way.mend()
    house.reconcile(10)
    assert {each.state for each in transactions(house)} == {State.ISSUED}
    assert len(reached(house)) == 5


@pytest.mark.proves("FT-01")
def test_a_client_finds_out_that_the_ca_is_back_where_nothing_else_could(lab: Path) -> None:
    """The reconciler with nothing to ask does not use up the one trial in a pause."""
    with durable(lab, {"polling": False}) as house:
        for _ in range(10):
            house.upstream.breaker.failed(sent=False)
        bare(post(house, sound(house).message()), house)
        assert transactions(house) == []
        house.reconcile(40)
        assert status(told(house, sound(house))) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-13", "RA-24")
def test_a_client_that_cannot_poll_gets_what_was_lost_when_it_comes_again(lab: Path) -> None:
    """503, and on the next try the certificate that the CA issued at the first."""
    with durable(lab, {"polling": False}) as house:
        house.way.lose(LOST)
        forge = sound(house)
        bare(post(house, forge.message()), house)
        assert only(house).state is State.UNKNOWN
        bare(post(house, forge.message()), house)
        house.way.mend()
        house.reconcile(5)
        assert certificate(told(house, forge)) == only(house).certificate
        assert len(reached(house)) == 1


# --- Several processes -----------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-43", "FT-17")
def test_one_process_drives_the_backlog(house: Durable, other: Durable) -> None:
    """The other one does when the first has gone."""
    house.way.cut()
    for forge in several(house, 5):
        pending(house, forge)
    house.way.mend()
    house.clock.advance(30)
    house.reconcile(0.5)
    assert {row.owner for row in house.rows(tables.drivers)} == {house.authority.forwarding.owner}
    for _ in range(40):
        house.reconcile(0.5)
        other.reconcile(0.5)
    assert len(house.way.sent) == 5
    assert other.way.sent == []


@pytest.mark.proves("FT-43", "I13")
def test_another_process_goes_on_when_the_one_that_drives_is_gone(house: Durable, other: Durable) -> None:
    """What was sent and not answered is asked for again, not before its lease has ended."""
    house.way.slow = True
    begin(house, sound(house).message()).hang_up()
    other.reconcile(50)
    assert other.way.sent == []
    other.reconcile(20)
    assert only(house).state is State.ISSUED
    assert len(reached(house)) == len(reached(house, POLL)) == 1


class Slow(Database):
    """A store after whose writes the process is held up."""

    def __init__(self, of: Database) -> None:
        self._of = of
        self.gates: list[Deferred[None]] = []

    async def read(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """As the store that it stands before."""
        return await self._of.read(function, *arguments, **named)

    async def write(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Written at once, and told later."""
        result = await self._of.write(function, *arguments, **named)
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        await gate
        return result

    def go_on(self) -> None:
        """The process runs again."""
        while self.gates:
            self.gates.pop(0).callback(None)


@pytest.mark.proves("FT-43", "I4", "DR-10")
@pytest.mark.parametrize("pause", [5, 36, 60, 3600])
def test_a_process_that_was_held_up_before_sending_sends_nothing(house: Durable, other: Durable, pause: int) -> None:
    """Its transaction may be another's by now: whoever sends, one message reaches the CA in all."""
    told(house, sound(house, key=NEW), NEW)  # its key is made
    before = len(reached(house))
    slow = Slow(house.database)
    stopped = rebuilt(house, database=slow)
    forge = sound(stopped)
    connection = begin(stopped, forge.message())
    assert len(slow.gates) == 1
    house.clock.advance(pause)
    slow.go_on()
    expected = 1 if pause < 35 else 0
    assert len(reached(house)) == before + expected
    assert connection.read()[0].status == 200
    house.clock.advance(60)
    other.reconcile(90)
    assert len(reached(house)) == before + 1
    assert status(told(house, forge)) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-43", "I4")
def test_a_process_that_was_held_up_while_another_took_over_changes_nothing(house: Durable, other: Durable) -> None:
    """Stopped for a minute between its commit and its sending: it finds its lease gone."""
    told(house, sound(house, key=NEW), NEW)
    slow = Slow(house.database)
    stopped = rebuilt(house, database=slow)
    forge = sound(stopped)
    connection = begin(stopped, forge.message())
    house.clock.advance(60)
    other.reconcile(5)
    issued = certificate(told(other, forge))
    sent = len(reached(house))
    slow.go_on()
    assert len(reached(house)) == sent
    assert connection.read()[0].status == 200
    assert certificate(told(house, forge)) == issued


# --- Rows that cannot be used ----------------------------------------------------------------------------------------

SPOILT: dict[str, dict[str, Any]] = {
    "a request that does not open": {"csr": b"garbage"},
    "a signer certificate that is none": {"signer_certificate": b"garbage"},
    "no signer": {"signer_key_id": None, "signer_certificate": None},
    "a digest of another length": {"csr_digest": b"short"},
    "a credential that is none": {"credential": "garbage"},
    "names that are none": {"names": 5},
}


@pytest.mark.proves("FT-58", "I13")
@pytest.mark.parametrize("how", SPOILT)
def test_a_row_that_cannot_be_used_is_left_alone_and_told_of(house: Durable, how: str) -> None:
    """The others go on."""
    holding(house, polls=0)
    spoilt, sane = several(house, 2)
    pending(house, spoilt)
    house.change(**SPOILT[how])
    pending(house, sane)
    house.reconcile(90)
    first, second = sorted(house.rows(tables.transactions), key=lambda row: row.client_transaction)
    assert first.quarantine
    assert second.state == "issued"
    assert any(event["log_level"].name == "critical" for event in house.events)
    assert events(house).count("quarantined") == 1
    assert status(told(house, poll(house, sane))) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-58")
@pytest.mark.parametrize("change", [{"state": "garbage"}, {"certificate": b"garbage"}, {"fail_info": 99}])
def test_a_row_that_cannot_be_told_of_is_left_alone_and_told_of(house: Durable, change: dict[str, Any]) -> None:
    """Its client comes again later: what is wrong here is no reason to refuse it."""
    forge = sound(house)
    told(house, forge)
    house.change(**change)
    for _ in range(2):
        bare(post(house, forge.message()), house)
        bare(post(house, poll(house, forge).message()), house)
    (row,) = house.rows(tables.transactions)
    assert row.quarantine
    assert events(house) == ["authorised", "granted", "quarantined"]
