"""What a rule is: it looks at a request and names everything that it objects to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from scepra.enrolment import Credential, Hold, Violation
from scepra.scep.csr import CertificationRequest


class Request(Protocol):
    """What rules see of an enrolment: the CSR, how its signer stands to it, and the client's IP address as text
    (AC-011)."""

    @property
    def csr(self) -> CertificationRequest: ...

    @property
    def credential(self) -> Credential: ...

    @property
    def source(self) -> str: ...


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
class RuleReport:
    """What one rule looked at and said; ``hold`` is what it makes the request wait for, if it does."""

    rule: str
    looked_at: str
    said: str
    ok: bool
    hold: Hold | None = None


NOT_NAMED = "no rule names it"
