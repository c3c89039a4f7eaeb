"""Whether somebody is worth asking now: after it could not be reached, or turned requests away, it is tried again by
one, not by all (FT-01, FT-09)."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

FIRST_PAUSE = 1.0
LOST_IN_A_ROW = 3


class Breaker:
    """Opens when the other side cannot be reached, turns requests away, or loses several in a row; each time for twice
    as long, unless it has said for how long.

    Args:
        reactor: the clock.
        longest: the longest pause, in seconds.
    """

    def __init__(self, reactor: IReactorTime, longest: float) -> None:
        self._reactor = reactor
        self._longest = longest
        self._pause = min(FIRST_PAUSE, longest)
        self._until = float("-inf")
        self._lost = 0
        self._open = False
        # It can be reached, and answers no requests all the same.
        self._mute = False

    @property
    def trying(self) -> bool:
        """Whether what is asked now is a trial: one request is enough."""
        return self._open

    @property
    def remaining(self) -> float:
        """For how many seconds nobody is admitted."""
        return max(0.0, self._until - self._reactor.seconds()) if self._open else 0.0

    def admits(self) -> bool:
        """Whether it may be asked; while it is open, one request may try when a pause is over."""
        if not self._open:
            return True
        if self._reactor.seconds() < self._until:
            return False
        # Whoever asks now is the one that tries: the others see the next pause.
        self._until = self._reactor.seconds() + self._pause
        return True

    def answered(self) -> None:
        """It answered a request, whatever it said."""
        self._open, self._mute = False, False
        self._lost, self._pause = 0, min(FIRST_PAUSE, self._longest)

    def seen(self) -> None:
        """It can be reached, which says nothing of requests that it turns away, or does not answer."""
        if self._open and not self._mute:
            self.answered()

    def failed(self, *, sent: bool) -> None:
        """It did not answer; *sent* tells whether it may have been reached."""
        self._lost += 1
        if not sent:
            self._mute = False
        elif self._lost >= LOST_IN_A_ROW:
            self._mute = True
        if self._open or not sent or self._lost >= LOST_IN_A_ROW:
            self._leave_alone(self._pause)

    def turned_away(self, pause: float | None) -> None:
        """It takes no requests now; *pause* is for how long, if it has said so."""
        self._mute = True
        self._leave_alone(self._pause if pause is None else max(pause, FIRST_PAUSE))

    def _leave_alone(self, seconds: float) -> None:
        self._open = True
        self._until = self._reactor.seconds() + seconds
        self._pause = min(2 * self._pause, self._longest)
