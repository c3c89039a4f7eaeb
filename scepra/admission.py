"""Who is served now, and who is told to come again: budgets of addresses, keys and profiles (DR-2, DR-12, DR-15).

They are asked from the cheap to the costly: an address before its message is read, a key when it has signed one, and
what is about to be opened with the RA's key before that. All of it is in the memory of one process; nothing that a
stranger can do uses up another's: no budget belongs to a challenge, a name or a key alone (AC-094, AC-100).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import Logger

from scepra.address import neighbourhood
from scepra.bucket import Buckets
from scepra.config.rates import Rate, Rates
from scepra.errors import Throttled

log = Logger()

SPOKEN = 60.0
"""How often, in seconds, the log says the same about one source, or about one profile."""


class Admission:
    """The budgets of one process. An *address* here is all of an IPv6 network that counts as one.

    ``refused`` counts by kind what was turned away.

    Args:
        rates: as configured, for all processes together.
        seconds: the clock that nobody sets.
        processes: how many share the budgets.
    """

    def __init__(self, rates: Rates, seconds: Callable[[], float], processes: int = 1) -> None:
        self.refused: Counter[str] = Counter()
        self._rates = rates
        self._seconds = seconds
        self._processes = processes
        self._sources: Buckets[str] = self._buckets(rates.source)
        self._keys: Buckets[tuple[str, bytes]] = self._buckets(rates.key)
        self._profiles: Buckets[str] = self._buckets(rates.profile)
        self._failures: Buckets[str] = self._buckets(rates.failures)
        self._failing: Buckets[str] = self._buckets(rates.profile_failures)
        self._pauses: Buckets[tuple[str, str]] = Buckets(1, rates.pause, rates.remembered)
        self._under_way: Counter[str] = Counter()
        self._spoken: Buckets[tuple[str, str]] = Buckets(1, SPOKEN, rates.remembered)

    def message(self, source: str) -> None:
        """A PKIOperation has come in from an address, unread.

        Raises:
            Throttled: too many do.
        """
        wait = self._sources.take(self.place(source), self._seconds())
        if wait:
            raise self.refusal("address", "more messages than may come from one address", source, wait)

    def signed(self, source: str, key: bytes) -> None:
        """It is signed by a key.

        The budget is a key's *at an address*: whoever replays what a device has signed takes nothing from the device.

        Args:
            key: the digest of the public key.

        Raises:
            Throttled: too many are.
        """
        wait = self._keys.take((self.place(source), key), self._seconds())
        if wait:
            raise self.refusal("key", "more messages than one key may sign", source, wait)

    @contextmanager
    def opening(self, profile: str, source: str, *, static: bool) -> Iterator[None]:
        """It is about to be opened with the RA's key, judged and answered, within the block.

        An address that has been wrong too often is turned away here, whatever it sends: if that depended on what is in
        the envelope, the answer would tell whether it opens (I8).

        Args:
            static: whether the profile has a challenge that can be found by guessing.

        Raises:
            Throttled: too many are under way, or too many challenges were wrong.
        """
        place, now = self.place(source), self._seconds()
        if self._under_way[place] >= self._rates.under_way:
            raise self.refusal("under way", "more requests under way than may be from one address", source)
        wait = self._failures.wait(place, now)
        if wait:
            raise self.refusal("failures", "more wrong challenges than may come from one address", source, wait)
        # Whoever is not remembered has not been wrong, or has been so long ago.
        if static and (profile, place) in self._pauses and self._failing.wait(profile, now):
            wait = self._pauses.wait((profile, place), now)
            if wait:
                raise self.refusal("pause", "a wrong challenge a moment ago, while somebody guesses", source, wait)
        self._under_way[place] += 1
        try:
            yield
        finally:
            self._under_way[place] -= 1
            if not self._under_way[place]:
                del self._under_way[place]

    def wrong(self, profile: str, source: str) -> None:
        """Its challenge was refused."""
        place, now = self.place(source), self._seconds()
        self._failures.drain(place, now)
        self._pauses.drain((profile, place), now)
        if self._failing.take(profile, now) and not self._spoken.take(("", profile), now):
            log.error(
                "profile {profile}: more wrong challenges than may be: somebody guesses, or many devices have a wrong"
                " one",
                profile=profile,
            )

    def authorised(self, profile: str, source: str) -> None:
        """It is new, and may be forwarded.

        Raises:
            Throttled: too many are; nothing has been recorded.
        """
        wait = self._profiles.take(profile, self._seconds())
        if wait:
            raise self.refusal("profile", "more requests than the profile may have", source, wait)

    def refusal(self, kind: str, reason: str, source: str, wait: float = 0.0) -> Throttled:
        """What a client is told that is turned away.

        Args:
            kind: what is counted.
            wait: how long it would be in vain to come again, in seconds.
        """
        self.refused[kind] += 1
        # Spread, so that clients that were turned away together do not come back together.
        pause = max(wait, self._rates.retry_after) * random.uniform(1, 1.5)  # noqa: S311 - no secret hangs on it
        quiet = self._spoken.take((kind, self.place(source)), self._seconds()) > 0
        return Throttled(f"{reason}; {self.refused[kind]} turned away so far", math.ceil(pause), quiet=quiet)

    def place(self, source: str) -> str:
        """What counts as one address: an IPv4 address itself, the network of an IPv6 one."""
        return neighbourhood(source, self._rates.ipv6_prefix)

    def _buckets(self, rate: Rate | None) -> Buckets[Any]:
        if rate is None:
            return Buckets(math.inf, 1.0, 1)
        burst = math.ceil(rate.count / self._processes)
        return Buckets(burst, rate.per * self._processes / rate.count, self._rates.remembered)
