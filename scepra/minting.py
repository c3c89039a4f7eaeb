"""Making a challenge for somebody: what may be asked for, and what is kept of it (DR-17, SEC-05, AC-104).

The command line and the administration mint in the same way: :func:`give` judges the order, makes the challenge or
takes one that a broker has drawn, and keeps what is kept of it, in one database transaction. The challenge itself is
returned once, and nowhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from scepra.binding import Binding
from scepra.config import model
from scepra.config.challenge import MintedChallenge, NdesChallenge
from scepra.store import brokered, challenges
from scepra.store.brokered import Wanted
from scepra.store.challenges import Challenge
from scepra.store.intents import new_id
from scepra.store.vault import Vault

OCTETS = 16
"""The entropy of a challenge. It is written in upper-case hexadecimal: every client takes that, some refuse more."""


class NotMinted(Exception):
    """An order that is refused; the text is a sentence for whoever gave it."""


class Exhausted(NotMinted):
    """An order that is right, for which there is no challenge now."""


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


def give(
    connection: sa.Connection, order: Order, profiles: Mapping[str, model.Profile], vault: Vault, now: datetime
) -> Minted:
    """A challenge for whoever asks, with what is kept of it in the store.

    Args:
        profiles: of the configuration, by name.

    Raises:
        NotMinted: it may not be made.
        Exhausted: there is none now.
    """
    settings = settings_of(order.profile, profiles)
    if isinstance(settings, NdesChallenge):
        return _hand_out(connection, order, settings, vault, now)
    minted = mint(order, profiles, vault, now)
    if not challenges.add(connection, minted.digest, minted.kept, minted.most):
        raise Exhausted(f"profile {order.profile} has {minted.most} challenges outstanding, and may not more")
    return minted


def mint(order: Order, profiles: Mapping[str, model.Profile], vault: Vault, now: datetime) -> Minted:
    """Make a challenge.

    Args:
        profiles: of the configuration, by name.

    Raises:
        NotMinted: it may not be made.
    """
    settings = settings_of(order.profile, profiles)
    if not isinstance(settings, MintedChallenge):
        raise NotMinted(f"profile {order.profile} has no challenges of the type minted")
    _require_binding(order, settings)
    lifetime = settings.lifetime if order.lifetime is None else order.lifetime
    if not 0 < lifetime <= settings.longest:
        raise NotMinted(f"the lifetime is not within profile {order.profile}'s longest, {settings.longest:g} s")
    if not 1 <= order.uses <= settings.most_uses:
        raise NotMinted(f"a challenge of profile {order.profile} has at most {settings.most_uses} uses")
    text = secrets.token_hex(OCTETS).upper()
    kept = Challenge(
        new_id(),
        order.profile,
        order.binding.to_json(),
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


def _hand_out(connection: sa.Connection, order: Order, settings: NdesChallenge, vault: Vault, now: datetime) -> Minted:
    """A password that a broker has drawn; how long it is good, the CA has said."""
    _require_binding(order, settings)
    if order.lifetime is not None:
        raise NotMinted(f"how long a challenge of profile {order.profile} is good, NDES says: ask for no lifetime")
    if order.uses != 1:
        raise NotMinted(f"a challenge of profile {order.profile} has one use")
    wanted = Wanted(
        settings.broker,
        order.profile,
        order.binding.to_json(),
        order.minter,
        timedelta(seconds=settings.remaining),
    )

    def opened(sealed: bytes) -> tuple[str, bytes]:
        text = vault.open(sealed).decode()
        return text, digest(vault, text)

    given = brokered.hand_out(connection, wanted, now, opened)
    if given is None:
        raise Exhausted(f"profile {order.profile} has no password of its NDES at hand now")
    text, kept = given
    return Minted(text, digest(vault, text), kept, settings.cache)


def _require_binding(order: Order, settings: MintedChallenge | NdesChallenge) -> None:
    binding = order.binding
    for name in settings.bind:
        if not getattr(binding, name.replace("-", "_")):
            raise NotMinted(f"profile {order.profile} wants challenges bound: say the {name}")
    if not binding.names_somebody and not order.unbound:
        raise NotMinted("a challenge that names nobody is good for every name: say whom it is for")


def settings_of(profile: str, profiles: Mapping[str, model.Profile]) -> MintedChallenge | NdesChallenge:
    """What a profile says about the challenges that it gives out.

    Raises:
        NotMinted: there is no such profile, or it gives out none.
    """
    found = profiles.get(profile)
    if found is None:
        raise NotMinted(f"there is no profile {profile}")
    giving = [each for each in model.singles(found.challenge) if isinstance(each, MintedChallenge | NdesChallenge)]
    if not giving:
        raise NotMinted(f"profile {profile} has no challenges of the type minted or ndes")
    return giving[0]


def digest(vault: Vault, challenge: str) -> bytes:
    """Under which a challenge is kept and found again: keyed, so that the database alone gives nothing away."""
    return vault.digest(b"\0challenge\0" + challenge.encode("utf-8", "surrogatepass"))
