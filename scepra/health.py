"""Whether a CA carries out requests, found out by one that does no harm: not by what it says of itself, which CAs go on
saying while they answer nothing else."""

from __future__ import annotations

import os

from twisted.logger import Logger

from scepra.errors import ScepError, StoreError, UpstreamError
from scepra.forwarding import Forwarding
from scepra.lead import Lead
from scepra.reconciler import LEASE
from scepra.recurring import Recurring
from scepra.scep.certification import name
from scepra.scep.message import MessageType
from scepra.store import health

log = Logger()

TICK = 1.0
"""How often to look, in seconds."""
WRITTEN_EVERY = 60.0
"""How often it is written that nothing has changed, in seconds."""
_NOBODY = name("nobody")


class Checkup(Recurring):
    """Asks one upstream for what cannot be there, when nothing else has shown that it is well: a CertPoll under a
    transactionID that nothing has. A CertRep that is believed is health, whatever it says; nothing else is.

    It is asked by the process that drives its backlog, so that what that process learns of it counts here too. What is
    found stands in the store; whether it is asked for anything else follows from it in this process alone.
    """

    def __init__(self, forwarding: Forwarding) -> None:
        super().__init__(forwarding.reactor, "looking after an upstream", TICK)
        self._forwarding = forwarding
        self._upstream = forwarding.upstream
        self._lead = Lead(
            forwarding.database, self._upstream.name, forwarding.owner, forwarding.now, forwarding.reactor, LEASE
        )
        self._asked = float("-inf")
        self._told: tuple[bool, float] | None = None

    async def look(self) -> None:
        """Ask, if that is due, and write down how the upstream is."""
        try:
            if not await self._lead.is_ours():
                self._told = None
                return
            if self._due():
                await self._ask()
            await self._tell()
        except StoreError as error:
            log.error("the health of {name} is not written: {error}", name=self._upstream.name, error=error.reason)

    def _due(self) -> bool:
        every = self._forwarding.settings.health
        if every is None:
            return False
        if self._upstream.breaker.trying:
            return self._upstream.breaker.admits()
        return self._reactor.seconds() - max(self._upstream.believed_at, self._asked) >= every

    async def _ask(self) -> None:
        """Ask once; what comes of it the upstream remembers."""
        self._asked = self._reactor.seconds()
        forwarding, upstream, ask = self._forwarding, self._upstream, self._forwarding.conversation
        try:
            view = await upstream.current()
            signing = await forwarding.signer.identity(_NOBODY, forwarding.now())
            content = ask.poll_content(view.issuers[0], _NOBODY)
            transaction = os.urandom(16).hex().upper()
            encoding, expected = await ask.compose(MessageType.CERT_POLL, transaction, content, signing.identity, view)
            await ask.converse(encoding, expected, view)
        except UpstreamError as error:
            if error.sent:
                upstream.doubt(error)
        except ScepError as error:
            log.error("upstream {upstream} cannot be asked: {error}", upstream=upstream.name, error=error.reason)

    async def _tell(self) -> None:
        """Write how the upstream is, when that has changed, or was not written for some time."""
        upstream, clock = self._upstream, self._reactor.seconds()
        well = not upstream.breaker.trying
        if well and upstream.believed_at == float("-inf"):
            # Nothing is known yet.
            return
        if self._told is not None and self._told[0] is well and clock - self._told[1] < WRITTEN_EVERY:
            return
        reason = "" if well else upstream.unavailable.reason
        changed = await self._forwarding.database.write(health.report, upstream.name, self._forwarding.now(), reason)
        self._told = (well, clock)
        if changed and well:
            log.info("upstream {upstream} is well", upstream=upstream.name)
        elif changed:
            log.error("upstream {upstream} is not well: {reason}", upstream=upstream.name, reason=reason)
