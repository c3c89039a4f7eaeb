"""Where workers serve, one after the other."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorCore,
    IReactorProcess,
    IReactorTime,
)
from twisted.logger import Logger

from scepra.app import LOST
from scepra.config.source import Source
from scepra.errors import Problem
from scepra.workers.order import Answer, Prepare, Refuse, Take
from scepra.workers.relay import STDERR, STDIN, STDOUT, Ending, WorkerProcess

log = Logger()

FIRST_SOCKET = 3
"""The number that a worker's first socket has there; the others follow."""

# How long a dead worker's place stays empty, in seconds: ever longer, until one has lived for a while.
_SHORTEST, _LONGEST, _PROVED = 0.1, 10.0, 60.0

BEATS = 6
"""How many signs of life a worker gives within its deadline."""
LOOKS = 10
"""How often the master looks for them within it."""
_STARTING = 4  # How many times as long a worker may take for the first.
PREPARING, TAKING = 60.0, 10.0
"""How long, in seconds, a worker may take to make ready for another configuration, and to go by it then."""


class SpawningReactor(IReactorCore, IReactorTime, IReactorProcess):
    """What starts processes."""


class Place:
    """Where one worker after the other serves, at the same sockets."""

    def __init__(
        self,
        number: int,
        sockets: Sequence[socket.socket],
        source: Source,
        deadline: float,
        reactor: SpawningReactor,
        lost: Callable[[], None],
    ) -> None:
        """
        Args:
            number: the worker's, from 1.
            sockets: they listen.
            source: what each worker goes by.
            deadline: how long a worker may show no sign of life, in seconds.
            reactor: starts them.
            lost: is called when a worker says that none after it would fare better.
        """
        self._number = number
        self._sockets = sockets
        self._source = source
        self._deadline = deadline
        self._reactor = reactor
        self._lost = lost
        self._process: IProcessTransport | None = None
        self._worker: WorkerProcess | None = None
        self._ended: Deferred[None] | None = None
        self._pause = _SHORTEST
        self._begun = 0.0
        self._next: IDelayedCall | None = None
        self._closed = False
        self._looks_left = 0
        # While it is not decided by which configuration a worker that starts now would go.
        self._held = False
        self._question: tuple[int, Deferred[tuple[Problem, ...]]] | None = None

    def fill(self) -> None:
        """Start a worker."""
        self._next = None
        if self._closed or self._held:
            return
        self._begun = self._reactor.seconds()
        self._looks_left = _STARTING * LOOKS
        worker = WorkerProcess(self._number, Prepare(0, self._source), self._lives, self._answered)
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
        self._worker = worker
        log.info("worker {worker} is process {pid}", worker=self._number, pid=self._process.pid)

    def hold(self) -> None:
        """Start nobody until :meth:`release`."""
        self._held = True

    def release(self) -> None:
        """Start the worker that was due meanwhile, if one was."""
        held, self._held = self._held, False
        if held and self._process is None and self._next is None:
            self.fill()

    def prepare(self, number: int, source: Source) -> Deferred[tuple[Problem, ...]]:
        """Have the worker make ready for another configuration.

        Returns:
            All that is wrong with it; nothing where there is no worker now.
        """
        return self._ask(number, Prepare(number, source), PREPARING)

    async def take(self, number: int, source: Source) -> None:
        """Have the worker go by what it is ready for, and each that comes after it; one that does not is killed, and
        so the next one does."""
        self._source = source
        problems = await self._ask(number, Take(number), TAKING)
        if problems and self._process is not None:
            log.error("{problem}: it is killed", problem=problems[0].sentence)
            self.signal("KILL")

    def refuse(self, failure: str) -> None:
        """Have the worker go on as before."""
        if self._worker is not None:
            self._worker.tell(Refuse(failure))

    def _ask(self, number: int, order: Prepare | Take, seconds: float) -> Deferred[tuple[Problem, ...]]:
        if self._worker is None:
            return succeed(())
        answer: Deferred[tuple[Problem, ...]] = Deferred()
        self._question = (number, answer)
        self._worker.tell(order)
        late = self._problem(f"worker {self._number} has not answered within {seconds:g} s")
        return answer.addTimeout(seconds, self._reactor, lambda outcome, timeout: (late,))

    def _problem(self, sentence: str) -> Problem:
        return Problem(self._source.file, 0, 0, "", sentence)

    def _answered(self, answer: Answer) -> None:
        # What comes too late is an answer to nothing.
        if self._question is not None and answer.number == self._question[0]:
            (_, question), self._question = self._question, None
            if not question.called:
                question.callback(answer.problems)

    def look(self) -> None:
        """Kill the worker if it has hung for too long (FT-55).

        Looks are counted, not seconds: a master that was stopped itself, together with its machine perhaps, has not
        read what the workers have written meanwhile.
        """
        if self._process is None or self._closed:
            return
        self._looks_left -= 1
        if self._looks_left < 0:
            self._looks_left = LOOKS
            log.error(
                "worker {worker}, process {pid}, has shown no sign of life for {seconds:g} s: it is killed",
                worker=self._number,
                pid=self._process.pid,
                seconds=self._deadline,
            )
            self.signal("KILL")

    def _lives(self) -> None:
        self._looks_left = LOOKS

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
        self._process = self._worker = None
        if self._question is not None:
            self._answered(Answer(self._question[0], (self._problem(f"worker {self._number} has ended with {how}"),)))
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
