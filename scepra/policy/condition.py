"""Conditions on requests: which are held for people, and which go to a CA of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from scepra.enrolment import Credential
from scepra.policy.alternative import unmapped
from scepra.policy.model import WhenSpec
from scepra.policy.pattern import Pattern
from scepra.policy.register import ATTRIBUTE_TYPES
from scepra.policy.rule import Request
from scepra.policy.value import content_of


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a sentence for people, made of the configuration alone, and whether a request meets it."""

    sentence: str
    met: Callable[[Request], bool]


class Conditions:
    """What a request must meet, all of it; nothing is met by every request.

    What a pattern cannot be asked about, because it is no text, meets nothing.
    """

    __slots__ = ("_conditions", "sentence")

    def __init__(self, when: WhenSpec) -> None:
        self._conditions = tuple(_conditions(when))
        self.sentence = "; ".join(condition.sentence for condition in self._conditions) or "every request"

    def met(self, request: Request) -> bool:
        """Whether the request meets every condition."""
        return all(condition.met(request) for condition in self._conditions)

    def look(self, request: Request) -> str:
        """Each condition, and whether the request meets it."""
        seen = [f"{each.sentence}: {'yes' if each.met(request) else 'no'}" for each in self._conditions]
        return "; ".join(seen) or self.sentence


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
