"""With what the RA signs its requests to a CA."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.scep import der
from scepra.scep.algorithm import Digest, Floor
from scepra.upstream.signer import EphemeralSelfSigned, RACertificate
from tests.rig.material import DAY, NOW, key, request

from .material import made, run


@pytest.mark.proves("RA-13")
def test_ra_certificate() -> None:
    """An RA certificate signs whatever the subject is."""
    identity = made("RA", made("CA", ca=True))
    assert run(RACertificate(identity).identity(request().subject.der, NOW)) is identity


@pytest.mark.proves("RA-13")
def test_ephemeral_key_serves_for_a_period() -> None:
    """A key serves for a period and no longer, under a certificate of its own for every request."""
    keys = iter([key("first"), key("second")])

    async def make_key() -> rsa.RSAPrivateKey:
        return next(keys)

    signer = EphemeralSelfSigned(make_key, DAY)
    subject = request("device.example").subject.der
    first, again = run(signer.identity(subject, NOW)), run(signer.identity(subject, NOW + DAY - timedelta(seconds=1)))
    assert first.key is again.key
    assert first.certificate.serial != again.certificate.serial
    later = run(signer.identity(subject, NOW + DAY))
    assert later.key is not first.key
    for identity in (first, again, later):
        data = b"request"
        assert identity.certificate.is_self_signed
        assert identity.certificate.subject_der == identity.certificate.issuer_der == subject
        assert identity.certificate.public_key.same_key(identity.key.public)
        identity.certificate.public_key.check(Floor())
        assert identity.key.sign(data, Digest.SHA256)


@pytest.mark.proves("RA-13")
@pytest.mark.parametrize("now", [NOW, datetime(2049, 12, 30, 12, tzinfo=UTC)])
def test_self_signed_certificate(now: datetime) -> None:
    """A request's certificate is valid now, no CA's, strict DER, and made to sign and to be encrypted to."""

    async def make_key() -> rsa.RSAPrivateKey:
        return key()

    identity = run(EphemeralSelfSigned(make_key, DAY).identity(request("device.example").subject.der, now))
    certificate = identity.certificate
    assert der.parse(certificate.der, strict=True).end == len(certificate.der)
    assert 0 < certificate.serial < 2**160
    assert certificate.key_usage == {"digitalSignature", "keyEncipherment"}
    assert not certificate.is_ca
    assert certificate.valid_at(now)
    assert not certificate.valid_at(now + 30 * DAY)
