"""A worker's part in taking another configuration: it does what its master orders, and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from scepra.app import RA
from scepra.errors import ConfigError, Problem
from scepra.workers.order import Answer, Prepare, Refuse, Take, decode
from scepra.works import Works

log = Logger()


class Obedience:
    """Carries out orders.

    Args:
        ra: what serves.
        slowly: calls a function where it may take its time.
        answer: says something to the master.
    """

    def __init__(self, ra: RA, slowly: Callable[..., Awaitable[Any]], answer: Callable[[Answer], None]) -> None:
        self._ra = ra
        self._slowly = slowly
        self._answer = answer
        self._attempt = 0
        self._ready: Works | None = None

    def __call__(self, line: bytes) -> None:
        """Do what a line says."""
        match decode(line):
            case Prepare() as order:
                self._attempt, self._ready = order.number, None
                Deferred.fromCoroutine(self._prepare(order)).addErrback(self._failed, order)
            case Take(number) if self._ready is not None and number == self._attempt:
                taking = Deferred.fromCoroutine(self._ra.take(self._ready))
                taking.addCallback(lambda _: self._answer(Answer(number)))
                # A worker that did not take it, and cannot say so, is replaced.
                taking.addErrback(lambda failure: log.failure("going by another configuration", failure))
                self._ready = None
            case Refuse(failure):
                self._attempt, self._ready = 0, None
                self._ra.refuse(failure)

    async def _prepare(self, order: Prepare) -> None:
        try:
            reading = await self._slowly(order.source.parse)
            if reading.config is None:
                raise ConfigError(reading.problems)
            works = await self._ra.prepare(order.source, reading.config)
        except ConfigError as error:
            self._answer(Answer(order.number, error.problems))
            return
        # It may have been given up meanwhile.
        if self._attempt == order.number:
            self._ready = works
            self._answer(Answer(order.number))

    def _failed(self, failure: Any, order: Prepare) -> None:
        log.failure("another configuration", failure)
        problem = Problem(order.source.file, 0, 0, "", f"cannot be taken ({failure.type.__name__})")
        self._answer(Answer(order.number, (problem,)))
