"""Who signed it: initial requests, renewals, and all who are neither, through the whole RA (security 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scepra.errors import FailInfo
from scepra.lab.key import read_key
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.message import issuer_and_subject
from tests import csrs
from tests.rig.denial import Denials, denials, masked
from tests.rig.device import (
    KEY,
    NAME,
    NEW,
    OLD,
    STRANGER,
    THIEF,
    counted,
    days,
    device_certificate,
    granted,
    post,
    renewal,
    request,
    request_without_challenge,
    sound,
    subject,
)
from tests.rig.forge import Forge, ca_extensions, certificate, key_identifier, own_certificate, sign
from tests.rig.house import House

F0, F1 = FailInfo.BAD_ALG, FailInfo.BAD_MESSAGE_CHECK


# --- Initial requests ------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-045", "SEC-04", "MSG-20", "I1", "I3")
def test_stolen_envelope(shared: House, deny: Denials) -> None:
    """A recorded envelope under another signer is refused, whatever his certificate says; the device still enrols."""
    victim = sound(shared, transaction_id="victim")
    stolen = victim.enveloped()
    own = own_certificate(KEY)
    disguised = certificate(THIEF, own.subject_der, serial=own.serial_der, extensions=own_extensions(own))
    for signer in (own_certificate(THIEF), disguised, certificate(THIEF, "SCEP SIGNER")):
        for message_type in ("17", "19"):
            forge = replace(victim, key=THIEF, signer=signer, envelope=stolen, message_type=message_type)
            deny(forge, because="self-signed" if message_type == "17" else "another key")
    granted(shared, victim)


def own_extensions(of: Certificate) -> tuple[bytes, ...]:
    return tuple(csrs.extension(item.oid, item.value) for item in of.extensions)


@pytest.mark.proves("MSG-21", "MSG-22", "CMS-14", "PEER-07", "CMS-13")
@pytest.mark.parametrize(
    "odd",
    [
        {"subject": "SCEP SIGNER"},
        {"subject": csrs.name()},
        {"version": b""},
        {"serial": der.tlv(der.INTEGER, b"\x35" * 32)},
        {"serial": der.integer(-5)},
        {"serial": der.integer(0)},
        {"validity": (b"010101000000Z", b"020101000000Z")},
        {"validity": (b"450101000000Z", b"460101000000Z")},
        {"validity": (b"nonsense", b"")},
        {"digest": Digest.MD5},
        {"digest": Digest.SHA1},
        {"extensions": (csrs.key_usage(b"\x05\x20"), csrs.eku("1.3.6.1.5.5.7.3.1"))},
        {"extensions": ca_extensions()},
        {"extensions": (csrs.extension("2.5.29.35", der.sequence(), critical=True),)},
        {"extensions": (csrs.extension("1.2.3.4", b"not DER", critical=True),)},
        {"issuer": csrs.subject("somebody else")},
    ],
    ids="-".join,
)
def test_odd_signers(shared: House, odd: dict[str, Any]) -> None:
    """A self-signed certificate over the request's key may say about itself whatever it likes."""
    signer = certificate(KEY, **odd)
    granted(shared, sound(shared, signer=signer))
    if key_identifier() not in own_extensions(signer):
        identified = certificate(KEY, extensions=(key_identifier(),))
        sid = der.tlv(0x80, bytes([1]) * 20)
        granted(shared, sound(shared, signer=identified, sid=sid, signer_version=3))


@pytest.mark.proves("MSG-20", "CMS-28")
def test_the_same_key_spelt_differently(shared: House) -> None:
    """A missing NULL in the parameters of a key makes it no other key."""
    numbers = KEY.public_key().public_numbers()
    without_null = csrs.rsa_spki(numbers.n, numbers.e, b"")
    granted(shared, sound(shared, csr=request(shared, public_key=without_null)))


@pytest.mark.proves("MSG-24")
def test_self_signed_certificate_proves_nothing(shared: House, deny: Denials) -> None:
    """A self-signed certificate that bears the names of the CA, or of a device known to it, authorises nothing."""
    known = device_certificate(shared)
    ca = shared.state.authority.certificate
    for copied in (known, ca, shared.authority.keyring.current.signing.certificate):
        signer = certificate(KEY, copied.subject_der, serial=copied.serial_der, extensions=own_extensions(copied))
        deny(sound(shared, signer=signer, csr=request_without_challenge()), because="no challenge")


# --- Those who say that they renew -----------------------------------------------------------------------------------


@pytest.mark.proves("AC-046", "MSG-33", "MSG-23")
def test_self_signed_renewal(shared: House, deny: Denials) -> None:
    """A copy of a genuine certificate, self-signed, renews nothing; with the genuine one beside it neither."""
    genuine = device_certificate(shared, extensions=(key_identifier(),))
    copy = certificate(
        THIEF,
        genuine.subject_der,
        issuer=genuine.issuer_der,
        serial=genuine.serial_der,
        extensions=own_extensions(genuine),
    )
    forge = renewal(shared, copy, key=THIEF, csr=request_without_challenge(key=THIEF))
    deny(forge, because="self-signed")
    deny(replace(forge, message_type="19"), because="no challenge")
    for bag in ((copy.der, genuine.der), (genuine.der, copy.der)):
        deny(replace(forge, bag=bag), F1, "ambiguous")


def foreign(house: House) -> Iterator[Certificate]:
    """Certificates of CAs that are no anchors: unrelated, of the anchor's name, and with its identifiers."""
    ca = house.state.authority.certificate
    yield certificate(OLD, NAME, by=(STRANGER, certificate(STRANGER, "Public CA", extensions=ca_extensions())))
    namesake = certificate(STRANGER, ca.subject_der, serial=ca.serial_der, extensions=own_extensions(ca))
    yield certificate(OLD, NAME, by=(STRANGER, namesake))
    yield certificate(OLD, NAME, by=(STRANGER, namesake), extensions=(key_identifier(),))


@pytest.mark.proves("AC-047", "AC-049", "MSG-23", "MSG-32", "SEC-10")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_foreign_certificates(shared: House, deny: Denials, message_type: str) -> None:
    """A certificate of another CA is no credential, whatever names it bears, with its chain in the message too."""
    for signer in foreign(shared):
        forge = renewal(shared, signer, message_type=message_type)
        deny(forge, because="no renewal anchor issued")
        ca = shared.state.authority.certificate
        deny(replace(forge, bag=(signer.der, ca.der, own_certificate(STRANGER).der)), because="no renewal anchor")
        deny(replace(forge, csr=request(shared, key=OLD)), because="no renewal anchor issued")


@pytest.mark.proves("SEC-10", "AC-047")
def test_certificates_in_the_message_extend_no_chain(shared: House, deny: Denials) -> None:
    """A certificate that a device's own certificate, or an intermediate in the message, issued is refused."""
    device = device_certificate(shared)
    intermediate = device_certificate(shared, STRANGER, "Intermediate", extensions=ca_extensions())
    for issuer, key in ((device, OLD), (intermediate, STRANGER)):
        child = certificate(THIEF, NAME, by=(key, issuer))
        forge = renewal(shared, child, key=THIEF, bag=(child.der, issuer.der))
        deny(forge, because="no renewal anchor issued")


@pytest.mark.proves("AC-049", "MSG-31")
def test_validity_of_the_old_certificate(shared: House, deny: Denials) -> None:
    """An expired certificate and one whose time has not come are refused."""
    for validity, because in (
        ((days(-30), days(-1 / 86400)), "ended on"),
        ((days(1 / 24), days(30)), "has not begun"),
        ((b"nonsense", days(30)), "cannot be read"),
    ):
        deny(renewal(shared, device_certificate(shared, validity=validity)), because=because)
    granted(shared, renewal(shared), OLD)


@pytest.mark.proves("AC-053", "SEC-11", "P10-02")
def test_the_key_of_another_in_a_renewal(shared: House, deny: Denials) -> None:
    """A good certificate does not have another's public key certified: the request must be signed by its key."""
    others = csrs.spki(KEY)
    for signed_by in (csrs.signer(OLD)[1], csrs.signer(THIEF)[1], lambda signed: bytes(256), lambda signed: b""):
        forged = request_without_challenge(key=NEW, public_key=others, sign=signed_by)
        for message_type in ("17", "19"):
            deny(renewal(shared, csr=forged, message_type=message_type), because="own signature does not verify")


@pytest.mark.proves("AC-055", "MSG-31")
def test_certificates_of_authority(shared: House, deny: Denials) -> None:
    """Certificates of the RA, of a CA and of an enrolment agent speak for nobody, not even for themselves."""
    ra, ca = shared.authority.keyring.current.signing.certificate, shared.state.authority.certificate
    for theirs in (ra, ca):
        for message_type in ("17", "19"):
            forge = renewal(shared, theirs, key=THIEF, message_type=message_type)
            deny(forge, F1, "does not verify")
    agent = device_certificate(shared, extensions=(csrs.eku("1.3.6.1.4.1.311.20.2.1"),))
    deny(renewal(shared, agent), because="enrolment agent")
    deny(renewal(shared, agent, csr=request_without_challenge(key=NEW, subject=subject("other.example"))))
    deny(renewal(shared, device_certificate(shared, extensions=ca_extensions())), because="CA certificate")
    upstream = certificate(THIEF, NAME)
    deny(sound(shared, key=THIEF, signer=upstream, csr=request(shared)), because="another key")


@pytest.mark.proves("AC-055")
def test_the_ra_renews_nothing(shared: House, deny: Denials) -> None:
    """Even whoever has the RA's key and certificate is refused: it is infrastructure."""
    current = shared.authority.keyring.current.signing
    names = current.certificate.subject_der
    key = read_key((shared.state.directory / "ra.key").read_bytes())
    forge = renewal(shared, current.certificate, key=key, csr=request_without_challenge(key=NEW, subject=names))
    deny(forge, because="is the RA's own certificate")


@pytest.mark.proves("AC-038", "I8", "SEC-02", "DR-12")
def test_renewing_thief_has_no_oracle(shared: House, deny: Denials) -> None:
    """Who has a device's certificate learns nothing about an envelope that he stole and changed under its encryption:
    neither from keys nor from algorithms that its content would have then."""
    csr = request(shared)
    modulus = der.parse(csr).children()[0].children()[2].children()[1].content
    even = csr.replace(modulus[-6:-5] + b"\x02\x03", bytes((modulus[-6] ^ 1,)) + b"\x02\x03", 1)
    assert even != csr
    changed = [
        even,
        csr.replace(b"\x02\x03\x01\0\1", b"\x02\x03\x01\0\2", 1),
        csr.replace(der.oid(oid.SHA256_RSA), der.oid(oid.MD5_RSA), 1),
        csr.replace(der.oid(oid.SHA256_RSA), der.oid(oid.SHA256_RSA[:-1] + b"\x77"), 1),
        csr.replace(der.oid(oid.RSA), der.oid(oid.RSA[:-1] + b"\x77"), 1),
        csr[:-1] + bytes((csr[-1] ^ 1,)),
        csr,
    ]
    answers = set()
    for content in changed:
        forge = renewal(
            shared, device_certificate(shared, name="thief.example"), content=content, transaction_id="stolen"
        )
        deny(forge)
        answers.add(masked(post(shared, forge.message()).body))
    assert len(answers) == 1


@pytest.mark.proves("AC-088", "MSG-06")
def test_refused_algorithms_of_the_key_s_holder(shared: House, deny: Denials) -> None:
    """Who really signed a request with MD5 is told that the algorithm is the reason, initial or renewing."""
    md5 = csrs.algorithm(oid.MD5_RSA, der.NULL)

    def signed_by(key: csrs.PrivateKey) -> dict[str, Any]:
        return {"signature_algorithm": md5, "sign": lambda signed: sign(key, signed, Digest.MD5)}

    deny(sound(shared, csr=request(shared, **signed_by(KEY))), F0, "MD5")
    deny(renewal(shared, csr=request_without_challenge(key=NEW, **signed_by(NEW))), F0, "MD5")
    deny(sound(shared, csr=request(shared, signature_algorithm=md5)), because="MD5")


# --- What a certificate cannot make the RA do ------------------------------------------------------------------------


@pytest.mark.proves("AC-062", "I11", "DR-20")
def test_addresses_in_certificates(shared: House, deny: Denials, outside: list[str]) -> None:
    """Addresses for issuers, revocation and policies in certificates and requests are never connected to or opened."""
    urls = ["http://127.0.0.9:9/evil", "http://169.254.169.254/evil", "ldap://127.0.0.9/evil", "file:///tmp/evil"]
    names = b"".join(der.tlv(0x86, url.encode()) for url in urls)
    point = der.sequence(der.tlv(0xA0, der.tlv(0xA0, names)))
    access = [
        der.sequence(der.oid(oid.encode(f"1.3.6.1.5.5.7.48.{method}")), der.tlv(0x86, url.encode()))
        for method in (1, 2, 5)
        for url in urls
    ]
    pointing = (
        csrs.extension("2.5.29.31", der.sequence(point)),
        csrs.extension("2.5.29.46", der.sequence(point)),
        csrs.extension("1.3.6.1.5.5.7.1.1", der.sequence(*access)),
        csrs.extension("1.3.6.1.5.5.7.1.11", der.sequence(*access)),
    )
    granted(shared, sound(shared, signer=certificate(KEY, extensions=pointing)))
    granted(shared, renewal(shared, device_certificate(shared, extensions=pointing)), OLD)
    stranger = certificate(OLD, by=(STRANGER, own_certificate(STRANGER)), extensions=pointing)
    deny(renewal(shared, stranger), because="no renewal anchor")
    deny(sound(shared, csr=request(shared, csrs.carried(*pointing))), because="extensions")
    assert outside == []


# --- Keys ------------------------------------------------------------------------------------------------------------


def ec_point(curve: str, point: bytes) -> bytes:
    algorithm = der.sequence(der.oid(oid.EC_PUBLIC_KEY), der.oid(oid.encode(curve)))
    return der.sequence(algorithm, der.bit_string(point))


def hostile_keys() -> dict[str, bytes]:
    """SubjectPublicKeyInfos that no signer may have."""
    modulus = KEY.public_key().public_numbers().n
    explicit = der.sequence(
        der.sequence(der.oid(oid.EC_PUBLIC_KEY), der.sequence(der.integer(1))), der.bit_string(b"\x04" + bytes(64))
    )
    dsa = csrs.algorithm(oid.encode("1.2.840.10040.4.1"), der.sequence(*[der.integer(5)] * 3))
    return {
        "RSA-512": csrs.rsa_spki(modulus >> 1536 | 1, 65537),
        "RSA-1024": csrs.rsa_spki(modulus >> 1024 | 1, 65537),
        "RSA-2047": csrs.rsa_spki((modulus & (1 << 2047) - 1) | 1 << 2046, 65537),
        "RSA-16384": csrs.rsa_spki(modulus << 14336 | 1, 65537),
        "RSA-131072": csrs.rsa_spki(modulus << 129_024 | 1, 65537),
        "even modulus": csrs.rsa_spki(modulus & ~1, 65537),
        "negative modulus": csrs.rsa_spki(-modulus, 65537),
        "exponent 1": csrs.rsa_spki(modulus, 1),
        "exponent 2": csrs.rsa_spki(modulus, 2),
        "exponent 0": csrs.rsa_spki(modulus, 0),
        "exponent -3": csrs.rsa_spki(modulus, -3),
        "exponent as large as the modulus": csrs.rsa_spki(modulus, modulus - 2),
        "point off the curve": ec_point("1.2.840.10045.3.1.7", b"\x04" + b"\x11" * 64),
        "point at infinity": ec_point("1.2.840.10045.3.1.7", b"\0"),
        "no point": ec_point("1.2.840.10045.3.1.7", b""),
        "curve P-192": ec_point("1.2.840.10045.3.1.1", b"\x04" + b"\x11" * 48),
        "curve secp256k1": csrs.spki(csrs.ec_key("secp256k1")),
        "explicit curve": explicit,
        "DSA": der.sequence(dsa, der.bit_string(der.integer(7))),
        "X25519": der.sequence(csrs.algorithm(oid.encode("1.3.101.110")), der.bit_string(bytes(32))),
        "unknown": der.sequence(csrs.algorithm(b"\x2a\x03"), der.bit_string(bytes(32))),
        "no numbers": der.sequence(csrs.algorithm(oid.RSA, der.NULL), der.bit_string(b"nonsense")),
    }


@pytest.mark.proves("AC-064", "SEC-12", "MSG-06")
@pytest.mark.parametrize("name", hostile_keys())
def test_hostile_signer_keys(shared: House, name: str) -> None:
    """A signer's key outside the floor is badAlg from its encoding alone: nothing is opened, and nothing goes north."""
    house, key = counted(shared)
    spki = hostile_keys()[name]
    with denials(house) as deny:
        deny(sound(house, signer=certificate(KEY, public_key=spki)), F0)
        deny(renewal(house, device_certificate(house, public_key=spki)), F0)
        assert key.opened == 0


# --- Polls and queries -----------------------------------------------------------------------------------------------


def poll(house: House, **changes: Any) -> Forge:
    """A CertPoll of the device's, sealed to the RA."""
    ca = house.state.authority.certificate
    return sound(house, **{"message_type": "20", "content": issuer_and_subject(ca.subject_der, subject())} | changes)


@pytest.mark.proves("AC-056", "MSG-40", "SEC-08")
def test_polls_tell_nothing(shared: House, deny: Denials) -> None:
    """A poll under a transactionID that a victim enrolled, or was refused, with is answered like any unknown one."""
    granted(shared, sound(shared, transaction_id="enrolled"))
    deny(sound(shared, transaction_id="refused", csr=request(shared, challenge="wrong")))
    answers = set()
    for transaction_id in ("enrolled", "refused ", "unknown "):
        forge = poll(shared, key=THIEF, transaction_id=transaction_id)
        deny(forge, FailInfo.BAD_CERT_ID, "not known")
        answers.add(masked(post(shared, forge.message()).body.replace(transaction_id.encode(), b"xxxxxxxx")))
    # Signed over another transactionID each, and alike in all else.
    assert len(answers) == 1


@pytest.mark.proves("MSG-40", "MSG-41", "MSG-42", "AC-056")
def test_payloads_of_polls(shared: House, deny: Denials) -> None:
    """What a poll has in its envelope does not matter, nor whether it has one: its key and transactionID do."""
    ca = shared.state.authority.certificate
    certificates = granted(shared, sound(shared, transaction_id="polled")).certificates()
    forwarded = len(shared.forwarded)
    swapped = der.sequence(subject(), ca.subject_der)
    for change in (
        *({"content": content} for content in (swapped, b"/CN=CA\0/CN=device", b"", der.sequence(ca.issuer_der))),
        {"envelope": b"none"},
        {"signer": certificate(KEY, "another certificate")},
    ):
        known = poll(shared, **change, transaction_id="polled")
        assert granted(shared, known).certificates() == certificates
        deny(replace(known, transaction_id="unknown"), FailInfo.BAD_CERT_ID, "not known")
    assert len(shared.forwarded) == forwarded


@pytest.mark.proves("AC-059", "MSG-50", "RA-32", "I12")
@pytest.mark.parametrize("message_type", ["21", "22"])
def test_queries_tell_nothing(shared: House, deny: Denials, message_type: str) -> None:
    """GetCert and GetCRL are refused alike for what exists and what does not, authorised or not."""
    issued = device_certificate(shared)
    answers = set()
    for serial in (*range(1, 20), issued.serial):
        content = der.sequence(shared.state.authority.certificate.subject_der, der.integer(serial))
        for signer in (None, issued):
            forge = sound(shared, message_type=message_type, content=content, key=OLD, signer=signer)
            deny(forge, because="queries are not served")
            answers.add(masked(post(shared, forge.message()).body))
    assert len(answers) == 1
