"""Polls by clients: answered from what is stored, whatever they hold, and causing nothing (conformance, MSG-40 to
MSG-46)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.message import MessageType, PKIStatus, issuer_and_subject
from scepra.transaction import State
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import (
    KEY,
    NEW,
    OLD,
    STRANGER,
    post,
    renewal,
    request,
    sound,
    subject,
)
from tests.rig.durable import (
    Durable,
    bare,
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
from tests.rig.forge import certificate as forged_certificate
from tests.rig.house import run


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house whose CA holds back what it is asked for."""
    with durable(lab) as made:
        made.ca.behaviour = replace(made.ca.behaviour, status=PKIStatus.PENDING)
        yield made


def approve(house: Durable) -> None:
    """The CA issues, and the RA hears of it."""
    house.ca.approve(only(house).upstream_transaction)
    house.reconcile(80)
    assert only(house).state is State.ISSUED


@pytest.mark.proves("RA-20", "I6", "MSG-40")
def test_what_the_ca_holds_back_is_pending_until_it_is_issued(house: Durable) -> None:
    """PENDING to the request, PENDING to polls, then the certificate."""
    forge = sound(house)
    assert status(told(house, forge)) is PKIStatus.PENDING
    assert status(told(house, poll(house, forge))) is PKIStatus.PENDING
    approve(house)
    issued = certificate(told(house, poll(house, forge)))
    assert issued == only(house).certificate
    assert [record["outcome"] for record in house.records] == ["pending", "pending", "issued", "issued"]


@pytest.mark.proves("MSG-40", "AC-056")
def test_a_poll_for_a_transaction_that_is_not_known_is_refused(house: Durable) -> None:
    """badCertId, and nothing is written for it, however many come."""
    deny = Denials(house)
    forge = sound(house)
    told(house, forge)
    before = house.stored
    for number in range(20):
        deny(poll(house, forge, transaction_id=f"random {number}"), FailInfo.BAD_CERT_ID, because="not known")
    assert house.stored == before


def issuer(house: Durable) -> bytes:
    """The subject of the CA."""
    return house.state.authority.certificate.subject_der


PAYLOADS: dict[str, Any] = {
    "the CA's subject": lambda house: {"content": issuer_and_subject(issuer(house), subject())},
    "the RA's subject": lambda house: {
        "content": issuer_and_subject(house.authority.keyring.current.signing.certificate.subject_der, subject())
    },
    "the CA's issuer": lambda house: {"content": issuer_and_subject(csrs.subject("Root CA"), subject())},
    "swapped": lambda house: {"content": issuer_and_subject(subject(), issuer(house))},
    "ASCII": lambda house: {"content": b"CN=lab CA/CN=device.example"},
    "nothing": lambda house: {"content": b""},
    "no padding": lambda house: {"pad": lambda content, block: bytes(block)},
    "for another key": lambda house: {"recipient": forged_certificate(STRANGER)},
    "no envelope": lambda house: {"encapsulated": der.sequence(der.oid(oid.DATA))},
    "an envelope of rubbish": lambda house: {"envelope": b"rubbish"},
}


@pytest.mark.proves("MSG-41", "MSG-40")
@pytest.mark.parametrize("what", PAYLOADS)
def test_a_poll_is_answered_whatever_it_holds(house: Durable, what: str) -> None:
    """Its transactionID and its key say what it is for; what clients write into it need not even open."""
    forge = sound(house)
    told(house, forge)
    asking = poll(house, forge, **PAYLOADS[what](house))
    assert status(told(house, asking)) is PKIStatus.PENDING
    approve(house)
    assert certificate(told(house, asking)) == only(house).certificate


# --- Who may poll ----------------------------------------------------------------------------------------------------


@pytest.mark.proves("MSG-42", "RA-22", "I6")
def test_a_poll_under_another_certificate_of_the_same_key_is_answered(house: Durable) -> None:
    """The envelope is for the certificate that the poll came with."""
    forge = sound(house)
    told(house, forge)
    approve(house)
    fresh = forged_certificate(KEY, "SCEP SIGNER", serial=der.integer(77))
    assert certificate(told(house, poll(house, forge, signer=fresh))) == only(house).certificate


@pytest.mark.proves("MSG-42", "MSG-03")
def test_a_renewal_may_be_polled_for_with_either_key(house: Durable) -> None:
    """By the certificate that was renewed, and by the request's key under a certificate of its own; by no third."""
    forge = renewal(house)
    told(house, forge, OLD)
    by_old = poll(house, forge)
    by_new = poll(house, forge, key=NEW, signer=None)
    by_other = poll(house, forge, key=STRANGER, signer=None)
    assert [status(told(house, each)) for each in (by_old, by_new)] == [PKIStatus.PENDING] * 2
    approve(house)
    issued = only(house).certificate
    assert certificate(told(house, by_old, OLD)) == certificate(told(house, by_new, NEW)) == issued
    refused = told(house, by_other, STRANGER)
    assert (status(refused), refused.text(oid.FAIL_INFO)) == (PKIStatus.FAILURE, str(int(FailInfo.BAD_CERT_ID)))


@pytest.mark.proves("MSG-42", "MSG-25", "FT-23")
def test_a_poll_under_the_transaction_id_of_a_repetition_is_answered(house: Durable) -> None:
    """Whichever of its transactionIDs a client polls with leads to the one transaction."""
    forge = sound(house)
    told(house, forge)
    second = replace(forge, envelope=None, transaction_id="another")
    assert status(told(house, second)) is PKIStatus.PENDING
    approve(house)
    assert certificate(told(house, poll(house, forge))) == certificate(told(house, poll(house, second)))
    assert len(transactions(house)) == 1


# --- What polls say --------------------------------------------------------------------------------------------------


@pytest.mark.proves("MSG-43", "MSG-25", "RA-21")
def test_the_same_request_posted_again_while_pending_acts_as_a_poll(house: Durable) -> None:
    """PENDING and then SUCCESS, without a word to the CA."""
    forge = sound(house)
    forge = replace(forge, envelope=forge.enveloped())
    for _ in range(5):
        assert status(told(house, forge)) is PKIStatus.PENDING
    assert len(reached(house)) == 1
    approve(house)
    assert certificate(told(house, forge)) == only(house).certificate
    assert len(reached(house)) == 1


@pytest.mark.proves("MSG-45", "MSG-44")
def test_once_it_is_issued_every_poll_is_told_so(house: Durable) -> None:
    """Ten polls over two weeks get the same certificate, each sealed afresh."""
    forge = sound(house)
    told(house, forge)
    approve(house)
    asked = len(house.ca.received)
    answers = []
    for _ in range(10):
        house.clock.advance(1.4 * 86400)
        house.keep()
        answers.append(told(house, poll(house, forge)))
    assert {certificate(answer) for answer in answers} == {only(house).certificate}
    assert len({answer.content for answer in answers}) == 10
    assert len(house.ca.received) == asked


@pytest.mark.proves("MSG-45", "RA-23", "I6")
def test_polls_for_what_the_ca_refused_are_refused(house: Durable) -> None:
    """With the CA's reason, every time."""
    forge = sound(house)
    told(house, forge)
    house.ca.behaviour = replace(house.ca.behaviour, fail_info=FailInfo.BAD_ALG)
    house.ca.deny(only(house).upstream_transaction)
    house.reconcile(80)
    assert only(house).state is State.REFUSED
    for _ in range(3):
        refused = told(house, poll(house, forge))
        assert (status(refused), refused.text(oid.FAIL_INFO)) == (PKIStatus.FAILURE, str(int(FailInfo.BAD_ALG)))
    assert events(house) == ["authorised", "pended", "refused"]


@pytest.mark.proves("RA-21", "AC-058", "MSG-44")
def test_polls_of_clients_cause_no_polls_of_the_ca(house: Durable) -> None:
    """A hundred of them, over ten minutes, and the CA is asked as its schedule says."""
    forge = sound(house)
    told(house, forge)
    message = poll(house, forge).message()
    rows = house.stored
    for _ in range(100):
        assert post(house, message).status == 200
        house.reconcile(6, step=1)
    asked = len(reached(house, MessageType.CERT_POLL))
    assert 3 <= asked <= 4  # after 1, 3 and 7 minutes
    assert only(house).polls == asked
    assert len(reached(house)) == 1
    assert {**house.stored, "drivers": 0} == {**rows, "drivers": 0}


@pytest.mark.proves("RA-24", "AC-058", "DR-15")
def test_polls_are_answered_while_the_ca_is_out_of_reach(house: Durable) -> None:
    """From the store."""
    forge = sound(house)
    told(house, forge)
    house.way.cut()
    house.reconcile(300)
    assert status(told(house, poll(house, forge))) is PKIStatus.PENDING
    house.way.mend()
    house.ca.approve(only(house).upstream_transaction)
    house.reconcile(600, step=1)
    assert status(told(house, poll(house, forge))) is PKIStatus.SUCCESS


@pytest.mark.proves("MSG-41")
def test_a_poll_by_a_key_that_only_signs_is_answered_under_the_challenge(lab: Path) -> None:
    """What was stored of the request opens the answer's password again, in another message and process."""
    key = csrs.ec_key()
    with durable(lab) as house:
        house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
        client = house.client()
        pending = run(client.enrol(csr=request(house, key=key), key=key, challenge=house.challenge))
        assert pending.status is PKIStatus.PENDING
        approve(house)
        polled = run(client.poll(pending))
        assert polled.status is PKIStatus.SUCCESS
        assert polled.certificate is not None
        assert polled.certificate.der == only(house).certificate


# --- Clients that cannot poll ----------------------------------------------------------------------------------------


@pytest.mark.proves("RA-24", "DR-15")
def test_clients_that_cannot_poll_come_again(lab: Path) -> None:
    """They get 503 instead of PENDING, and the certificate when there is one."""
    with durable(lab, {"polling": False}) as house:
        house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.PENDING)
        forge = sound(house)
        for _ in range(3):
            bare(post(house, forge.message()), house)
        assert only(house).state is State.WAITING
        approve(house)
        assert certificate(told(house, forge)) == only(house).certificate
        assert len(reached(house)) == 1
