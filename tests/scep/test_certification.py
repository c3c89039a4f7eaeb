"""Certificates that are written here are read by another library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from scepra.lab import new_key
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import KEY_USAGES, parse_key_usage
from scepra.scep.certification import (
    Validity,
    build_certificate,
    build_crl,
    extended_key_usage,
    key_usage,
    name,
    self_signed,
)
from scepra.scep.identity import Identity, SoftwareKey
from tests.rig import material

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["RSA", "EC-P-256", "EC-P-384", "EC-P-521"])
@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA512])
def test_self_signed_certificate_is_read_and_verified_elsewhere(kind: str, digest: Digest) -> None:
    """A certificate over any kind of key has the fields it was given, and its signature verifies by another library."""
    key = SoftwareKey(material.key() if kind == "RSA" else new_key(kind))
    subject = name("device", "Example")
    written = build_certificate(
        subject=subject,
        public_key=key.public.der,
        issuer=subject,
        signer=key,
        validity=Validity(NOW, NOW + timedelta(days=1)),
        extensions=(key_usage(["digitalSignature"]),),
        serial=77,
        digest=digest,
    )
    read = x509.load_der_x509_certificate(written.der)
    assert read.subject.rfc4514_string() == "CN=device,O=Example"
    assert (read.serial_number, read.version, read.not_valid_before_utc) == (77, x509.Version.v3, NOW)
    assert read.extensions.get_extension_for_class(x509.KeyUsage).critical
    if digest is not Digest.SHA1:  # which that library no longer verifies
        read.verify_directly_issued_by(read)
    assert written.is_self_signed


def test_times_after_2049_are_generalized() -> None:
    """A validity that ends in 2050 or later is written in GeneralizedTime, one that ends before in UTCTime."""
    key = SoftwareKey(new_key("EC-P-256"))
    end = datetime(2050, 1, 1, tzinfo=UTC)
    for moment, tag in ((end - timedelta(seconds=1), der.UTC_TIME), (end, der.GENERALIZED_TIME)):
        written = build_certificate(
            subject=name("x"), public_key=key.public.der, issuer=name("x"), signer=key, validity=Validity(NOW, moment)
        )
        assert written.not_after == moment
        assert bytes((tag,)) + b"\x0d" in written.der or tag == der.GENERALIZED_TIME
        assert x509.load_der_x509_certificate(written.der).not_valid_after_utc == moment


@pytest.mark.parametrize(
    "usages", [(), ("digitalSignature",), ("keyCertSign", "cRLSign"), ("decipherOnly",), KEY_USAGES]
)
def test_key_usage_round_trip(usages: tuple[str, ...]) -> None:
    """The bits of any set of key usages are those that are read back, without trailing zero bits."""
    extension = key_usage(usages)
    assert parse_key_usage(extension.value) == frozenset(usages)
    if usages:
        octets = der.parse(extension.value, strict=True).content
        assert octets[-1] >> octets[0] & 1


def test_extensions_are_read_elsewhere() -> None:
    """Purposes come out as the identifiers that went in."""
    key = SoftwareKey(new_key("EC-P-256"))
    client_auth = oid.encode("1.3.6.1.5.5.7.3.2")
    written = self_signed(key, name("x"), NOW, (extended_key_usage(client_auth),))
    read = x509.load_der_x509_certificate(written.der).extensions
    assert list(read.get_extension_for_class(x509.ExtendedKeyUsage).value) == [x509.OID_CLIENT_AUTH]


def test_self_signed_certificate_of_a_device_is_valid_for_a_week() -> None:
    """What a device signs with is valid now, also for a reader whose clock is half an hour late."""
    written = self_signed(SoftwareKey(new_key("EC-P-256")), name("x"), NOW)
    assert written.valid_at(NOW - timedelta(minutes=30))
    assert written.valid_at(NOW + timedelta(days=6))
    assert not written.valid_at(NOW + timedelta(days=8))


def test_crl_is_read_and_verified_elsewhere() -> None:
    """A CRL revokes nothing, has its number, and verifies by another library."""
    key = SoftwareKey(material.key())
    issuer = Identity(self_signed(key, name("CA"), NOW), key)
    read = x509.load_der_x509_crl(build_crl(issuer, Validity.of(NOW, timedelta(days=1)), 5))
    assert list(read) == []
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 5
    assert read.is_signature_valid(material.key().public_key())
