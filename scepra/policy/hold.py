"""The rule about people: which requests wait until they have been approved.

It objects to nothing. What it asks for counts only once no other rule objects, so that people are never asked about a
request that would be refused anyhow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import ClassVar

from scepra.enrolment import Credential, Hold, Violation
from scepra.policy.alternative import unmapped
from scepra.policy.model import HoldSpec, WhenSpec
from scepra.policy.pattern import Pattern
from scepra.policy.register import ATTRIBUTE_TYPES
from scepra.policy.rule import Request
from scepra.policy.value import content_of, format_duration

_PEOPLE = {1: "one approval", 2: "two approvals by different people"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a sentence for people, made of the configuration alone, and whether a request meets it."""

    sentence: str
    met: Callable[[Request], bool]


class Held:
    """The requests that meet every condition wait for people.

    What a pattern cannot be asked about, because it is no text, the other rules refuse.
    """

    name: ClassVar[str] = "hold"
    __slots__ = ("_conditions", "_hold")

    def __init__(self, spec: HoldSpec) -> None:
        self._conditions = tuple(_conditions(spec.when))
        reason = "; ".join(condition.sentence for condition in self._conditions)
        self._hold = Hold(spec.approvals, spec.expires, reason or "every request")

    def check(self, request: Request) -> tuple[Violation, ...]:
        """Nothing: to wait is no violation."""
        return ()

    def hold(self, request: Request) -> Hold | None:
        """What the request has to wait for, if it does."""
        return self._hold if all(condition.met(request) for condition in self._conditions) else None

    def look(self, request: Request) -> str:
        """Each condition, and whether the request meets it."""
        seen = [f"{each.sentence}: {'yes' if each.met(request) else 'no'}" for each in self._conditions]
        return "; ".join(seen) or self._hold.reason


def described(hold: Hold) -> str:
    """What a held request waits for, for people."""
    return f"waits for {_PEOPLE[hold.approvals]}, {format_duration(hold.expires)} at most"


def _conditions(spec: WhenSpec) -> Iterator[Condition]:
    for short, text in (spec.subject or {}).items():
        yield Condition(f"subject.{short} matches {text}", _subject(content_of(ATTRIBUTE_TYPES, short), text))
    for kind, pattern in (("dns", spec.dns), ("email", spec.email), ("upn", spec.upn), ("uri", spec.uri)):
        if pattern is not None:
            yield Condition(f"{kind} matches {pattern}", _alternative(kind, pattern))
    if spec.credential is not None:
        yield Condition(f"credential is {spec.credential}", _credential(Credential(spec.credential)))
    if spec.source is not None:
        yield Condition(f"source is in {' or '.join(map(str, spec.source))}", _source(spec.source))


def _subject(attribute_type: bytes, text: str) -> Callable[[Request], bool]:
    pattern = Pattern(text, ignore_case=True)

    def met(request: Request) -> bool:
        values = request.csr.subject.values(attribute_type)
        return any(value.text is not None and pattern.matches(value.text) for value in values)

    return met


def _alternative(kind: str, text: str) -> Callable[[Request], bool]:
    pattern = Pattern(text, ignore_case=True)

    def met(request: Request) -> bool:
        return any(
            name.kind == kind and isinstance(name.value, str) and pattern.matches(name.value)
            for name in request.csr.alternative_names
        )

    return met


def _credential(credential: Credential) -> Callable[[Request], bool]:
    return lambda request: request.credential is credential


def _source(networks: tuple[IPv4Network | IPv6Network, ...]) -> Callable[[Request], bool]:
    def met(request: Request) -> bool:
        try:
            address = unmapped(ip_address(request.source))
        except ValueError:
            return True  # whoever cannot be placed does not get past people by that
        return any(address in network for network in networks)

    return met
