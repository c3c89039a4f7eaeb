"""How a test tells the upstream's process what to do: one call for one connection, over a socket that only we can open.

Calls and answers are pickled: both ends are ours.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

_LENGTH = struct.Struct("!I")


class Refusal(Exception):
    """What was called has failed; the text says why."""


def call(path: Path, patience: float, name: str, *arguments: Any) -> Any:
    """Have the other process call a function of that name.

    Args:
        path: of its socket.
        patience: how long the answer may take, in seconds.

    Raises:
        Refusal: the function raised an exception.
        OSError: nobody answers, or not in time.
    """
    asked = pickle.dumps((name, arguments))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        connection.connect(str(path))
        connection.sendall(_LENGTH.pack(len(asked)) + asked)
        (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
        good, result = pickle.loads(_read(connection, length))  # noqa: S301 - our own process wrote it
    if not good:
        raise Refusal(result)
    return result


def _read(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = connection.recv(length - len(received))
        if not piece:
            raise ConnectionResetError("the other process has ended")
        received += piece
    return received


class Controlled(Factory):
    """Answers calls with the functions that it is given, or with what their Deferreds fire with."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self.functions = {function.__name__: function for function in functions}

    def buildProtocol(self, addr: Any) -> _Call:
        return _Call(self)


class _Call(Int32StringReceiver):
    MAX_LENGTH = 16 * 1024 * 1024

    def __init__(self, factory: Controlled) -> None:
        self._functions = factory.functions

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        name, arguments = pickle.loads(string)  # noqa: S301 - our own process wrote it
        maybeDeferred(self._functions[name], *arguments).addCallbacks(self._succeed, self._fail)

    def _succeed(self, result: Any) -> None:
        self.sendString(pickle.dumps((True, result)))

    def _fail(self, failure: Failure) -> None:
        self.sendString(pickle.dumps((False, f"{failure.type.__name__}: {failure.value}")))
