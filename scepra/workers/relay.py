"""A worker as its master sees it: a process, and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from scepra.workers.event import LONGEST, decode
from scepra.workers.order import MARK, Answer, Order, Prepare, decode_answer

log = Logger()

STDIN, STDOUT, STDERR = range(3)


class Lines:
    """Cuts octets into lines, and a line that is too long into pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[bytes]:
        """The lines that are complete with these octets, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def end(self) -> list[bytes]:
        """What remains: a line without an end, or none."""
        return [self._rest] if self._rest else []


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process has ended: by the signal, or with the exit status."""

    signal: int | None
    status: int | None

    def __str__(self) -> str:
        return f"exit status {self.status}" if self.signal is None else f"signal {self.signal}"


class WorkerProcess(ProcessProtocol):
    """Gives a worker its orders, and its log to ours.

    Its standard output is events, one in a line, answers to orders, and empty lines, which are signs of life; what is
    none of these, and its standard error, are lines of text. ``ended`` has a result when the process has ended and all
    that it wrote has been read.
    """

    def __init__(
        self, number: int, first: Prepare, lives: Callable[[], None], answered: Callable[[Answer], None]
    ) -> None:
        """
        Args:
            number: the worker's.
            first: what it starts with.
            lives: is called at each sign of life.
            answered: is called with each answer.
        """
        self.number = number
        self.ended: Deferred[Ending] = Deferred()
        self._first = first
        self._lives = lives
        self._answered = answered
        self._lines = {STDOUT: Lines(), STDERR: Lines()}

    def connectionMade(self) -> None:
        """Give it its first order."""
        self.tell(self._first)

    def tell(self, order: Order) -> None:
        """Give it an order."""
        process: Any = self.transport
        process.write(order.encode())

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted's names
        """Something that it wrote."""
        for line in self._lines[childFD].take(data):
            if childFD == STDOUT and not line:
                self._lives()
            elif childFD == STDOUT and line.startswith(MARK):
                self._answered(decode_answer(line))
            else:
                self._publish(line)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """It is gone."""
        for lines in self._lines.values():
            for line in lines.end():
                self._publish(line)
        ended: Any = reason.value
        self.ended.callback(Ending(ended.signal, ended.exitCode))

    def _publish(self, line: bytes) -> None:
        try:
            event = decode(line, self.number)
        except ValueError:
            log.error("worker {worker}: {text}", worker=self.number, text=line.decode("utf-8", "backslashreplace"))
        else:
            globalLogPublisher(event)
