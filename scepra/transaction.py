"""The life of an enrolment: its states, what can happen in each, and the values that a transaction is made of.

The whole life is one table, :data:`TRANSITIONS`. There is no state for "answered": SCEP has no acknowledgement, so an
outcome is kept and told as often as it is asked for (RFC 8894, 7.4; MSG-45).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from scepra.enrolment import Credential
from scepra.errors import FailInfo
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import PKIStatus


class State(enum.Enum):
    """Where an enrolment stands; the value is what the database and the command line call it."""

    HELD = "held"
    QUEUED = "queued"
    SENDING = "sending"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    ISSUED = "issued"
    REFUSED = "refused"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (State.ISSUED, State.REFUSED)

    @property
    def status(self) -> PKIStatus:
        """What the client is told. Transport trouble is never FAILURE (FT-01)."""
        return {State.ISSUED: PKIStatus.SUCCESS, State.REFUSED: PKIStatus.FAILURE}.get(self, PKIStatus.PENDING)


_MEANINGS = {
    State.HELD: "waits for people to approve it",
    State.QUEUED: "will be sent to the CA; certainly nothing has been sent yet",
    State.SENDING: "is being sent: from here on the CA may know it",
    State.WAITING: "the CA holds it back, and is polled",
    State.UNKNOWN: "the CA may have carried it out: its answer was lost, or not believed, and it is asked again",
    State.ISSUED: "the certificate is stored",
    State.REFUSED: "refused: by the CA, by people, or because it took too long",
}


class Event(enum.Enum):
    """What happens to an enrolment."""

    APPROVED = "approved"
    DENIED = "denied"
    SENT = "sent"
    NOT_SENT = "not sent"
    GRANTED = "granted"
    PENDED = "pended"
    REFUSED = "refused"
    MISISSUED = "misissued"
    LOST = "lost"
    EXPIRED = "expired"
    REDRIVEN = "redriven"
    CLOSED = "closed"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _EVENTS[self]


_EVENTS = {
    Event.APPROVED: "as many people as the rule asks for have approved it",
    Event.DENIED: "somebody has denied it",
    Event.SENT: "it is about to be sent: committed before the first octet leaves",
    Event.NOT_SENT: "the CA could not be reached: certainly no octet left",
    Event.GRANTED: "the CA's answer holds a certificate that is believed",
    Event.PENDED: "the CA holds it back",
    Event.REFUSED: "the CA refuses",
    Event.MISISSUED: "the CA issued something else than was asked for, which is not delivered",
    Event.LOST: "octets may have left, and no answer came that can be believed; or the process that sent it is gone",
    Event.EXPIRED: "it took longer than is configured",
    Event.REDRIVEN: "an operator wants it asked again",
    Event.CLOSED: "an operator ends it",
}

INITIAL = (State.HELD, State.QUEUED, State.SENDING)
"""The states that an enrolment can begin in."""

TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.HELD, Event.APPROVED): State.QUEUED,
    (State.HELD, Event.DENIED): State.REFUSED,
    (State.HELD, Event.EXPIRED): State.REFUSED,
    # What was quarantined is tried again in any state, and what somebody has looked at needs nobody any more.
    (State.HELD, Event.REDRIVEN): State.HELD,
    (State.REFUSED, Event.CLOSED): State.REFUSED,
    (State.QUEUED, Event.SENT): State.SENDING,
    (State.QUEUED, Event.EXPIRED): State.REFUSED,
    (State.QUEUED, Event.REDRIVEN): State.QUEUED,
    (State.QUEUED, Event.CLOSED): State.REFUSED,
    (State.SENDING, Event.NOT_SENT): State.QUEUED,
    (State.SENDING, Event.GRANTED): State.ISSUED,
    (State.SENDING, Event.PENDED): State.WAITING,
    (State.SENDING, Event.REFUSED): State.REFUSED,
    (State.SENDING, Event.MISISSUED): State.REFUSED,
    (State.SENDING, Event.LOST): State.UNKNOWN,
    (State.WAITING, Event.GRANTED): State.ISSUED,
    (State.WAITING, Event.PENDED): State.WAITING,
    (State.WAITING, Event.REFUSED): State.REFUSED,
    (State.WAITING, Event.MISISSUED): State.REFUSED,
    (State.WAITING, Event.NOT_SENT): State.WAITING,
    (State.WAITING, Event.LOST): State.WAITING,
    (State.WAITING, Event.EXPIRED): State.REFUSED,
    (State.WAITING, Event.REDRIVEN): State.UNKNOWN,
    (State.WAITING, Event.CLOSED): State.REFUSED,
    (State.UNKNOWN, Event.GRANTED): State.ISSUED,
    (State.UNKNOWN, Event.PENDED): State.WAITING,
    # A CA that refuses what it has been sent twice may only mean that it knows it already (FT-13).
    (State.UNKNOWN, Event.REFUSED): State.UNKNOWN,
    (State.UNKNOWN, Event.MISISSUED): State.REFUSED,
    (State.UNKNOWN, Event.NOT_SENT): State.UNKNOWN,
    (State.UNKNOWN, Event.LOST): State.UNKNOWN,
    (State.UNKNOWN, Event.REDRIVEN): State.UNKNOWN,
    (State.UNKNOWN, Event.CLOSED): State.REFUSED,
}


class Impossible(Exception):
    """An event that cannot happen in a state; the text names both."""


def follow(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        Impossible: the table has no such transition.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Impossible(f"what is {state.value} cannot be {event.value}") from None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One enrolment as it is stored. Moments are UTC; digests are SHA-256.

    Attributes:
        id: names it to operators; sixteen hexadecimal digits.
        profile, upstream: by their configured names.
        message: the digest of the message that began it (SEC-07).
        attempt: how often the same request has been made anew after it was refused or has expired.
        client_transaction: the transactionID of the message that began it.
        signer_key, public_key: digests of the keys of the message's signer and of the request.
        csr: the request, sealed by the :class:`~scepra.store.vault.Vault`.
        csr_digest: of the request, unsealed.
        subject, names: what it asks for, for people; cut to a bounded length.
        source: the address it came from.
        challenge: the name of the credential that authorised it.
        upstream_transaction: the transactionID at the CA (RA-16).
        signer_key_id, signer_certificate: the key and certificate that sign to the CA, if they are not the configured
            ones (RA-20).
        sends, polls: how often a PKCSReq may have left, and how often the CA was polled.
        next_at: when the RA looks at it next; None: not before somebody does something.
        expires: when it has taken too long; None: never.
        fence: counts who has taken it up; only the last may say what became of it (FT-43).
        certificate: issued and believed.
        fail_info: why it is refused.
        reason: why it is as it is, for people.
        attention: why somebody should look at it; empty if nobody has to.
        approvals: how many people have to approve it; 0: none.
        device: the device that its challenge was given to; empty if that is not known.
        notify: the providers of challenges that are told what becomes of it.
        policy: names the policy that it was judged by (DR-19).
        authority: the SHA-256 of the CA's certificate that it is asked of; None: of whoever is the CA (CERT-35).
    """

    id: str
    profile: str
    upstream: str
    state: State
    credential: Credential
    message: bytes
    attempt: int
    client_transaction: str
    signer_key: bytes
    public_key: bytes
    csr: bytes
    csr_digest: bytes
    subject: str
    names: tuple[str, ...]
    source: str
    challenge: str
    upstream_transaction: str
    signer_key_id: str | None
    signer_certificate: bytes | None
    sends: int
    polls: int
    received: datetime
    changed: datetime
    next_at: datetime | None
    expires: datetime | None
    fence: int
    certificate: bytes | None
    certificate_ends: datetime | None
    fail_info: FailInfo | None
    reason: str
    attention: str
    approvals: int
    device: str
    notify: tuple[str, ...]
    policy: str
    authority: bytes | None = None

    def answers(self, message: bytes, now: datetime) -> bool:
        """Whether this is also the answer to the same request made again (MSG-25, FT-23; DR-9).

        What is under way is. What was issued is until its certificate ends. What was refused is told again to the very
        same message only: a client that asks anew, perhaps because the reason has gone, is judged anew.

        Args:
            message: the digest of the message that made it.
            now: UTC.
        """
        if self.state is State.ISSUED:
            return self.certificate_ends is None or now < self.certificate_ends
        return self.state is not State.REFUSED or message == self.message


def request_identity(profile: str, credential: Credential, signer: Certificate, csr: CertificationRequest) -> bytes:
    """What is the same whenever the same request is made again, under whatever transactionID (DR-9, FT-23).

    It is the profile, who asks (a key, or the certificate that is renewed) and what the request says, which includes
    its challenge: all but its signature, which some algorithms make differently each time.
    """
    who = signer.public_key.sha256.hex() if credential is Credential.INITIAL else signer.fingerprint()
    what = hashlib.sha256(csr.signed).hexdigest()
    return "\0".join((profile, credential.value, who, what)).encode("utf-8")


def route(profile: str, transaction_id: str, public_key: bytes) -> bytes:
    """The digest under which a poll finds its transaction: never the transactionID alone (MSG-03, MSG-42, SEC-08).

    Args:
        public_key: the digest of the key that signs the poll.
    """
    material = b"\0".join((profile.encode("utf-8"), public_key.hex().encode("ascii"), transaction_id.encode("ascii")))
    return hashlib.sha256(material).digest()


def upstream_transaction_id(request: bytes, transaction_id: str, attempt: int = 0) -> str:
    """The transactionID at the CA: ours, and the same for the same request (RA-16); 32 upper-case hex digits.

    Args:
        request: the digest of what :func:`request_identity` says: profile, who asks, and for what.
        transaction_id: the client's.
        attempt: a request that is judged anew is another transaction there too.
    """
    material = b"\0".join((request.hex().encode("ascii"), transaction_id.encode("ascii"), b"%d" % attempt))
    return hashlib.sha256(material).hexdigest()[:32].upper()
