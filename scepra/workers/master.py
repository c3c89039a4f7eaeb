"""The process that holds the sockets, keeps the workers alive, and serves nobody itself."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorCore,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from scepra.app import LOST
from scepra.workers.endpoint import TCPEndpoint
from scepra.workers.relay import STDERR, STDIN, STDOUT, Ending, WorkerProcess

log = Logger()

FIRST_SOCKET = 3
"""The number that a worker's first socket has there; the others follow."""

# How long a dead worker's place stays empty, in seconds: ever longer, until one has lived for a while.
_SHORTEST, _LONGEST, _PROVED = 0.1, 10.0, 60.0
_FORCE = 5.0  # How long after the grace a worker that is told to end may live.

BEATS = 6
"""How many signs of life a worker gives within its deadline."""
_LOOKS = 10  # How often the master looks for them within it.
_STARTING = 4  # How many times as long a worker may take for the first.


class SpawningReactor(IReactorCore, IReactorTime, IReactorProcess):
    """What starts processes."""


class Place:
    """Where one worker after the other serves, at the same sockets."""

    def __init__(
        self,
        number: int,
        sockets: Sequence[socket.socket],
        instructions: bytes,
        deadline: float,
        reactor: SpawningReactor,
        lost: Callable[[], None],
    ) -> None:
        """
        Args:
            number: the worker's, from 1.
            sockets: they listen.
            instructions: what each worker is given.
            deadline: how long a worker may show no sign of life, in seconds.
            reactor: starts them.
            lost: is called when a worker says that none after it would fare better.
        """
        self._number = number
        self._sockets = sockets
        self._instructions = instructions
        self._deadline = deadline
        self._reactor = reactor
        self._lost = lost
        self._process: IProcessTransport | None = None
        self._ended: Deferred[None] | None = None
        self._pause = _SHORTEST
        self._begun = 0.0
        self._next: IDelayedCall | None = None
        self._closed = False
        self._looks_left = 0

    def fill(self) -> None:
        """Start a worker."""
        if self._closed:
            return
        self._next = None
        self._begun = self._reactor.seconds()
        self._looks_left = _STARTING * _LOOKS
        worker = WorkerProcess(self._number, self._instructions, self._lives)
        worker.ended.addCallback(self._gone)
        descriptors: dict[int, int | str] = {STDIN: "w", STDOUT: "r", STDERR: "r"}
        descriptors.update(enumerate((each.fileno() for each in self._sockets), FIRST_SOCKET))
        # -P and the path: it imports what we have imported, not what lies in the working directory.
        command = [sys.executable, "-P", "-m", "scepra.workers", str(self._number), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)}
        try:
            self._process = self._reactor.spawnProcess(
                worker, sys.executable, command, env=environment, childFDs=descriptors
            )
        except OSError as error:
            # There may be too many processes, or too little memory, now.
            log.error(
                "worker {worker} cannot be started: {reason}: tried again in {pause} s",
                worker=self._number,
                reason=os.strerror(error.errno or 0),
                pause=self._pause,
            )
            self._fill_later()
            return
        log.info("worker {worker} is process {pid}", worker=self._number, pid=self._process.pid)

    def look(self) -> None:
        """Kill the worker if it has hung for too long (FT-55).

        Looks are counted, not seconds: a master that was stopped itself, together with its machine perhaps, has not
        read what the workers have written meanwhile.
        """
        if self._process is None or self._closed:
            return
        self._looks_left -= 1
        if self._looks_left < 0:
            self._looks_left = _LOOKS
            log.error(
                "worker {worker}, process {pid}, has shown no sign of life for {seconds:g} s: it is killed",
                worker=self._number,
                pid=self._process.pid,
                seconds=self._deadline,
            )
            self.signal("KILL")

    def _lives(self) -> None:
        self._looks_left = _LOOKS

    def close(self) -> Deferred[None]:
        """Tell the worker to end; none comes after it.

        Returns:
            When it has ended.
        """
        self._closed = True
        for each in self._sockets:
            each.close()
        if self._next is not None:
            self._next.cancel()
        ended = self._ended = Deferred()
        if self._process is None:
            ended.callback(None)
        self.signal("TERM")
        return ended

    def signal(self, name: str) -> None:
        """Send a signal to the worker, if there is one."""
        if self._process is not None:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(name)

    def _gone(self, how: Ending) -> None:
        self._process = None
        if self._ended is not None:
            log.info("worker {worker} has ended with {how}", worker=self._number, how=str(how))
            self._ended.callback(None)
            return
        if how.status == LOST:
            self._lost()
            return
        if self._reactor.seconds() - self._begun >= _PROVED:
            self._pause = _SHORTEST
        log.error(
            "worker {worker} has ended with {how}: another one comes in {pause} s",
            worker=self._number,
            how=str(how),
            pause=self._pause,
        )
        self._fill_later()

    def _fill_later(self) -> None:
        self._next = self._reactor.callLater(self._pause, self.fill)
        self._pause = min(2 * self._pause, _LONGEST)


class Master(Service):
    """Starts the workers and replaces those that die or hang.

    There is one socket for each worker and endpoint, and it is open here for as long as this service runs: connections
    that a dead worker has not accepted wait for the next one. When told to end, it closes them, so that nobody new is
    let in, and ends when the workers have.
    """

    def __init__(
        self,
        endpoints: Sequence[TCPEndpoint],
        instructions: bytes,
        workers: int,
        grace: float,
        deadline: float,
        reactor: SpawningReactor,
    ) -> None:
        """
        Args:
            endpoints: where clients connect to.
            instructions: what each worker is given, see :mod:`scepra.workers.source`.
            workers: how many.
            grace: how long their requests may take to end, in seconds.
            deadline: how long one of them may show no sign of life, in seconds.
            reactor: starts them.
        """
        self._endpoints = endpoints
        self._instructions = instructions
        self._workers = workers
        self._grace = grace
        self._deadline = deadline
        self._reactor = reactor
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._places: list[Place] = []
        self._ending = False

    def privilegedStartService(self) -> None:
        """Listen, while the process may still use any port.

        Raises:
            twisted.internet.error.CannotListenError: somebody else does.
        """
        super().privilegedStartService()
        bound = [endpoint.bind(self._workers) for endpoint in self._endpoints]
        self._places = [
            Place(number, sockets, self._instructions, self._deadline, self._reactor, self._end)
            for number, sockets in enumerate(zip(*bound, strict=True), 1)
        ]

    def startService(self) -> None:
        """Start the workers, once the reactor can see them end."""
        super().startService()
        for place in self._places:
            self._reactor.callWhenRunning(place.fill)
        self._looking.start(self._deadline / _LOOKS, now=False)

    def _look(self) -> None:
        for place in self._places:
            place.look()

    def stopService(self) -> Deferred[None]:
        """Let the workers end, and end them when they take too long."""
        super().stopService()
        self._looking.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        force = self._reactor.callLater(self._grace + _FORCE, self._kill)
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
