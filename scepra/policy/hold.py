"""The rule about people: which requests wait until they have been approved.

It objects to nothing. What it asks for counts only once no other rule objects, so that people are never asked about a
request that would be refused anyhow.
"""

from __future__ import annotations

from typing import ClassVar

from scepra.enrolment import Hold, Violation
from scepra.policy.condition import Conditions
from scepra.policy.model import HoldSpec
from scepra.policy.rule import Request
from scepra.policy.value import format_duration

_PEOPLE = {1: "one approval", 2: "two approvals by different people"}


class Held:
    """The requests that meet every condition wait for people.

    What a pattern cannot be asked about, because it is no text, the other rules refuse.
    """

    name: ClassVar[str] = "hold"
    __slots__ = ("_conditions", "_hold")

    def __init__(self, spec: HoldSpec) -> None:
        self._conditions = Conditions(spec.when)
        self._hold = Hold(spec.approvals, spec.expires, self._conditions.sentence)

    def check(self, request: Request) -> tuple[Violation, ...]:
        """Nothing: to wait is no violation."""
        return ()

    def hold(self, request: Request) -> Hold | None:
        """What the request has to wait for, if it does."""
        return self._hold if self._conditions.met(request) else None

    def look(self, request: Request) -> str:
        """Each condition, and whether the request meets it."""
        return self._conditions.look(request)


def described(hold: Hold) -> str:
    """What a held request waits for, for people."""
    return f"waits for {_PEOPLE[hold.approvals]}, {format_duration(hold.expires)} at most"
