"""What a rule is: it looks at a request and names everything that it objects to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from scepra.enrolment import Credential, Hold, Violation
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Extension
from scepra.scep.csr import Attribute, BasicConstraints
from scepra.scep.name import GeneralName, Name
from scepra.scep.publickey import PublicKeyInfo


class Contents(Protocol):
    """What rules see of a request, or of the certificate that was issued for it, by the names that
    :class:`~scepra.scep.csr.CertificationRequest` has for it."""

    @property
    def subject(self) -> Name: ...

    @property
    def public_key(self) -> PublicKeyInfo: ...

    @property
    def attributes(self) -> tuple[Attribute, ...]: ...

    @property
    def extensions(self) -> tuple[Extension, ...]: ...

    @property
    def carrier(self) -> bytes | None: ...

    @property
    def alternative_names(self) -> tuple[GeneralName, ...]: ...

    @property
    def key_usage(self) -> frozenset[str] | None: ...

    @property
    def extended_key_usage(self) -> tuple[bytes, ...] | None: ...

    @property
    def basic_constraints(self) -> BasicConstraints | None: ...

    @property
    def templates(self) -> tuple[str, ...]: ...

    @property
    def signature_digest(self) -> Digest | None: ...


class Request(Protocol):
    """What rules see of an enrolment: what is asked for, how its signer stands to it, the client's IP address as text
    (AC-011), and when it came in, UTC."""

    @property
    def csr(self) -> Contents: ...

    @property
    def credential(self) -> Credential: ...

    @property
    def source(self) -> str: ...

    @property
    def received(self) -> datetime: ...


class Rule(Protocol):
    """One rule of a profile, ready to be applied."""

    name: ClassVar[str]

    def check(self, request: Request) -> Iterable[Violation]:
        """Everything that the rule objects to; sentences do not repeat what the client sent."""
        ...

    def look(self, request: Request) -> str:
        """What the rule judges in this request, for people: names and numbers, never the challenge."""
        ...


@dataclass(frozen=True, slots=True)
class Reporting:
    """A rule whose objections are reported and refuse nothing, unless they are structural."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one rule looked at and said.

    ``hold`` is what it makes the request wait for, if it does; ``reported`` whether it has objections, or would make
    the request wait, and only reports that.
    """

    rule: str
    looked_at: str
    said: str
    ok: bool
    hold: Hold | None = None
    reported: bool = False


Rules = tuple[Rule | Reporting, ...]
"""The rules of a profile, those that only report wrapped."""

NOT_NAMED = "no rule names it"
