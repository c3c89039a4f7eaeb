"""Challenges that this RA has given out: found by their keyed digest, good for what they were given for (DR-17)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from scepra.binding import Binding
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict


class Kept(Protocol):
    """What the store keeps of a challenge."""

    @property
    def id(self) -> str: ...

    @property
    def profile(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def binding(self) -> Mapping[str, Any]: ...

    @property
    def uses(self) -> int: ...

    def fault(self, now: datetime) -> str | None:
        """Why it is not good now; None if it is."""


class MintedChallenge:
    """Judges challenges that :mod:`scepra.minting` has made, or that a broker has handed out.

    Args:
        find: what the store keeps of a challenge; None of what it does not know.
        origin: who made those that are good here: "minted", or the name of a broker.
    """

    def __init__(self, find: Callable[[str], Awaitable[Kept | None]], origin: str = "minted") -> None:
        self._find = find
        self._origin = origin

    async def check(self, request: EnrolmentRequest) -> Verdict:
        given = request.csr.challenge_password
        if not given:
            return ChallengeRefused("no challenge", foreign=True)
        kept = await self._find(given)
        if kept is None or kept.origin != self._origin:
            return ChallengeRefused("unknown challenge", foreign=True)
        name = f"{kept.origin} {kept.id}"
        if kept.profile != request.profile:
            return ChallengeRefused(f"{name} was given for profile {kept.profile}", misused=kept.id)
        binding = Binding.from_json(kept.binding)
        wrong = binding.violations(request.csr)
        if wrong:
            return ChallengeRefused(f"{name} was given for something else: {'; '.join(wrong)}", misused=kept.id)
        # Whether it has expired, or was revoked, is judged when it is reserved: the key that has it already keeps it.
        return ChallengeAccepted(name, (Reservation(name, kept.uses, kept.id),), binding.device)
