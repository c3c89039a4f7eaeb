"""The rule about how long certificates are valid (AC-110): of a certificate that was issued, never of a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.policy.issued import IssuedContents
from scepra.policy.model import ValiditySpec
from scepra.policy.rule import Request
from scepra.policy.value import format_duration


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The longest validity."""

    name: ClassVar[str] = "validity"
    spec: ValiditySpec

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to; nothing about a request, which cannot ask for a validity."""
        contents = request.csr
        if isinstance(contents, IssuedContents):
            lifetime = contents.lifetime
            if lifetime is None:
                yield Violation(self.name, "validity.most", "cannot be reckoned", structural=True)
            elif lifetime.total_seconds() > self.spec.most:
                said = f"is valid for {lifetime.days} days, longer than {format_duration(self.spec.most)}"
                yield Violation(self.name, "validity.most", said)

    def look(self, request: Request) -> str:
        """How long the certificate is valid, where there is one."""
        contents = request.csr
        if not isinstance(contents, IssuedContents):
            return f"{format_duration(self.spec.most)} at most, judged when the CA has issued"
        return "unreadable" if contents.lifetime is None else f"{contents.lifetime.days} days"
