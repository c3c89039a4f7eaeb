"""What goes on by itself: polls of the CA, answers that were lost, and the backlog after an outage (FT-13, FT-15,
FT-17; I13)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.audit import Record
from scepra.errors import StoreError
from scepra.forwarding import Forwarding
from scepra.lead import Lead
from scepra.recurring import Recurring
from scepra.store import health, leases, outcomes
from scepra.store.owner import has_ended
from scepra.store.rows import Corrupt
from scepra.transaction import State, Transaction

log = Logger()

TICK = 1.0
"""How often to look, in seconds."""
PACE = 0.05
"""How often to look while more may be due than could be begun."""
LOOK_ROUND = 5.0
"""How often to look for what processes that have ended left behind, in seconds."""
LEASE = 10.0
"""For how many seconds one process drives an upstream before it has to say so again."""

NOBODY: Mapping[str, tuple[Forwarding, ...]] = MappingProxyType({})


class Reconciler(Recurring):
    """Drives the backlog of one upstream, at its configured rate; of all processes, one does at a time.

    The longest due and the latest take turns: clients that came last are the likeliest to be still there, and nobody
    waits for ever (FT-17). New requests do not pass through here: they are sent at once, beside the backlog, which
    takes no more than its share of the exchanges.
    """

    def __init__(self, forwarding: Forwarding, equal: Mapping[str, tuple[Forwarding, ...]] = NOBODY) -> None:
        """
        Args:
            forwarding: the way to the upstream.
            equal: the ways to those that are equal to it for all requests of a profile, by the profile's name.
        """
        super().__init__(forwarding.reactor, "driving the backlog", TICK)
        self._forwarding = forwarding
        self._equal = {profile: others for profile, others in equal.items() if others}
        self._queue = forwarding.settings.queue
        self._upstream = forwarding.upstream
        self._lead = Lead(
            forwarding.database, self._upstream.name, forwarding.owner, forwarding.now, forwarding.reactor, LEASE
        )
        self._running: dict[str, Deferred[None]] = {}
        self._looked_round = float("-inf")
        self._allowance = 0.0
        self._filled = 0.0
        self._latest = False
        self._more = False

    def startService(self) -> None:
        """Look at once, and from now on."""
        self._filled = self._reactor.seconds()
        super().startService()

    async def look(self) -> None:
        """Drive what is due, as far as may be begun now."""
        self._more = False
        self._more = await self._look()

    def pause(self) -> float:
        """Sooner where more is due than could be begun."""
        return PACE if self._more else super().pause()

    async def end(self) -> None:
        """What is under way is waited for; then others may drive."""
        while self._running:
            await next(iter(self._running.values()))
        await self._lead.give_up()

    async def _look(self) -> bool:
        """One look at what is due; whether more may be due than could be begun."""
        try:
            await self._look_round()
            if not await self._lead.is_ours():
                return False
            if self._equal and self._upstream.breaker.trying:
                await self._move()
            room = 1 if self._upstream.breaker.trying else self._room()
            if room < 1:
                return True
            forwarding, limit = self._forwarding, room + len(self._running)
            due = await forwarding.database.read(
                leases.due, self._upstream.name, forwarding.now(), limit, latest=self._latest
            )
            # What was begun a moment ago may not have been claimed yet.
            due = [each for each in due if each[0] not in self._running]
            if not due or not self._upstream.breaker.admits():
                return False
        except StoreError as error:
            log.error("the backlog of {upstream} waits: {error}", upstream=self._upstream.name, error=str(error))
            return False
        self._latest = not self._latest
        for transaction, fence in due[:room]:
            self._allowance -= 1
            self._spawn(transaction, fence)
        return len(due) >= room

    async def _move(self) -> None:
        """Let what certainly was never sent go to an equal CA that is well, as long as this one is not (FT-01, I4)."""
        forwarding, now = self._forwarding, self._forwarding.now()
        well = await forwarding.database.read(health.well)
        takers = {
            profile: other.upstream.name
            for profile, others in self._equal.items()
            for other in reversed(others)
            if other.upstream.name in well and not other.upstream.breaker.trying
        }
        if not takers:
            return
        name, most = self._upstream.name, math.ceil(self._queue.rate * TICK)
        for transaction, fence, profile in await forwarding.database.read(
            leases.stranded, name, tuple(takers), now, most, self._upstream.authority
        ):
            other = takers[profile]
            if (
                await forwarding.database.write(
                    leases.move, transaction, fence, name, other, now, self._upstream.authority
                )
                is not None
            ):
                log.info("transaction {id} goes to {other}, not to {name}", id=transaction, other=other, name=name)

    def _spawn(self, transaction: str, fence: int) -> None:
        self._upstream.turns.take_beside()
        running = Deferred.fromCoroutine(self._drive(transaction, fence))

        def done(result: Failure | None) -> None:
            self._upstream.turns.end()
            del self._running[transaction]
            if isinstance(result, Failure):
                log.failure("driving a transaction", result)

        self._running[transaction] = running
        running.addBoth(done)

    async def _look_round(self) -> None:
        """Take up what processes of this machine left when they were killed, without waiting for their leases."""
        clock, forwarding = self._reactor.seconds(), self._forwarding
        if clock - self._looked_round < LOOK_ROUND:
            return
        self._looked_round = clock
        now = forwarding.now()
        for owner in await forwarding.database.read(leases.owners, now):
            if has_ended(owner):
                log.warn("process {owner} has ended: what it was at work on goes on", owner=owner)
                await forwarding.database.write(leases.bury, owner, now)

    def _room(self) -> int:
        """How many exchanges may be begun now: by the rate, and by how many are under way."""
        # What was not begun in quiet times is not made up for: the CA sees the rate, and a tenth more at most.
        clock, most = self._reactor.seconds(), max(1.0, self._queue.rate / 10)
        self._allowance = min(self._allowance + (clock - self._filled) * self._queue.rate, most)
        self._filled = clock
        return int(min(self._allowance, self._queue.concurrency - len(self._running)))

    async def _drive(self, transaction: str, fence: int) -> None:
        """Take up one transaction and ask the CA about it."""
        forwarding = self._forwarding
        begun = self._reactor.seconds()
        try:
            held = await forwarding.claim(transaction, fence)
            if held is None:
                return
            record = Record.of(held)
            after = await forwarding.resume(held, begun, record)
        except Corrupt as error:
            log.critical("{error}: it is left alone from now on", error=str(error))
            await forwarding.database.write(outcomes.quarantine, error.transaction, error.reason, forwarding.now())
        except StoreError as error:
            log.error("transaction {id} waits: {error}", id=transaction, error=str(error))
        else:
            self._report(held, after, record)

    def _report(self, before: Transaction, after: Transaction, record: Record) -> None:
        """One audit record in the log for what has been decided."""
        if after.state is not before.state and after.state.final:
            record.outcome = "issued" if after.state is State.ISSUED else "refused"
            record.write()
