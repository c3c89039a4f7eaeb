"""What a request stands for, so that it can be counted and kept unique; and the rules that count.

The rules here object to nothing by themselves: what there is already, only the store knows, and it counts in the very
commit that records a request, so that no two requests are both the last one (DR-7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar

from scepra.enrolment import Hold, Violation
from scepra.policy.alternative import normal_address
from scepra.policy.model import PATIENCE, LimitSpec, UniqueSpec
from scepra.policy.rule import Contents, Reporting, Request, Rules
from scepra.policy.value import format_duration
from scepra.scep.name import COMMON_NAME


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a request stands for: "subject", "name", "key", "device", "challenge" or "profile", and the
    digest of which one."""

    kind: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Bound:
    """What may not be exceeded among the claims of one kind.

    Attributes:
        violation: what is said where it is.
        kind: of claims.
        most: how many there may be with the request's own; for a unique thing, 1.
        within: counts what was made within so many seconds; None: what is valid or under way.
        unique: counts what others stand for, and only that.
        everywhere: counts the claims of all profiles.
        hold: what the request has to wait for where it is exceeded; None: it is refused.
        reported: whether that is only reported.
    """

    violation: Violation
    kind: str
    most: int = 1
    within: float | None = None
    unique: bool = False
    everywhere: bool = False
    hold: Hold | None = None
    reported: bool = False


class Limits:
    """How many certificates there may be."""

    name: ClassVar[str] = "limit"
    __slots__ = ("bounds",)

    def __init__(self, specs: tuple[LimitSpec, ...]) -> None:
        self.bounds = tuple([_limit(index, spec) for index, spec in enumerate(specs)])

    def check(self, request: Request) -> tuple[Violation, ...]:
        """Nothing: see the module."""
        return ()

    def look(self, request: Request) -> str:
        """What is counted when the request is recorded."""
        return "; ".join(f"{bound.violation.path} {bound.violation.sentence}" for bound in self.bounds) + _LATER


class Unique:
    """Of what there is one only."""

    name: ClassVar[str] = "unique"
    __slots__ = ("bounds",)

    def __init__(self, spec: UniqueSpec) -> None:
        self.bounds = tuple(_unique(spec))

    def check(self, request: Request) -> tuple[Violation, ...]:
        """Nothing: see the module."""
        return ()

    def look(self, request: Request) -> str:
        """What is looked for when the request is recorded."""
        return " and ".join(bound.violation.path for bound in self.bounds) + _LATER


_LATER = " (looked at when a request is recorded)"


def bounds(rules: Rules) -> tuple[Bound, ...]:
    """What the rules of a profile have to be counted."""
    found: list[Bound] = []
    for rule in rules:
        inner = rule.rule if isinstance(rule, Reporting) else rule
        if isinstance(inner, Limits | Unique):
            reported = isinstance(rule, Reporting)
            found += [_reporting(bound) if reported else bound for bound in inner.bounds]
    return tuple(found)


def claims(contents: Contents, profile: str, *, device: str = "", challenge: str | None = None) -> tuple[Claim, ...]:
    """Everything that a request stands for.

    Args:
        device: that its challenge was given to; empty if that is not known.
        challenge: the name of its challenge in records; None for a renewal, which has none.
    """
    found = [
        Claim("profile", _digest(profile.encode("utf-8"))),
        Claim("subject", _digest(_subject(contents))),
        Claim("key", contents.public_key.sha256),
    ]
    if device:
        found.append(Claim("device", _digest(device.encode("utf-8"))))
    if challenge is not None:
        found.append(Claim("challenge", _digest(challenge.encode("utf-8"))))
    found += [Claim("name", _digest(name)) for name in _names(contents)]
    return tuple(dict.fromkeys(found))


def _limit(index: int, spec: LimitSpec) -> Bound:
    if spec.active is not None:
        most, said = spec.active, f"{spec.active} valid or under way"
    else:
        assert spec.new is not None and spec.within is not None  # noqa: S101 - the model says so
        most, said = spec.new, f"{spec.new} within {format_duration(spec.within)}"
    path = f"limit[{index}].{spec.per}"
    sentence = f"is beyond {said}"
    hold = Hold(1, PATIENCE, f"{path}: {sentence}") if spec.then == "hold" else None
    return Bound(Violation("limit", path, sentence), spec.per, most, spec.within, hold=hold)


def _unique(spec: UniqueSpec) -> Iterator[Bound]:
    if spec.keys is not None:
        violation = Violation("unique", "unique.keys", "the key has been certified already")
        yield Bound(violation, "key", unique=True, everywhere=spec.keys == "all-profiles")
    if spec.names is not None:
        violation = Violation("unique", "unique.names", "a name is another key's, and no device's that is known")
        hold = Hold(1, PATIENCE, "a name is another key's") if spec.takeover == "hold" else None
        yield Bound(violation, "name", unique=True, everywhere=spec.names == "all-profiles", hold=hold)


def _reporting(bound: Bound) -> Bound:
    return Bound(bound.violation, bound.kind, bound.most, bound.within, bound.unique, bound.everywhere, None, True)


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _subject(contents: Contents) -> bytes:
    """The subject as RFC 5280, 7.1 compares it; where there is none, the other names stand for it."""
    if contents.subject.rdns:
        return contents.subject.canonical
    return b"\0".join(sorted(_names(contents)))


def _names(contents: Contents) -> Iterator[bytes]:
    """What calls somebody by a name, of whatever type and in any letter case: a host's common name and its DNS name
    are one."""
    for value in contents.subject.values(COMMON_NAME):
        yield value.raw if value.text is None else _folded(value.text)
    for name in contents.alternative_names:
        if isinstance(name.value, str):
            yield _folded(name.value)
        else:
            address = normal_address(name.value) if name.kind == "ip" else None
            yield name.raw if address is None else _folded(str(address))


def _folded(text: str) -> bytes:
    text = text.casefold().removesuffix(".")
    if ":" in text or text.replace(".", "").isdigit():
        with suppress(ValueError):
            text = str(ip_address(text))
    return text.encode("utf-8", "surrogatepass")
