"""With what the RA signs its requests to a CA."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepra.errors import StoreError
from scepra.scep import der
from scepra.scep.algorithm import Digest, Floor
from scepra.signing import StoredKeys
from scepra.store.database import Database
from scepra.upstream.signer import EphemeralSelfSigned, RACertificate
from tests.rig.house import VAULT, in_memory
from tests.rig.material import DAY, NOW, key, request

from .material import made, run

SUBJECT = request("device.example").subject.der


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty store."""
    made = Database(in_memory())
    yield made
    made.close()


def keys(database: Database, *made: str, upstream: str = "ca") -> StoredKeys:
    """The keys of an upstream; those with these names are made, one after the other."""
    coming = iter(made)

    async def make_key() -> rsa.RSAPrivateKey:
        return key(next(coming))

    return StoredKeys(upstream, make_key, database, VAULT, lambda: NOW)


@pytest.mark.proves("RA-13", "RA-20")
def test_ra_certificate() -> None:
    """An RA certificate signs whatever the subject is, requests and polls."""
    identity = made("RA", made("CA", ca=True))
    signer = RACertificate(identity)
    signing = run(signer.identity(SUBJECT, NOW))
    assert (signing.identity, signing.key_id) == (identity, None)
    assert run(signer.again(None, None)) is identity


@pytest.mark.proves("RA-13")
def test_ephemeral_key_serves_for_a_period(database: Database) -> None:
    """A key serves for a period and no longer, under a certificate of its own for every request."""
    signer = EphemeralSelfSigned(keys(database, "first", "second"), DAY, 30 * DAY)
    first, again = run(signer.identity(SUBJECT, NOW)), run(signer.identity(SUBJECT, NOW + DAY - timedelta(seconds=1)))
    assert first.identity.key is again.identity.key
    assert first.key_id == again.key_id is not None
    assert first.identity.certificate.serial != again.identity.certificate.serial
    later = run(signer.identity(SUBJECT, NOW + DAY))
    assert later.identity.key is not first.identity.key
    assert later.key_id != first.key_id
    for identity in (first.identity, again.identity, later.identity):
        data = b"request"
        assert identity.certificate.is_self_signed
        assert identity.certificate.subject_der == identity.certificate.issuer_der == SUBJECT
        assert identity.certificate.public_key.same_key(identity.key.public)
        identity.certificate.public_key.check(Floor())
        assert identity.key.sign(data, Digest.SHA256)


@pytest.mark.proves("RA-13", "FT-54", "FT-62")
def test_requests_that_come_at_once_share_a_key(database: Database) -> None:
    """While a key is made, whoever comes waits for that one; if it cannot be made, all are told, and the next tries."""
    making: list[Deferred[rsa.RSAPrivateKey]] = []

    def make_key() -> Deferred[rsa.RSAPrivateKey]:
        making.append(Deferred())
        return making[-1]

    signer = EphemeralSelfSigned(StoredKeys("ca", make_key, database, VAULT, lambda: NOW), DAY, 30 * DAY)

    def ask() -> list[Any]:
        answers: list[Any] = []
        for _ in range(5):
            Deferred.fromCoroutine(signer.identity(SUBJECT, NOW)).addBoth(answers.append)
        return answers

    told = ask()
    making[0].errback(Failure(StoreError("no room")))
    assert [each.check(StoreError) for each in told] == [StoreError] * 5
    told = ask()
    assert told == []
    making[1].callback(key("first"))
    assert len({each.key_id for each in told}) == 1
    assert len({each.identity.certificate.serial for each in told}) == 5
    assert len(making) == 2


@pytest.mark.proves("RA-20", "FT-43")
def test_the_identity_of_a_request_is_found_again_by_another_process(database: Database) -> None:
    """Long after its period a request's key and certificate sign its polls, in a process that did not make them too."""
    signer = EphemeralSelfSigned(keys(database, "first", "second"), DAY, 30 * DAY)
    signing = run(signer.identity(SUBJECT, NOW))
    certificate = signing.identity.certificate
    run(signer.identity(SUBJECT, NOW + 2 * DAY))
    for each in (signer, EphemeralSelfSigned(keys(database), DAY, 30 * DAY)):
        again = run(each.again(signing.key_id, certificate.der))
        assert again.certificate == certificate
        assert again.key.public.same_key(certificate.public_key)
        assert again.key.sign(b"poll", Digest.SHA256) == signing.identity.key.sign(b"poll", Digest.SHA256)


def test_keys_that_are_not_stored(database: Database) -> None:
    """A key that is not stored, and one that was never made for the request, are errors that say so."""
    signer = EphemeralSelfSigned(keys(database), DAY, 30 * DAY)
    certificate = made("device.example").certificate.der
    with pytest.raises(LookupError, match="signer key 0123456789abcdef is not stored"):
        run(signer.again("0123456789abcdef", certificate))
    with pytest.raises(ValueError, match="no key of its own"):
        run(signer.again(None, certificate))


@pytest.mark.proves("RA-13")
@pytest.mark.parametrize("now", [NOW, datetime(2049, 12, 30, 12, tzinfo=UTC)])
def test_self_signed_certificate(database: Database, now: datetime) -> None:
    """A request's certificate is valid now, no CA's, strict DER, and made to sign and to be encrypted to."""
    signer = EphemeralSelfSigned(keys(database, "first"), DAY, 30 * DAY)
    certificate = run(signer.identity(SUBJECT, now)).identity.certificate
    assert der.parse(certificate.der, strict=True).end == len(certificate.der)
    assert 0 < certificate.serial < 2**160
    assert certificate.key_usage == {"digitalSignature", "keyEncipherment"}
    assert not certificate.is_ca
    assert certificate.valid_at(now)
    assert not certificate.valid_at(now + 31 * DAY)
