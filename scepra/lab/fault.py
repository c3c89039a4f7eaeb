"""Answers that go wrong on their way: what networks, proxies and overloaded servers do."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.task import LoopingCall
from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from scepra.lab.behaviour import Behaviour, Fault

PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works!</body></html>\n"
_UNDER_WAY = 0.1  # How long what is written may take to leave, in seconds.


def respond(request: Request, content: bytes, behaviour: Behaviour | None) -> bytes | int:
    """What ``render`` returns for an answer, spoilt as *behaviour* wants it; None spoils nothing.

    Args:
        request: its content type is set already.
        content: the answer's body.
        behaviour: only its faults are looked at.
    """
    if behaviour is None:
        return content
    if behaviour.http_status is not None:
        request.setResponseCode(behaviour.http_status)
        if behaviour.retry_after is not None:
            request.setHeader(b"retry-after", b"%d" % behaviour.retry_after)
        return b""
    if behaviour.fault is None:
        return content
    if behaviour.fault is Fault.DRIP:
        return _drip(request, content, behaviour.pause)
    return _FAULTS[behaviour.fault](request, content)


def _html(request: Request, content: bytes) -> bytes | int:
    request.setHeader(b"content-type", b"text/html; charset=utf-8")
    return PAGE


def _empty(request: Request, content: bytes) -> bytes | int:
    return b""


def _silence(request: Request, content: bytes) -> bytes | int:
    # Nobody is to write to the request once its client has given up.
    request.notifyFinish().addErrback(lambda failure: None)
    return NOT_DONE_YET


def _reset(request: Request, content: bytes) -> bytes | int:
    _transport(request).abortConnection()
    return _silence(request, content)


def _cut(request: Request, content: bytes) -> bytes | int:
    _half(request, content)
    _reactor(request).callLater(_UNDER_WAY, _transport(request).abortConnection)
    return _silence(request, content)


def _truncated(request: Request, content: bytes) -> bytes | int:
    _half(request, content)
    _transport(request).loseConnection()
    return _silence(request, content)


def _short(request: Request, content: bytes) -> bytes | int:
    request.setHeader(b"content-length", b"%d" % (len(content) // 2))
    request.write(content)
    request.finish()
    return NOT_DONE_YET


def _drip(request: Request, content: bytes, pause: float) -> bytes | int:
    request.setHeader(b"content-length", b"%d" % len(content))
    octets = iter(content)

    def drop() -> None:
        octet = next(octets, None)
        if octet is None:
            dripping.stop()
            request.finish()
        else:
            request.write(bytes((octet,)))

    dripping = LoopingCall(drop)
    dripping.clock = _reactor(request)
    request.notifyFinish().addErrback(lambda failure: dripping.stop())
    dripping.start(pause)
    return NOT_DONE_YET


def _half(request: Request, content: bytes) -> None:
    """Announce the whole answer, and write the first half of it."""
    request.setHeader(b"content-length", b"%d" % len(content))
    request.write(content[: len(content) // 2])


def _transport(request: Request) -> ITCPTransport:
    """What is below HTTP."""
    return cast(ITCPTransport, request.channel.transport)


def _reactor(request: Request) -> IReactorTime:
    """What keeps the server's time."""
    return cast(IReactorTime, cast(Any, request.channel).site.reactor)


_FAULTS = {
    Fault.HTML: _html,
    Fault.EMPTY: _empty,
    Fault.SILENCE: _silence,
    Fault.RESET: _reset,
    Fault.CUT: _cut,
    Fault.TRUNCATED: _truncated,
    Fault.SHORT: _short,
}
