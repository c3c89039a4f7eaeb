"""Renewals through the whole RA: which certificate authorises what, and how its holder is answered (MSG-30 to 34)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import cms as asn1

from scepra.errors import FailInfo
from scepra.lab import PERMISSIVE, Behaviour
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.message import MessageType
from tests import csrs
from tests.rig.denial import Denials, denials
from tests.rig.device import (
    NEW,
    OLD,
    STRANGER,
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
from tests.rig.forge import ca_extensions, certificate
from tests.rig.house import House, house
from tests.rig.upstream import Asked, behind

SAN = csrs.san(csrs.dns("a.example"), csrs.dns("b.example"))


def with_rules(house: House, **changes: Any) -> House:
    """The house with other rules for renewals."""
    assert house.authority.renewal is not None
    return rebuilt(house, renewal=replace(house.authority.renewal, **changes))


@pytest.mark.proves("MSG-30", "PEER-06", "MSG-23", "CMS-47", "RA-15", "RA-30", "I6")
@pytest.mark.parametrize("message_type", ["17", "19"])
@pytest.mark.parametrize("key", [NEW, OLD], ids=["new key", "same key"])
def test_renewal(shared: House, message_type: str, key: csrs.PrivateKey) -> None:
    """The old certificate authorises a new one, by RenewalReq and by PKCSReq; the answer is for the old one's key."""
    signer = device_certificate(shared)
    forge = renewal(shared, signer, message_type=message_type, csr=request_without_challenge(key=key))
    answer = granted(shared, forge, OLD)
    (recipient,) = asn1.ContentInfo.load(answer.content)["content"]["recipient_infos"]
    assert recipient.chosen["rid"].chosen["serial_number"].native == signer.serial
    assert recipient.chosen["rid"].chosen["issuer"].dump() == signer.issuer_der
    assert Certificate.parse(answer.certificates()[0]).spki == csrs.spki(key)
    record = shared.records[-1]
    assert (record["credential"], record["challenge"]) == ("renewal", f"certificate {signer.fingerprint()}")
    assert record["message_type"] == ("RENEWAL_REQ" if message_type == "17" else "PKCS_REQ")
    assert shared.ca.received[-1].message_type is MessageType.PKCS_REQ


@pytest.mark.proves("AC-110", "MSG-61", "I5")
def test_the_old_certificate_again(shared: House) -> None:
    """A CA that answers the renewal of a key with the certificate that was to be renewed, as NDES has been seen to, is
    not believed: its device would renew no more."""
    signer = device_certificate(shared)
    house, middle = behind(shared, lambda asked: asked.rep(signer))
    with denials(house) as deny:
        forge = renewal(house, signer, csr=request_without_challenge(key=OLD))
        deny(forge, because="is the one that was to be renewed", reached=1)
        assert house.transaction(house.records[-1]["enrolment"]).certificate is None
        middle.script = Asked.pass_on
        granted(house, renewal(house, signer, csr=request_without_challenge(key=OLD)), OLD)


@pytest.mark.proves("MSG-23", "P10-04", "DR-6")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_challenge_in_a_renewal(shared: House, deny: Denials, message_type: str) -> None:
    """A challenge that comes with a renewal must be right as well; an empty one is none."""
    forge = renewal(shared, message_type=message_type)
    same = {"key": NEW, "subject": subject()}
    granted(shared, replace(forge, csr=request(shared, **same)), OLD)
    granted(shared, replace(forge, csr=request(shared, **same, challenge="")), OLD)
    deny(replace(forge, csr=request(shared, **same, challenge="wrong")), because="wrong challenge")


@pytest.mark.proves("MSG-23", "AC-046", "MSG-24")
def test_challenge_without_the_certificate_s_key(shared: House, deny: Denials) -> None:
    """The right challenge does not make up for a signer who is neither self-signed nor an anchor's."""
    stranger = certificate(OLD, by=(STRANGER, certificate(STRANGER, "Public CA")))
    for message_type in ("17", "19"):
        forge = renewal(shared, stranger, message_type=message_type, csr=request(shared, key=OLD))
        deny(forge, because="no renewal anchor")


def with_names(*names: bytes) -> Callable[[House], dict[str, Any]]:
    extensions = (csrs.san(*names),) if names else ()
    return lambda house: {"csr": request_without_challenge(csrs.carried(*extensions), key=NEW)}


@pytest.mark.proves("MSG-31", "AC-071", "I12")
@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda house: {"csr": request_without_challenge(key=NEW, subject=subject("other.example"))}, "subject"),
        (
            lambda house: {
                "csr": request_without_challenge(
                    key=NEW, subject=csrs.name(csrs.value(csrs.CN, "device.example"), csrs.value(csrs.UNIT, "more"))
                )
            },
            "subject",
        ),
        (lambda house: {"csr": request_without_challenge(key=NEW, subject=csrs.name())}, "subject"),
        (with_names(csrs.dns("a.example"), csrs.dns("evil.example")), "has names"),
        (with_names(csrs.dns("A.example")), "has names"),
        (with_names(csrs.upn("admin@corp.example")), "has names"),
        (with_names(csrs.dns("a.example"), csrs.dns("b.example"), csrs.dns("c.example")), "has names"),
        (lambda house: {"signer": device_certificate(house, validity=(days(-400), days(-1)))}, "ended on"),
        (lambda house: {"signer": device_certificate(house, extensions=(csrs.key_usage(b"\x05\x20"),))}, "keyUsage"),
        (lambda house: {"signer": device_certificate(house, digest=Digest.SHA1)}, "SHA-1 or MD5"),
        (lambda house: {"signer": device_certificate(house, digest=Digest.MD5)}, "SHA-1 or MD5"),
        (lambda house: {"digest": Digest.SHA1}, "SHA-1 or MD5"),
        (lambda house: {"csr": request_without_challenge(csrs.carried(csrs.eku("1.3.6.1.5.5.7.3.1")), key=NEW)}, "eku"),
    ],
)
def test_what_is_no_renewal(
    shared: House, deny: Denials, change: Callable[[House], dict[str, Any]], because: str
) -> None:
    """Other names or more, another time, a certificate for other uses, weak digests: each is refused."""
    settings = {"signer": device_certificate(shared, extensions=(SAN,))} | change(shared)
    deny(renewal(shared, **settings), because=because)


@pytest.mark.proves("MSG-31")
def test_fewer_names(shared: House) -> None:
    """The same names are renewed, and fewer, where the profile does not ask for the same; then only the same."""
    signer = device_certificate(shared, extensions=(SAN,))
    same = request_without_challenge(csrs.carried(SAN), key=NEW)
    fewer = request_without_challenge(csrs.carried(csrs.san(csrs.dns("b.example"))), key=NEW)
    for csr in (same, fewer):
        granted(shared, renewal(shared, signer, csr=csr), OLD)
    strict = with_rules(shared, fewer_names=False)
    with denials(strict) as deny:
        signer = device_certificate(strict, extensions=(SAN,))
        deny(renewal(strict, signer, csr=fewer), because="lacks names")
        granted(strict, renewal(strict, signer, csr=same), OLD)


@pytest.mark.proves("AC-052", "MSG-31", "MSG-30")
def test_rules_of_the_profile(shared: House) -> None:
    """The window, the grace and the key are the profile's to choose."""
    strict = with_rules(shared, window=timedelta(days=30), same_key=False)
    with denials(strict) as deny:
        deny(renewal(strict), because="too early to renew")
        soon = device_certificate(strict, validity=(days(-300), days(29)))
        granted(strict, renewal(strict, soon), OLD)
        deny(renewal(strict, soon, csr=request_without_challenge(key=OLD)), because="old certificate's key")
    lenient = with_rules(shared, grace=timedelta(days=3), sha1=True)
    late = device_certificate(lenient, validity=(days(-300), days(-2)), digest=Digest.SHA1)
    granted(lenient, renewal(lenient, late, digest=Digest.SHA1), OLD)
    with denials(lenient) as deny:
        deny(renewal(lenient, device_certificate(lenient, validity=(days(-300), days(-4)))), because="ended on")


@pytest.mark.proves("MSG-32")
def test_anchors_are_the_profile_s(shared: House, deny: Denials) -> None:
    """Certificates of another CA renew where that CA is an anchor, and those of this one do not where it is none."""
    other = certificate(STRANGER, "Other CA", extensions=ca_extensions())
    foreign = certificate(OLD, "device.example", by=(STRANGER, other), validity=(days(-1), days(1)))
    deny(renewal(shared, foreign), because="no renewal anchor")
    moved = with_rules(shared, anchors=(other,))
    granted(moved, renewal(moved, foreign), OLD)
    with denials(moved) as deny_there:
        deny_there(renewal(moved), because="no renewal anchor")


@pytest.mark.proves("SEC-10", "AC-049", "MSG-32")
def test_what_an_anchor_issued(shared: House, deny: Denials) -> None:
    """An anchor issued what bears its name and its signature; a certificate that is no CA's issued nothing."""
    named_otherwise = device_certificate(shared, issuer=csrs.subject("Other CA"))
    deny(renewal(shared, named_otherwise), because="no renewal anchor")
    device = device_certificate(shared, STRANGER, "gateway.example")
    careless = with_rules(shared, anchors=(device,))
    child = certificate(OLD, "device.example", by=(STRANGER, device), validity=(days(-1), days(1)))
    with denials(careless) as deny_there:
        deny_there(renewal(careless, child), because="no renewal anchor")
    encrypting = certificate(STRANGER, "CA", extensions=(ca_extensions()[0], csrs.key_usage(b"\x05\x20")))
    careless = with_rules(shared, anchors=(encrypting,))
    child = certificate(OLD, "device.example", by=(STRANGER, encrypting), validity=(days(-1), days(1)))
    with denials(careless) as deny_there:
        deny_there(renewal(careless, child), because="no renewal anchor")


@pytest.mark.proves("RA-30", "CAPS-07", "CAPS-03")
def test_profile_without_renewal(shared: House) -> None:
    """Where nothing is renewed, a certificate of the CA's authorises nothing, and Renewal is not listed."""
    without = rebuilt(shared, renewal=None)
    assert b"Renewal\n" in shared.authority.ca_caps()
    assert b"Renewal" not in without.authority.ca_caps()
    with denials(without) as deny:
        for message_type in ("17", "19"):
            deny(renewal(without, message_type=message_type), because="renews nothing")


@pytest.mark.proves("RA-30")
def test_upstream_that_wants_the_challenge(lab: Any) -> None:
    """Where the CA asks for the challenge, a renewal without one cannot be authorised there, and does not go north."""
    with house(lab, upstream={"authorisation": "challenge"}) as built:
        built.ca.challenge = built.challenge
        with denials(built) as deny:
            deny(renewal(built), because="is what the upstream asks for")
            granted(built, renewal(built, csr=request(built, key=NEW, subject=subject())), OLD)


@pytest.mark.proves("RA-30", "RA-13")
def test_upstream_that_believes_the_ra_s_certificate(lab: Any) -> None:
    """Where the CA believes the RA's certificate, renewals and initial requests alike are signed with that."""
    signer = {"strategy": "ra-certificate", "certificate": "ra-signing.crt", "key": "ra-signing.key"}
    with house(lab, upstream={"authorisation": "ra-certificate", "signer": signer}) as built:
        # It knows no challenge, and nobody else's.
        built.ca.challenge = "known to nobody"
        for forge, key in ((renewal(built), OLD), (sound(built), csrs.rsa_key())):
            granted(built, forge, key)
            assert "signing" in str(built.ca.received[-1].signer.subject)


@pytest.mark.proves("CMS-28", "MSG-30")
def test_renewal_by_a_key_that_only_signs(shared: House, deny: Denials) -> None:
    """A device with an EC certificate cannot be answered without a challenge: it is refused before it goes north."""
    key = csrs.ec_key(which=5)
    signer = device_certificate(shared, key)
    settings = {"key": key, "signer": signer, "signature_algorithm": csrs.algorithm(oid.ECDSA_SHA256)}
    deny(renewal(shared, **settings), because="encrypt to a key that only signs")
    answer = granted(shared, renewal(shared, **settings | {"csr": request(shared, key=NEW, subject=subject())}), None)
    assert answer.recipients == 1


@pytest.mark.proves("I12", "MSG-31")
def test_policy_holds_for_renewals(shared: House, deny: Denials) -> None:
    """A certificate that was once issued outside today's policy does not renew."""
    outside = csrs.subject("evil")
    signer = device_certificate(shared, name=outside)
    deny(renewal(shared, signer, csr=request_without_challenge(key=NEW, subject=outside)), because="subject.CN")


@pytest.mark.proves("SEC-01")
def test_md5_renews_nothing(shared: House) -> None:
    """A RenewalReq in MD5 is badAlg; the CA never sees it, whatever it would accept."""
    shared.ca.behaviour = Behaviour(floor=PERMISSIVE)
    try:
        with denials(shared) as deny:
            deny(renewal(shared, digest=Digest.MD5), FailInfo.BAD_ALG, "digest")
    finally:
        shared.ca.behaviour = Behaviour()
