"""Token buckets by key, in a table that is bounded and that nobody can empty (DR-15, AC-094).

A bucket is one number: the moment from which on it is full again. It holds one token less for every ``period`` that
this moment lies ahead, and none when it lies ``burst`` periods ahead.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)

_ROUNDING = 1e-6


class Buckets(Generic[H]):
    """One bucket for every key: full at first, and then at most ``burst`` tokens and one more in every ``period``.

    When the table is full the bucket that holds most is forgotten, not the one that was used longest ago; and whoever
    is not in the table has no more tokens than what was forgotten had. So forgetting gives nobody a token: to be
    forgotten with an empty bucket, one would have to keep as many others empty as the table has places, and would come
    back to an empty one.

    Args:
        burst: how many tokens a bucket holds; infinity: any number of them.
        period: in how many seconds it gets one back.
        capacity: how many keys are remembered at once.
    """

    def __init__(self, burst: float, period: float, capacity: int) -> None:
        self._burst = burst
        self._period = period
        self._capacity = capacity
        self._full_at: dict[H, float] = {}
        # What it says of a key is never later than the truth, since that only grows.
        self._order: list[tuple[float, int, H]] = []
        self._numbers = count()
        self._tide = -math.inf

    def __contains__(self, key: H) -> bool:
        """Whether anything is remembered of a key itself."""
        return key in self._full_at

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: H, now: float) -> float:
        """How long it takes, in seconds, until the key's bucket holds a token; 0 if it does now."""
        if self._burst == math.inf:
            return 0.0
        ahead = max(self._full_at.get(key, self._tide) - now, 0.0) / self._period
        short = ahead + 1 - self._burst
        return short * self._period if short > _ROUNDING else 0.0

    def take(self, key: H, now: float) -> float:
        """Take a token if there is one.

        Args:
            now: by a clock that nobody sets, in seconds.

        Returns:
            0 if it was taken; else how long it takes until there is one.
        """
        wait = self.wait(key, now)
        if not wait:
            self.drain(key, now)
        return wait

    def drain(self, key: H, now: float) -> None:
        """Take a token, if there is one or not: a bucket holds no less than none."""
        if self._burst == math.inf:
            return
        full_at = max(self._full_at.get(key, self._tide), now) + self._period
        full_at = min(full_at, now + self._burst * self._period)
        if key not in self._full_at:
            if len(self._full_at) >= self._capacity:
                self._forget()
            heapq.heappush(self._order, (full_at, next(self._numbers), key))
        self._full_at[key] = full_at

    def _forget(self) -> None:
        """Forget the bucket that holds most."""
        while True:
            said, number, key = self._order[0]
            full_at = self._full_at[key]
            if full_at > said:
                heapq.heapreplace(self._order, (full_at, number, key))
                continue
            heapq.heappop(self._order)
            del self._full_at[key]
            self._tide = max(self._tide, full_at)
            return
