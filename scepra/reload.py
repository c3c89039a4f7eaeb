"""Taking another configuration while clients are served: whole, or not at all (FT-51)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.config.load import Reading
from scepra.config.model import Config
from scepra.config.restart import restarts
from scepra.config.source import Source
from scepra.errors import ConfigError

log = Logger()

T = TypeVar("T")


class Serving(Protocol[T]):
    """What serves clients by a configuration: an RA, or the master of several.

    ``settings`` are what it goes by.
    """

    @property
    def settings(self) -> Config:
        """What it goes by."""

    async def prepare(self, source: Source, settings: Config) -> T:
        """Be ready to go by another configuration; nothing has changed yet.

        Raises:
            ConfigError: it cannot be taken, with every problem found.
        """

    async def take(self, ready: T) -> None:
        """Go by what was prepared."""

    def refuse(self, failure: str) -> None:
        """Go on as before; *failure* says why."""


class Reload(Generic[T]):
    """Reads the configuration file again whenever it is told to, and has it taken if nothing is wrong with it.

    Being told while it reads makes it read once more afterwards, however often it is told.

    Args:
        source: what is gone by so far.
        serving: what goes by it.
        slowly: calls a function where it may take its time.
    """

    def __init__(self, source: Source, serving: Serving[T], slowly: Callable[..., Awaitable[Any]]) -> None:
        self._source = source
        self._serving = serving
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
                self._serving.refuse(str(error))
            except Exception as error:
                kind = type(error).__name__
                log.failure("reloading failed ({kind}): the configuration is as it was", kind=kind)
                self._serving.refuse(f"reloading failed ({kind})")
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
        reading: Reading = await self._slowly(source.parse)
        if reading.config is None:
            raise ConfigError(reading.problems)
        findings = restarts(self._serving.settings, reading.config)
        if found := tuple(reading.problem(each.path, each.sentence) for each in findings):
            raise ConfigError(found)
        await self._serving.take(await self._serving.prepare(source, reading.config))
        return source, tuple(map(str, reading.problems))
