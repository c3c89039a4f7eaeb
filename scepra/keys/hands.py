"""Where the RA's keys are used: those in memory at once, those in tokens away from the reactor's thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import DeferredSemaphore

from scepra.errors import KeyUnavailable
from scepra.keys.token import TokenKey
from scepra.scep.identity import Keyring, RAKey

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE = 4
"""How many messages may wait for tokens in threads of their own."""
WAITING = 200
"""How many more may wait for that; what comes beyond them comes again (FT-54)."""


class Hands:
    """Calls functions that use RA keys.

    Args:
        slowly: calls a function with its arguments where it may take its time.
    """

    def __init__(self, slowly: Callable[..., Awaitable[Any]]) -> None:
        self._slowly = slowly
        self._turns = DeferredSemaphore(AT_ONCE)

    async def use(self, keys: Iterable[RAKey], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that uses one or more of these keys.

        Raises:
            KeyUnavailable: a token is not there, or too much waits for one.
            Exception: whatever the function raises.
        """
        token = next((key.token for key in keys if isinstance(key, TokenKey)), None)
        if token is None:
            return function(*args, **kwargs)
        if len(self._turns.waiting) >= WAITING:
            raise KeyUnavailable(token.name, "too many wait for it")
        await self._turns.acquire()
        try:
            result: T = await self._slowly(partial(function, *args, **kwargs))
        finally:
            self._turns.release()
        return result

    @staticmethod
    def require(keys: Iterable[RAKey]) -> None:
        """Begin nothing that these keys could not bring to its end.

        Raises:
            KeyUnavailable: the token of one has gone, and it is not yet time to ask it again.
        """
        for key in keys:
            if isinstance(key, TokenKey) and (gone := key.token.resting) is not None:
                raise gone


def opening(keyring: Keyring) -> Iterable[RAKey]:
    """The keys that may open a request."""
    return (generation.encryption.key for generation in keyring.generations)
