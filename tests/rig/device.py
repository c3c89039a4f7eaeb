"""A device in front of a house: messages that are sound, of which a test changes one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.forwarding import Forwarding
from scepra.lab.key import read_key
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.identity import FixedIdentities, Generation, Identity, Keyring, RAKey
from scepra.scep.message import PKIStatus
from scepra.scep.publickey import PublicKeyInfo
from scepra.scep.transport import OperationKind, encode_query
from scepra.ways import Group, Ways
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from tests import csrs
from tests.rig.forge import Forge, ReadAnswer, certificate, read_answer
from tests.rig.house import House
from tests.web.wire import Wire
from tests.web.wire import request as http_request

NAME = "device.example"
PEER = "192.0.2.1"
KEY = csrs.rsa_key()
THIEF = csrs.rsa_key(which=6)
OLD, NEW = csrs.rsa_key(which=7), csrs.rsa_key(which=8)
STRANGER = csrs.rsa_key(which=9)


_numbers = count(1)


def subject(name: str = NAME) -> bytes:
    """The encoded subject of a device."""
    return csrs.subject(name)


def new_name() -> str:
    """The name of a device that nobody has heard of yet."""
    return f"device-{next(_numbers)}.example"


def request(house: House, *attributes: bytes, challenge: str | bytes | None = None, **options: Any) -> bytes:
    """A CSR with the house's challenge, or another one; of RSA key unless told.

    Without a subject of its own it is for a new device, so that the house has no answer to it yet.
    """
    settings = {"key": KEY, "subject": subject(new_name())} | options
    return csrs.build(csrs.challenge(house.challenge if challenge is None else challenge), *attributes, **settings)


def request_without_challenge(*attributes: bytes, **options: Any) -> bytes:
    """The same without any challenge, for the device :data:`NAME` unless told."""
    settings = {"key": KEY, "subject": subject()} | options
    return csrs.build(*attributes, **settings)


def sound(house: House, **changes: Any) -> Forge:
    """A message that the house answers with a certificate, but for the changes."""
    settings: dict[str, Any] = {"recipient": house.authority.keyring.current.encryption.certificate} | changes
    if not settings.keys() & {"csr", "content"}:
        settings["csr"] = request(house, key=settings.get("key", KEY))
    return Forge(**settings)


# --- Certificates that are renewed -----------------------------------------------------------------------------------


@cache
def _read(file: Path) -> rsa.RSAPrivateKey:
    key = read_key(file.read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def ca_key(house: House) -> rsa.RSAPrivateKey:
    """The private key of the house's CA."""
    return _read(house.state.directory / "ca.key")


def days(count: float) -> bytes:
    """The UTCTime's text of so many days from now."""
    return (datetime.now(UTC) + timedelta(days=count)).strftime("%y%m%d%H%M%SZ").encode("ascii")


def device_certificate(
    house: House, key: csrs.PrivateKey = OLD, name: bytes | str = NAME, **changes: Any
) -> Certificate:
    """A certificate that the house's CA issued to a device, another one each time; see
    :func:`tests.rig.forge.certificate`."""
    settings = {
        "by": (ca_key(house), house.state.authority.certificate),
        "serial": der.integer(1 << 32 | next(_numbers)),
        "validity": (days(-30), days(300)),
    } | changes
    return certificate(key, name, **settings)


def renewal(house: House, signer: Certificate | None = None, **changes: Any) -> Forge:
    """A RenewalReq of a device whose certificate is renewed for a new key, but for the changes.

    The device :data:`NAME` asks for the same each time, so that its transactionID is what is new.
    """
    settings: dict[str, Any] = {
        "transaction_id": f"renewal {next(_numbers)}",
        "key": OLD,
        "signer": signer or device_certificate(house),
        "message_type": "17",
        "csr": request_without_challenge(key=NEW),
    }
    return sound(house, **settings | changes)


# --- HTTP ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


# A message's own limits are met before those of HTTP.
_LIMITS = Limits(body=16 * 1024 * 1024, request_target=16 * 1024 * 1024)


def ask(
    house: House, method: str, target: str, data: bytes = b"", headers: Mapping[str, str] = {}, peer: str = PEER
) -> Response:
    """The answer to any HTTP request, on a connection of its own from an address."""
    lines = tuple(f"{name}: {value}".encode() for name, value in headers.items())
    connection = Wire(house.resource, _LIMITS).connect(peer)
    (answer,) = connection.send(http_request(target.encode(), method.encode(), data, lines))
    return Response(answer.status, answer.headers, answer.body)


def post(house: House, message: bytes, headers: Mapping[str, str] = {}, peer: str = PEER) -> Response:
    """A PKIOperation by POST."""
    return ask(house, "POST", "/scep?operation=PKIOperation", message, headers, peer)


def get(house: House, message: bytes) -> Response:
    """A PKIOperation by GET."""
    return ask(house, "GET", f"/scep?{encode_query(OperationKind.PKI_OPERATION, message)}")


def pki_status(house: House, response: Response) -> PKIStatus:
    """The pkiStatus of a CertRep."""
    assert response.status == 200
    answer = read_answer(response.body, house.authority.keyring.current.signing.certificate)
    return PKIStatus(answer.text(oid.PKI_STATUS))


def granted(house: House, forge: Forge, key: rsa.RSAPrivateKey | None = KEY) -> ReadAnswer:
    """The answer to a message that is granted, opened with the key of whoever signed it; None leaves it closed."""
    response = post(house, forge.message())
    assert response.status == 200
    answer = read_answer(response.body, house.authority.keyring.current.signing.certificate, key)
    assert answer.text(oid.PKI_STATUS) == PKIStatus.SUCCESS.value, house.records[-1]
    assert answer.text(oid.TRANSACTION_ID) == forge.transaction_id
    assert answer.octets(oid.RECIPIENT_NONCE) == forge.sender_nonce
    return answer


# --- Other houses ----------------------------------------------------------------------------------------------------


def impatient(house: House) -> House:
    """The house with a profile whose clients cannot poll: what cannot be answered at once is a 503."""
    return rebuilt(house, profile=house.authority.profile.model_copy(update={"polling": False}))


def rebuilt(house: House, **changes: Any) -> House:
    """The same house with another RA in it: fields of :class:`~scepra.ra.RegistrationAuthority` that differ, or of its
    :class:`~scepra.forwarding.Forwarding`."""
    northward = {field.name for field in fields(Forwarding)}
    forwarding = replace(house.authority.forwarding, **{name: changes.pop(name) for name in northward & changes.keys()})
    if forwarding != house.authority.forwarding:
        changes["ways"] = Ways(Group((forwarding,)))
    authority = replace(house.authority, **changes)
    resource = ScepResource(Routes([Route(authority, authority.profile.paths)]))
    return replace(house, authority=authority, resource=resource)


class CountingKey:
    """A private key that counts what is done with it, and passes it on."""

    def __init__(self, key: RAKey) -> None:
        self._key = key
        self.public: PublicKeyInfo = key.public
        self.signed = self.opened = 0

    def sign(self, data: bytes, digest: Digest) -> bytes:
        self.signed += 1
        return self._key.sign(data, digest)

    def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        self.opened += 1
        return self._key.decrypt(ciphertext, transport)


def counted(house: House) -> tuple[House, CountingKey]:
    """The house with an RA whose key counts."""
    current = house.authority.keyring.current
    assert current.signing is current.encryption
    key = CountingKey(current.signing.key)
    identity = Identity(current.signing.certificate, key)
    return rebuilt(house, identities=FixedIdentities(Keyring([Generation(identity, identity)]))), key
