"""Certificates as legacy devices make them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import (
    KEY_USAGES,
    Certificate,
    Extension,
    choose_encryption,
    parse_extensions,
    parse_key_usage,
    parse_time,
)
from scepra.scep.publickey import PublicKeyInfo
from tests import csrs
from tests.rig.forge import ca_extensions, certificate, key_identifier, sign

KEY = csrs.rsa_key()
CA = certificate(csrs.rsa_key(which=1), "CA", extensions=ca_extensions())
ISSUED = certificate(by=(csrs.rsa_key(which=1), CA))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_certificate_is_read_as_two_libraries_read_it() -> None:
    """Names, serial number, validity, key and extensions agree with asn1crypto and cryptography."""
    subject = csrs.name(csrs.value(csrs.COUNTRY, "DE", der.PRINTABLE_STRING), csrs.value(csrs.CN, "Gerät"))
    extensions = (*ca_extensions(), key_identifier(), csrs.eku("1.3.6.1.5.5.7.3.2"), csrs.san(csrs.dns("a.example")))
    ours = certificate(KEY, subject, extensions=extensions)
    theirs, others = asn1.Certificate.load(ours.der), x509.load_der_x509_certificate(ours.der)
    assert ours.serial == theirs.serial_number == others.serial_number == 0x2A
    assert ours.serial_der == der.integer(0x2A)
    assert ours.issuer_der == ours.subject_der == theirs.subject.dump() == subject
    assert ours.issuer.matches(ours.subject)
    assert ours.not_before == others.not_valid_before_utc
    assert ours.not_after == others.not_valid_after_utc
    assert ours.spki == others.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert [oid.dotted(item.oid) for item in ours.extensions] == [item.oid.dotted_string for item in others.extensions]
    assert ours.is_ca and ours.path_length is None
    assert ours.key_usage == {"keyCertSign", "cRLSign"}
    assert ours.extended_key_usage == {"1.3.6.1.5.5.7.3.2"}
    assert ours.subject_key_identifier == b"\x01" * 20
    assert ours.signature_digest is Digest.SHA256
    assert ours.is_self_signed
    assert repr(ours) == f"<Certificate {ours.fingerprint()[:16]}>"


@pytest.mark.proves("CERT-10")
def test_fingerprints_cover_the_whole_certificate() -> None:
    """SHA-256, SHA-1 and MD5 over the bytes as received, as other tools print them."""
    theirs = asn1.Certificate.load(ISSUED.der)
    assert ISSUED.fingerprint() == theirs.sha256.hex()
    assert ISSUED.fingerprint("sha1") == theirs.sha1.hex()
    assert len(ISSUED.fingerprint("md5")) == 32


def test_equality_is_of_octets() -> None:
    """A certificate is its encoding."""
    again = Certificate.parse(ISSUED.der)
    assert again == ISSUED
    assert again != CA
    assert hash(Certificate.parse(ISSUED.der)) == hash(ISSUED)
    assert ISSUED.der not in (ISSUED, None)


@pytest.mark.proves("CMS-14", "MSG-22")
@pytest.mark.parametrize(
    ("odd", "serial"),
    [
        (
            certificate(serial=der.tlv(2, b"5D8737382F6871D1BE9F5454E18BE352")),
            int.from_bytes(b"5D8737382F6871D1BE9F5454E18BE352", "big"),
        ),
        (certificate(serial=der.tlv(2, b"\xff" * 20)), -1),
        (certificate(serial=b"\x02\x01\x80"), -128),
        (certificate(serial=der.integer(0)), 0),
        (certificate(digest=Digest.MD5), 42),
        (certificate(version=b""), 42),
        (certificate(extensions=(csrs.extension(oid.AUTHORITY_KEY_IDENTIFIER, der.sequence(), critical=True),)), 42),
        (certificate(validity=(b"700101000000Z", b"700102000000Z")), 42),
        (certificate(validity=(b"450101000000Z", b"460101000000Z")), 42),
        (certificate(validity=(b"garbage", b"")), 42),
        (certificate(subject=csrs.subject("a*b@c_d", der.PRINTABLE_STRING)), 42),
        (certificate(extensions=(csrs.key_usage(b"\x01\x06"), csrs.eku("1.3.6.1.5.5.7.3.1"))), 42),
        (certificate(trailer=der.tlv(0x82, b"\0x")), 42),
    ],
)
def test_odd_signer_certificates_are_read_and_verify(odd: Certificate, serial: int) -> None:
    """What strict libraries refuse in a signer's certificate still has a serial number, a key and a good signature."""
    assert odd.serial == serial
    assert odd.issuer_der == odd.subject_der
    assert odd.public_key.same_key(PublicKeyInfo.parse(csrs.spki(KEY)))
    assert odd.is_self_signed


@pytest.mark.proves("MSG-20")
def test_self_signed_is_what_its_own_key_verifies() -> None:
    """Equal names do not make a certificate self-signed, and different names do not unmake it."""
    copied_names = certificate(by=(csrs.rsa_key(which=1), CA), issuer=csrs.subject("device.example"))
    assert copied_names.issuer_der == copied_names.subject_der
    assert not copied_names.is_self_signed
    assert certificate(issuer=csrs.subject("somebody else")).is_self_signed


@pytest.mark.proves("AC-049")
def test_only_the_issuers_key_verifies() -> None:
    """A certificate is signed by the key that signed it, not by one with the same name, nor with refused digests."""
    assert ISSUED.signed_by(CA.public_key)
    assert not ISSUED.signed_by(PublicKeyInfo.parse(csrs.spki(csrs.rsa_key(which=2))))
    assert not ISSUED.signed_by(PublicKeyInfo.parse(csrs.spki(csrs.ec_key())))
    assert not ISSUED.signed_by(CA.public_key, frozenset((Digest.SHA512,)))
    assert certificate(csrs.ec_key()).is_self_signed
    flipped = bytearray(ISSUED.der)
    flipped[-1] ^= 1
    assert not Certificate.parse(bytes(flipped)).signed_by(CA.public_key)


def resigned(algorithm: bytes, signature: bytes = b"\x03\x01\0") -> Certificate:
    tbs = der.parse(ISSUED.der).children()[0].raw
    return Certificate.parse(der.sequence(tbs, algorithm, signature))


def test_signature_algorithms_are_named() -> None:
    """The digest of a signature is known where its algorithm is, and a broken one verifies with no key."""
    assert certificate(csrs.ec_key()).signature_digest is Digest.SHA256
    assert resigned(csrs.algorithm(oid.ED25519)).signature_digest is None
    assert resigned(csrs.algorithm(oid.RSASSA_PSS)).signature_digest is Digest.SHA1
    with pytest.raises(ScepError):
        _ = resigned(csrs.algorithm(oid.RSASSA_PSS, der.NULL)).signature_digest
    for broken in (resigned(der.sequence()), resigned(csrs.algorithm(oid.SHA256_RSA), der.NULL)):
        assert not broken.signed_by(CA.public_key)


# --- Fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "text", "moment"),
    [
        (der.UTC_TIME, b"491231235959Z", utc(2049, 12, 31, 23, 59, 59)),
        (der.UTC_TIME, b"500101000000Z", utc(1950, 1, 1)),
        (der.UTC_TIME, b"2401021234Z", utc(2024, 1, 2, 12, 34)),
        (der.UTC_TIME, b"240102123456+0130", utc(2024, 1, 2, 11, 4, 56)),
        (der.UTC_TIME, b"240102123456-0130", utc(2024, 1, 2, 14, 4, 56)),
        (der.GENERALIZED_TIME, b"20240102123456Z", utc(2024, 1, 2, 12, 34, 56)),
        (der.GENERALIZED_TIME, b"20240102123456.789Z", utc(2024, 1, 2, 12, 34, 56)),
        (der.GENERALIZED_TIME, b"20240102123456", utc(2024, 1, 2, 12, 34, 56)),
        (der.GENERALIZED_TIME, b"99991231235959Z", utc(9999, 12, 31, 23, 59, 59)),
        (der.GENERALIZED_TIME, b"99991231235959-2359", None),
        (der.GENERALIZED_TIME, b"00010101000000+2359", None),
        (der.GENERALIZED_TIME, b"00000101000000Z", None),
        (der.GENERALIZED_TIME, b"240102123456Z", None),
        (der.UTC_TIME, b"20240102123456Z", None),
        (der.UTC_TIME, b"240230000000Z", None),
        (der.UTC_TIME, b"240101240000Z", None),
        (der.UTC_TIME, b"24010212345Z", None),
        (der.UTC_TIME, b"240102123456Zx", None),
        (der.UTC_TIME, b" 240102123456Z", None),
        (der.UTC_TIME, "2401021234５６Z".encode(), None),
        (der.UTC_TIME, b"", None),
        (der.OCTET_STRING, b"240102123456Z", None),
    ],
)
def test_times_are_read_exactly_or_not_at_all(tag: int, text: bytes, moment: datetime | None) -> None:
    """Both types of Time, with the liberties that old encoders take, and nothing else."""
    assert parse_time(der.parse(der.tlv(tag, text))) == moment


@given(st.binary(max_size=20), st.sampled_from([der.UTC_TIME, der.GENERALIZED_TIME]))
def test_no_time_is_too_strange(text: bytes, tag: int) -> None:
    """Reading a time never raises."""
    moment = parse_time(der.parse(der.tlv(tag, text)))
    assert moment is None or moment.tzinfo is UTC


def test_validity_is_judged_at_a_moment() -> None:
    """A certificate is valid from its first to its last second; unreadable times are never valid."""
    assert ISSUED.valid_at(utc(2020, 1, 1)) and ISSUED.valid_at(utc(2049, 1, 1))
    assert not ISSUED.valid_at(utc(2019, 12, 31, 23, 59, 59)) and not ISSUED.valid_at(utc(2049, 1, 1, 0, 0, 1))
    for broken in ((b"x", b"490101000000Z"), (b"200101000000Z", b"x")):
        assert not certificate(validity=broken).valid_at(utc(2024, 1, 1))
    empty = der.parse(certificate().der).children()[0].children()
    without = der.sequence(*(der.sequence() if at == 4 else node.raw for at, node in enumerate(empty)))
    with pytest.raises(Malformed):
        _ = Certificate.parse(der.sequence(without, der.sequence(), der.NULL)).not_before


@given(st.sets(st.sampled_from(KEY_USAGES)))
def test_key_usage_bits_have_their_names(names: set[str]) -> None:
    """Any set of bits is read as cryptography reads it."""
    bits = "".join("1" if name in names else "0" for name in KEY_USAGES).rstrip("0")
    octets = int(bits.ljust(16, "0"), 2).to_bytes(2, "big")[: -(-len(bits) // 8)] if bits else b""
    value = der.tlv(der.BIT_STRING, bytes((-len(bits) % 8,)), octets)
    assert parse_key_usage(value) == names
    assert asn1.KeyUsage.load(value).native == {
        {"digitalSignature": "digital_signature", "nonRepudiation": "non_repudiation", "cRLSign": "crl_sign"}.get(
            name, "".join("_" + c.lower() if c.isupper() else c for c in name)
        )
        for name in names
    }


def test_what_is_absent_is_none() -> None:
    """A certificate without extensions has no usages, no identifier, and is no CA."""
    plain = certificate()
    assert plain.extensions == ()
    assert (plain.key_usage, plain.extended_key_usage, plain.subject_key_identifier) == (None, None, None)
    assert (plain.is_ca, plain.path_length) == (False, None)
    assert certificate(trailer=b"\xa3\0").extensions == ()


@pytest.mark.parametrize(
    ("value", "is_ca", "path_length"),
    [
        (der.sequence(), False, None),
        (der.sequence(b"\x01\x01\0"), False, None),
        (der.sequence(b"\x01\x01\xff"), True, None),
        (der.sequence(b"\x01\x01\xff", der.integer(1)), True, 1),
        (der.sequence(der.integer(1)), False, 1),
    ],
)
def test_basic_constraints(value: bytes, is_ca: bool, path_length: int | None) -> None:
    """cA is FALSE unless it is said, and the path length stands for itself."""
    read = certificate(extensions=(csrs.extension(oid.BASIC_CONSTRAINTS, value),))
    assert (read.is_ca, read.path_length) == (is_ca, path_length)


def test_extensions_keep_their_order_and_criticality() -> None:
    """critical is FALSE by default, may be said to be FALSE, and there is nothing else in an Extension."""
    encoded = der.sequence(
        csrs.extension("1.2.3", b"a"), csrs.extension("1.2.4", b"b", False), csrs.extension("1.2.5", b"c", True)
    )
    assert parse_extensions(der.parse(encoded)) == (
        Extension(oid.encode("1.2.3"), False, b"a"),
        Extension(oid.encode("1.2.4"), False, b"b"),
        Extension(oid.encode("1.2.5"), True, b"c"),
    )
    for bad in (
        der.sequence(der.sequence(der.oid(oid.KEY_USAGE))),
        der.sequence(der.sequence(der.oid(oid.KEY_USAGE), b"\x01\x01\xff", der.octet_string(b""), der.NULL)),
        der.sequence(der.sequence(der.oid(oid.KEY_USAGE), der.NULL, der.octet_string(b""))),
        der.sequence(der.sequence(der.oid(oid.KEY_USAGE), der.NULL)),
        der.NULL,
    ):
        with pytest.raises(Malformed):
            parse_extensions(der.parse(bad))


@pytest.mark.parametrize(
    "encoding",
    [
        b"",
        der.NULL,
        der.sequence(der.sequence(), der.sequence(), der.bit_string(b"")),
        der.sequence(der.sequence(*[der.explicit(0, der.integer(2))] * 6), der.sequence(), der.bit_string(b"")),
        der.sequence(der.explicit(0, der.integer(2)), *[der.sequence()] * 5),
        der.sequence(der.octet_string(bytes(65 * 1024)), der.sequence(), der.bit_string(b"")),
        ISSUED.der + b"\0",
        ISSUED.der[:-1],
    ],
)
@pytest.mark.proves("CMS-15")
def test_what_is_no_certificate_is_malformed(encoding: bytes) -> None:
    """Truncated, overlong, over 64 KiB, or something else altogether."""
    with pytest.raises(Malformed):
        Certificate.parse(encoding)


def test_seven_fields_after_a_version() -> None:
    """With a version in front a tbsCertificate has one field more."""
    fields = [node.raw for node in der.parse(ISSUED.der).children()[0].children()]
    with pytest.raises(Malformed, match="too short"):
        Certificate.parse(der.sequence(der.sequence(*fields[:6]), der.sequence(), der.bit_string(b"")))


@given(st.data())
@pytest.mark.proves("SEC-12")
def test_a_mutated_certificate_raises_nothing_but_malformed(data: st.DataObject) -> None:
    """Whatever is done to a certificate's octets, its fields are there or Malformed."""
    extensions = (*ca_extensions(), key_identifier(), csrs.eku("1.2.3"))
    octets = bytearray(certificate(by=(KEY, CA), extensions=extensions).der)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=1))
    try:
        mutated = Certificate.parse(bytes(octets))
    except Malformed:
        return
    for name in (
        "issuer",
        "subject",
        "public_key",
        "extensions",
        "key_usage",
        "is_ca",
        "path_length",
        "extended_key_usage",
        "subject_key_identifier",
        "not_before",
        "not_after",
        "signature_digest",
        "is_self_signed",
    ):
        try:
            getattr(mutated, name)
        except ScepError:
            continue
    assert not mutated.signed_by(PublicKeyInfo.parse(csrs.spki(csrs.ec_key())))


# --- Whom to encrypt to ----------------------------------------------------------------------------------------------


def ra(*bits: int) -> Certificate:
    """An RA's certificate with key usage of these bits; without any, without key usage."""
    usage = (csrs.key_usage(bytes((0, sum(0x80 >> bit for bit in bits)))),) if bits else ()
    return certificate(KEY, f"RA {bits}", by=(csrs.rsa_key(which=1), CA), extensions=usage)


SIGNS, ENCRYPTS, BOTH, DATA, SILENT = ra(0), ra(2), ra(0, 2), ra(3), ra()
CA_ENCRYPTS = certificate(
    csrs.rsa_key(which=1),
    "CA",
    extensions=(ca_extensions()[0], csrs.key_usage(b"\x01\x26")),
)
CA_SILENT = certificate(csrs.rsa_key(which=1), "CA", extensions=ca_extensions()[:1])
EC_ENCRYPTS = certificate(csrs.ec_key(), "RA", extensions=(csrs.key_usage(b"\x05\x20"),))


@pytest.mark.proves("CERT-11")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((SIGNS, ENCRYPTS, CA), ENCRYPTS),
        ((BOTH, CA), BOTH),
        ((SILENT, SIGNS, CA), SILENT),
        ((SILENT, ENCRYPTS, CA), ENCRYPTS),
        ((DATA, SIGNS, CA), DATA),
        ((DATA, SILENT, CA), SILENT),
        ((SIGNS, CA_ENCRYPTS), CA_ENCRYPTS),
        ((DATA, CA_ENCRYPTS), DATA),
        ((EC_ENCRYPTS, CA_ENCRYPTS), CA_ENCRYPTS),
        ((EC_ENCRYPTS, CA), None),
        ((SIGNS, CA), None),
        ((CA_SILENT, CA), None),
        ((CA,), CA),
        ((CA_SILENT,), CA_SILENT),
        ((SIGNS,), SIGNS),
        ((EC_ENCRYPTS,), None),
        ((), None),
    ],
)
def test_the_encryption_certificate_is_chosen_by_key_usage(
    offered: tuple[Certificate, ...], chosen: Certificate | None
) -> None:
    """An RA's before a CA's, keyEncipherment before silence before dataEncipherment, in whatever order they come."""
    for permutation in itertools.permutations(offered):
        assert choose_encryption(permutation) == chosen


def test_the_forge_signs_with_every_key() -> None:
    """The certificates of this file verify with cryptography where it reads them."""
    for key in (csrs.rsa_key(), csrs.ec_key()):
        made = x509.load_der_x509_certificate(certificate(key).der)
        made.verify_directly_issued_by(made)
    csrs.ed25519_key().public_key().verify(sign(csrs.ed25519_key(), b"data"), b"data")
