"""An enrolment as values: what is asked, by whom, with which credential, and what is decided about it.

A refusal here is a value: only a message that cannot be understood raises :class:`scepra.errors.ScepError`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from scepra.errors import FailInfo
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import MessageType


class Credential(enum.Enum):
    """How the signer of a request stands to it (design rule 4); there is no fifth kind.

    Two of them exist only where a profile names whose they are: the device's manufacturer, and the agents.
    """

    INITIAL = "initial"
    """The request's own key, self-signed; it proves nothing, so that a challenge must."""
    RENEWAL = "renewal"
    """The certificate that is to be renewed."""
    DEVICE = "device"
    """The certificate that the device's manufacturer gave it."""
    ON_BEHALF = "on-behalf"
    """An agent, who vouches for others."""


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """One verified and opened PKCSReq or RenewalReq.

    ``signer`` is the certificate whose key signed the message; ``source`` the peer's IP address as text; ``received``
    the moment it came in, UTC; ``digest`` that of the message's signature.
    """

    profile: str
    credential: Credential
    message_type: MessageType
    transaction_id: str
    csr: CertificationRequest
    signer: Certificate
    source: str
    received: datetime
    digest: Digest = Digest.SHA256


@dataclass(frozen=True, slots=True)
class Hold:
    """The request waits for people: how many different ones must approve, how long it may wait, and why.

    ``approvals`` is 1 or 2; ``expires`` in seconds from when the request came in; ``reason`` is for the operator and
    repeats nothing that the client sent.
    """

    approvals: int
    expires: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A credential that is good for some public keys only: it is taken for the request's key in the commit that records
    the request, and stays with the keys that it was taken for (I2, DR-8).

    ``credential`` names it in the store and in records, and reveals nothing; ``uses`` is for how many keys it is good;
    ``challenge`` is the id of the challenge that the store itself keeps, if it does: that must be good at that very
    moment (AC-098).
    """

    credential: str
    uses: int = 1
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class ChallengeAccepted:
    """The challenge is good for this request.

    Attributes:
        credential_id: names it in records without revealing it.
        reserve: what is taken for the request's key if everything else is good too.
        device: the device that it was given to, as far as that is known; limits count by it.
        hold: what people have to say about it, whatever the policy wants.
        notify: the providers that are told what becomes of the request, by their names in the profile.
    """

    credential_id: str
    reserve: tuple[Reservation, ...] = ()
    device: str = ""
    hold: Hold | None = None
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChallengeRefused:
    """The challenge is not good; ``reason`` is for the log and names no secret.

    ``misused`` names the challenge that the store keeps, where it is the right one and the request is not what it was
    given for: that is counted (AC-091). ``foreign`` says that it is no challenge of this provider's at all, so that
    another provider may know it; what a provider knows and refuses, no other can make good.
    """

    reason: str
    misused: str | None = None
    foreign: bool = False


Verdict = ChallengeAccepted | ChallengeRefused


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing a rule objects to: the rule's name, what it looked at, a sentence for the operator.

    ``structural`` says that it is refused even where the rule only reports: what is malformed or broken, and powers
    that must be named.
    """

    rule: str
    path: str
    sentence: str
    fail_info: FailInfo = FailInfo.BAD_REQUEST
    structural: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.rule}: {self.path}: {self.sentence}" if self.path else f"{self.rule}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Approve:
    """The request may be forwarded."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The request is refused, for every one of these reasons."""

    violations: tuple[Violation, ...]


Decision = Approve | Hold | Reject
