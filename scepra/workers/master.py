"""The process that holds the sockets, keeps the workers alive, and serves nobody itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from scepra.app import LOST
from scepra.config.model import Config
from scepra.config.source import Source
from scepra.errors import ConfigError
from scepra.workers.endpoint import TCPEndpoint
from scepra.workers.place import LOOKS, Place, SpawningReactor

log = Logger()

_FORCE = 5.0  # How long after the grace a worker that is told to end may live.


class Master(Service):
    """Starts the workers and replaces those that die or hang.

    There is one socket for each worker and endpoint, and it is open here for as long as this service runs: connections
    that a dead worker has not accepted wait for the next one. When told to end, it closes them, so that nobody new is
    let in, and ends when the workers have.
    """

    def __init__(
        self,
        endpoints: Sequence[TCPEndpoint],
        source: Source,
        settings: Config,
        reactor: SpawningReactor,
    ) -> None:
        """
        Args:
            endpoints: where clients connect to.
            source: what each worker goes by.
            settings: the same, read.
            reactor: starts them.
        """
        self._endpoints = endpoints
        self._source = source
        self.settings = settings
        self._reactor = reactor
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._places: list[Place] = []
        self._ending = False
        self._attempts = 0

    def privilegedStartService(self) -> None:
        """Listen, while the process may still use any port.

        Raises:
            twisted.internet.error.CannotListenError: somebody else does.
        """
        super().privilegedStartService()
        bound = [endpoint.bind(self.settings.processes) for endpoint in self._endpoints]
        self._places = [
            Place(number, sockets, self._source, self.settings.worker_deadline, self._reactor, self._end)
            for number, sockets in enumerate(zip(*bound, strict=True), 1)
        ]

    def startService(self) -> None:
        """Start the workers, once the reactor can see them end."""
        super().startService()
        for place in self._places:
            self._reactor.callWhenRunning(place.fill)
        self._looking.start(self.settings.worker_deadline / LOOKS, now=False)

    def _look(self) -> None:
        for place in self._places:
            place.look()

    # Another configuration (FT-51)

    async def prepare(self, source: Source, settings: Config) -> tuple[int, Source, Config]:
        """Have every worker make ready for another configuration; none goes by it yet, and none is started until
        :meth:`take` or :meth:`refuse`.

        Raises:
            ConfigError: a worker cannot, with every problem found.
        """
        self._attempts += 1
        for place in self._places:
            place.hold()
        log.info("workers make ready for configuration {version}", version=source.version)
        answers = await gatherResults([place.prepare(self._attempts, source) for place in self._places])
        problems = tuple(dict.fromkeys(problem for each in answers for problem in each))
        if problems:
            raise ConfigError(problems)
        return self._attempts, source, settings

    async def take(self, ready: tuple[int, Source, Config]) -> None:
        """Have every worker go by it, those too that come later."""
        number, self._source, self.settings = ready
        takings: list[Any] = [Deferred.fromCoroutine(place.take(number, self._source)) for place in self._places]
        await DeferredList(takings)
        self._release()

    def refuse(self, failure: str) -> None:
        """Have every worker go on as before; *failure* says why."""
        for place in self._places:
            place.refuse(failure)
        self._release()

    def _release(self) -> None:
        for place in self._places:
            place.release()

    def stopService(self) -> Deferred[None]:
        """Let the workers end, and end them when they take too long."""
        super().stopService()
        self._looking.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        force = self._reactor.callLater(self.settings.shutdown_grace + _FORCE, self._kill)
        await DeferredList([place.close() for place in self._places])
        if force.active():
            force.cancel()

    def _end(self) -> None:
        """End as the worker did that nothing can be done for."""
        if self.running and not self._ending:
            self._ending = True
            log.critical("a worker has ended for good: stopping")
            # After everything else has ended.
            self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, LOST)
            self._reactor.stop()

    def _kill(self) -> None:
        log.error("workers that did not end in time are killed")
        for place in self._places:
            place.signal("KILL")
