"""An upstream between the house and its CA that answers whatever a test wants, octet by octet.

``behind(house, script)`` is the house with that upstream. The script sees each PKIOperation (:class:`Asked`) and
returns what the RA is to get. It may pass the request on to the CA, forge a CertRep that the CA's own key signs, or do
neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import deferLater
from twisted.web import server
from twisted.web.resource import Resource

from scepra.lab import PERMISSIVE
from scepra.lab.service import CertificationService, Received
from scepra.query import KINDS as QUERIES
from scepra.reception import NOBODY
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, Keyring
from scepra.scep.message import MessageType, PKIMessage
from scepra.scep.transport import OperationKind, parse_operation, split_target
from scepra.store.database import Database
from scepra.upstream.client import Upstream
from scepra.upstream.signer import Signing, UpstreamSigner
from tests.rig.device import CountingKey, ca_key, days, rebuilt
from tests.rig.forge import Forge, attribute, certificate, text
from tests.rig.house import Day, House, in_memory, run

NO_CONTENT = der.sequence(der.oid(oid.DATA))
EMPTY_CONTENT = der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"")))


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/x-pki-message"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One PKIOperation as it reached the upstream, opened with the CA's key; ``csr`` is what a poll is for, and
    nobody's of a query."""

    house: House
    request: server.Request
    octets: bytes
    message: PKIMessage
    signer: Certificate
    csr: CertificationRequest

    def pass_on(self) -> bytes:
        """What the CA answers; it records the message."""
        self.request.content.seek(0)
        answer = self.house.ca.render(self.request)
        assert isinstance(answer, bytes)
        return answer

    def issue(self, **changes: Any) -> Certificate:
        """A certificate of the CA's for the request; see :func:`tests.rig.forge.certificate`."""
        settings = {
            "by": (ca_key(self.house), self.house.state.authority.certificate),
            "subject": self.csr.subject.der,
            "public_key": self.csr.spki,
            "validity": (days(-1 / 24), days(365)),
            "serial": der.integer(int.from_bytes(os.urandom(8), "big")),
        }
        return certificate(**settings | changes)

    def rep(self, *certificates: Certificate, **changes: Any) -> Forge:
        """A CertRep of the CA's with these certificates, but for the changes; ``attributes`` add to the usual ones."""
        attributes = {
            oid.PKI_STATUS: (status("0"),),
            oid.RECIPIENT_NONCE: (attribute(oid.RECIPIENT_NONCE, der.octet_string(self.message.sender_nonce)),),
            **changes.pop("attributes", {}),
        }
        settings: dict[str, Any] = {
            "recipient": self.signer,
            "key": ca_key(self.house),
            "signer": self.house.state.authority.certificate,
            "message_type": "3",
            "transaction_id": self.message.transaction_id,
            "sender_nonce": os.urandom(16),
            "attributes": attributes,
            "content": degenerate(item.der for item in certificates),
        }
        return Forge(**settings | changes)

    def failure(self, fail_info: str | None = "2", **changes: Any) -> Forge:
        """A FAILURE of the CA's."""
        attributes = {oid.PKI_STATUS: (status("2"),), **changes.pop("attributes", {})}
        if fail_info is not None:
            attributes[oid.FAIL_INFO] = (attribute(oid.FAIL_INFO, text(fail_info)),)
        return self.rep(**{"encapsulated": EMPTY_CONTENT, "attributes": attributes} | changes)


def status(value: str) -> bytes:
    """A pkiStatus."""
    return attribute(oid.PKI_STATUS, text(value))


Script = Callable[[Asked], bytes | Forge | Reply]


class Middle(Resource):
    """Answers PKIOperation by a script, and the rest as the CA does unless told otherwise.

    ``targets`` are the request targets that came in; ``others`` bodies for other operations; ``requests`` what was
    asked for, by transactionID.
    """

    isLeaf = True

    def __init__(self, house: House, script: Script, others: dict[OperationKind, bytes | Reply]) -> None:
        super().__init__()
        self.house = house
        self.script = script
        self.others = others
        self.requests: dict[str, CertificationRequest] = {}
        self.targets: list[bytes] = []
        self.headers: list[dict[bytes, list[bytes]]] = []

    def render(self, request: server.Request) -> bytes:
        self.targets.append(request.uri)
        self.headers.append(dict(request.requestHeaders.getAllRawHeaders()))
        ca = self.house.ca
        method = request.method.decode()
        operation = parse_operation(method, split_target(request.uri)[1], request.content.read())
        if operation.kind is not OperationKind.PKI_OPERATION:
            if operation.kind in self.others:
                return self._send(request, self.others[operation.kind])
            request.content.seek(0)
            return ca.render(request)
        recorded = len(self.house.forwarded)
        answer = self.script(self._asked(request, operation.message))
        if len(self.house.forwarded) == recorded:
            ca.received.append(Received(operation.kind, method, operation.message))
        return self._send(request, answer)

    def _asked(self, request: server.Request, octets: bytes) -> Asked:
        message = PKIMessage.parse(octets)
        signer, digest = message.verify(PERMISSIVE)
        opened = message.open(Keyring([self.house.ca.generation]), PERMISSIVE, digest)
        kind = message.message_type
        if kind in QUERIES:
            return Asked(self.house, request, octets, message, signer, NOBODY)
        if kind is not MessageType.CERT_POLL:
            self.requests[message.transaction_id] = CertificationRequest.parse(opened.content)
        return Asked(self.house, request, octets, message, signer, self.requests[message.transaction_id])

    def _send(self, request: server.Request, answer: bytes | Forge | Reply) -> bytes:
        if isinstance(answer, Forge):
            answer = answer.message()
        if isinstance(answer, bytes):
            answer = Reply(body=answer)
        request.setResponseCode(answer.status)
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        return answer.body


def behind(
    house: House,
    script: Script = Asked.pass_on,
    others: dict[OperationKind, bytes | Reply] | None = None,
    *,
    look: bool = True,
) -> tuple[House, Middle]:
    """The house with a scripted upstream, and that.

    Args:
        others: what answers operations other than PKIOperation.
        look: whether the upstream is looked at in advance, as the running RA does.
    """
    middle = Middle(house, script, others or {})
    made = connected(house, StubTreq(middle))
    if look:
        run(made.upstream.discover())
    return made, middle


def connected(house: House, client: Any) -> House:
    """The house with another way to its upstream, what takes the place of treq's client; with an empty store, and with
    a time of day that goes on with its clock."""
    clock, database = Day(), Database(in_memory())
    house.annexes.append(database)
    upstream = Upstream("ca", house.config.upstreams["ca"], clock, clock.now, client=client)
    made = rebuilt(
        house, upstream=upstream, database=database, reactor=clock, now=clock.now, pause=partial(deferLater, clock)
    )
    return replace(made, upstream=upstream, database=database, clock=clock)


class Line:
    """A way to the CA that breaks: before a PKIOperation leaves, or after it was carried out.

    ``error`` is raised instead of an answer; None lets everything pass. ``early`` says that nothing left.
    """

    def __init__(self, ca: CertificationService) -> None:
        self._whole = StubTreq(ca)
        self.error: Exception | None = None
        self.early = False
        self.everything = False

    async def request(self, method: str, target: Any, **settings: Any) -> Any:
        """As treq's client."""
        breaks = self.error is not None and (self.everything or "PKIOperation" in target.to_text())
        if breaks and self.early:
            raise self.error
        response = await self._whole.request(method, target, **settings)
        if breaks:
            raise self.error
        return response


class CountedSigner:
    """A strategy whose keys count what is done with them."""

    def __init__(self, strategy: UpstreamSigner) -> None:
        self._strategy = strategy
        self.keys: list[CountingKey] = []

    async def identity(self, subject_der: bytes, now: Any) -> Signing:
        """As the strategy it stands for."""
        signing = await self._strategy.identity(subject_der, now)
        return replace(signing, identity=self._counted(signing.identity))

    async def again(self, key_id: str | None, certificate: bytes | None) -> Identity:
        """As the strategy it stands for."""
        return self._counted(await self._strategy.again(key_id, certificate))

    def _counted(self, identity: Identity) -> Identity:
        self.keys.append(CountingKey(identity.key))
        return Identity(identity.certificate, self.keys[-1])
