"""A certificate from the device's manufacturer in place of a challenge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from scepra.challenge.combined import AnyOf, accepted_by_all
from scepra.challenge.protocol import ChallengeProvider
from scepra.enrolment import (
    ChallengeAccepted,
    ChallengeRefused,
    Credential,
    EnrolmentRequest,
    Reservation,
    Verdict,
)
from scepra.manufacturer import ManufacturerRules
from scepra.provenance import Revocation
from scepra.scep.certificate import Certificate


class ManufacturerCertificate:
    """Judges the certificate that signed a request, and none of its passwords.

    A request that another certificate authorises, one that is to be renewed or an agent's, is none of its business.

    Args:
        rules: which certificates, and for which names.
        keys: for how many keys one of them is good.
        revocation: tells of a certificate whether it was revoked; None: none was.
    """

    def __init__(
        self,
        rules: ManufacturerRules,
        keys: int = 1,
        revocation: Callable[[Certificate], Awaitable[Revocation]] | None = None,
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._revocation = revocation

    async def check(self, request: EnrolmentRequest) -> Verdict:
        """Whether the signer may enrol as it asks.

        Raises:
            RevocationError: it cannot be told now whether the certificate was revoked.
        """
        signer = request.signer
        if request.credential is Credential.INITIAL:
            return ChallengeRefused("no manufacturer's certificate", foreign=True)
        if request.credential is not Credential.DEVICE:
            return ChallengeAccepted("unread challenge")
        if not self._rules.issued(signer):
            return ChallengeRefused("another manufacturer's certificate", foreign=True)
        revocation = Revocation.GOOD if self._revocation is None else await self._revocation(signer)
        wrong = self._rules.violations(signer, request.csr, request.digest, request.received, revocation)
        if wrong:
            return ChallengeRefused("; ".join(map(str, wrong)))
        name = f"device {signer.fingerprint()}"
        return ChallengeAccepted(name, (Reservation(name, self._keys),), self._rules.device(signer))


class CertificateOrChallenge:
    """Manufacturers' certificates beside other kinds of challenge: good is one of them, and where there are both, both.

    Args:
        certificates: judge the signers.
        others: judge the passwords.
    """

    def __init__(self, certificates: Sequence[ChallengeProvider], others: Sequence[ChallengeProvider]) -> None:
        self._certificates = AnyOf(certificates)
        self._others = AnyOf(others)

    async def check(self, request: EnrolmentRequest) -> Verdict:
        if request.credential is not Credential.DEVICE:
            return await self._others.check(request)
        verdict = await self._certificates.check(request)
        if isinstance(verdict, ChallengeRefused) or not request.csr.challenge_password:
            return verdict
        # A challenge that is there and wrong is not ignored because the certificate is right.
        other = await self._others.check(request)
        return accepted_by_all((verdict, other)) if isinstance(other, ChallengeAccepted) else other
