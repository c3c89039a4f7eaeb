"""A house in which time passes: its clock is also its time of day, its CA can be out of reach or slow, and another
process can take over its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra.config.store import Retention
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict
from scepra.housekeeper import Housekeeper
from scepra.http.connection import NotConnected
from scepra.lab.behaviour import PERMISSIVE
from scepra.lab.service import CertificationService, Received
from scepra.scep import oid
from scepra.scep.identity import Keyring
from scepra.scep.message import MessageType, PKIStatus, issuer_and_subject
from scepra.signing import StoredKeys
from scepra.store import tables
from scepra.store.rows import COLUMNS, read
from scepra.transaction import Transaction
from scepra.upstream.signer import EphemeralSelfSigned
from scepra.web.limits import Limits
from tests import csrs
from tests.rig.device import KEY, PEER, Response, post, rebuilt, subject
from tests.rig.forge import Forge, ReadAnswer, read_answer
from tests.rig.house import VAULT, Day, House, house, lab_state
from tests.rig.upstream import Line
from tests.web.wire import Connection, Wire
from tests.web.wire import request as http_request

_LIMITS = Limits(body=1024 * 1024)
REFUSED = NotConnected("no connection: Connection was refused by other side")


class Way(Line):
    """The way to the CA, on which answers may also have to wait until the test lets them through.

    ``sent`` are the moments at which PKIOperations left, in seconds.
    """

    def __init__(self, ca: CertificationService, clock: Clock) -> None:
        super().__init__(ca)
        self._clock = clock
        self.sent: list[float] = []
        self.waiting: list[Deferred[None]] = []
        self.slow = False

    async def request(self, method: str, target: Any, **settings: Any) -> Any:
        """As treq's client."""
        operation = "PKIOperation" in target.to_text()
        if operation and not (self.early and self.error):
            self.sent.append(self._clock.seconds())
        response = await super().request(method, target, **settings)
        if self.slow and operation:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        return response

    def cut(self) -> None:
        """Nothing gets through any more."""
        self.error, self.early, self.everything = REFUSED, True, True

    def lose(self, error: Exception) -> None:
        """Requests get through, answers do not."""
        self.error, self.early, self.everything = error, False, False

    def mend(self) -> None:
        """As at first."""
        self.error, self.early, self.everything = None, False, False

    def release(self) -> None:
        """All answers that wait arrive."""
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            gate.callback(None)


@dataclass(slots=True)
class Durable(House):
    """A house whose ``clock`` is a :class:`~tests.rig.house.Day`; ``way`` leads to its CA."""

    way: Way = field(kw_only=True)

    @property
    def day(self) -> Day:
        """The clock."""
        assert isinstance(self.clock, Day)
        return self.clock

    def now(self) -> datetime:
        """The RA's time of day."""
        return self.authority.now()

    def change(self, **values: Any) -> None:
        """Set columns of all stored transactions."""
        self.database.call(
            lambda connection: connection.execute(sa.update(tables.transactions).values(values)) and None
        )

    def keep(self) -> None:
        """Keep house once."""
        identities, owner = (self.authority.identities,), self.authority.forwarding.owner
        keeper = Housekeeper(self.database, Retention(), identities, owner, self.day.now, self.clock)
        keeper.startService()
        self.clock.advance(0)
        keeper.stopService()


@contextmanager
def durable(
    directory: Path,
    profile: Mapping[str, Any] = {},
    upstream: Mapping[str, Any] = {},
    *,
    like: Durable | None = None,
    ca: CertificationService | None = None,
) -> Iterator[Durable]:
    """Build such a house.

    Args:
        directory, profile, upstream: see :func:`tests.rig.house.house`.
        like: another process over the same store, in the same time, in front of the same CA.
        ca: takes the place of the lab's.
    """
    day = like.day if like is not None else Day()
    ca = like.ca if like is not None else ca or CertificationService(lab_state(directory).authority)
    way, database = Way(ca, day), like.database if like is not None else None
    with house(directory, profile, upstream, now=day.now, ca=ca, client=way, clock=day, database=database) as made:
        known = {each.name: getattr(made, each.name) for each in fields(House) if each.init}
        # Keys take their time to make, and every process makes its own.
        ready = partial(_ready, 20 if like is None else 21)
        keys = StoredKeys("ca", ready, made.database, VAULT, day.now)
        signer = EphemeralSelfSigned(keys, timedelta(days=1), timedelta(days=30))
        yield rebuilt(Durable(**known, way=way), signer=signer)


async def _ready(which: int) -> rsa.RSAPrivateKey:
    return csrs.rsa_key(which=which)


# --- What is asked and answered --------------------------------------------------------------------------------------


def told(house: House, forge: Forge, key: rsa.RSAPrivateKey = KEY) -> ReadAnswer:
    """The CertRep that a message is answered with, opened with the key of whoever signed it."""
    response = post(house, forge.message())
    assert response.status == 200, house.records[-1]
    answer = read_answer(response.body, house.authority.keyring.current.signing.certificate, key)
    assert answer.text(oid.TRANSACTION_ID) == forge.transaction_id
    assert answer.octets(oid.RECIPIENT_NONCE) == forge.sender_nonce
    return answer


def status(answer: ReadAnswer) -> PKIStatus:
    """Its pkiStatus; only SUCCESS has an envelope, for one recipient (I6)."""
    found = PKIStatus(answer.text(oid.PKI_STATUS))
    assert answer.recipients == (1 if found is PKIStatus.SUCCESS else 0)
    return found


def certificate(answer: ReadAnswer) -> bytes:
    """The certificate in a SUCCESS."""
    assert status(answer) is PKIStatus.SUCCESS
    return answer.certificates()[0]


def begin(house: House, message: bytes) -> Connection:
    """Send a PKIOperation whose answer may come later."""
    connection = Wire(house.resource, _LIMITS).connect(PEER)
    lines = http_request(b"/scep?operation=PKIOperation", b"POST", message)
    connection.channel.dataReceived(lines)
    return connection


def poll(house: House, forge: Forge, **changes: Any) -> Forge:
    """A CertPoll for what a message began, but for the changes."""
    settings: dict[str, Any] = {
        "message_type": MessageType.CERT_POLL.value,
        "content": issuer_and_subject(house.state.authority.certificate.subject_der, subject()),
        "envelope": None,
    }
    return replace(forge, **settings | changes)


def bare(response: Response, house: House) -> None:
    """Check that it is a 503 that says when to come again."""
    assert (response.status, response.body) == (503, b""), response
    after, configured = int(response.headers["retry-after"]), house.config.upstreams["ca"].retry_after
    assert configured <= after <= 1.5 * configured


# --- What is stored, and what reached the CA -------------------------------------------------------------------------


def transactions(house: House) -> list[Transaction]:
    """All transactions, in the order in which they came in."""
    found = house.database.call(_read)
    return sorted(found, key=lambda each: each.received)


def _read(connection: sa.Connection) -> list[Transaction]:
    return [read(row) for row in connection.execute(sa.select(*COLUMNS))]


def only(house: House) -> Transaction:
    """The one transaction."""
    (transaction,) = transactions(house)
    return transaction


def events(house: House) -> list[str]:
    """What the audit has noted, in order."""
    return [row.event for row in sorted(house.rows(tables.audit), key=lambda row: row.sequence)]


def reached(house: House, kind: MessageType = MessageType.PKCS_REQ) -> list[Received]:
    """The messages of a kind that the CA received."""
    return [item for item in house.ca.received if item.message_type is kind]


def content(house: House, received: Received) -> bytes:
    """What was in a message's envelope, opened with the CA's key."""
    assert received.request is not None
    _, digest = received.request.verify(PERMISSIVE)
    return received.request.open(Keyring([house.ca.generation]), PERMISSIVE, digest).content


class OneTime:
    """Challenges that are good for one key each, however they are called, until they expire."""

    def __init__(self) -> None:
        self.checked = 0
        self.expired = False

    async def check(self, request: EnrolmentRequest) -> Verdict:
        """As a provider."""
        self.checked += 1
        if self.expired:
            return ChallengeRefused("it has expired")
        name = f"one-time {request.csr.challenge_password}"
        return ChallengeAccepted(name, (Reservation(name),))
