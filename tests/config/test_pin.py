"""Pins of CA certificates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepra.config.pin import Fingerprint
from scepra.scep.certificate import Certificate
from tests.config.sample import PIN, altered, reading, said


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    """A certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def pins(value: str, base: Path = Path()) -> tuple[Fingerprint, ...]:
    """The pins of an upstream that names them so."""
    config = reading(altered((PIN, value)), base).config
    assert config is not None
    return config.upstreams["lab"].ca_fingerprint


@pytest.mark.proves("CERT-12")
@pytest.mark.parametrize(
    "value",
    [
        PIN,
        PIN.upper().replace("SHA256", "SHA-256"),
        f"'sha256:{':'.join(['5A'] * 32)}'",
        f"sha256:{' '.join(['5a5a'] * 16)}",
        f"[{PIN}]",
    ],
)
def test_spellings(value: str) -> None:
    """A fingerprint is read as tools print it, and printed in one way."""
    assert pins(value) == (Fingerprint(b"\x5a" * 32),)
    assert str(pins(value)[0]) == PIN


@pytest.mark.proves("CERT-12")
def test_a_certificate_s_file(tmp_path: Path, certificate: x509.Certificate) -> None:
    """A pin may be the certificate itself, in PEM or DER; it equals the fingerprint and keeps the certificate."""
    encoding = certificate.public_bytes(Encoding.DER)
    (tmp_path / "ca.der").write_bytes(encoding)
    (tmp_path / "ca.pem").write_bytes(b"# the CA\n" + certificate.public_bytes(Encoding.PEM))
    digest = hashlib.sha256(encoding).digest()
    for name in ("ca.der", "ca.pem"):
        (pin,) = pins(f"file:{name}", tmp_path)
        assert pin == Fingerprint(digest)
        assert pin.certificate == Certificate.parse(encoding)
        assert pin.matches(Certificate.parse(encoding))
    assert not Fingerprint(bytes(32)).matches(Certificate.parse(encoding))
    assert len(pins(f"[file:ca.der, {PIN}]", tmp_path)) == 2
    assert said(altered((PIN, f"[file:ca.der, 'sha256:{digest.hex()}']")), tmp_path) == [
        "5:5: upstreams.lab.ca-fingerprint: the same item stands twice in this list"
    ]


@pytest.mark.proves("CERT-12")
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("sha1:" + "5a" * 20, "sha1 can be forged: only SHA-256 pins a certificate; "),
        ("SHA-1:" + "5a" * 20, "SHA-1 can be forged: only SHA-256 pins a certificate; "),
        ("md5:" + "5a" * 16, "md5 can be forged: only SHA-256 pins a certificate; "),
        ("5a" * 32, ""),
        ("sha256:" + "5a" * 31, ""),
        ("sha256:" + "5g" * 32, ""),
        ("'sha256:'", ""),
        ("'file:'", ""),
        ("sha512:" + "5a" * 32, ""),
    ],
)
def test_what_is_no_pin(value: str, sentence: str) -> None:
    """Anything but a SHA-256 fingerprint or a file is refused."""
    form = "expected sha256:HEX (64 hexadecimal digits) or file:PATH of the CA certificate"
    assert said(altered((PIN, value))) == [f"5:5: upstreams.lab.ca-fingerprint: {sentence}{form}"]
    assert said(altered((PIN, f"[{value}]"))) == [f"5:22: upstreams.lab.ca-fingerprint[0]: {sentence}{form}"]


def test_a_pin_is_text() -> None:
    """A list of anything else is refused item by item."""
    assert said(altered((PIN, "[1, {a: b}]"))) == [
        f"5:{column}: upstreams.lab.ca-fingerprint[{index}]: expected sha256:HEX (64 hexadecimal digits) or"
        " file:PATH of the CA certificate"
        for index, column in enumerate((22, 25))
    ]


def test_files_that_hold_no_pin(tmp_path: Path, certificate: x509.Certificate) -> None:
    """A file that is absent, holds no certificate or more than one is refused."""
    pem = certificate.public_bytes(Encoding.PEM)
    (tmp_path / "two").write_bytes(pem + pem)
    (tmp_path / "none").write_bytes(b"hello")
    (tmp_path / "damaged").write_bytes(pem.replace(b"MII", b"MI", 1))
    (tmp_path / "half").write_bytes(certificate.public_bytes(Encoding.DER)[:-20])
    (tmp_path / "large").write_bytes(certificate.public_bytes(Encoding.DER) + bytes(70_000))
    assert [said(altered((PIN, f"file:{name}")), tmp_path)[0].partition("the file ")[2] for name in
            ("two", "none", "damaged", "half", "large", "absent")] == [
        "two holds 2 certificates: a pin is one",
        "none holds no certificate",
        "damaged holds no certificate",
        "half holds no certificate",
        "large holds no certificate",
        "absent cannot be read: No such file or directory",
    ]  # fmt: skip
