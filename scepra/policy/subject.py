"""The rule about the subject, and what it shares with directory names.

P10-07, P10-08; AC-073, AC-074, AC-076, AC-085.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.policy.model import NameSpec, SubjectSpec
from scepra.policy.pattern import Pattern
from scepra.policy.register import ATTRIBUTE_TYPES
from scepra.policy.rule import NOT_NAMED, Request
from scepra.policy.text import object_to_text
from scepra.policy.value import content_of
from scepra.scep.name import AttributeValue, Name

# RFC 5280, appendix A.1 (ub-*); what has no bound there gets the 255 of PKCS#9.
BOUNDS = {
    "CN": 64,
    "O": 64,
    "OU": 64,
    "title": 64,
    "serialNumber": 64,
    "pseudonym": 128,
    "L": 128,
    "ST": 128,
    "postalCode": 40,
    "SN": 40,
    "GN": 16,
    "initials": 5,
    "generationQualifier": 3,
    "DC": 63,
}
LONGEST = 255


class NameCheck:
    """A NameSpec, ready to be applied to distinguished names."""

    __slots__ = ("_bounds", "_characters", "_named", "_patterns", "_repeat", "_required")

    def __init__(self, spec: NameSpec) -> None:
        def contents(*names: str) -> frozenset[bytes]:
            return frozenset(content_of(ATTRIBUTE_TYPES, name) for name in names)

        self._patterns = {content_of(ATTRIBUTE_TYPES, name): Pattern(text) for name, text in spec.match.items()}
        self._named = contents(*spec.require, *spec.allow, *spec.match)
        self._required = {content_of(ATTRIBUTE_TYPES, name): name for name in spec.require}
        self._repeat = contents(*spec.repeat)
        self._characters = frozenset(spec.characters)
        self._bounds = {content_of(ATTRIBUTE_TYPES, name): bound for name, bound in BOUNDS.items()}

    def check(self, rule: str, path: str, name: Name) -> Iterator[Violation]:
        """Everything that is wrong with *name*, at paths below *path*."""
        values = name.attributes
        count = Counter([value.oid for value in values])
        for required, short in self._required.items():
            if required not in count:
                yield Violation(rule, f"{path}.{short}", "is required and not there")
        for value in values:
            if sentence := self._object(value):
                malformed = value.text is None or not value.text.isprintable()
                yield Violation(rule, f"{path}.{value.type_name}", sentence, structural=malformed)
        for repeated, times in count.items():
            if times > 1 and repeated not in self._repeat:
                short = next(value.type_name for value in values if value.oid == repeated)
                yield Violation(rule, f"{path}.{short}", f"is there {times} times")

    def _object(self, value: AttributeValue) -> str | None:
        if value.oid not in self._named:
            return NOT_NAMED
        text, bound = value.text, self._bounds.get(value.oid, LONGEST)
        if text is not None and len(text) > bound:
            return f"has {len(text)} characters, more than {bound}"
        if sentence := object_to_text(text, self._characters):
            return sentence
        assert text is not None  # noqa: S101 - else there was a sentence
        if value.type_name == "C" and not (len(text) == 2 and text.isalpha() and text.isascii()):
            return "is not two letters"
        pattern = self._patterns.get(value.oid)
        if pattern is not None and not pattern.matches(text):
            return f"does not match {pattern.text}"
        return None


class Subject:
    """The subject; empty only where permitted, and where there is another name."""

    name: ClassVar[str] = "subject"
    __slots__ = ("_check", "_may_be_empty")

    def __init__(self, spec: SubjectSpec) -> None:
        self._check = NameCheck(spec)
        self._may_be_empty = spec.empty

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        csr = request.csr
        if csr.subject.rdns:
            yield from self._check.check(self.name, "subject", csr.subject)
        elif not csr.alternative_names:
            yield Violation(self.name, "subject", "is empty, and there is no other name", structural=True)
        elif not self._may_be_empty:
            yield Violation(self.name, "subject", "is empty")

    def look(self, request: Request) -> str:
        """The subject as RFC 4514 writes it."""
        return str(request.csr.subject) or "(empty)"
