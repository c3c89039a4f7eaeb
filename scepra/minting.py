"""Making a challenge for somebody: what may be asked for, and what is kept of it (DR-17, SEC-05, AC-104).

The command line and the administration mint in the same way: :func:`mint` judges the order and makes the challenge,
:func:`scepra.store.challenges.add` keeps it. The challenge itself is returned once, and nowhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.binding import Binding
from scepra.config import model
from scepra.config.challenge import MintedChallenge
from scepra.store.challenges import Challenge
from scepra.store.intents import new_id
from scepra.store.vault import Vault

OCTETS = 16
"""The entropy of a challenge. It is written in upper-case hexadecimal: every client takes that, some refuse more."""


class NotMinted(Exception):
    """An order that is refused; the text is a sentence for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        profile: by name.
        binding: for whom.
        minter: who asks, for the record.
        lifetime: in seconds; None: the profile's.
        uses: for how many keys.
        unbound: whether whoever asks may have a challenge that names nobody.
    """

    profile: str
    binding: Binding
    minter: str
    lifetime: float | None = None
    uses: int = 1
    unbound: bool = False


@dataclass(frozen=True, slots=True)
class Minted:
    """A new challenge: ``text`` for whoever asked, ``digest`` and ``kept`` for the store, which keeps no more than
    ``most`` of its profile."""

    text: str
    digest: bytes
    kept: Challenge
    most: int


def mint(order: Order, profiles: Mapping[str, model.Profile], vault: Vault, now: datetime) -> Minted:
    """Make a challenge.

    Args:
        profiles: of the configuration, by name.

    Raises:
        NotMinted: it may not be made.
    """
    settings = settings_of(order.profile, profiles)
    binding = order.binding
    for name in settings.bind:
        if not getattr(binding, name.replace("-", "_")):
            raise NotMinted(f"profile {order.profile} wants challenges bound: say the {name}")
    if not binding.names_somebody and not order.unbound:
        raise NotMinted("a challenge that names nobody is good for every name: say whom it is for")
    lifetime = settings.lifetime if order.lifetime is None else order.lifetime
    if not 0 < lifetime <= settings.longest:
        raise NotMinted(f"the lifetime is not within profile {order.profile}'s longest, {settings.longest:g} s")
    if not 1 <= order.uses <= settings.most_uses:
        raise NotMinted(f"a challenge of profile {order.profile} has at most {settings.most_uses} uses")
    text = secrets.token_hex(OCTETS).upper()
    kept = Challenge(
        new_id(),
        order.profile,
        binding.to_json(),
        order.uses,
        "minted",
        order.minter,
        now,
        now + timedelta(seconds=lifetime),
        None,
        0,
        None,
    )
    return Minted(text, digest(vault, text), kept, settings.outstanding)


def settings_of(profile: str, profiles: Mapping[str, model.Profile]) -> MintedChallenge:
    """What a profile says about the challenges that it mints.

    Raises:
        NotMinted: there is no such profile, or it mints none.
    """
    found = profiles.get(profile)
    if found is None:
        raise NotMinted(f"there is no profile {profile}")
    minted = [each for each in model.singles(found.challenge) if isinstance(each, MintedChallenge)]
    if not minted:
        raise NotMinted(f"profile {profile} has no challenges of the type minted")
    return minted[0]


def digest(vault: Vault, challenge: str) -> bytes:
    """Under which a challenge is kept and found again: keyed, so that the database alone gives nothing away."""
    return vault.digest(b"\0challenge\0" + challenge.encode("utf-8", "surrogatepass"))
