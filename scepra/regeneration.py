"""Renewing the RA's own certificates in good time (FT-49).

Of all processes that use a directory one does it, also where several instances share one: whoever holds a lock in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.acquisition import Acquisition, NotAcquired, Waiting
from scepra.config.model import GenerationDirectory
from scepra.errors import ConfigError, KeyUnavailable, UpstreamError
from scepra.generation import Installed
from scepra.generations import Generations
from scepra.keys.directory import Busy, DirectoryLead
from scepra.recurring import Recurring, backoff
from scepra.upstream.client import Upstream
from scepra.upstream.view import UpstreamView

log = Logger()

EVERY = 60.0
"""How often it is looked whether something is due, in seconds."""
FIRST_RETRY, LONGEST_RETRY = 300.0, 6 * 3600.0
"""How soon a renewal that went wrong is tried again, and how late at most."""


def due(newest: Installed, view: UpstreamView | None, now: datetime, renew: timedelta) -> str:
    """Why the next generation is to be enrolled now; empty if it is not.

    Args:
        newest: the generation that was installed last.
        view: what is known of the CA; None, nothing.
        renew: how long before its end; of a short lifetime, the last third.
    """
    span = newest.ends - newest.begins
    if now >= newest.ends - min(renew, span / 3):
        return f"generation {newest.number} ends on {newest.ends:%Y-%m-%d %H:%M} UTC"
    if view is not None and (why := view.outdated(newest.certificates[0], newest.ends)):
        return f"generation {newest.number}: {why}"
    return ""


class Regeneration(Recurring):
    """Enrols the next generation of one directory when it is due.

    Args:
        settings: the section ``ra``.
        generations: what is there.
        acquisition: how the next one is had.
        upstream: the CA.
        now: UTC.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self,
        settings: GenerationDirectory,
        generations: Generations,
        acquisition: Acquisition,
        upstream: Upstream,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor, f"renewing the certificates in {settings.directory}", EVERY)
        self.path = settings.directory
        self._lead = DirectoryLead(settings.directory)
        self._renew = timedelta(seconds=settings.renew)
        self._generations = generations
        self._acquisition = acquisition
        self._upstream = upstream
        self._now = now
        self._failures = 0
        self._not_before = float("-inf")

    async def look(self) -> None:
        """Take the next step, if one is due and the last one did not go wrong a moment ago."""
        if self._reactor.seconds() >= self._not_before and self._lead.is_ours():
            await self.step()

    async def step(self) -> None:
        """Take the next step, if one is due."""
        newest, path = self._generations.installed[-1], str(self._generations.store.path)
        try:
            with self._generations.store.changing():
                # Another instance may have been here.
                newest = self._generations.store.newest() or newest
                under_way = self._generations.store.under_way()
                reason = due(newest, self._upstream.view, self._now(), self._renew)
                if under_way is None and not reason:
                    return
                if under_way is not None and under_way.by_hand:
                    if reason:
                        log.warn("{reason}: its successor waits for scepra install", reason=reason)
                        self._later(FIRST_RETRY, LONGEST_RETRY)
                    return
                if under_way is None:
                    log.info("{reason}: the next one is enrolled", reason=reason)
                outcome = await self._acquisition.advance()
        except Busy:
            return
        except (NotAcquired, UpstreamError, ConfigError, KeyUnavailable) as error:
            log.error(
                "{path}: no new certificates: {error}; generation {number} ends on {end}",
                path=path,
                error=str(error),
                number=newest.number,
                end=f"{newest.ends:%Y-%m-%d %H:%M} UTC",
            )
            self._later(FIRST_RETRY, LONGEST_RETRY)
            return
        if isinstance(outcome, Waiting):
            log.info("the CA holds back the RA's {roles} certificate", roles=" and ".join(outcome.roles))
            self._later(EVERY, 3600.0)
            return
        self._failures, self._not_before = 0, float("-inf")
        log.info("{path}: generation {number} is installed", path=path, number=outcome.number)
        await self._generations.seek()

    async def end(self) -> None:
        """Let another process renew."""
        self._lead.give_up()

    def _later(self, first: float, longest: float) -> None:
        self._not_before = self._reactor.seconds() + backoff(first, self._failures, longest)
        self._failures += 1
