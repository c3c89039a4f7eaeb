"""Challenges over the administration: made for somebody, listed, revoked (AC-104, AC-125)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from scepra.binding import Binding, NoBinding
from scepra.minting import Exhausted, NotMinted, Order
from scepra.store import challenges
from scepra.store.challenges import Challenge
from scepra.store.database import Database
from scepra.store.tokens import Role, Token
from scepra.web.admin.giver import Giver
from scepra.web.admin.route import AdminRoute, Answer, Call, Denied

MOST_LISTED = 1000
_KEYS = {"profile", "binding", "lifetime", "uses"}


class ChallengesAPI:
    """The routes below ``/api/challenges``.

    What belongs to profiles that a token does not reach is told in the same way as what does not exist.
    """

    def __init__(self, giver: Giver, database: Database, now: Callable[[], datetime]) -> None:
        """
        Args:
            giver: makes challenges, or has them.
            database: where they are kept.
            now: UTC.
        """
        self._giver = giver
        self._database = database
        self._now = now

    @property
    def routes(self) -> tuple[AdminRoute, ...]:
        """For the registry."""
        minters = frozenset((Role.MINTER, Role.UNBOUND_MINTER))
        return (
            AdminRoute("POST", ("api", "challenges"), minters, self.mint),
            AdminRoute("GET", ("api", "challenges"), frozenset((Role.READER,)), self.list),
            AdminRoute("DELETE", ("api", "challenges", "{id}"), frozenset((Role.REVOKER,)), self.revoke),
        )

    async def mint(self, call: Call) -> Answer:
        """``{"profile": ..., "binding": {"common_name": ...}, "lifetime": SECONDS, "uses": N}``; the answer is the only
        one that ever holds the challenge."""
        order = _order(_object(call.body), call.token)
        if not call.token.reaches(order.profile):
            raise Denied(400, f"there is no profile {order.profile}")
        try:
            minted = await self._giver.give(order)
        except Exhausted as none:
            raise Denied(429, str(none)) from None
        except NotMinted as refused:
            raise Denied(400, str(refused)) from None
        return Answer.json(201, {"challenge": minted.text, **described(minted.kept)})

    async def list(self, call: Call) -> Answer:
        """The challenges that are good now, the latest first."""
        found = await self._database.read(challenges.listing, call.token.profiles, self._now(), MOST_LISTED)
        return Answer.json(200, {"challenges": [described(each) for each in found]})

    async def revoke(self, call: Call) -> Answer:
        """Nobody can use it any more who has not used it yet."""
        identifier, token = call.parts["id"], call.token
        done = await self._database.write(
            challenges.revoke, identifier, token.profiles, token.name, "over the administration", self._now()
        )
        if not done:
            raise Denied(404, "there is no such challenge that could be revoked")
        return Answer(204, b"")


def described(challenge: Challenge) -> dict[str, Any]:
    """What may be told of a challenge to whoever may list it."""
    return {
        "id": challenge.id,
        "profile": challenge.profile,
        "binding": dict(challenge.binding),
        "uses": challenge.uses,
        "used": challenge.used,
        "origin": challenge.origin,
        "minter": challenge.minter,
        "made": challenge.made.isoformat(timespec="seconds"),
        "expires": challenge.expires.isoformat(timespec="seconds"),
        "misuses": challenge.misuses,
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Denied(400, "expected a JSON object") from None
    if not isinstance(value, dict):
        raise Denied(400, "expected a JSON object")
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise Denied(400, f"there is no key {unknown[0][:40]!r}; there are {', '.join(sorted(_KEYS))}")
    return value


def _order(value: dict[str, Any], token: Token) -> Order:
    profile, binding, uses = value.get("profile"), value.get("binding", {}), value.get("uses", 1)
    lifetime = value.get("lifetime")
    if not isinstance(profile, str) or not profile.isascii() or not profile.isprintable() or len(profile) > 64:
        raise Denied(400, "profile: expected the name of a profile")
    if not isinstance(binding, dict):
        raise Denied(400, "binding: expected an object of names")
    if isinstance(uses, bool) or not isinstance(uses, int):
        raise Denied(400, "uses: expected a number")
    if lifetime is not None and (isinstance(lifetime, bool) or not isinstance(lifetime, int | float)):
        raise Denied(400, "lifetime: expected seconds")
    try:
        bound = Binding.from_json(binding)
    except NoBinding as wrong:
        raise Denied(400, f"binding: {wrong}") from None
    return Order(profile, bound, token.name, lifetime, uses, Role.UNBOUND_MINTER in token.roles)
