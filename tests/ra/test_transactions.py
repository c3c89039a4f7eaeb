"""One request is one transaction, however often and in whatever way it is made (security 5.1; FT-21 to FT-27)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scepra.audit import Record
from scepra.errors import StoreError
from scepra.lab import Forgery
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from scepra.store import housekeeping, tables
from scepra.store.database import Database
from scepra.transaction import State
from tests import csrs
from tests.rig.denial import denials, masked
from tests.rig.device import (
    KEY,
    NEW,
    THIEF,
    ask,
    post,
    rebuilt,
    renewal,
    request,
    request_without_challenge,
    sound,
)
from tests.rig.durable import (
    Durable,
    OneTime,
    bare,
    begin,
    certificate,
    durable,
    events,
    only,
    poll,
    reached,
    status,
    told,
    transactions,
)
from tests.rig.forge import Forge, read_answer
from tests.rig.upstream import Asked, behind


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house with an empty store."""
    with durable(lab) as made:
        yield made


@pytest.fixture
def challenges() -> OneTime:
    """Challenges for one key each."""
    return OneTime()


@pytest.fixture
def once(house: Durable, challenges: OneTime) -> Durable:
    """The house with these challenges."""
    return rebuilt(house, provider=challenges)


def again(forge: Forge) -> Forge:
    """The same request in another message."""
    return replace(forge, envelope=None, sender_nonce=b"fedcba9876543210")


AGAIN = {
    "the same bytes": lambda forge: forge,
    "a new message": again,
    "a new transactionID": lambda forge: replace(again(forge), transaction_id="a new one"),
}


# --- The same request again ------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-23", "MSG-25", "MSG-05", "AC-044", "SEC-07", "I4", "RA-22", "RA-25")
@pytest.mark.parametrize("how", AGAIN)
def test_a_request_made_again_gets_the_same_certificate(once: Durable, challenges: OneTime, how: str) -> None:
    """Same bytes, a new message, a new transactionID: the same certificate, sealed afresh; one of everything else."""
    forge = sound(once)
    forge = replace(forge, envelope=forge.enveloped())
    first = told(once, forge)
    second = told(once, AGAIN[how](forge))
    assert certificate(second) == certificate(first)
    assert second.octets(oid.SENDER_NONCE) != first.octets(oid.SENDER_NONCE)
    assert second.content != first.content
    assert len(reached(once)) == 1
    assert only(once).state is State.ISSUED
    assert challenges.checked == 1
    assert events(once) == ["authorised", "granted"]
    (kept,) = once.rows(tables.certificates)
    assert kept.transaction == only(once).id
    assert [record["outcome"] for record in once.records] == ["issued", "issued"]


@pytest.mark.proves("FT-23", "MSG-25", "FT-27")
@pytest.mark.parametrize("how", AGAIN)
def test_a_challenge_that_has_expired_since_keeps_nobody_from_an_answer(
    once: Durable, challenges: OneTime, how: str
) -> None:
    """What was recorded is told without asking for the challenge again; what is new is refused for it."""
    forge = sound(once)
    issued = certificate(told(once, forge))
    challenges.expired = True
    assert certificate(told(once, AGAIN[how](forge))) == issued
    refused = told(once, sound(once, key=NEW), NEW)
    assert status(refused) is PKIStatus.FAILURE
    assert "it has expired" in once.records[-1]["reasons"][0]


@pytest.mark.proves("I7")
def test_what_is_abandoned_undecided_has_no_record_of_a_decision(house: Durable) -> None:
    """A request whose process ends while it waits was not decided; only what goes wrong by itself is an error."""
    house.way.slow = True
    message, before = sound(house).message(), len(house.records)
    waiting = house.authority.pki_operation(message, "192.0.2.1")
    waiting.send(None)
    waiting.close()
    assert len(house.records) == before
    with pytest.raises(ZeroDivisionError), Record("dev", "192.0.2.1"):
        raise ZeroDivisionError
    assert [record["outcome"] for record in house.records[before:]] == ["error"]


@pytest.mark.proves("FT-23", "FT-21", "I4")
def test_a_renewal_made_again_gets_the_same_certificate(house: Durable) -> None:
    """What holds for initial requests holds for renewals, by whichever certificate they are signed."""
    forge = renewal(house)
    first = told(house, forge, None)
    assert status(first) is PKIStatus.SUCCESS
    for make in AGAIN.values():
        assert status(told(house, make(forge), None)) is PKIStatus.SUCCESS
    assert len(reached(house)) == 1
    assert only(house).state is State.ISSUED


@pytest.mark.proves("MSG-25", "MSG-03")
def test_another_request_under_the_same_transaction_id_is_another_transaction(house: Durable) -> None:
    """The same key and transactionID with a new CSR: judged anew, and what was before stays as it is."""
    first = sound(house)
    issued = certificate(told(house, first))
    before = only(house)
    second = sound(house, csr=request(house, subject=csrs.subject("other.example")))
    other = certificate(told(house, second))
    assert other != issued
    assert len(transactions(house)) == len(reached(house)) == 2
    assert before in transactions(house)
    assert certificate(told(house, first)) == issued
    assert len({item.transaction_id for item in reached(house)}) == 2


# --- Challenges for one key ------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-25", "I2", "DR-8")
def test_a_challenge_is_good_for_its_first_key_for_ever_and_for_no_other(once: Durable) -> None:
    """The device that was wiped is refused, the device that asks for more than before is not."""
    told(once, sound(once))
    for number in range(3):
        wiped = told(once, sound(once, key=NEW, transaction_id=f"wiped {number}"), NEW)
        assert status(wiped) is PKIStatus.FAILURE
        assert once.records[-1]["reasons"] == ["challenge: used by another key before"]
        named = request(once, subject=csrs.subject(f"d{number}.example"))
        assert status(told(once, sound(once, csr=named, transaction_id=f"more {number}"))) is PKIStatus.SUCCESS
    assert len({item.csr.public_key.sha256 for item in reached(once)}) == 1
    (reserved,) = once.rows(tables.reservations)
    assert reserved.public_key == only_key(once)


def only_key(house: Durable) -> bytes:
    """The key of all transactions."""
    (key,) = {each.public_key for each in transactions(house)}
    return key


@pytest.mark.proves("I3", "DR-8", "FT-25")
def test_a_refused_request_reserves_nothing(once: Durable) -> None:
    """A challenge that came with a request against policy is still anybody's."""
    against = request(once, key=NEW, subject=csrs.subject("not allowed"))
    assert status(told(once, sound(once, key=NEW, csr=against), NEW)) is PKIStatus.FAILURE
    assert once.rows(tables.reservations) == []
    assert transactions(once) == []
    assert status(told(once, sound(once))) is PKIStatus.SUCCESS


@pytest.mark.proves("I3", "DR-8", "RA-23")
def test_a_challenge_stays_with_its_key_when_the_ca_refuses(once: Durable) -> None:
    """Refused by the CA is refused; the same key may ask anew with its challenge, another may not."""
    once.ca.behaviour = replace(once.ca.behaviour, status=PKIStatus.FAILURE)
    forge = sound(once)
    assert status(told(once, forge)) is PKIStatus.FAILURE
    once.ca.behaviour = replace(once.ca.behaviour, status=PKIStatus.SUCCESS)
    assert status(told(once, sound(once, key=NEW), NEW)) is PKIStatus.FAILURE
    assert status(told(once, again(forge))) is PKIStatus.SUCCESS
    first, second = reached(once)
    assert first.transaction_id != second.transaction_id
    assert [each.attempt for each in transactions(once)] == [0, 1]


@pytest.mark.proves("SEC-07", "MSG-25")
def test_what_was_refused_is_told_again_to_the_very_same_message(once: Durable, challenges: OneTime) -> None:
    """The same bytes get the same refusal and cause nothing."""
    once.ca.behaviour = replace(once.ca.behaviour, status=PKIStatus.FAILURE)
    forge = sound(once)
    forge = replace(forge, envelope=forge.enveloped())
    first = told(once, forge)
    once.ca.behaviour = replace(once.ca.behaviour, status=PKIStatus.SUCCESS)
    second = told(once, forge)
    assert first.text(oid.FAIL_INFO) == second.text(oid.FAIL_INFO) == "2"
    assert len(reached(once)) == challenges.checked == 1


# --- Other keys ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("MSG-03", "SEC-08", "AC-056")
def test_another_key_under_the_same_transaction_id_has_a_transaction_of_its_own(house: Durable) -> None:
    """Neither sees what the other got."""
    mine, other = sound(house), sound(house, key=THIEF)
    assert mine.transaction_id == other.transaction_id
    issued, others = certificate(told(house, mine)), certificate(told(house, other, THIEF))
    assert issued != others
    assert certificate(told(house, poll(house, mine))) == certificate(told(house, mine)) == issued
    assert certificate(told(house, poll(house, other), THIEF)) == others
    assert len(transactions(house)) == 2
    assert len({item.transaction_id for item in reached(house)}) == 2


@pytest.mark.proves("AC-056", "SEC-08", "MSG-03", "MSG-40")
@pytest.mark.parametrize("state", [State.ISSUED, State.WAITING])
def test_another_key_s_poll_learns_nothing_and_changes_nothing(house: Durable, state: State) -> None:
    """It is answered as one for a transactionID that nobody ever used, octet by octet."""
    if state is State.WAITING:
        house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
    told(house, sound(house, transaction_id="A" * 32))
    before = only(house)
    assert before.state is state
    with denials(house):
        stolen, unknown = (
            masked(post(house, poll(house, sound(house, key=THIEF, transaction_id=name)).message()).body)
            for name in ("A" * 32, "B" * 32)
        )
        assert stolen.replace(b"A" * 32, b"B" * 32) == unknown
        assert only(house) == before
        assert events(house) == ["authorised", "granted" if state is State.ISSUED else "pended"]
        house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.SUCCESS)


# --- At the same time ------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-22", "I4", "MSG-25")
def test_ten_copies_at_once_are_one_request(once: Durable, challenges: OneTime) -> None:
    """They wait for the one that is under way, and get what it gets."""
    once.way.slow = True
    forge = sound(once)
    message = forge.message()
    connections = [begin(once, message) for _ in range(10)]
    once.clock.advance(1)
    assert [connection.read() for connection in connections] == [[]] * 10
    assert len(once.way.waiting) == 1
    once.way.release()
    once.clock.pump([0.5, 0.5])
    signer = once.authority.keyring.current.signing.certificate
    answers = [read_answer(connection.read()[0].body, signer, KEY) for connection in connections]
    assert len({certificate(answer) for answer in answers}) == 1
    assert len({answer.octets(oid.SENDER_NONCE) for answer in answers}) == 10
    assert len(reached(once)) == len(transactions(once)) == challenges.checked == 1


@pytest.mark.proves("FT-22", "RA-24")
def test_copies_wait_no_longer_than_an_exchange(house: Durable) -> None:
    """While the CA takes its time, whoever has waited long enough is told to poll."""
    house.way.slow = True
    message = sound(house).message()
    first, second = begin(house, message), begin(house, message)
    house.clock.pump([0.5] * 41)
    signer = house.authority.keyring.current.signing.certificate
    (pending,) = second.read()
    assert status(read_answer(pending.body, signer)) is PKIStatus.PENDING
    assert first.read() == []
    house.way.release()
    (issued,) = first.read()
    assert status(read_answer(issued.body, signer, KEY)) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-21", "I4", "RA-25")
def test_a_client_that_hangs_up_finds_its_certificate_when_it_comes_again(house: Durable) -> None:
    """What is under way goes on; what comes of it is kept."""
    house.way.slow = True
    forge = sound(house)
    begin(house, forge.message()).hang_up()
    assert only(house).state is State.SENDING
    house.way.release()
    assert only(house).state is State.ISSUED
    assert status(told(house, again(forge))) is PKIStatus.SUCCESS
    assert len(reached(house)) == 1
    assert len(house.records) == 2


# --- Records ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("I7", "RA-33", "RA-25", "DR-7")
def test_a_decision_is_noted_before_anything_is_sent(house: Durable) -> None:
    """One row for what was decided, committed before the first octet; one for what came of it; one line in the log."""
    house.way.slow = True
    connection = begin(house, sound(house).message())
    assert events(house) == ["authorised"]
    house.way.release()
    (answer,) = connection.read()
    assert answer.status == 200
    authorised, granted = house.rows(tables.audit)
    assert (authorised.event, granted.event) == ("authorised", "granted")
    assert authorised.transaction == granted.transaction == only(house).id
    (record,) = house.records
    assert record["enrolment"] == only(house).id
    assert granted.record["certificate"] == record["certificate"]
    assert authorised.record["reference"] == granted.record["reference"] == record["reference"]


# --- Certificates that are not what was asked for --------------------------------------------------------------------

FORGED = [Forgery.KEY, Forgery.SUBJECT, Forgery.NAMES, Forgery.CA, Forgery.ISSUER, Forgery.EXPIRED]


@pytest.mark.proves("AC-110", "MSG-61", "I5", "FT-13")
@pytest.mark.parametrize("forgery", FORGED, ids=lambda forgery: forgery.name)
def test_a_certificate_that_is_not_what_was_asked_for_is_kept_and_not_delivered(
    house: Durable, forgery: Forgery
) -> None:
    """Its client is refused, now and when it says the same again; somebody is to look at it."""
    house.ca.behaviour = replace(house.ca.behaviour, forgery=forgery)
    forge = sound(house)
    forge = replace(forge, envelope=forge.enveloped())
    assert status(told(house, forge)) is PKIStatus.FAILURE
    house.ca.behaviour = replace(house.ca.behaviour, forgery=None)
    assert status(told(house, forge)) is PKIStatus.FAILURE
    assert status(told(house, poll(house, forge))) is PKIStatus.FAILURE
    assert len(reached(house)) == 1
    (row,) = house.rows(tables.transactions)
    assert (row.state, row.certificate) == ("refused", None)
    assert row.attention.startswith("a certificate from upstream that is not delivered")
    assert house.rows(tables.certificates) == []
    assert events(house) == ["authorised", "misissued"]
    assert Certificate.parse(row.misissued).public_key.kind == "RSA"


@pytest.mark.proves("AC-110", "MSG-61", "I5")
def test_a_certificate_that_another_request_was_given_is_not_delivered(house: Durable) -> None:
    """A CA that answers a new request of a key with what it issued before is not believed."""
    issued: list[Certificate] = []

    def stale(asked: Asked) -> Forge:
        issued.append(issued[0] if issued else asked.issue())
        return asked.rep(issued[-1])

    made, _ = behind(house, stale)
    name = csrs.subject("twin.example")
    mine = sound(made, csr=request(made, subject=name))
    other = sound(made, csr=request_without_challenge(csrs.challenge(made.challenge, der.UTF8_STRING), subject=name))
    assert certificate(told(made, mine)) == issued[0].der
    assert status(told(made, other)) is PKIStatus.FAILURE
    assert certificate(told(made, mine)) == issued[0].der
    first, second = transactions(made)
    assert (first.state, second.state) == (State.ISSUED, State.REFUSED)
    assert second.reason == "the CA gave a certificate that another request had been given before"
    assert made.rows(tables.transactions)[-1].misissued == issued[0].der
    assert len(made.rows(tables.certificates)) == 1


# --- A store that cannot be used -------------------------------------------------------------------------------------


class Broken(Database):
    """A store whose disk is full, or whose server has gone."""

    def __init__(self, of: Database, *, reads: bool = False, after: int = 0) -> None:
        self._of = of
        self._reads = reads
        self.left = after

    async def read(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """As the store that it stands before, if that."""
        if not self._reads:
            raise StoreError("the database has gone")
        return await self._of.read(function, *arguments, **named)

    async def write(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Some come through, then none."""
        if not self.left:
            raise StoreError("the database refuses: database or disk is full")
        self.left -= 1
        return await self._of.write(function, *arguments, **named)


@pytest.mark.proves("DR-15", "I3", "I7", "FT-31", "HTTP-26")
@pytest.mark.parametrize("reads", [True, False])
def test_while_the_store_cannot_be_used_nothing_is_begun(once: Durable, reads: bool) -> None:
    """Clients come again, the CA hears nothing, and what needs no store is served."""
    told(once, sound(once, key=NEW, csr=request(once, key=NEW, challenge="own")), NEW)
    before, sent = once.stored, len(reached(once))
    broken = rebuilt(once, database=Broken(once.database, reads=reads))
    forge = sound(once)
    for message in (forge, renewal(once)):
        bare(post(broken, message.message()), once)
    for operation in ("GetCACert", "GetCACaps"):
        assert ask(broken, "GET", f"/scep?operation={operation}").status == 200
    assert (once.stored, len(reached(once))) == (before, sent)
    assert once.records[-1]["outcome"] == "unavailable"
    assert status(told(once, forge)) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-31", "I5", "I13", "RA-25")
def test_what_cannot_be_stored_is_not_delivered(house: Durable) -> None:
    """The CA has issued and the disk is full: the client has to come again, and gets that certificate."""
    told(house, sound(house, key=NEW), NEW)
    issued = len(house.state.authority.issued)
    broken = rebuilt(house, database=Broken(house.database, reads=True, after=1))
    forge = sound(house)
    assert status(told(broken, forge)) is PKIStatus.PENDING
    assert transactions(house)[-1].state is State.SENDING
    assert len(house.state.authority.issued) == issued + 1
    house.reconcile(120)
    assert status(told(house, poll(house, forge))) is PKIStatus.SUCCESS
    assert len(house.state.authority.issued) == issued + 1


# --- A clock that is wrong -------------------------------------------------------------------------------------------

YEARS = {"1970": timedelta(days=-56 * 365), "2036": timedelta(days=10 * 365)}


@pytest.mark.proves("FT-47", "FT-49", "I3", "DR-15")
@pytest.mark.parametrize("year", YEARS)
def test_nothing_is_begun_outside_the_validity_of_the_ra_s_own_certificate(once: Durable, year: str) -> None:
    """It has expired, or the clock is wrong: clients come again, and nothing is consumed."""
    told(once, sound(once, key=NEW, csr=request(once, key=NEW, challenge="own")), NEW)
    before, sent = once.stored, len(reached(once))
    once.day.shift = YEARS[year]
    forge = sound(once)
    bare(post(once, forge.message()), once)
    assert ask(once, "GET", "/scep?operation=GetCACert").status == 200
    assert (once.stored, len(reached(once))) == (before, sent)
    once.day.shift = timedelta(0)
    assert status(told(once, forge)) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-46", "FT-47")
@pytest.mark.parametrize("year", YEARS)
def test_nothing_is_taken_away_while_the_clock_is_wrong(house: Durable, year: str) -> None:
    """Neither what is old by it, nor what has taken too long by it; and it goes on when the clock is right again."""
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
    told(house, sound(house, key=NEW), NEW)
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.SUCCESS)
    told(house, sound(house))
    house.keep()
    before = house.stored, transactions(house)
    house.day.shift = YEARS[year]
    house.keep()
    house.day.shift = timedelta(0)
    assert (house.stored, transactions(house)) == before
    house.clock.advance(8 * 86400)
    house.keep()
    assert [each.state for each in transactions(house)] == [State.REFUSED, State.ISSUED]
    house.clock.advance(40 * 86400)
    house.keep()
    assert transactions(house) == []
    assert len(house.rows(tables.certificates)) == 1


@pytest.mark.proves("FT-47")
@pytest.mark.parametrize("year", YEARS)
def test_a_certificate_that_comes_while_the_clock_is_wrong_waits_for_the_right_time(house: Durable, year: str) -> None:
    """It is not refused for its validity while the RA's own certificate says that it is the clock that is wrong."""
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
    forge = sound(house)
    told(house, forge)
    house.ca.approve(reached(house)[0].transaction_id)
    house.day.shift = YEARS[year]
    house.reconcile(120)
    assert only(house).state is State.WAITING
    house.day.shift = timedelta(0)
    house.reconcile(120)
    assert status(told(house, forge)) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-46")
def test_nothing_expires_while_the_clock_is_behind(house: Durable) -> None:
    """It is told of until the clock has caught up; what clients ask is answered."""
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
    forge = sound(house)
    told(house, forge)
    house.clock.advance(8 * 86400)
    house.database.call(housekeeping.tick, house.now())
    house.day.shift = timedelta(hours=-1)
    house.keep()
    assert only(house).state is State.WAITING
    assert any("behind the latest time seen" in event["log_format"] for event in house.events)
    assert status(told(house, poll(house, forge))) is PKIStatus.PENDING
    house.clock.advance(3600)
    house.keep()
    assert only(house).state is State.REFUSED
