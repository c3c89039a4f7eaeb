"""Telling providers of challenges what became of the requests that they accepted (AC-103, FT-57)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.challenge.protocol import Notice, Notified
from scepra.errors import ProviderError, StoreError
from scepra.lead import Lead
from scepra.recurring import Recurring, backoff
from scepra.store import notices
from scepra.store.database import Database
from scepra.store.notices import Due
from scepra.store.vault import Vault

log = Logger()

TICK = 2.0
"""How often to look, in seconds."""
LEASE = 20.0
"""For how many seconds one process delivers before it has to say so again."""
TAKEN = 120.0
"""After how many seconds what was taken up is due again, if nobody says what came of it; longer than any delivery."""
AT_ONCE = 20
"""How many are delivered at once."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0
"""Between two attempts, in seconds; doubled each time."""
FORGOTTEN = 86400.0
"""For how long a notice waits whose provider stands in the configuration no more, in seconds."""
DRIVER = ":notices"
"""Stands in the table of drivers where upstreams do; no upstream can have this name."""


class Notifier(Recurring):
    """Delivers notices, each until it is confirmed or too old; of all processes, one does at a time.

    Args:
        providers: those that want notices, by the names of their profiles and their kinds.
        owner: names this process in leases.
        now: UTC.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        providers: Mapping[tuple[str, str], Notified],
        owner: str,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor, "delivering notices", TICK)
        self._database = database
        self._vault = vault
        self._providers = providers
        self._now = now
        self._lead = Lead(database, DRIVER, owner, now, reactor, LEASE)

    async def look(self) -> None:
        """Deliver what is due now."""
        await self.deliver()

    async def end(self) -> None:
        """Let others deliver."""
        await self._lead.give_up()

    async def deliver(self) -> None:
        """Deliver what is due now."""
        try:
            if not await self._lead.is_ours():
                return
            now = self._now()
            if not await self._database.read(notices.any_due, now):
                return
            until = now + timedelta(seconds=TAKEN)
            taken = await self._database.write(notices.take, now, until, AT_ONCE)
        except StoreError as error:
            log.error("notices wait: {error}", error=str(error))
            return
        await gatherResults([Deferred.fromCoroutine(self._deliver(due)) for due in taken])

    async def _deliver(self, due: Due) -> None:
        """Tell one provider one thing, and write what came of it; what cannot be written is told again."""
        problem = await self._tell(due)
        now = self._now()
        provider = self._providers.get((due.profile, due.provider))
        patience = FORGOTTEN if provider is None else provider.patience
        try:
            if problem is None:
                await self._database.write(notices.finish, due, now, told=True)
            elif now - due.made >= timedelta(seconds=patience):
                log.error(
                    "{provider} of profile {profile} is never told that transaction {id} is {event}: {problem}",
                    provider=due.provider,
                    profile=due.profile,
                    id=due.transaction,
                    event=due.event,
                    problem=problem,
                )
                await self._database.write(notices.finish, due, now, told=False)
            else:
                log.warn("notice {id} waits: {problem}", id=due.id, problem=problem)
                pause = timedelta(seconds=backoff(FIRST_PAUSE, due.attempts, LONGEST_PAUSE))
                await self._database.write(notices.put_off, due, now + pause)
        except StoreError as error:
            log.error("notice {id}: {error}", id=due.id, error=str(error))

    async def _tell(self, due: Due) -> str | None:
        """Why it was not confirmed; None if it was."""
        provider = self._providers.get((due.profile, due.provider))
        if provider is None:
            return f"the profile has no provider {due.provider} any more"
        try:
            notice = Notice(
                due.id,
                due.event,
                due.reason,
                due.made,
                due.profile,
                due.transaction,
                due.client_transaction,
                self._vault.open(due.csr),
                due.certificate,
            )
            await provider.notify(notice)
        except (ProviderError, StoreError) as error:
            return str(error)
        except Exception as error:
            log.failure("telling {provider}", provider=due.provider)
            return f"{due.provider} failed ({type(error).__name__})"
        return None
