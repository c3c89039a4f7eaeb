"""Requests for providers to judge, and tokens for them to carry."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from scepra.enrolment import Credential, EnrolmentRequest
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import MessageType
from tests import csrs
from tests.rig.forge import own_certificate

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECRET = "5yVQ9wJm2Xc8Rk4Ht7Bn3Lf6Pd1Gs0Za"
ISSUER, AUDIENCE, NAME = "https://mdm.example", "scepra", "printer-7.example"
SIGNER = own_certificate(csrs.ec_key())


def request(
    challenge: str | None, *names: bytes, subject: bytes = csrs.subject(NAME), profile: str = "dev", **changes: Any
) -> EnrolmentRequest:
    """A request by a device that is called :data:`NAME`, unless told otherwise."""
    attributes = [] if challenge is None else [csrs.challenge(challenge)]
    if names:
        attributes.append(csrs.carried(csrs.san(*names)))
    csr = CertificationRequest.parse(csrs.build(*attributes, subject=subject))
    settings: dict[str, Any] = {
        "profile": profile,
        "credential": Credential.INITIAL,
        "message_type": MessageType.PKCS_REQ,
        "transaction_id": "4711",
        "csr": csr,
        "signer": SIGNER,
        "source": "192.0.2.1",
        "received": NOW,
    } | changes
    return EnrolmentRequest(**settings)


def claims(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim out."""
    moment = int(now.timestamp())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": moment - 10,
        "nbf": moment - 10,
        "exp": moment + 600,
        "jti": "token-1",
        "binding": {"common_name": NAME},
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def token(
    said: Any,
    key: OctKey | ECKey | RSAKey | str = SECRET,
    algorithm: str = "HS256",
    **header: Any,
) -> str:
    """A signed token."""
    if isinstance(key, str):
        key = OctKey.import_key(key)
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return jws.serialize_compact({"alg": algorithm, **header}, payload, key, algorithms=[algorithm])


def part(value: Any) -> str:
    """A part of a token, by hand."""
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
