"""Taking another configuration while clients are served: whole, or not at all (FT-51)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.app import RA
from scepra.config.load import Reading
from scepra.config.restart import restarts
from scepra.errors import ConfigError
from scepra.workers.source import Source

log = Logger()


class Reload:
    """Reads the configuration file again whenever it is told to, and has an RA go by it if nothing is wrong with it.

    Being told while it reads makes it read once more afterwards, however often it is told.

    Args:
        source: what the RA goes by so far.
        ra: what serves.
        slowly: calls a function where it may take its time.
    """

    def __init__(self, source: Source, ra: RA, slowly: Callable[..., Awaitable[Any]]) -> None:
        self._source = source
        self._ra = ra
        self._slowly = slowly
        self._told = False
        self.under_way: Deferred[None] | None = None

    def __call__(self) -> None:
        """Reload."""
        self._told = True
        if self.under_way is None:
            self.under_way = Deferred.fromCoroutine(self._reload())
            self.under_way.addBoth(self._done)

    def _done(self, outcome: object) -> None:
        self.under_way = None
        if isinstance(outcome, Failure):
            log.failure("reloading", outcome)

    async def _reload(self) -> None:
        while self._told:
            self._told = False
            try:
                source, warnings = await self._attempt()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("{problem}", problem=str(problem))
                log.error("the configuration is as it was: {file} cannot be taken", file=self._source.file)
            except Exception as error:
                log.failure("reloading failed ({kind}): the configuration is as it was", kind=type(error).__name__)
            else:
                self._source = source
                for warning in warnings:
                    log.warn("{problem}", problem=warning)
                log.info("configuration {version} is in force", version=source.version)

    async def _attempt(self) -> tuple[Source, tuple[str, ...]]:
        """Take what the file holds now.

        Raises:
            ConfigError: it cannot be taken, and nothing has changed.
        """
        source: Source = await self._slowly(self._source.again)
        reading: Reading = await self._slowly(partial(_checked, source, self._ra))
        assert reading.config is not None  # noqa: S101 - it was checked
        self._ra.take(await self._ra.prepare(reading.config))
        return source, tuple(map(str, reading.problems))


def _checked(source: Source, ra: RA) -> Reading:
    reading = source.parse()
    if reading.config is None:
        raise ConfigError(reading.problems)
    found = tuple(reading.problem(each.path, each.sentence) for each in restarts(ra.works.settings, reading.config))
    if found:
        raise ConfigError(found)
    return reading
