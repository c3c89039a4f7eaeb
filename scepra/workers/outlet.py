"""Where a worker's log goes: a pipe to its master, that never makes the worker wait."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque

from twisted.internet.interfaces import IReactorFDSet, IReactorFromThreads, IWriteDescriptor
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from scepra.workers.event import SIGN_OF_LIFE, encode
from scepra.workers.order import Answer

log = Logger()

_MOST = 4 * 1024 * 1024  # Octets that wait for a master that does not read.


class OutletReactor(IReactorFDSet, IReactorFromThreads):
    """What tells when a pipe takes more."""


@implementer(ILogObserver, IWriteDescriptor)
class Outlet:
    """Writes each event as a line, from whatever thread.

    What the pipe does not take waits here, up to a bound; beyond it events are lost, counted, and their number is
    logged once the master reads again. A master that is gone is not written to.
    """

    def __init__(self, descriptor: int, reactor: OutletReactor) -> None:
        """
        Args:
            descriptor: the pipe; nobody else writes to it.
            reactor: tells when it takes more.
        """
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._reactor = reactor
        self._lock = threading.RLock()  # Collecting garbage can log, in the midst of anything.
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._lost = 0

    def __call__(self, event: LogEvent) -> None:
        """Write an event."""
        self._put(encode(event))

    def answer(self, answer: Answer) -> None:
        """Answer the master."""
        self._put(answer.encode())

    def beat(self) -> None:
        """Tell the master that we live."""
        self._put(SIGN_OF_LIFE)

    def _put(self, line: bytes) -> None:
        with self._lock:
            if self._size + len(line) > _MOST:
                self._lost += 1
                return
            waited = bool(self._lines)
            self._lines.append(line)
            self._size += len(line)
            if waited:
                return
            self._write()
            waits = bool(self._lines)
        if waits:
            self._reactor.callFromThread(self._reactor.addWriter, self)

    def close(self, seconds: float) -> None:
        """Write what still waits, for so long at most."""
        deadline = time.monotonic() + seconds
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while self._lines and (left := deadline - time.monotonic()) > 0:
            ready.poll(left * 1000)
            self.doWrite()

    def _write(self) -> None:
        """As much as the pipe takes."""
        while self._lines:
            line = self._lines[0]
            try:
                written = os.write(self._descriptor, line)
            except BlockingIOError:
                return
            except OSError:
                # The master is gone, and we are told to follow it.
                self._lines.clear()
                self._size = 0
                return
            self._size -= written
            if written < len(line):
                self._lines[0] = line[written:]
            else:
                self._lines.popleft()

    # What the reactor asks for

    def doWrite(self) -> None:  # noqa: N802 - Twisted's name
        """The pipe takes more."""
        with self._lock:
            self._write()
            if self._lines:
                return
            lost, self._lost = self._lost, 0
        self._reactor.removeWriter(self)
        if lost:
            log.error("{lost} log events are lost: the master did not read them in time", lost=lost)

    def fileno(self) -> int:
        """The pipe's number."""
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended, or the master has."""

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """How the reactor calls it in its own log."""
        return "outlet"
