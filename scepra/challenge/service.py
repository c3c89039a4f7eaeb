"""Asking somebody out there about a challenge: bounded in time, octets and number, and left alone while it is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from scepra.errors import ProviderError
from scepra.http.breaker import Breaker
from scepra.http.request import Unanswered

T = TypeVar("T")


class Service:
    """Who is asked.

    Args:
        kind: the provider, for errors.
        breaker: whether it is worth asking now.
        concurrency: how many may be asking at once.
    """

    def __init__(self, kind: str, breaker: Breaker, concurrency: int) -> None:
        self._kind = kind
        self._breaker = breaker
        self._concurrency = concurrency
        self._under_way = 0

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What comes of a question.

        Raises:
            ProviderError: it is not asked now, gave no whole answer, or one that cannot be believed.
        """
        if self._under_way >= self._concurrency:
            raise ProviderError(self._kind, "as much is being asked as may be at once")
        if not self._breaker.admits():
            raise ProviderError(self._kind, "it has not answered lately")
        self._under_way += 1
        try:
            answer = await question()
        except Unanswered as error:
            self._breaker.failed(sent=error.sent)
            raise ProviderError(self._kind, error.reason) from error
        except ProviderError:
            self._breaker.answered()
            raise
        finally:
            self._under_way -= 1
        self._breaker.answered()
        return answer
