"""The rule about names that nobody gets: whoever has them is believed to be the infrastructure itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

from scepra.enrolment import Violation
from scepra.policy.alternative import normal_address, unmapped
from scepra.policy.model import InfrastructureSpec
from scepra.policy.pattern import Pattern
from scepra.policy.rule import Contents, Request
from scepra.scep import der
from scepra.scep.name import Name

_SAID = "belongs to the infrastructure"
# Normalising takes quadratic time in the worst case.
_LONGEST = 1024
_LONGEST_ADDRESS = 64


class Infrastructure:
    """Patterns and networks that no name may match, of whatever type and in whatever place."""

    name: ClassVar[str] = "infrastructure"
    __slots__ = ("_networks", "_patterns")

    def __init__(self, spec: InfrastructureSpec) -> None:
        self._patterns = tuple([Pattern(text, ignore_case=True) for text in spec.names])
        self._networks = spec.addresses

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        for path, text in _texts(request.csr):
            if any(self._matches(form) for form in _forms(text)):
                yield Violation(self.name, path, _SAID)
        for index, name in enumerate(request.csr.alternative_names):
            address = normal_address(name.value) if name.kind == "ip" and isinstance(name.value, bytes) else None
            if address is not None and self._matches(str(address)):
                yield Violation(self.name, f"san.ip[{index}]", _SAID)

    def look(self, request: Request) -> str:
        """How many names it has looked at; the other rules show them."""
        return f"{sum(1 for _ in _texts(request.csr))} texts"

    def _matches(self, text: str) -> bool:
        if any(pattern.matches(text) for pattern in self._patterns):
            return True
        if text.startswith("*.") and any(pattern.matches_below(text[1:]) for pattern in self._patterns):
            return True
        if not self._networks or len(text) > _LONGEST_ADDRESS or not (":" in text or text.replace(".", "").isdigit()):
            return False
        try:
            address = unmapped(ip_address(text))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _texts(contents: Contents) -> Iterator[tuple[str, str]]:
    """Every text that names somebody, with its place."""
    for value in contents.subject.attributes:
        if value.text is not None:
            yield f"subject.{value.type_name}", value.text
    for index, name in enumerate(contents.alternative_names):
        path = f"san.{name.kind}[{index}]"
        if isinstance(name.value, str):
            yield path, name.value
        elif name.kind == "directory":
            for value in Name.parse(der.parse(name.value)).attributes:
                if value.text is not None:
                    yield f"{path}.{value.type_name}", value.text


def _forms(text: str) -> Iterator[str]:
    """What a text might be read as: as it is but for its spelling, and the parts of what has an @ or is a URI."""
    whole = text if text.isascii() or len(text) > _LONGEST else unicodedata.normalize("NFKC", text)
    whole = whole.strip().removesuffix(".")
    yield whole
    local, at, domain = whole.rpartition("@")
    if at:
        yield local
        yield domain
    if ":" in whole:
        try:
            host = urlsplit(whole).hostname
        except ValueError:
            return
        if host:
            yield host.removesuffix(".")
