"""Agents enrol others where a profile lists them, and nowhere else (AC-055)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms as asn1

from scepra.lab.key import read_key
from scepra.provenance import REQUEST_AGENT
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from tests import csrs
from tests.rig.denial import denials
from tests.rig.device import (
    NEW,
    OLD,
    THIEF,
    days,
    device_certificate,
    granted,
    rebuilt,
    renewal,
    request,
    request_without_challenge,
    sound,
    subject,
)
from tests.rig.forge import Forge, ca_extensions, certificate, own_certificate
from tests.rig.house import House, house


@pytest.fixture(scope="module")
def agent(lab: Path) -> Certificate:
    """An agent's certificate, from the CA, for the key :data:`OLD`; its purpose makes nobody an agent."""
    with house(lab) as built:
        return device_certificate(built, name="agent.example", extensions=(csrs.eku(REQUEST_AGENT),))


@pytest.fixture
def office(lab: Path, agent: Certificate) -> Iterator[House]:
    """A house that lists this agent."""
    with house(lab, {"on-behalf": {"certificates": f"sha256:{agent.fingerprint()}"}}) as built:
        yield built


def vouched(house: House, signer: Certificate, **changes: Any) -> Forge:
    """What an agent sends for a device with a key of its own, but for the changes."""
    settings = {"key": OLD, "signer": signer, "csr": request_without_challenge(key=NEW)} | changes
    return sound(house, **settings)


@pytest.mark.proves("AC-055", "MSG-20", "I6", "RA-15", "CMS-47")
def test_an_agent_enrols_others(office: House, agent: Certificate) -> None:
    """A listed agent enrols a device without a challenge: for the device's key, and the answer is for the agent."""
    forge = vouched(office, agent)
    answer = granted(office, forge, OLD)
    (recipient,) = asn1.ContentInfo.load(answer.content)["content"]["recipient_infos"]
    assert recipient.chosen["rid"].chosen["serial_number"].native == agent.serial
    assert Certificate.parse(answer.certificates()[0]).spki == csrs.spki(NEW)
    record = office.records[-1]
    assert (record["credential"], record["challenge"]) == ("on-behalf", f"agent {agent.fingerprint()}")
    # The same again is the same transaction; another device's is another.
    again = granted(office, replace(forge, transaction_id="again"), OLD)
    assert again.certificates() == answer.certificates()
    granted(office, vouched(office, agent, csr=request_without_challenge(key=THIEF, subject=subject("b.example"))), OLD)
    assert len(office.forwarded) == 2


@pytest.mark.proves("AC-055", "I12")
def test_what_an_agent_vouches_for_is_judged_like_anything(office: House, agent: Certificate) -> None:
    """An agent stands for who asks, not for what: policy, proof of possession and challenges are judged as ever."""
    with denials(office) as deny:
        deny(vouched(office, agent, csr=request_without_challenge(key=NEW, subject=subject("evil"))), because="CN")
        others = request_without_challenge(key=NEW, public_key=csrs.spki(THIEF), sign=csrs.signer(NEW)[1])
        deny(vouched(office, agent, csr=others), because="own signature does not verify")
        deny(vouched(office, agent, csr=request(office, key=NEW, challenge="wrong")), because="wrong challenge")
        granted(office, vouched(office, agent, csr=request(office, key=NEW)), OLD)
        deny(vouched(office, agent, digest=Digest.SHA1), because="rests on SHA-1")
        deny(vouched(office, agent, message_type="17"), because="who renews nothing")


@pytest.mark.proves("AC-055", "SEC-04", "I3")
def test_who_is_not_listed_vouches_for_nobody(office: House, agent: Certificate) -> None:
    """Neither the purpose of an agent nor the names of a listed one make an agent."""
    with denials(office) as deny:
        for extensions in ((), (csrs.eku(REQUEST_AGENT),)):
            other = device_certificate(office, name="agent.example", extensions=extensions)
            deny(vouched(office, other), because="renewal: ")
        copy = certificate(THIEF, agent.subject_der, issuer=agent.issuer_der, serial=agent.serial_der)
        deny(vouched(office, copy, key=THIEF), because="another key")
        # Without a list there is no agent at all.
        nobody = rebuilt(office, agents=type(office.authority.agents)())
        with denials(nobody) as deny_there:
            deny_there(vouched(nobody, agent), because="enrolment agent's certificate")


@pytest.mark.proves("AC-055")
def test_agents_by_their_key(lab: Path) -> None:
    """An agent that is listed by its key may come with any certificate of it, while that is valid."""
    with house(lab, {"on-behalf": {"keys": f"sha256:{_digest(OLD)}"}}) as built, denials(built) as deny:
        for signer in (own_certificate(OLD), device_certificate(built)):
            granted(built, vouched(built, signer), OLD)
        old = certificate(OLD, validity=(days(-2), days(-1)))
        deny(vouched(built, old), because="is over")
        # For itself it enrols like anybody.
        deny(sound(built, key=OLD, csr=request_without_challenge(key=OLD)), because="no challenge")
        granted(built, sound(built, key=OLD), OLD)


def _digest(key: csrs.PrivateKey) -> str:
    return hashlib.sha256(csrs.spki(key)).hexdigest()


@pytest.mark.proves("AC-055")
def test_powerful_agents(lab: Path) -> None:
    """The RA, and a CA, vouch for nobody, even where somebody has listed them."""
    with house(lab) as plain:
        ra = plain.authority.keyring.current.signing.certificate
        ca = device_certificate(plain, extensions=ca_extensions())
    listed = {"on-behalf": {"certificates": [f"sha256:{each.fingerprint()}" for each in (ra, ca)]}}
    with house(lab, listed) as built, denials(built) as deny:
        key = read_key((built.state.directory / "ra.key").read_bytes())
        deny(vouched(built, ra, key=key), because="is the RA's own certificate")
        deny(vouched(built, ca), because="is a CA certificate")


@pytest.mark.proves("RA-30", "CMS-28")
def test_agents_and_what_needs_a_challenge(lab: Path, agent: Certificate) -> None:
    """Where the CA asks for a challenge, or the agent's key cannot decrypt, an agent's request needs one too."""
    listed = {"on-behalf": {"certificates": f"sha256:{agent.fingerprint()}"}}
    with house(lab, listed, {"authorisation": "challenge"}) as built, denials(built) as deny:
        deny(vouched(built, agent), because="is what the upstream asks for")
        granted(built, vouched(built, agent, csr=request(built, key=NEW)), OLD)
    key = csrs.ec_key(which=5)
    signer = certificate(key)
    with house(lab, {"on-behalf": {"certificates": f"sha256:{signer.fingerprint()}"}}) as built:
        settings = {"key": key, "signature_algorithm": csrs.algorithm(oid.ECDSA_SHA256)}
        with denials(built) as deny:
            deny(vouched(built, signer, **settings), because="encrypt to a key that only signs")
        granted(built, vouched(built, signer, **settings, csr=request(built, key=NEW)), None)


@pytest.mark.proves("AC-055", "AC-052")
def test_agents_renew_nothing(office: House, agent: Certificate) -> None:
    """An agent's certificate is not renewed by itself, under neither message type."""
    own = request_without_challenge(key=NEW, subject=agent.subject_der)
    with denials(office) as deny:
        deny(renewal(office, agent, csr=own), because="who renews nothing")
