"""One shared password for a whole profile: the weakest challenge, and what most devices are configured with."""

from __future__ import annotations

import hmac
import unicodedata

from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Verdict


class StaticChallenge:
    """Compares the challenge with one secret, on octets and in constant time (AC-095, AC-097).

    Args:
        secret: the password in UTF-8, not empty.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = unicodedata.normalize("NFC", secret.decode("utf-8")).encode("utf-8")
        if not self._secret.strip():
            raise ValueError("an empty challenge authorises nobody")

    async def check(self, request: EnrolmentRequest) -> Verdict:
        given = request.csr.challenge_password
        if not given:
            return ChallengeRefused("no challenge", foreign=True)
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._secret):
            return ChallengeRefused("wrong challenge", foreign=True)
        return ChallengeAccepted("static")
