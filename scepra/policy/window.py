"""The rule about time: on which days, at which hours, from when and until when requests are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

from scepra.enrolment import Violation
from scepra.policy.model import TimeSpec
from scepra.policy.rule import Request

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHOLE_DAY = 24 * 60


class Window:
    """The times at which requests are accepted, by the clock on the wall of one zone."""

    name: ClassVar[str] = "time"
    __slots__ = ("_days", "_end", "_spec", "_start", "_zone")

    def __init__(self, spec: TimeSpec) -> None:
        self._spec = spec
        self._zone = ZoneInfo(spec.zone)
        self._days = frozenset(map(_DAYS.index, spec.days))
        self._start, self._end = minutes(spec.hours)

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        local = request.received.astimezone(self._zone)
        if not self._within_hours(local):
            yield Violation(self.name, "time", "is outside the days and hours")
        today, spec = local.date(), self._spec
        if spec.not_before is not None and today < spec.not_before:
            yield Violation(self.name, "time.not-before", f"is before {spec.not_before}")
        if spec.not_after is not None and today > spec.not_after:
            yield Violation(self.name, "time.not-after", f"is after {spec.not_after}")

    def look(self, request: Request) -> str:
        """The time in the zone of the rule."""
        local = request.received.astimezone(self._zone)
        return f"{_DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {self._spec.zone}"

    def _within_hours(self, local: datetime) -> bool:
        minute, today = 60 * local.hour + local.minute, local.weekday() in self._days
        if self._start < self._end:
            return today and self._start <= minute < self._end
        # Over midnight: what begins on one of the days goes on into the next one.
        yesterday = (local - timedelta(days=1)).weekday() in self._days
        return (today and minute >= self._start) or (yesterday and minute < self._end)


def minutes(hours: str | None) -> tuple[int, int]:
    """From which minute of a day to which other one; the second is not larger where they go over midnight."""
    if hours is None:
        return 0, WHOLE_DAY
    start, end = ((60 * int(text[:2]) + int(text[3:])) for text in hours.split("-"))
    return start, end
