"""What every challenge provider is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from scepra.enrolment import EnrolmentRequest, Verdict


class ChallengeProvider(Protocol):
    """Judges the challenge of an initial enrolment.

    A provider never writes: it says whether the challenge is good for this request, and under which name it is to be
    recorded, and what the store is to reserve of it. Absent, empty, unconfigured and in error are all "no" (design
    rule 6).
    """

    async def check(self, request: EnrolmentRequest) -> Verdict:
        """Whether the request's challenge authorises it.

        Raises:
            ProviderError: whoever knows cannot be asked now, or says nothing that can be believed.
        """


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of a request that a provider accepted.

    Attributes:
        id: the same, however often it is told: telling may be repeated.
        event: "issued" or "refused".
        reason: how it ended: "granted"; "refused" or "misissued" by the CA; "denied" or "closed" by people; "expired".
        at: when it ended, UTC.
        profile: by its name.
        enrolment: the transaction's id, as records have it.
        transaction_id: the client's.
        csr: the request, as it came.
        certificate: what was issued, as it came; None if it was refused.
    """

    id: str
    event: str
    reason: str
    at: datetime
    profile: str
    enrolment: str
    transaction_id: str
    csr: bytes
    certificate: bytes | None


@runtime_checkable
class Notified(Protocol):
    """A provider that is told what becomes of the requests that it accepts.

    ``kind`` is what it calls itself in :attr:`~scepra.enrolment.ChallengeAccepted.notify`; ``patience`` for how long it
    is tried to tell it, in seconds.
    """

    kind: str
    patience: float

    async def notify(self, notice: Notice) -> None:
        """Tell it; returns when it has confirmed.

        Raises:
            ProviderError: it has not; it will be told again.
        """
