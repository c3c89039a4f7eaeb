"""Challenges that the RA gives out, through the whole RA: each for somebody, once, for a while (security 4.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scepra.binding import Binding
from scepra.minting import Order, mint
from scepra.scep.message import PKIStatus
from scepra.store import challenges, tables
from scepra.store.challenges import MOST_MISUSES
from scepra.transaction import State
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import KEY, NEW, THIEF, granted, rebuilt, request_without_challenge, sound, subject
from tests.rig.durable import Durable, certificate, durable, events, only, reached, status, told, transactions
from tests.rig.forge import Forge
from tests.rig.house import VAULT

NAME = "printer-7.example"
PRINTER = Binding(common_name=NAME, dns=(NAME,), device="rack 4")


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house whose profile asks for challenges that it has given out."""
    with durable(lab, {"challenge": {"type": "minted", "most-uses": 3}}) as made:
        yield made


def give(house: Durable, binding: Binding = PRINTER, **order: Any) -> str:
    """A new challenge for somebody, kept in the house's store."""
    wanted = Order(order.pop("profile", "dev"), binding, "ann", unbound=True, **order)
    made = mint(wanted, {wanted.profile: house.authority.profile}, VAULT, house.now())
    assert house.database.call(challenges.add, made.digest, made.kept, made.most)
    return made.text


def asking(house: Durable, challenge: str, *attributes: bytes, name: str = NAME, key: Any = KEY) -> Forge:
    """A message with a challenge, for a name."""
    csr = request_without_challenge(csrs.challenge(challenge), *attributes, key=key, subject=subject(name))
    return sound(house, csr=csr, key=key)


def names(*encodings: bytes) -> bytes:
    """An extension request with these names."""
    return csrs.carried(csrs.san(*encodings))


def kept(house: Durable) -> Any:
    """The one challenge in the store."""
    (row,) = house.rows(tables.challenges)
    return row


@pytest.mark.proves("DR-17", "DR-8", "I2", "SEC-06")
def test_whom_a_challenge_was_given_for_enrols_with_it_once(house: Durable) -> None:
    """It is reserved for the first key that passes everything; that key gets its certificate again, no other any."""
    text = give(house)
    forge = asking(house, text, names(csrs.dns("printer-7.example")))
    issued = certificate(told(house, forge))
    assert only(house).challenge == f"minted {kept(house).id}"
    assert only(house).device == "rack 4"
    assert certificate(told(house, replace(forge, transaction_id="another", envelope=None))) == issued
    assert status(told(house, asking(house, text, key=NEW), NEW)) is PKIStatus.FAILURE
    assert house.records[-1]["reasons"] == ["challenge: used by another key before"]
    assert len(reached(house)) == len(transactions(house)) == 1
    assert any(event["log_namespace"] == "scepra.ra" and "used by another key" in str(event) for event in house.events)


@pytest.mark.proves("I2", "SEC-06")
def test_a_challenge_for_three_keys_is_good_for_three(house: Durable) -> None:
    """As many keys as it was made good for, however often each of them comes; the next one is refused."""
    text = give(house, uses=3)
    for which in (1, 2, 3, 1, 2):
        key = csrs.rsa_key(which=20 + which)
        assert status(told(house, asking(house, text, key=key), key)) is PKIStatus.SUCCESS
    deny = Denials(house, text)
    deny(asking(house, text, key=NEW), because="used by 3 other keys before")


@pytest.mark.proves("AC-091", "SEC-05", "I3", "AC-082")
def test_the_right_challenge_for_the_wrong_identity(house: Durable) -> None:
    """Another common name, a name beside it, another profile: refused, counted, nothing burnt; the right one enrols."""
    text = give(house)
    deny = Denials(house, text)
    deny(asking(house, text, name="printer-8.example", key=THIEF), because="given for something else: the common name")
    evil = names(csrs.dns("printer-7.example"), csrs.dns("dc.example"))
    deny(asking(house, text, evil, key=THIEF), because="a name of the type dns is another")
    deny(asking(house, text, names(csrs.upn("administrator@example")), key=THIEF), because="type upn")
    assert kept(house).misuses == 3
    assert kept(house).suspended is None
    deny(asking(house, give(house, profile="vpn"), key=THIEF), because="was given for profile vpn")
    granted(house, asking(house, text))


@pytest.mark.proves("AC-091")
def test_a_challenge_that_is_misused_too_often_is_suspended(house: Durable) -> None:
    """After some attempts with other names nobody can use it any more, which is said in the log and the audit; the key
    that had used it before keeps its certificate."""
    text = give(house, uses=2)
    forge = asking(house, text)
    issued = certificate(told(house, forge))
    deny = Denials(house, text)
    for number in range(MOST_MISUSES):
        last = number == MOST_MISUSES - 1
        other = asking(house, text, name=f"printer-{number + 100}.example", key=THIEF)
        deny(other, because="something else", recorded=last)  # the suspension, that is
        assert (kept(house).suspended is not None) is last
    deny(asking(house, text, key=NEW), because="suspended")
    assert certificate(told(house, replace(forge, envelope=None))) == issued
    assert "suspended" in events(house)
    assert any("is suspended" in event.get("log_format", "") for event in house.events)


@pytest.mark.proves("AC-098", "FT-27")
def test_a_challenge_expires_to_the_moment(house: Durable) -> None:
    """A moment before its end it is good, at its end no more; whoever used it before is answered after it."""
    first, second, third = (give(house, Binding(common_name=f"d{n}.example"), lifetime=600.0) for n in range(3))
    early = asking(house, first, name="d0.example")
    assert status(told(house, early)) is PKIStatus.SUCCESS
    house.day.advance(599.999)
    assert status(told(house, asking(house, second, name="d1.example", key=NEW), NEW)) is PKIStatus.SUCCESS
    house.day.advance(0.002)
    deny = Denials(house, third)
    deny(asking(house, third, name="d2.example", key=THIEF), because="expired")
    assert status(told(house, replace(early, envelope=None))) is PKIStatus.SUCCESS


@pytest.mark.proves("AC-098")
def test_what_is_revoked_is_good_for_nobody_who_has_not_used_it(house: Durable) -> None:
    """A key that holds a reservation goes on; all others are refused from that moment on."""
    text = give(house, uses=2)
    forge = asking(house, text)
    issued = certificate(told(house, forge))
    assert house.database.call(challenges.revoke, kept(house).id, None, "ann", "lost", house.now())
    assert not house.database.call(challenges.revoke, kept(house).id, None, "ann", "lost", house.now())
    Denials(house, text)(asking(house, text, key=NEW), because="revoked")
    assert certificate(told(house, replace(forge, envelope=None))) == issued


@pytest.mark.proves("AC-098", "I2")
def test_a_challenge_that_is_revoked_while_it_is_judged(house: Durable) -> None:
    """It is judged again in the commit that reserves it: what was found good a moment ago may not be any more."""
    text = give(house)
    found = house.authority.provider

    class Revoking:
        async def check(self, request: Any) -> Any:
            verdict = await found.check(request)
            house.database.call(challenges.revoke, kept(house).id, None, "ann", "lost", house.now())
            return verdict

    raced = rebuilt(house, provider=Revoking())
    assert isinstance(raced, Durable)
    assert status(told(raced, asking(house, text))) is PKIStatus.FAILURE
    assert house.records[-1]["reasons"] == ["challenge: revoked"]
    assert transactions(house) == []
    assert house.rows(tables.reservations) == []


@pytest.mark.proves("AC-101", "AC-095", "I10", "DR-17")
@pytest.mark.parametrize("text", ["", " ", "' OR 1=1--", "0" * 32, "%", "null", "x" * 16000])
def test_what_was_never_given_out(house: Durable, text: str) -> None:
    """Text that is no challenge is looked up by its digest and not found, whatever it means elsewhere."""
    right = give(house)
    Denials(house, right)(asking(house, text), because="challenge")
    granted(house, asking(house, right))


@pytest.mark.proves("I10", "DR-17", "SEC-06")
def test_the_store_does_not_hold_the_challenge(house: Durable) -> None:
    """Neither a challenge nor a plain digest of it is in any table, before and after it is used."""
    text = give(house)
    for _ in range(2):
        everything = repr([house.rows(table) for table in tables.metadata.sorted_tables])
        for form in (text, text.lower(), hashlib.sha256(text.encode()).hexdigest()):
            assert form not in everything
        assert repr(hashlib.sha256(text.encode()).digest()) not in everything
        assert status(told(house, asking(house, text))) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-25", "I3", "DR-8")
def test_a_refused_request_leaves_the_challenge_as_it_was(house: Durable) -> None:
    """What the policy refuses, or the CA, has not used up the challenge: the same key may ask again."""
    text = give(house, Binding(common_name="printer-7.test"))
    Denials(house, text)(asking(house, text, name="printer-7.test"), because="subject")
    assert house.rows(tables.reservations) == []
    text = give(house)
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.FAILURE)
    assert status(told(house, asking(house, text))) is PKIStatus.FAILURE
    assert only(house).state is State.REFUSED
    house.ca.behaviour = replace(house.ca.behaviour, status=PKIStatus.SUCCESS)
    again = asking(house, text, names(csrs.dns("printer-7.example")))
    assert status(told(house, again)) is PKIStatus.SUCCESS
