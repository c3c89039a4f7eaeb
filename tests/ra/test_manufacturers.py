"""Certificates from a device's manufacturer as the credential of its first enrolment, through the whole RA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms as asn1
from treq.testing import StubTreq

from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from tests import csrs
from tests.ra.test_revocation import Place
from tests.rig.crls import crl, distribution_points
from tests.rig.denial import Denials, denials, masked
from tests.rig.device import (
    NEW,
    OLD,
    STRANGER,
    THIEF,
    granted,
    post,
    renewal,
    request_without_challenge,
    sound,
    subject,
)
from tests.rig.durable import bare
from tests.rig.forge import Forge, ca_extensions, certificate
from tests.rig.house import House, house

MAKER_KEY = csrs.rsa_key(which=30)
MAKER = certificate(MAKER_KEY, "Maker CA", extensions=ca_extensions())
SERIAL = oid.encode("2.5.4.5")
FOREVER = (b"200101000000Z", b"99991231235959Z")
MAPPING = {"after": "SN:", "common-name": "{serial}.example", "dns": "{serial}.example"}
CHALLENGE: dict[str, Any] = {
    "type": "certificate",
    "anchors": "maker.der",
    "subject": {"O": "Maker|Maker Ltd\\."},
    "serial": MAPPING,
}
_count = iter(range(1000))


def birth(serial: str = "foc1", *, key: csrs.PrivateKey = OLD, **changes: Any) -> Certificate:
    """A device's certificate from its manufacturer; the key is the device's first one."""
    name = csrs.name(csrs.value(csrs.ORGANISATION, "Maker"), csrs.value(SERIAL, f"PID:X SN:{serial}"))
    settings = {"by": (MAKER_KEY, MAKER), "validity": FOREVER, "serial": der.integer(1 << 40 | next(_count))} | changes
    return certificate(key, settings.pop("name", name), **settings)


def first(house: House, signer: Certificate, name: str = "foc1.example", **changes: Any) -> Forge:
    """A device's first request: signed with its manufacturer's certificate, for another key."""
    key = changes.pop("new", NEW)
    names = changes.pop("names", ())
    extensions = (csrs.carried(csrs.san(*names)),) if names else ()
    settings = {
        "key": OLD,
        "signer": signer,
        "csr": request_without_challenge(*extensions, key=key, subject=subject(name)),
        "transaction_id": f"first {next(_count)}",
    } | changes
    return sound(house, **settings)


@pytest.fixture(scope="module")
def factory(lab: Path) -> Path:
    """The lab, with the manufacturer's CA in a file."""
    (lab / "maker.der").write_bytes(MAKER.der)
    return lab


@pytest.fixture
def shop(factory: Path) -> Iterator[House]:
    """A house where a manufacturer's certificate enrols, or the usual challenge."""
    challenge = {"type": "any-of", "providers": [{"type": "static", "file": "challenge.txt"}, CHALLENGE]}
    with house(factory, {"challenge": challenge}) as built:
        yield built


@pytest.fixture
def deny(shop: House) -> Iterator[Denials]:
    """Refusals there; at the end a device with the challenge enrols."""
    with denials(shop) as made:
        yield made


@pytest.mark.proves("MSG-20", "AC-091", "I6", "RA-15", "CMS-47")
def test_a_device_enrols_with_its_manufacturer_s_certificate(shop: House) -> None:
    """It enrols for a new key under the name that its serial number gives; the answer is for its first key."""
    signer = birth()
    forge = first(shop, signer, names=(csrs.dns("foc1.example"),))
    answer = granted(shop, forge, OLD)
    (recipient,) = asn1.ContentInfo.load(answer.content)["content"]["recipient_infos"]
    assert recipient.chosen["rid"].chosen["serial_number"].native == signer.serial
    issued = Certificate.parse(answer.certificates()[0])
    assert issued.spki == csrs.spki(NEW)
    record = shop.records[-1]
    assert (record["credential"], record["challenge"]) == ("device", f"device {signer.fingerprint()}")
    assert shop.transaction(record["enrolment"]).device == "foc1"
    # What it has got then renews like anything.
    renewing = request_without_challenge(
        csrs.carried(csrs.san(csrs.dns("foc1.example"))), key=csrs.ec_key(), subject=subject("foc1.example")
    )
    granted(shop, renewal(shop, issued, key=NEW, csr=renewing), NEW)


@pytest.mark.proves("AC-091", "SEC-05", "I3")
def test_a_device_is_nobody_else(shop: House, deny: Denials) -> None:
    """A manufacturer's certificate is good for the names of its own device, wherever others stand."""
    signer = birth()
    deny(first(shop, signer, "foc2.example"), because="common name is another")
    deny(first(shop, signer, names=(csrs.dns("foc2.example"),)), because="a name of the type dns is another")
    deny(
        first(shop, signer, names=(csrs.dns("foc1.example"), csrs.upn("a@b.example"))),
        because="a name of the type upn is another",
    )
    deny(first(shop, birth("a b"), "a b.example"), because="no serial number")
    granted(shop, first(shop, signer), OLD)


@pytest.mark.proves("AC-052", "AC-092", "DR-8", "MSG-25")
def test_one_key_for_one_certificate(shop: House, deny: Denials) -> None:
    """A manufacturer's certificate enrols one key, which is answered as often as it asks."""
    signer = birth()
    forge = first(shop, signer)
    certificates = granted(shop, forge, OLD).certificates()
    for which in range(5):
        deny(first(shop, signer, new=csrs.ec_key(which=which)), because="used by another key before")
    assert granted(shop, replace(forge, transaction_id="again"), OLD).certificates() == certificates
    # The same device with another certificate is another; how many it may have is the policy's to limit.
    granted(shop, first(shop, birth(), new=csrs.ec_key()), OLD)


def test_as_many_keys_as_the_profile_says(factory: Path) -> None:
    """Where a certificate is good for two keys, the third is refused."""
    with house(factory, {"challenge": CHALLENGE | {"keys": 2}}) as built:
        signer = birth()
        for which in (0, 1):
            granted(built, first(built, signer, new=csrs.ec_key(which=which)), OLD)
        Denials(built)(first(built, signer, new=csrs.ec_key(which=2)), because="used by 2 other keys before")


@pytest.mark.proves("AC-047", "AC-049", "SEC-10", "MSG-23")
def test_other_manufacturers(shop: House, deny: Denials) -> None:
    """Who is no anchor of the profile's makes no devices, whatever it calls itself and whatever comes along."""
    namesake = certificate(STRANGER, "Maker CA", extensions=ca_extensions())
    other = birth(by=(STRANGER, namesake))
    deny(first(shop, other), because="no renewal anchor issued")
    deny(first(shop, other, bag=(other.der, MAKER.der)), because="no renewal anchor issued")
    child = certificate(THIEF, birth().subject_der, by=(OLD, birth()), validity=FOREVER)
    deny(first(shop, child, key=THIEF), because="no renewal anchor issued")


@pytest.mark.proves("AC-055", "AC-049", "MSG-31", "AC-064")
@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"extensions": ca_extensions()}, "is a CA certificate"),
        ({"extensions": (csrs.eku("1.3.6.1.4.1.311.20.2.1"),)}, "enrolment agent"),
        ({"extensions": (csrs.key_usage(b"\x05\x20"),)}, "lacks digitalSignature"),
        ({"validity": (b"200101000000Z", b"250101000000Z")}, "is over"),
        ({"validity": (b"490101000000Z", b"99991231235959Z")}, "has not begun"),
        ({"digest": Digest.SHA1}, "SHA-1"),
        ({"name": csrs.name(csrs.value(SERIAL, "PID:X SN:foc1"))}, "nothing to match"),
        (
            {"name": csrs.name(csrs.value(csrs.ORGANISATION, "Makers"), csrs.value(SERIAL, "SN:foc1"))},
            "does not match",
        ),
    ],
)
def test_certificates_that_enrol_nothing(shop: House, deny: Denials, changes: dict[str, Any], because: str) -> None:
    """Certificates of power, those that are not valid or weakly signed, and those of other subjects are refused."""
    deny(first(shop, birth(**changes)), because=because)


@pytest.mark.proves("SEC-01")
def test_sha1_behind_a_key(factory: Path) -> None:
    """What SHA-1 signed counts where the profile says so."""
    with house(factory, {"challenge": CHALLENGE | {"sha1": "allow"}}) as built:
        granted(built, first(built, birth(digest=Digest.SHA1), digest=Digest.SHA1), OLD)


@pytest.mark.proves("MSG-33", "AC-053", "SEC-11")
def test_messages_that_are_none(shop: House, deny: Denials) -> None:
    """It is a first enrolment, not a renewal; and the new key must have signed its request."""
    signer = birth()
    deny(first(shop, signer, message_type="17"), because="a renewal signed by a manufacturer's certificate")
    others = request_without_challenge(key=NEW, public_key=csrs.spki(THIEF), sign=csrs.signer(NEW)[1])
    deny(first(shop, signer, csr=others), because="own signature does not verify")
    evil = request_without_challenge(
        csrs.carried(csrs.eku("1.3.6.1.5.5.7.3.1")), key=NEW, subject=subject("foc1.example")
    )
    deny(first(shop, signer, csr=evil), because="eku")


@pytest.mark.proves("DR-6", "MSG-23", "I3")
def test_a_wrong_challenge_beside_it(shop: House, deny: Denials) -> None:
    """Where passwords count as well, one that is there must be right, whatever the certificate; and the reverse."""
    signer = birth()

    def with_password(text: str) -> bytes:
        return csrs.build(csrs.challenge(text), key=NEW, subject=subject("foc1.example"))

    deny(first(shop, signer, csr=with_password("wrong")), because="wrong challenge")
    deny(first(shop, birth("foc2"), csr=with_password(shop.challenge)), because="common name is another")
    granted(shop, first(shop, signer, csr=with_password(shop.challenge)), OLD)
    assert shop.records[-1]["challenge"] == f"device {signer.fingerprint()} and static"


@pytest.mark.proves("DR-6")
def test_both_of_them(factory: Path) -> None:
    """Where a profile wants both, neither will do alone."""
    challenge = {"type": "all-of", "providers": [CHALLENGE, {"type": "static", "file": "challenge.txt"}]}
    with house(factory, {"challenge": challenge}) as built:
        deny = Denials(built)
        deny(first(built, birth()), because="no challenge")
        deny(sound(built), because="no manufacturer's certificate")
        both = csrs.build(csrs.challenge(built.challenge), key=NEW, subject=subject("foc1.example"))
        granted(built, first(built, birth(), csr=both), OLD)


@pytest.mark.proves("MSG-24", "AC-095")
def test_nothing_but_certificates(factory: Path) -> None:
    """Where only manufacturers' certificates count, no password does, and renewals may carry one as they like."""
    with house(factory, {"challenge": CHALLENGE}) as built:
        deny = Denials(built)
        deny(sound(built), because="no manufacturer's certificate")
        with_password = csrs.build(csrs.challenge("for the CA"), key=NEW, subject=subject("foc1.example"))
        granted(built, first(built, birth(), csr=with_password), OLD)
        forge = renewal(built, csr=csrs.build(csrs.challenge("again"), key=NEW, subject=subject()))
        granted(built, forge, OLD)


def test_two_manufacturers(factory: Path) -> None:
    """Of several manufacturers each has its own rules, and each certificate meets those of its own."""
    other = certificate(STRANGER, "Other Maker", extensions=ca_extensions())
    (factory / "other-maker.der").write_bytes(other.der)
    second = {"type": "certificate", "anchors": "other-maker.der", "serial": {"common-name": "o-{serial}.example"}}
    with house(factory, {"challenge": {"type": "any-of", "providers": [CHALLENGE, second]}}) as built:
        deny = Denials(built)
        theirs = certificate(OLD, csrs.name(csrs.value(SERIAL, "7")), by=(STRANGER, other), validity=FOREVER)
        granted(built, first(built, theirs, "o-7.example"), OLD)
        deny(first(built, theirs, "7.example"), because="common name is another")
        deny(first(built, birth(), "o-foc1.example"), because="common name is another")
        deny(sound(built), because="no manufacturer's certificate")


@pytest.mark.proves("AC-049", "FT-57", "AC-062", "I11")
def test_revoked_devices(factory: Path, outside: list[str]) -> None:
    """What the manufacturer has revoked enrols nothing; and what the certificate says of lists is not looked at."""
    place = Place()
    signer = birth(extensions=(distribution_points("http://127.0.0.9:9/evil.crl"),))
    revoked = birth()
    section = {"urls": "https://maker.example/list?type=crl", "unknown": "retry"}
    with house(factory, {"challenge": CHALLENGE | {"crl": section}}, web=StubTreq(place)) as built:
        bare(post(built, first(built, signer).message()), built)
        built.clock.advance(31)
        place.has[b"/list?type=crl"] = crl(MAKER_KEY, MAKER, [revoked.serial])
        granted(built, first(built, signer), OLD)
        Denials(built)(first(built, revoked), because="is revoked")
        assert outside == []
        assert place.asked == 2


@pytest.mark.proves("AC-038", "I8", "SEC-02")
def test_a_device_has_no_oracle(shop: House, deny: Denials) -> None:
    """Who has a manufacturer's certificate learns nothing about an envelope that he stole from another device."""
    victim = sound(shop)
    stolen = victim.enveloped()
    flipped = stolen[:-1] + bytes((stolen[-1] ^ 1,))
    answers = set()
    for envelope in (stolen, flipped):
        forge = first(shop, birth(), envelope=envelope, transaction_id="stolen")
        deny(forge)
        answers.add(masked(post(shop, forge.message()).body))
    assert len(answers) == 1


@pytest.mark.proves("RA-30")
def test_an_upstream_that_wants_a_challenge(factory: Path) -> None:
    """Where the CA asks for a challenge, a device's certificate is not enough, and nothing goes north without."""
    with house(factory, {"challenge": CHALLENGE}, {"authorisation": "challenge"}) as built:
        Denials(built)(first(built, birth()), because="is what the upstream asks for")
