"""Drawing NDES's one-time passwords before somebody asks for one (RA-11): a few, and never more than NDES keeps.

A password takes a place in NDES's small cache until it is used or has expired, so that drawing without being asked to
would lock everybody else out. Of all processes, one draws at a time; it draws slowly, and stops drawing where NDES says
that it has no more room, does not know the account or does not answer: an account that is tried on and on is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra import minting
from scepra.config.model import NdesChallenge, Profile, singles
from scepra.errors import StoreError
from scepra.lead import Lead
from scepra.ndes import authentication
from scepra.ndes.client import Client, NotDrawn, Trouble
from scepra.ndes.page import Password
from scepra.recurring import Recurring
from scepra.store import brokered
from scepra.store.challenges import Challenge
from scepra.store.database import Database
from scepra.store.intents import new_id
from scepra.store.vault import Vault

log = Logger()

TICK = 1.0
"""How often to look, in seconds: a profile's passwords are not drawn faster."""
LEASE = 20.0
"""For how many seconds one process draws before it has to say so again."""
MINUTES = 60
"""How long a password is good where the page does not say: NDES's own default."""
PAUSES = {Trouble.FULL: (60.0, 600.0), Trouble.MISCONFIGURED: (300.0, 3600.0), Trouble.UNAVAILABLE: (5.0, 300.0)}
"""How long nothing is drawn after a first failure, and how long at most: each time twice as long."""


@dataclass(slots=True)
class Pool:
    """The passwords of one profile. ``resting_until`` and ``failures`` are about draws that failed in a row."""

    profile: str
    settings: NdesChallenge
    client: Client
    failures: int = field(default=0, init=False)
    resting_until: float = field(default=float("-inf"), init=False)

    @property
    def lasting(self) -> timedelta:
        """How long a password must still be good to be handed out."""
        return timedelta(seconds=self.settings.remaining)

    @property
    def margin(self) -> timedelta:
        """How much longer than here a password is good at NDES."""
        return timedelta(seconds=self.settings.margin)


class Broker(Recurring):
    """Keeps the pools of one NDES, its ``origin``, filled."""

    def __init__(
        self,
        pools: Iterable[Pool],
        database: Database,
        vault: Vault,
        owner: str,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        """
        Args:
            pools: all in front of the same NDES.
            database, vault: where passwords are kept, and what seals them there.
            owner: names this process in leases.
            now: UTC.
            reactor: the clock that nobody sets.
        """
        super().__init__(reactor, "drawing passwords of NDES", TICK)
        self._pools = tuple(pools)
        self.origin = self._pools[0].settings.broker
        self._database = database
        self._vault = vault
        self._now = now
        # No upstream can have such a name.
        self._lead = Lead(database, f":{self.origin}"[:64], owner, now, reactor, LEASE)

    def succeed(self, before: Broker) -> None:
        """Rest where another did: an account that is tried on and on is locked."""
        rests = {(each.profile, each.settings): each for each in before._pools}
        for pool in self._pools:
            known = rests.get((pool.profile, pool.settings))
            if known is not None:
                pool.failures, pool.resting_until = known.failures, known.resting_until

    async def look(self) -> None:
        """Draw what is wanted now."""
        await self.refill()

    async def end(self) -> None:
        """Let others draw."""
        await self._lead.give_up()

    async def refill(self) -> None:
        """Draw at most one password for each profile that wants one."""
        try:
            if await self._lead.is_ours():
                for pool in self._pools:
                    await self._fill(pool)
        except StoreError as error:
            log.error("{broker} waits: {error}", broker=self.origin, error=error.reason)

    async def _fill(self, pool: Pool) -> None:
        if self._reactor.seconds() < pool.resting_until:
            return
        begun = self._now()
        stock = await self._database.read(brokered.stock, self.origin, pool.profile, begun, pool.lasting, pool.margin)
        if stock.ready >= pool.settings.pool or stock.outstanding >= pool.settings.cache:
            return
        try:
            await self._keep(pool, await pool.client.draw(), begun)
        except NotDrawn as error:
            self._rest(pool, error)
        else:
            pool.failures = 0

    async def _keep(self, pool: Pool, password: Password, begun: datetime) -> None:
        minutes = MINUTES if password.minutes is None else password.minutes
        expires = begun + timedelta(minutes=minutes) - pool.margin
        if expires <= begun + pool.lasting:
            sentence = f"its passwords are good for {minutes} minutes: too short for margin and remaining"
            raise NotDrawn(Trouble.MISCONFIGURED, sentence)
        kept = Challenge(new_id(), pool.profile, {}, 1, self.origin, "", begun, expires, None, 0, None)
        vault = self._vault

        def digest_of(sealed: bytes) -> bytes:
            return minting.digest(vault, vault.open(sealed).decode())

        sealed = vault.seal(password.text.encode())
        digest = minting.digest(vault, password.text)
        if not await self._database.write(brokered.keep, kept, sealed, digest, digest_of):
            sentence = "it gave the same password twice: it has one for everybody; use a challenge of the type static"
            raise NotDrawn(Trouble.MISCONFIGURED, sentence)

    def _rest(self, pool: Pool, error: NotDrawn) -> None:
        first, longest = PAUSES[error.trouble]
        pause = min(first * 2 ** min(pool.failures, 16), longest)
        pool.failures += 1
        pool.resting_until = self._reactor.seconds() + pause
        say = log.critical if error.trouble is Trouble.MISCONFIGURED else log.warn
        say(
            "{broker} gives no password for profile {profile}: {reason}; tried again in {pause:.0f} s",
            broker=self.origin,
            profile=pool.profile,
            reason=error.reason,
            pause=pause,
        )


def brokers(
    profiles: Mapping[str, Profile],
    database: Database,
    vault: Vault,
    owner: str,
    now: Callable[[], datetime],
    reactor: IReactorTime,
) -> tuple[Broker, ...]:
    """A broker for each NDES whose passwords the profiles give out.

    Raises:
        ConfigError: what an account needs is not installed, or a file holds no certificates.
    """
    pools: dict[str, list[Pool]] = {}
    for name, profile in profiles.items():
        for each in singles(profile.challenge):
            if isinstance(each, NdesChallenge):
                authentication.require(each, f"profiles.{name}.challenge")
                pools.setdefault(each.broker, []).append(Pool(name, each, Client(each, reactor)))
    return tuple(Broker(found, database, vault, owner, now, reactor) for found in pools.values())
