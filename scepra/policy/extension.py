"""The rules about extensions, attributes, purposes and usages (AC-080, AC-082, AC-083, P10-06, P10-10)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.errors import Malformed
from scepra.policy.model import AttributesSpec, EKUSpec, ExtensionsSpec, KeyUsageSpec
from scepra.policy.register import (
    ALWAYS_ALLOWED_ATTRIBUTES,
    APPLICATION_POLICIES,
    ATTRIBUTES,
    CA_EXTENSIONS,
    EXTENSIONS,
    POWERFUL,
    PURPOSES,
    TEMPLATE_SELECTORS,
    name_of,
)
from scepra.policy.rule import NOT_NAMED, Contents, Request
from scepra.policy.value import content_of
from scepra.scep import der, oid

_CA_USAGES = frozenset(("keyCertSign", "cRLSign"))


class CAPowers:
    """What makes a CA, refused in every profile (AC-080)."""

    name: ClassVar[str] = "ca-powers"
    __slots__ = ()

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        csr = request.csr
        if csr.basic_constraints is not None and (
            csr.basic_constraints.ca or csr.basic_constraints.path_length is not None
        ):
            yield Violation(self.name, "extensions.basicConstraints", "asks to be a CA")
        for usage in sorted(_CA_USAGES & (csr.key_usage or frozenset())):
            yield Violation(self.name, f"extensions.keyUsage.{usage}", "belongs to CAs")
        for extension in csr.extensions:
            if extension.oid in CA_EXTENSIONS:
                yield Violation(self.name, f"extensions.{CA_EXTENSIONS[extension.oid]}", "belongs to CAs")

    def look(self, request: Request) -> str:
        """basicConstraints."""
        constraints = request.csr.basic_constraints
        return "no basicConstraints" if constraints is None else f"basicConstraints CA {constraints.ca}"


class Extensions:
    """The extensions, by allow-list; templates by their value."""

    name: ClassVar[str] = "extensions"
    __slots__ = ("_allowed", "_templates")

    def __init__(self, spec: ExtensionsSpec, judged_elsewhere: frozenset[bytes]) -> None:
        """
        Args:
            judged_elsewhere: the extensions whose values other rules judge.
        """
        self._allowed = judged_elsewhere | {content_of(EXTENSIONS, name) for name in spec.allow}
        self._templates = frozenset(spec.templates)

    def with_additions(self, additions: frozenset[bytes]) -> Extensions:
        """The same rule, which allows more extensions."""
        other = copy(self)
        other._allowed = self._allowed | additions
        return other

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        csr = request.csr
        for extension in csr.extensions:
            if extension.oid not in self._allowed and extension.oid not in TEMPLATE_SELECTORS:
                yield Violation(self.name, f"extensions.{name_of(extension.oid)}", NOT_NAMED)
        for template in csr.templates:
            if template not in self._templates:
                yield Violation(self.name, "extensions.templates", f"selects a certificate template: {NOT_NAMED}")

    def look(self, request: Request) -> str:
        """The extensions' names, the attribute that carried them, the templates."""
        csr = request.csr
        if csr.carrier is None:
            return "(none)"
        names = ", ".join(name_of(extension.oid) for extension in csr.extensions) or "(none)"
        templates = f"; templates {', '.join(map(ascii, csr.templates))}" if csr.templates else ""
        return f"{names} in attribute {oid.dotted(csr.carrier)}{templates}"


class Attributes:
    """The attributes, by allow-list."""

    name: ClassVar[str] = "attributes"
    __slots__ = ("_allowed",)

    def __init__(self, spec: AttributesSpec) -> None:
        self._allowed = ALWAYS_ALLOWED_ATTRIBUTES | {content_of(ATTRIBUTES, name) for name in spec.allow}

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        for attribute in request.csr.attributes:
            if attribute.oid not in self._allowed:
                yield Violation(self.name, f"attributes.{name_of(attribute.oid)}", NOT_NAMED)

    def look(self, request: Request) -> str:
        """The attributes' names, without those that other rules judge."""
        others = [each.oid for each in request.csr.attributes if each.oid not in ALWAYS_ALLOWED_ATTRIBUTES]
        return ", ".join(map(name_of, others)) or "(none)"


class Purposes:
    """extendedKeyUsage, and Microsoft's application policies, which mean the same."""

    name: ClassVar[str] = "eku"
    __slots__ = ("_allowed",)

    def __init__(self, spec: EKUSpec | None) -> None:
        self._allowed = frozenset(content_of(PURPOSES, name) for name in spec.allow) if spec else frozenset()

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        try:
            purposes = purposes_of(request.csr)
        except Malformed:
            yield Violation(self.name, "extensions.applicationPolicies", "cannot be read", structural=True)
            return
        for purpose in purposes:
            if purpose not in self._allowed:
                yield Violation(self.name, f"eku.{name_of(purpose)}", NOT_NAMED, structural=purpose in POWERFUL)

    def look(self, request: Request) -> str:
        """The purposes' names."""
        try:
            return ", ".join(map(name_of, purposes_of(request.csr))) or "(none)"
        except Malformed:
            return "application policies that cannot be read"


class KeyUsage:
    """keyUsage; what belongs to CAs is :class:`CAPowers`' to refuse."""

    name: ClassVar[str] = "key-usage"
    __slots__ = ("_allowed",)

    def __init__(self, spec: KeyUsageSpec | None) -> None:
        self._allowed = _CA_USAGES | frozenset(spec.allow if spec else ())

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        for usage in sorted((request.csr.key_usage or frozenset()) - self._allowed):
            yield Violation(self.name, f"key-usage.{usage}", NOT_NAMED)

    def look(self, request: Request) -> str:
        """The usages."""
        return ", ".join(sorted(request.csr.key_usage or ())) or "(none)"


def purposes_of(csr: Contents) -> list[bytes]:
    """The purposes that a request asks for (OID content octets), in either of the two extensions.

    Raises:
        Malformed: application policies that cannot be read.
    """
    purposes = list(csr.extended_key_usage or ())
    for extension in csr.extensions:
        if extension.oid == APPLICATION_POLICIES:
            purposes += application_policies(extension.value)
    return list(dict.fromkeys(purposes))


def application_policies(encoding: bytes) -> list[bytes]:
    """The purposes in Microsoft's application policies (OID content octets).

    Raises:
        Malformed: it is something else.
    """
    return [policy.sequence(1)[0].oid() for policy in der.parse(encoding, strict=True).sequence()]
