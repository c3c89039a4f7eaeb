"""Keys, certificates and requests that tests share: made once per run, since RSA keys take their time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ExtensionType

from scepra.lab.authority import Authority
from scepra.lab.csr import build_csr
from scepra.lab.key import PrivateKey, new_key
from scepra.scep.certificate import Certificate
from scepra.scep.certification import self_signed
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@cache
def key(name: str = "device") -> rsa.RSAPrivateKey:
    """The RSA-2048 key that goes by a name."""
    made = new_key("RSA-2048")
    assert isinstance(made, rsa.RSAPrivateKey)
    return made


@cache
def ec_key(name: str = "device", curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    """The EC key that goes by a name."""
    made = new_key(f"EC-{curve}")
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    return made


@cache
def authority(name: str = "CA") -> Authority:
    """The CA that goes by a name."""
    return Authority.create(name, key(f"authority {name}"), lambda: NOW)


def request(
    subject: str = "device.example",
    *,
    private_key: PrivateKey | None = None,
    names: Iterable[str] = (),
    challenge: str | None = None,
    extensions: Iterable[tuple[ExtensionType, bool]] = (),
) -> CertificationRequest:
    """A CSR of the device's, read."""
    encoding = build_csr(
        private_key or key(), subject, names=tuple(names), challenge=challenge, extensions=tuple(extensions)
    )
    return CertificationRequest.parse(encoding)


def self_signed_identity(csr: CertificationRequest, private_key: PrivateKey | None = None) -> Identity:
    """The identity that a device signs its first request with."""
    software = SoftwareKey(private_key or key())
    return Identity(self_signed(software, csr.subject.der, NOW), software)


def issued(csr: CertificationRequest, *, by: str = "CA", lifetime: timedelta = 10 * DAY) -> Certificate:
    """What a CA issues for a request."""
    return authority(by).issue(csr, lifetime)
