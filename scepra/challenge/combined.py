"""Several providers on one profile: a credential that is there and wrong is never ignored (MSG-23)."""

from __future__ import annotations

from collections.abc import Sequence

from scepra.challenge.protocol import ChallengeProvider
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Verdict


class AnyOf:
    """Good is what one of the providers knows and accepts; what one of them knows and refuses, no other is asked about.

    Args:
        providers: in the order in which they are asked.
    """

    def __init__(self, providers: Sequence[ChallengeProvider]) -> None:
        self._providers = tuple(providers)

    async def check(self, request: EnrolmentRequest) -> Verdict:
        reasons = []
        for provider in self._providers:
            verdict = await provider.check(request)
            if isinstance(verdict, ChallengeAccepted) or not verdict.foreign:
                return verdict
            reasons.append(verdict.reason)
        return ChallengeRefused("; ".join(dict.fromkeys(reasons)), foreign=True)


class AllOf:
    """Good is what all of the providers accept, and everything that each of them wants is wanted.

    Args:
        providers: in the order in which they are asked; the first that refuses is the last that is asked.
    """

    def __init__(self, providers: Sequence[ChallengeProvider]) -> None:
        self._providers = tuple(providers)

    async def check(self, request: EnrolmentRequest) -> Verdict:
        accepted = []
        for provider in self._providers:
            verdict = await provider.check(request)
            if isinstance(verdict, ChallengeRefused):
                return verdict
            accepted.append(verdict)
        return accepted_by_all(accepted)


def accepted_by_all(accepted: Sequence[ChallengeAccepted]) -> ChallengeAccepted:
    """What several credentials of one request come to, each of which is good."""
    return ChallengeAccepted(
        " and ".join(each.credential_id for each in accepted)[:128],
        tuple(reservation for each in accepted for reservation in each.reserve),
        next((each.device for each in accepted if each.device), ""),
        max((each.hold for each in accepted if each.hold), key=lambda hold: hold.approvals, default=None),
        tuple(dict.fromkeys(name for each in accepted for name in each.notify)),
    )
