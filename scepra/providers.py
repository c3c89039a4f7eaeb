"""What judges the challenges of a profile, from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scepra import minting
from scepra.challenge.certificate import CertificateOrChallenge
from scepra.challenge.combined import AllOf, AnyOf
from scepra.challenge.directory import DirectoryChallenge
from scepra.challenge.intune import IntuneChallenge
from scepra.challenge.minted import MintedChallenge
from scepra.challenge.none import NoChallenge
from scepra.challenge.protocol import ChallengeProvider
from scepra.challenge.service import Service as Asked
from scepra.challenge.static import StaticChallenge
from scepra.challenge.webhook import WebhookChallenge
from scepra.config import model
from scepra.ground import Ground
from scepra.http.breaker import Breaker
from scepra.http.connection import Limits as HTTPLimits
from scepra.http.request import Origin
from scepra.store import challenges
from scepra.store.challenges import Challenge
from scepra.trust import Trust


def providers_of(ground: Ground, trust: Trust, name: str, challenge: model.Challenge) -> tuple[ChallengeProvider, ...]:
    """What judges the challenges of the profile *name*, each kind by itself.

    Raises:
        ConfigError: a file that one of them needs cannot be used.
    """
    by_name = isinstance(challenge, model.AllOf)
    return tuple(_provider(ground, trust, name, each, by_name) for each in model.singles(challenge))


def combined(challenge: model.Challenge, providers: Sequence[ChallengeProvider]) -> ChallengeProvider:
    """What they are together."""
    match challenge:
        case model.AnyOf():
            made = tuple(zip(challenge.providers, providers, strict=True))
            certificates = [judge for each, judge in made if isinstance(each, model.CertificateChallenge)]
            others = [judge for each, judge in made if not isinstance(each, model.CertificateChallenge)]
            if certificates and others:
                return CertificateOrChallenge(certificates, others)
            return AnyOf(certificates or others)
        case model.AllOf():
            return AllOf(providers)
        case _:
            return providers[0]


def _provider(
    ground: Ground, trust: Trust, name: str, challenge: model.SingleChallenge | model.NoChallenge, by_name: bool
) -> ChallengeProvider:
    match challenge:
        case model.StaticChallenge():
            return StaticChallenge(challenge.secret.reveal())
        case model.MintedChallenge():
            return MintedChallenge(partial(_find_challenge, ground))
        case model.NdesChallenge():
            return MintedChallenge(partial(_find_challenge, ground), challenge.broker)
        case model.CertificateChallenge():
            return trust.manufacturer(name, challenge)
        case model.SignedChallenge():
            # Here, since it needs what an extra brings.
            from scepra.challenge.signed import SignedChallenge

            return SignedChallenge(challenge)
        case model.WebhookChallenge():
            return WebhookChallenge(
                challenge, _origin(ground, challenge, challenge.url), _asked(ground, challenge), ground.now
            )
        case model.IntuneChallenge():
            origin = partial(_origin, ground, challenge)
            return IntuneChallenge(challenge, origin, _asked(ground, challenge), ground.reactor)
        case model.DirectoryChallenge():
            return DirectoryChallenge(
                challenge.file, ground.vault.digest, ground.reactor, ground.slowly, by_name=by_name
            )
        case model.NoChallenge():
            return NoChallenge()


def _origin(ground: Ground, asked: model.WebhookChallenge | model.IntuneChallenge, url: str) -> Origin:
    """The way to somebody who is asked about challenges."""
    limits = HTTPLimits(asked.connect_timeout, asked.timeout)
    if url.startswith("unix:"):
        client = ground.client("http://localhost/", limits, socket=url.removeprefix("unix:"))
    else:
        client = ground.client(url, limits)
    return Origin(client, ground.reactor, asked.answer)


def _asked(ground: Ground, asked: model.WebhookChallenge | model.IntuneChallenge) -> Asked:
    """What keeps from asking too much."""
    return Asked(asked.type, Breaker(ground.reactor, asked.retry_after), asked.concurrency)


async def _find_challenge(ground: Ground, challenge: str) -> Challenge | None:
    """What the store keeps of a challenge that a request carries."""
    return await ground.database.read(challenges.find, minting.digest(ground.vault, challenge))
