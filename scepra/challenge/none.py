"""No challenge: policy and network position are all that stands before the upstream."""

from __future__ import annotations

from scepra.enrolment import ChallengeAccepted, EnrolmentRequest, Verdict


class NoChallenge:
    """Accepts whatever challenge a request carries, or none (MSG-24: only where a profile says so in as many words)."""

    async def check(self, request: EnrolmentRequest) -> Verdict:
        return ChallengeAccepted("none")
