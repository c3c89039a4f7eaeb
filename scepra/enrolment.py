"""An enrolment as values: what is asked, by whom, with which credential, and what is decided about it.

A refusal here is a value: only a message that cannot be understood raises :class:`scepra.errors.ScepError`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from scepra.errors import FailInfo
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import MessageType


class Credential(enum.Enum):
    """How the signer of a request stands to it (design rule 4); there is no third kind."""

    INITIAL = "initial"
    RENEWAL = "renewal"


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """One verified and opened PKCSReq or RenewalReq.

    ``signer`` is the certificate whose key signed the message; ``source`` the peer's IP address as text; ``received``
    the moment it came in, UTC.
    """

    profile: str
    credential: Credential
    message_type: MessageType
    transaction_id: str
    csr: CertificationRequest
    signer: Certificate
    source: str
    received: datetime


@dataclass(frozen=True, slots=True)
class ChallengeAccepted:
    """The challenge is good for this request; ``credential_id`` names it in records without revealing it.

    ``once`` says that it is good for one public key only: it is reserved for the first that passes everything (DR-8).
    """

    credential_id: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class ChallengeRefused:
    """The challenge is not good; ``reason`` is for the log and names no secret."""

    reason: str


Verdict = ChallengeAccepted | ChallengeRefused


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing a rule objects to: the rule's name, what it looked at, a sentence for the operator."""

    rule: str
    path: str
    sentence: str
    fail_info: FailInfo = FailInfo.BAD_REQUEST

    def __str__(self) -> str:
        return f"{self.rule}: {self.path}: {self.sentence}" if self.path else f"{self.rule}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Approve:
    """The request may be forwarded."""


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
class Reject:
    """The request is refused, for every one of these reasons."""

    violations: tuple[Violation, ...]


Decision = Approve | Hold | Reject
