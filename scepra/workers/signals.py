"""The signals that tell a process to end, or to read its configuration again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType

from twisted.application.service import Service
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import Logger

log = Logger()


class EndingReactor(IReactorCore, IReactorFromThreads):
    """What ends a process in order."""


class Signals(Service):
    """Ends the process in order when it is told to, and so with exit code 0.

    twistd, left alone, ends by the very signal that it has caught, and a supervisor takes that for a failure (FT-45).
    Being told again changes nothing: the grace bounds how long it takes.
    """

    def __init__(
        self,
        reactor: EndingReactor,
        heeded: Iterable[signal.Signals],
        reload: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            reactor: is stopped.
            heeded: the signals.
            reload: is called at SIGHUP, in the reactor's turn; None: that signal is left alone.
        """
        self._reactor = reactor
        self._heeded = heeded
        self._reload = reload
        self._ending = False

    def startService(self) -> None:
        """Heed the signals, once the reactor has set its own ways with them."""
        super().startService()
        self._reactor.callWhenRunning(self._heed)

    def _heed(self) -> None:
        for each in self._heeded:
            signal.signal(each, self._told)
        if self._reload is not None:
            signal.signal(signal.SIGHUP, self._reread)

    def _reread(self, number: int, frame: FrameType | None) -> None:
        if self._reload is not None:
            self._reactor.callFromThread(self._reload)

    def _told(self, number: int, frame: FrameType | None) -> None:
        # Between any two lines of the program: not the time to do more.
        self._reactor.callFromThread(self._end, signal.Signals(number).name)

    def _end(self, name: str) -> None:
        if not self._ending:
            self._ending = True
            log.info("told to end by {signal}", signal=name)
            with suppress(ReactorNotRunning):
                self._reactor.stop()
