"""What every challenge provider is."""

from __future__ import annotations

from typing import Protocol

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
