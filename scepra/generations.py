"""The RA's identities as they are in a directory: seen when others add to it, exchanged whole (FT-50, RA-31)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.config.model import GenerationDirectory
from scepra.errors import ConfigError
from scepra.generation import Arrangement, Installed, Terms, arrange
from scepra.keys.certificate import wrong
from scepra.keys.directory import EMPTY, GenerationStore
from scepra.keys.token import Tokens
from scepra.recurring import Shared
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation, Identities, Keyring

log = Logger()

EVERY = 5.0
AT_MOST_EVERY = 1.0
"""How often it looks at most, however many requests name a certificate that nobody knows."""


def terms_of(settings: GenerationDirectory) -> Terms:
    """How generations follow each other in a directory."""
    return Terms(timedelta(seconds=settings.settle), timedelta(seconds=settings.overlap))


class Generations(Shared[bool]):
    """Identities from a directory. A look tells whether anything was added or taken away.

    What cannot be read changes nothing: what was read before stays.

    Args:
        settings: the section ``ra``.
        now: UTC.
        reactor: the clock that nobody sets.
        slowly: calls a function where it may take its time.
        tokens: where keys may be that are not in files.

    Raises:
        ConfigError: there is no generation, or one cannot be read.
    """

    def __init__(
        self,
        settings: GenerationDirectory,
        now: Callable[[], datetime],
        reactor: IReactorTime,
        slowly: Callable[..., Awaitable[Any]],
        tokens: Tokens,
    ) -> None:
        super().__init__(reactor, f"looking at {settings.directory}", EVERY)
        self.settings: GenerationDirectory = settings
        self.store = GenerationStore(settings.directory, tokens)
        self._terms = terms_of(settings)
        self._now = now
        self._slowly = slowly
        self._known = self.store.fingerprint()
        self.installed: tuple[Installed, ...] = self.store.installed()
        if not self.installed:
            raise wrong(settings.directory, f"{EMPTY}: scepra enroll-ra enrols the first")
        self._at = now()
        self._arrangement = arrange(self.installed, self._terms, self._at)
        self._keyring = self._arrangement.keyring

    @property
    def arrangement(self) -> Arrangement:
        """Which generations serve and open now."""
        now = self._now()
        if now < self._at or now >= self._arrangement.changes:
            self._arrange(now)
        return self._arrangement

    @property
    def keyring(self) -> Keyring:
        """What opens and signs now."""
        _ = self.arrangement
        return self._keyring

    @property
    def upcoming(self) -> Generation | None:
        """The generation that opens requests already, and that new clients are not given yet."""
        upcoming = self.arrangement.upcoming
        return upcoming.generation if upcoming is not None else None

    async def seek(self) -> bool:
        """Look whether something was added, unless that was done a moment ago."""
        if self._waiting is None and self._reactor.seconds() - self._looked < AT_MOST_EVERY:
            return False
        try:
            return await self.shared()
        except ConfigError:
            return False

    async def look(self) -> bool:
        """Read the directory if there is something else in it.

        Raises:
            ConfigError: what is there cannot be read.
        """
        found = await self._slowly(self.store.fingerprint)
        if found == self._known:
            return False
        installed = await self._slowly(self.store.installed, self.installed)
        if not installed:
            raise wrong(self.store.path, "holds no generation any more")
        self._known, self.installed = found, installed
        self._arrange(self._now())
        return True

    def failed(self, failure: Failure) -> float:
        """Tell what is wrong with the directory, which somebody has to put right."""
        if isinstance(failure.value, ConfigError):
            log.error("{problem}; the generations that were read before go on", problem=str(failure.value))
            return self.pause()
        return super().failed(failure)

    def _arrange(self, now: datetime) -> None:
        path = str(self.store.path)
        before, after = self._arrangement, arrange(self.installed, self._terms, now)
        self._at, self._arrangement, self._keyring = now, after, after.keyring
        if after.current.number != before.current.number:
            log.info("{path}: generation {number} is served now", path=path, number=after.current.number)
        known = {each.number for each in before.opening}
        for each in after.opening:
            if each.number not in known and each is not after.current:
                log.info("{path}: generation {number} opens requests", path=path, number=each.number)
        gone = known - {each.number for each in after.opening}
        for number in sorted(gone):
            log.info("{path}: generation {number} has retired", path=path, number=number)


@dataclass(frozen=True, slots=True)
class OwnCertificates:
    """Every certificate of the RA's own, as they are when it is asked: they authorise nothing (AC-055).

    Attributes:
        fixed: those that stay what they are.
        identities: of all profiles.
    """

    fixed: frozenset[Certificate]
    identities: tuple[Identities, ...]

    def __contains__(self, certificate: object) -> bool:
        return certificate in self.fixed or any(
            certificate in (generation.signing.certificate, generation.encryption.certificate)
            for generation in self._generations()
        )

    def _generations(self) -> Iterable[Generation]:
        for each in self.identities:
            if isinstance(each, Generations):
                # The retired ones too.
                yield from (item.generation for item in each.installed)
            else:
                yield from each.keyring.generations
