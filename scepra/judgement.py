"""Whether a request may be forwarded: credential, renewal rules and policy, all of them looked at (design rule 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scepra.agent import Agents
from scepra.challenge.combined import accepted_by_all
from scepra.challenge.protocol import ChallengeProvider
from scepra.enrolment import (
    ChallengeAccepted,
    ChallengeRefused,
    Credential,
    EnrolmentRequest,
    Hold,
    Reservation,
    Verdict,
    Violation,
)
from scepra.errors import FailInfo
from scepra.policy import Rules, decide
from scepra.policy.decision import OK, Outcome, Said, said_by
from scepra.provenance import Provenance
from scepra.renewal import RenewalRules


@dataclass(frozen=True, slots=True)
class Judgement:
    """The credential's verdict, every violation of renewal rules and policy, whether people have to approve, and what
    rules that only report object to.

    ``said`` is what each rule said, for the record; ``besides`` whether anything but the policy refuses it.
    """

    verdict: Verdict
    violations: tuple[Violation, ...]
    hold: Hold | None
    reported: tuple[Violation, ...] = ()
    said: Mapping[str, Said] = field(default_factory=dict)
    besides: bool = False

    @property
    def refused(self) -> bool:
        """Whether it may not be forwarded."""
        return isinstance(self.verdict, ChallengeRefused) or bool(self.violations)

    @property
    def outcome(self) -> Outcome:
        """What comes of it in one word."""
        return "reject" if self.refused else "approve" if self.hold is None else "hold"

    @property
    def credential_id(self) -> str | None:
        """The name of the credential in records; None for one that is not good."""
        return self.verdict.credential_id if isinstance(self.verdict, ChallengeAccepted) else None

    @property
    def reserve(self) -> tuple[Reservation, ...]:
        """What is taken for the request's key when it is recorded."""
        return self.verdict.reserve if isinstance(self.verdict, ChallengeAccepted) else ()

    @property
    def misused(self) -> str | None:
        """The challenge that was given for something else."""
        return self.verdict.misused if isinstance(self.verdict, ChallengeRefused) else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused, for the record."""
        reasons = tuple(map(str, self.violations))
        if isinstance(self.verdict, ChallengeRefused):
            reasons = (f"challenge: {self.verdict.reason}", *reasons)
        return reasons

    @property
    def fail_info(self) -> FailInfo:
        """What the client is told: only who showed a good credential learns that an algorithm was the reason (I8)."""
        told = isinstance(self.verdict, ChallengeAccepted)
        if told and any(violation.fail_info is FailInfo.BAD_ALG for violation in self.violations):
            return FailInfo.BAD_ALG
        return FailInfo.BAD_REQUEST


async def judge(
    request: EnrolmentRequest,
    provenance: Provenance,
    provider: ChallengeProvider,
    rules: Rules,
    renewal: RenewalRules | None,
    agents: Agents,
    *,
    challenge_goes_north: bool,
) -> Judgement:
    """Judge a request that was received.

    Args:
        provenance: what is known of the signer's certificate.
        provider, rules, renewal, agents: the profile's.
        challenge_goes_north: whether the CA asks for the challenge too, and so of who needs none here (RA-30).
    """
    csr, signer = request.csr, request.signer
    violations: list[Violation] = []
    shown: ChallengeAccepted | None = None
    if request.credential is Credential.RENEWAL:
        assert renewal is not None  # noqa: S101 - nothing is received as a renewal without rules for it
        violations += renewal.violations(signer, csr, request.digest, request.received, provenance)
        taken = renewal.reservation(signer)
        shown = ChallengeAccepted(taken.credential, (taken,))
    elif request.credential is Credential.ON_BEHALF:
        violations += agents.violations(signer, request.digest, request.received)
        shown = ChallengeAccepted(f"agent {signer.fingerprint()}")
    verdict: Verdict
    if shown is not None and not csr.challenge_password:
        verdict = shown
    else:
        # A challenge that is there is never ignored, even where a certificate would do (MSG-23).
        verdict = await provider.check(request)
        if shown is not None and isinstance(verdict, ChallengeAccepted):
            verdict = accepted_by_all((shown, verdict))
    if challenge_goes_north and not csr.challenge_password and request.credential is not Credential.INITIAL:
        name = request.credential.value
        violations.append(Violation(name, "challengePassword", "is what the upstream asks for (RA-30)"))
    if not signer.public_key.encrypts and not csr.challenge_password:
        violations.append(Violation("answer", "challengePassword", "is needed to encrypt to a key that only signs"))
    said = _said(verdict, request, violations)
    besides = isinstance(verdict, ChallengeRefused) or bool(violations)
    judged = decide(rules, request)
    violations += judged.violations
    holds = [] if judged.hold is None else [judged.hold]
    if isinstance(verdict, ChallengeAccepted) and verdict.hold is not None:
        holds.append(verdict.hold)
    hold = max(holds, key=lambda hold: hold.approvals, default=None)
    return Judgement(verdict, tuple(violations), hold, judged.reported, {**said, **judged.said}, besides)


def _said(verdict: Verdict, request: EnrolmentRequest, violations: list[Violation]) -> dict[str, Said]:
    """What was said about the credential, for the record: as rules of their own."""
    said: dict[str, Said] = {}
    if request.credential is Credential.INITIAL or request.csr.challenge_password:
        said["challenge"] = (verdict.reason,) if isinstance(verdict, ChallengeRefused) else OK
    if request.credential is not Credential.INITIAL:
        said[request.credential.value] = OK
    return said | said_by(violations)
