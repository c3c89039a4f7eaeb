"""The upstream as attacker, through the whole RA: what it must not make the RA believe (security 4.6)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel, formatEvent

from scepra.errors import FailInfo
from scepra.lab import Behaviour, CertificationService, Faces, Forgery, Payload
from scepra.lab.authority import Authority
from scepra.lab.files import write_pem
from scepra.scep import der, oid
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate
from scepra.scep.message import MessageType, PKIStatus
from scepra.scep.transport import OperationKind
from scepra.transaction import State
from tests import csrs
from tests.rig.denial import denials
from tests.rig.device import (
    KEY,
    STRANGER,
    THIEF,
    ask,
    ca_key,
    days,
    granted,
    pki_status,
    post,
    rebuilt,
    renewal,
    request,
    sound,
)
from tests.rig.forge import (
    Forge,
    attribute,
    ber,
    ca_extensions,
    certificate,
    own_certificate,
    recipient_info,
    text,
)
from tests.rig.house import Day, House, house, lab_state, run
from tests.rig.upstream import EMPTY_CONTENT, NO_CONTENT, Asked, CountedSigner, Reply, behind, status

Answer = Callable[[Asked], bytes | Forge | Reply]


# --- Who it is -------------------------------------------------------------------------------------------------------


def false_faces(house: House) -> dict[str, bytes]:
    """GetCACert answers of somebody else."""
    ca = house.state.authority.certificate
    fake = certificate(STRANGER, ca.subject_der, serial=ca.serial_der, extensions=ca_extensions())
    fake_ra = certificate(THIEF, "RA", by=(STRANGER, fake), extensions=(csrs.key_usage(b"\x05\xa0"),))
    return {
        "bare": fake.der,
        "with an RA": degenerate([fake_ra.der, fake.der]),
        "an RA beside the real CA": degenerate([fake_ra.der, ca.der]),
        "both CAs and an RA": degenerate([fake_ra.der, fake.der, ca.der]),
        "nothing": degenerate([]),
        "a page": b"<html><body>It works!</body></html>",
        "no octets": b"",
    }


FACES = ["bare", "with an RA", "an RA beside the real CA", "both CAs and an RA", "nothing", "a page", "no octets"]


@pytest.mark.proves("AC-106", "CERT-12", "DR-11", "I1")
@pytest.mark.parametrize("face", FACES)
def test_false_certificates(either: House, face: str) -> None:
    """Before certificates of the pinned CA are seen nothing goes north, since a challenge would leak to a stranger."""
    house, middle = behind(either, Asked.pass_on, {OperationKind.GET_CA_CERT: false_faces(either)[face]}, look=False)
    forge, stored = sound(house), house.stored
    response = post(house, forge.message())
    if house.authority.profile.polling:
        assert pki_status(house, response) is PKIStatus.PENDING
        assert house.transaction(house.records[-1]["enrolment"]).state is State.QUEUED
    else:
        assert (response.status, response.body) == (503, b"")
        assert house.records[-1]["outcome"] == "unavailable"
        assert house.stored == stored
    house.reconcile(20)
    assert not any(b"PKIOperation" in target for target in middle.targets)
    assert ask(house, "GET", "/scep?operation=GetCACert").status == 502
    assert ask(house, "GET", "/scep?operation=GetCACaps").status == 200
    middle.others.clear()
    house.reconcile(60)
    granted(house, forge)


@pytest.mark.proves("AC-106", "CERT-12", "CERT-13", "DR-11")
@pytest.mark.parametrize("face", FACES)
def test_false_certificates_later(shared: House, face: str) -> None:
    """What is known stays known: a stranger who answers later changes nothing, and is told nothing."""
    house, middle = behind(shared)
    before = ask(house, "GET", "/scep?operation=GetCACert").body
    middle.others[OperationKind.GET_CA_CERT] = false_faces(shared)[face]
    house.clock.advance(86_400)
    run(house.upstream.refresh())
    house.clock.advance(1)
    with denials(house):
        granted(house, sound(house))
        assert ask(house, "GET", "/scep?operation=GetCACert").body == before


@pytest.mark.proves("AC-107", "SEC-14", "RA-18", "CAPS-04", "CAPS-11", "DR-11")
@pytest.mark.parametrize(
    "caps",
    [b"", b"<html></html>", b"DES\nSHA-1\n", b"DES3\nMD5", b"x" * 1_000_000, Reply(500), Reply(404)],
    ids=["empty", "page", "DES", "MD5", "long", "500", "404"],
)
def test_lower_capabilities(shared: House, caps: bytes | Reply) -> None:
    """Whatever the upstream lists, what it gets is as strong as configured, and clients see the same list."""
    before = shared.authority.ca_caps()
    house, _ = behind(shared, Asked.pass_on, {OperationKind.GET_CA_CAPS: caps})
    granted(house, sound(house))
    assert house.ca.received[-1].algorithms == Algorithms()
    assert house.authority.ca_caps() == before


@pytest.mark.proves("AC-116", "I11", "DR-20", "CERT-20")
@pytest.mark.parametrize(
    "target",
    [
        "/scep?operation=GetCACert&message=http://127.0.0.9/evil",
        "/scep?operation=GetCACert&message=..%2f..%2fevil",
        "/scep?operation=GetCACaps&message=evil@127.0.0.9",
        "/scep?operation=GetCACert&message=evil%0d%0aHost:%20127.0.0.9",
        "/scep?operation=GetCACert&profile=evil&upstream=http://127.0.0.9/evil",
    ],
)
def test_a_client_does_not_choose_the_upstream(shared: House, outside: list[str], target: str) -> None:
    """Addresses in identifiers, parameters and headers lead nowhere: the upstream's URL is the profile's."""
    house, middle = behind(shared)
    looked = len(middle.targets)
    assert ask(house, "GET", target, headers={"Host": "127.0.0.9"}).status == 200
    assert len(middle.targets) == looked
    granted(house, sound(house, transaction_id="http://127.0.0.9/evil"))
    assert {sent.partition(b"?")[0] for sent in middle.targets} == {b"/scep"}
    assert all(b"evil" not in sent for sent in middle.targets)
    assert outside == []


@pytest.mark.proves("RA-19", "CMS-27", "RA-30")
def test_a_ca_whose_key_only_signs(lab: Path) -> None:
    """A CA with an EC key alone is sent the request under its challenge; one without a challenge stays here."""
    ca = Authority.create("EC CA", csrs.ec_key(which=6))
    (lab / "ec-ca.crt").write_bytes(write_pem(ca.certificate))
    service = CertificationService(ca, lab_state(lab).challenge)
    with house(lab, upstream={"ca-fingerprint": "file:ec-ca.crt"}, ca=service) as built, denials(built) as deny:
        granted(built, sound(built))
        assert built.ca.received[-1].challenge == built.challenge
        deny(renewal(built), because="RA-19", recorded=True)


# --- Answers that are not believed -----------------------------------------------------------------------------------


def altered(**changes: Any) -> Answer:
    return lambda asked: asked.rep(asked.issue(), **changes)


def with_attributes(**attributes: tuple[bytes, ...] | bytes) -> Answer:
    kinds = {
        "status": oid.PKI_STATUS,
        "nonce": oid.RECIPIENT_NONCE,
        "kind": oid.MESSAGE_TYPE,
        "transaction": oid.TRANSACTION_ID,
    }
    changed = {kinds[name]: value if isinstance(value, tuple) else (value,) for name, value in attributes.items()}
    return altered(attributes=changed)


def nonce(value: bytes) -> bytes:
    return attribute(oid.RECIPIENT_NONCE, der.octet_string(value))


def by_impostor(asked: Asked) -> Forge:
    ca = asked.house.state.authority.certificate
    fake = certificate(STRANGER, ca.subject_der, serial=ca.serial_der, extensions=ca_extensions())
    return asked.rep(asked.issue(), key=STRANGER, signer=fake)


def by_own_certificate(asked: Asked) -> Forge:
    """Signed by somebody whose certificate the answer brings along, under a CA that it brings along as well."""
    ca = certificate(STRANGER, "CA", extensions=ca_extensions())
    ra = certificate(THIEF, "RA", by=(STRANGER, ca))
    return asked.rep(
        asked.issue(), key=THIEF, signer=ra, bag=(ra.der, ca.der, asked.house.state.authority.certificate.der)
    )


def by_device(asked: Asked) -> Forge:
    """Signed by a device that the pinned CA issued a certificate to."""
    device = asked.issue(public_key=csrs.spki(THIEF))
    return asked.rep(asked.issue(), key=THIEF, signer=device)


def to_another(asked: Asked) -> Forge:
    return asked.rep(asked.issue(), recipient=own_certificate(THIEF))


UNBELIEVED: dict[str, tuple[Answer, str]] = {
    "AC-108, another key under the CA's name": (by_impostor, "does not verify"),
    "AC-108, a certificate of its own": (by_own_certificate, "missing"),
    "AC-108, a device of the CA's": (by_device, "missing"),
    "AC-108, a broken signature": (altered(signature=lambda signed: bytes(256)), "does not verify"),
    "AC-108, MD5": (altered(digest=Digest.MD5), "digest"),
    "AC-109, another nonce": (with_attributes(nonce=nonce(b"yesterday's")), "recipientNonce"),
    "AC-109, an empty nonce": (with_attributes(nonce=nonce(b"")), "recipientNonce"),
    "AC-109, no nonce": (with_attributes(nonce=()), "recipientNonce"),
    "AC-109, the nonce twice": (
        lambda asked: asked.rep(
            asked.issue(),
            attributes={oid.RECIPIENT_NONCE: (nonce(asked.message.sender_nonce), nonce(b"other"))},
        ),
        "exactly once",
    ),
    "AC-109, another transaction": (altered(transaction_id="OTHER"), "another transaction"),
    "AC-109, the client's transaction": (
        altered(transaction_id="5D8737382F6871D1BE9F5454E18BE352"),
        "another transaction",
    ),
    "AC-109, no transaction": (with_attributes(transaction=()), "missing"),
    "AC-109, status 00": (with_attributes(status=status("00")), "pkiStatus"),
    "AC-109, status 1": (with_attributes(status=status("1")), "pkiStatus"),
    "AC-109, no status": (with_attributes(status=()), "missing"),
    "AC-109, two statuses": (with_attributes(status=(status("0"), status("2"))), "exactly once"),
    "AC-109, a status of two values": (
        with_attributes(status=attribute(oid.PKI_STATUS, text("2"), text("0"))),
        "exactly once",
    ),
    "AC-109, two message types": (
        with_attributes(kind=(attribute(oid.MESSAGE_TYPE, text("3")), attribute(oid.MESSAGE_TYPE, text("19")))),
        "exactly once",
    ),
    "MSG-60, a request": (altered(message_type="19"), "no CertRep"),
    "MSG-60, no message type": (with_attributes(kind=()), "missing"),
    "AC-109, SUCCESS without an envelope": (altered(encapsulated=EMPTY_CONTENT), ""),
    "AC-109, SUCCESS without content": (altered(encapsulated=NO_CONTENT), "envelope"),
    "MSG-60, for another's key": (to_another, "does not open"),
    "MSG-60, two signers": (
        lambda asked: asked.rep(asked.issue(), signer_infos=(asked.rep().signer_info(),) * 2),
        "SignerInfo",
    ),
    "AC-112, our own message": (lambda asked: asked.octets, ""),
    "MSG-60, DES": (altered(cipher=ContentCipher.DES_CBC), "content cipher"),
    "SEC-15, a page in the envelope": (altered(content=b"<html>"), "does not open"),
}


@pytest.mark.proves(
    "AC-108",
    "AC-109",
    "AC-112",
    "MSG-60",
    "MSG-04",
    "MSG-09",
    "CERT-12",
    "SEC-14",
    "SEC-15",
    "DR-10",
    "DR-11",
    "RA-24",
    "I5",
)
@pytest.mark.parametrize(("answer", "because"), UNBELIEVED.values(), ids=UNBELIEVED)
def test_answers_that_are_not_believed(either: House, answer: Answer, because: str) -> None:
    """An answer with one thing wrong is none: the client is told to come again, and the next good answer counts."""
    house, middle = behind(either, answer)
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, because)
        deny.unavailable(forge, because, reached=0)
        middle.script = Asked.pass_on
        house.reconcile(5)
        granted(house, forge)


@pytest.mark.proves("AC-109", "MSG-60", "RA-17", "RA-20")
def test_answers_of_other_requests(either: House) -> None:
    """Yesterday's answer about the same request, and the answer to another one, are not believed."""
    recorded: list[bytes] = []

    def lose(asked: Asked) -> Reply:
        recorded.append(asked.pass_on())
        return Reply(502)

    house, middle = behind(either, lose)
    with denials(house) as deny:
        forge, other = sound(house), sound(house, transaction_id="other")
        deny.unavailable(forge, "status 502")
        middle.script = lambda asked: recorded[0]
        deny.unavailable(other, "another transaction")
        house.reconcile(3)
        deny.unavailable(forge, "recipientNonce", reached=0)
        deny.unavailable(other, "another transaction", reached=0)
        middle.script = Asked.pass_on
        house.reconcile(30)
        for each in (forge, other):
            granted(house, each)


@pytest.mark.proves("AC-112", "SEC-15")
def test_answers_of_another_ra(either: House) -> None:
    """A CertRep that this very RA gave to a client is no answer of the upstream's."""
    ours = post(either, sound(either).message()).body
    house, middle = behind(either, lambda asked: ours)
    with denials(house) as deny:
        deny.unavailable(sound(house), "missing")
        middle.script = Asked.pass_on


@pytest.mark.proves("AC-115", "SEC-15", "DR-12")
def test_no_private_key_is_used_for_a_stranger(shared: House) -> None:
    """Answers that the pinned CA did not sign never reach a private key, whatever keys are wrapped in them."""
    signer = CountedSigner(shared.authority.forwarding.signer)

    def random(asked: Asked) -> Forge:
        return replace(
            by_impostor(asked), recipients=(recipient_info(asked.signer, b"", encrypted_key=b"\0" + os.urandom(255)),)
        )

    house, middle = behind(rebuilt(shared, signer=signer), random)
    with denials(house) as deny:
        forges = [sound(house) for _ in range(10)]
        for forge in forges:
            deny.unavailable(forge, "does not verify")
        assert [key.signed for key in signer.keys] == [1] * 10
        house.reconcile(3)
        assert len(signer.keys) > len(forges)
        assert [key.opened for key in signer.keys] == [0] * len(signer.keys)
        middle.script = Asked.pass_on
        granted(house, sound(house))
        assert signer.keys[-1].opened == 1
        house.reconcile(60)
        for forge in forges:
            granted(house, forge)


@pytest.mark.proves("CERT-13", "CERT-12", "MSG-60", "I4")
def test_a_new_ra_certificate_of_the_ca(shared: House) -> None:
    """An unknown signer is looked up, once in a while; if the CA offers it then, the same answer is read again."""
    ca = shared.state.authority.certificate
    usage = csrs.key_usage(b"\x07\x80")
    new = certificate(THIEF, "new RA", by=(ca_key(shared), ca), extensions=(usage,))
    house, middle = behind(shared, lambda asked: asked.rep(asked.issue(), key=THIEF, signer=new))
    with denials(house) as deny:
        house.clock.advance(60)
        deny.unavailable(sound(house), "missing")
        middle.others[OperationKind.GET_CA_CERT] = degenerate([new.der, ca.der])
        deny.unavailable(sound(house), "missing")
        house.clock.advance(60)
        forwarded = len(house.forwarded)
        granted(house, sound(house))
        assert len(house.forwarded) == forwarded + 1
        middle.script = Asked.pass_on


@pytest.mark.proves("CERT-13", "CERT-11", "RA-24", "I3", "I4")
@pytest.mark.parametrize("faces", [Faces.RA, Faces.SPLIT])
def test_the_certificates_of_the_ca_s_ra_are_exchanged(lab: Path, faces: Faces) -> None:
    """What was encrypted to one that has been replaced is not opened. It is encrypted to the new one and sent once
    more: neither a new request nor one that is waited for is refused for it."""
    ca = CertificationService(lab_state(lab).authority, None, Behaviour(faces=faces, status=PKIStatus.PENDING))
    day = Day()
    with house(lab, ca=ca, now=day.now, clock=day) as built, denials(built) as deny:
        waiting = sound(built)
        deny.unavailable(waiting, "holds it back")
        ca.approve(next(iter(ca.transactions)))
        ca.behaviour = Behaviour(faces=faces)
        ca.replace_ra()
        built.reconcile(90)
        granted(built, waiting)
        ca.replace_ra()
        built.clock.advance(60)
        asked = len(built.forwarded)
        granted(built, sound(built))
        assert len(built.forwarded) == asked + 2
        assert [item.csr is not None for item in ca.received if item.message][-2:] == [False, True]


@pytest.mark.proves("CERT-13", "FT-14", "RA-23")
@pytest.mark.parametrize("reason", [FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_REQUEST])
def test_a_refusal_is_not_asked_about_again(lab: Path, reason: FailInfo) -> None:
    """While the certificates of the CA's RA are the same, what it refuses was opened, and is not sent twice."""
    ca = CertificationService(lab_state(lab).authority, None, Behaviour(status=PKIStatus.FAILURE, fail_info=reason))
    with house(lab, ca=ca) as built, denials(built) as deny:
        built.clock.advance(60)
        deny(sound(built), because=f"refused by upstream ca: {reason.name}", reached=1)
        ca.behaviour = Behaviour()


# --- Certificates that are not delivered -----------------------------------------------------------------------------


def issuing(**changes: Any) -> Answer:
    return lambda asked: asked.rep(asked.issue(**changes))


def by_another_ca(asked: Asked) -> Forge:
    ca = asked.house.state.authority.certificate
    fake = certificate(STRANGER, ca.subject_der, serial=ca.serial_der, extensions=ca_extensions())
    return asked.rep(asked.issue(by=(STRANGER, fake)))


def by_the_real_name_and_a_broken_signature(asked: Asked) -> Forge:
    good = asked.issue()
    return asked.rep(Certificate.parse(good.der[:-1] + bytes((good.der[-1] ^ 1,))))


UNDELIVERED: dict[str, tuple[Answer, str]] = {
    "another key": (lambda asked: asked.rep(asked.issue(public_key=csrs.spki(THIEF))), "request's key"),
    "no certificate": (lambda asked: asked.rep(), "request's key"),
    "two for the key": (lambda asked: asked.rep(asked.issue(), asked.issue()), "request's key"),
    "the CA's alone": (lambda asked: asked.rep(asked.house.state.authority.certificate), "request's key"),
    "another subject": (issuing(subject="other.example"), "subject"),
    "no subject": (issuing(subject=csrs.name()), "subject"),
    "another name": (issuing(extensions=(csrs.san(csrs.dns("evil.example")),)), "subjectAltName"),
    "a UPN": (issuing(extensions=(csrs.san(csrs.upn("admin@corp.example")),)), "subjectAltName"),
    "a CA": (issuing(extensions=ca_extensions()), "CA's powers"),
    "keyCertSign": (issuing(extensions=(csrs.key_usage(b"\x02\x84"),)), "CA's powers"),
    "any purpose": (issuing(extensions=(csrs.eku("2.5.29.37.0"),)), "any purpose"),
    "expired": (issuing(validity=(days(-30), days(-1))), "validity"),
    "tomorrow": (issuing(validity=(days(1), days(30))), "validity"),
    "in an hour": (issuing(validity=(days(1 / 24), days(30))), "validity"),
    "unreadable times": (issuing(validity=(b"nonsense", b"")), "validity"),
    "another CA": (by_another_ca, "issuer"),
    "a broken signature": (by_the_real_name_and_a_broken_signature, "issuer"),
    "another issuer": (issuing(issuer=csrs.subject("other CA")), "issuer"),
    "SHA-1": (issuing(digest=Digest.SHA1), "SHA-1 or MD5"),
    "MD5": (issuing(digest=Digest.MD5), "SHA-1 or MD5"),
    "an unreadable extension": (issuing(extensions=(csrs.extension(oid.KEY_USAGE, b"\x01"),)), ""),
    "twice an extension": (issuing(extensions=(csrs.san(csrs.dns("a.example")),) * 2), ""),
    "our own message in its envelope": (lambda asked: asked.rep(content=asked.octets), "request's key"),
    "no certificate at all": (lambda asked: asked.rep(content=degenerate([b"\x30\x03\x02\x01\x00"])), ""),
}


@pytest.mark.proves("AC-110", "MSG-61", "FT-18", "I3", "I5", "DR-11")
@pytest.mark.parametrize(("answer", "because"), UNDELIVERED.values(), ids=UNDELIVERED)
def test_certificates_that_are_not_delivered(shared: House, answer: Answer, because: str) -> None:
    """A certificate for something else than was asked for reaches no client, whoever signed the answer; somebody has to
    look at it, and a client that asks anew is judged anew."""
    house, middle = behind(shared, answer)
    with denials(house) as deny:
        forge = sound(house)
        message = forge.message()
        echoed = {"transaction_id": forge.transaction_id, "sender_nonce": forge.sender_nonce}
        deny(message, because=because, reached=1, **echoed)
        stored = house.transaction(house.records[-1]["enrolment"])
        assert (stored.state, stored.certificate) == (State.REFUSED, None)
        assert because in stored.attention != ""
        middle.script = Asked.pass_on
        house.reconcile(60)
        deny(message, because=because, **echoed)
        granted(house, forge)


TWICE = {
    "names": (csrs.san(csrs.dns("a.example")), csrs.san(csrs.dns("evil.example"))),
    "constraints": (csrs.extension(oid.BASIC_CONSTRAINTS, der.sequence()), ca_extensions()[0]),
    "usages": (csrs.key_usage(b"\x07\x80"), csrs.key_usage(b"\x02\x84")),
    "purposes": (csrs.eku("1.3.6.1.5.5.7.3.2"), csrs.eku("2.5.29.37.0")),
}


@pytest.mark.proves("AC-110", "AC-070", "DR-5")
@pytest.mark.parametrize("kind", TWICE)
@pytest.mark.parametrize("order", [1, -1])
def test_extensions_that_stand_twice(shared: House, kind: str, order: int) -> None:
    """A certificate with a harmless extension and an evil one of the same kind is not delivered, in either order."""
    house, middle = behind(shared, issuing(extensions=TWICE[kind][::order]))
    with denials(house) as deny:
        csr = request(house, csrs.carried(csrs.san(csrs.dns("a.example"))))
        deny(sound(house, csr=csr), because="issued", reached=1)
        middle.script = Asked.pass_on


@pytest.mark.proves("AC-110", "MSG-60", "MSG-61", "RA-24")
@pytest.mark.parametrize("forgery", list(Forgery))
def test_forgeries_of_the_lab(either: House, forgery: Forgery) -> None:
    """What the lab's CA can be told to do wrong is refused as well: nobody gets a certificate from it."""
    house, _ = behind(either)
    try:
        with denials(house) as deny:
            house.ca.behaviour = Behaviour(forgery=forgery)
            forge = sound(house, transaction_id=forgery.name)
            if forgery in (Forgery.SIGNER, Forgery.NONCE, Forgery.TRANSACTION):
                deny.unavailable(forge)
            else:
                deny(forge, reached=1)
            house.ca.behaviour = Behaviour()
            house.reconcile(5)
            granted(house, forge)
    finally:
        house.ca.behaviour = Behaviour()


@pytest.mark.proves("FT-18")
def test_clocks_that_differ_a_little(shared: House) -> None:
    """A certificate that begins in some minutes is delivered."""
    house, _ = behind(shared, issuing(validity=(days(5 / 1440), days(30))))
    granted(house, sound(house))


def twice(asked: Asked) -> Forge:
    one = asked.issue()
    return asked.rep(one, one)


def in_ber(asked: Asked) -> Forge:
    one = asked.issue()
    return asked.rep(content=ber(degenerate([one.der]), keep=(one.der,)))


@pytest.mark.proves("MSG-61", "MSG-62", "CMS-48", "CMS-44", "CMS-01", "PEER-04", "RA-22", "CMS-20")
def test_unusual_answers_that_are_believed(shared: House) -> None:
    """The certificate is found wherever it stands, in BER, beside others, and in every form of the answer."""
    ca = shared.state.authority.certificate
    for answer in (
        lambda asked: asked.rep(asked.issue(), ca),
        lambda asked: asked.rep(ca, asked.issue()),
        lambda asked: asked.rep(asked.issue(public_key=csrs.spki(THIEF)), ca, asked.issue()),
        twice,
        in_ber,
        lambda asked: asked.rep(asked.issue(), content_type=oid.ENVELOPED_DATA),
        lambda asked: asked.rep(asked.issue(), bag=()),
        lambda asked: asked.rep(asked.issue(), bag=(ca.der, own_certificate(THIEF).der)),
        lambda asked: asked.rep(asked.issue(), digest=Digest.SHA1, cipher=ContentCipher.DES_EDE3_CBC),
        lambda asked: asked.rep(
            asked.issue(),
            recipients=(
                recipient_info(own_certificate(THIEF), bytes(range(1, 17))),
                recipient_info(asked.signer, bytes(range(1, 17))),
            ),
        ),
    ):
        house, _ = behind(shared, answer)
        got = granted(house, sound(house))
        (issued,) = got.certificates()
        assert Certificate.parse(issued).spki == csrs.spki(KEY)
        assert got.bag == (house.authority.keyring.current.signing.certificate.der,)


@pytest.mark.proves("MSG-62", "CMS-48")
@pytest.mark.parametrize("payload", [Payload.LEAF, Payload.LEAF_THEN_CA, Payload.CA_THEN_LEAF])
def test_payloads_of_the_lab(shared: House, payload: Payload) -> None:
    """Whatever stands beside the certificate at the CA, the client gets what its profile says."""
    try:
        shared.ca.behaviour = Behaviour(payload=payload)
        assert len(granted(shared, sound(shared, transaction_id=payload.name)).certificates()) == 1
    finally:
        shared.ca.behaviour = Behaviour()


# --- Refusals by the CA ----------------------------------------------------------------------------------------------


@pytest.mark.proves("RA-23", "MSG-06", "MSG-09", "CMS-44")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("0", FailInfo.BAD_ALG),
        ("1", FailInfo.BAD_REQUEST),
        ("2", FailInfo.BAD_REQUEST),
        ("3", FailInfo.BAD_REQUEST),
        ("4", FailInfo.BAD_CERT_ID),
        (None, FailInfo.BAD_REQUEST),
        ("5", FailInfo.BAD_REQUEST),
        ("nonsense", FailInfo.BAD_REQUEST),
    ],
)
def test_failures_are_relayed(shared: House, said: str | None, told: FailInfo) -> None:
    """The CA's reason reaches the client, except for what is wrong between the RA and the CA: somebody is told that."""
    house, middle = behind(shared, lambda asked: asked.failure(said))
    with denials(house) as deny:
        events = len(house.events)
        answer = deny(sound(house), told, "refused by upstream ca", reached=1)
        assert answer.recipients == 0
        alarms = [formatEvent(event) for event in house.events[events:] if event["log_level"] is LogLevel.error]
        attention = house.transaction(house.records[-1]["enrolment"]).attention
        assert attention.startswith("it is what the RA sent") == (said in ("1", "3"))
        assert any(attention in alarm for alarm in alarms) == (said in ("1", "3"))
        middle.script = Asked.pass_on


@pytest.mark.proves("RA-23", "MSG-07", "MSG-08", "AC-121", "I10")
def test_the_ca_s_words_are_not_relayed(shared: House) -> None:
    """failInfoText of the CA does not reach the client; the number of an NDES error stands in the record."""
    words = "no such user: \x1b[31m<script>canary-in-text</script>"
    attributes = {
        oid.FAIL_INFO_TEXT: (attribute(oid.FAIL_INFO_TEXT, der.tlv(der.UTF8_STRING, words.encode())),),
        oid.NDES_ERROR: (attribute(oid.NDES_ERROR, text("-2147024809")),),
    }
    house, middle = behind(shared, lambda asked: asked.failure("2", attributes=attributes))
    with denials(house, "canary-in-text") as deny:
        deny(sound(house), because="BAD_REQUEST, 0x80070057, E_INVALIDARG: invalid argument", reached=1)
        middle.script = Asked.pass_on


@pytest.mark.proves("CMS-44", "AC-109")
@pytest.mark.parametrize(
    "content",
    [NO_CONTENT, EMPTY_CONTENT, der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"\0")))],
    ids=["absent", "empty", "one octet"],
)
def test_contents_of_failures(shared: House, content: bytes) -> None:
    """A FAILURE is one with absent content, with none in it, and with NDES's single octet."""
    house, middle = behind(shared, lambda asked: asked.failure(encapsulated=content))
    with denials(house) as deny:
        deny(sound(house), because="refused by upstream", reached=1)
        middle.script = Asked.pass_on


@pytest.mark.proves("AC-109", "CMS-44", "I5")
def test_failure_with_a_certificate(shared: House) -> None:
    """A FAILURE is a refusal, whatever it brings in its envelope."""
    house, middle = behind(shared, lambda asked: asked.rep(asked.issue(), attributes={oid.PKI_STATUS: (status("2"),)}))
    with denials(house) as deny:
        deny(sound(house), because="refused by upstream", reached=1)
        middle.script = Asked.pass_on


@pytest.mark.proves("RA-24", "MSG-09", "RA-20")
def test_pending_is_no_failure(either: House) -> None:
    """While the CA has not decided, the client is told to come again and not that it was refused; the RA polls."""

    def hold_back(asked: Asked) -> Forge:
        asked.pass_on()
        return asked.failure(None, attributes={oid.PKI_STATUS: (status("3"),)})

    house, middle = behind(either, hold_back)
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, "holds it back")
        deny.unavailable(forge, "holds it back", reached=0)
        middle.script = Asked.pass_on
        house.reconcile(90)
        granted(house, forge)
        kinds = [item.message_type for item in house.ca.received if item.message][-2:]
        assert kinds == [MessageType.PKCS_REQ, MessageType.CERT_POLL]
