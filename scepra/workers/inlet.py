"""What a worker reads from its master: lines, through a pipe."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_AT_ONCE = 65536


def first_line(descriptor: int) -> tuple[bytes, bytes]:
    """Wait for the first line of a pipe.

    Returns:
        The line, without its end, and what was read after it. The line is not whole if the pipe has ended within it.
    """
    read = b""
    while b"\n" not in read and (data := os.read(descriptor, _AT_ONCE)):
        read += data
    line, _, rest = read.partition(b"\n")
    return line, rest


@implementer(IReadDescriptor)
class Inlet:
    """Reads the lines that come after the first, as they come.

    The pipe's end says nothing: who follows a master is told of its end by a signal.
    """

    def __init__(self, descriptor: int, rest: bytes, reactor: IReactorFDSet, heard: Callable[[bytes], None]) -> None:
        """
        Args:
            descriptor: the pipe; nobody else reads from it.
            rest: what was read after the first line.
            reactor: tells when there is something.
            heard: is called with each line, without its end.
        """
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._rest = b""
        self._reactor = reactor
        self._heard = heard
        self._take(rest)
        reactor.addReader(self)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._heard(line)

    # What the reactor asks for

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """There is something, or the master has ended."""
        data = os.read(self._descriptor, _AT_ONCE)
        if not data:
            self._reactor.removeReader(self)
        self._take(data)

    def fileno(self) -> int:
        """The pipe's number."""
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended."""

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """How the reactor calls it in its own log."""
        return "inlet"
