"""The rule about subjectAltName: every name of every type (AC-071, AC-076, AC-077, AC-079)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.policy.model import DirectorySpec, DNSSpec, IdentifierSpec, IPSpec, MailboxSpec, SANSpec, URISpec
from scepra.policy.pattern import Pattern
from scepra.policy.rule import NOT_NAMED, Request
from scepra.policy.subject import NameCheck
from scepra.policy.text import object_to_dns, object_to_mailbox, object_to_uri
from scepra.scep import der, oid
from scepra.scep.name import GeneralName, Name

Objection = Callable[[GeneralName], str | None]
_NO_TEXT = "is not ASCII text, or cannot be decoded"
_NO_ADDRESS = "is not an address of 4 or 16 octets"
_MALFORMED = frozenset((_NO_TEXT, _NO_ADDRESS))
_MICROSOFT_TAG = "tag:microsoft.com,"


class AlternativeNames:
    """Each name has to satisfy what the rule says about its type, and there may be only so many of a type."""

    name: ClassVar[str] = "san"
    __slots__ = ("_directory", "_limits", "_objections")

    def __init__(self, spec: SANSpec) -> None:
        self._objections: dict[str, Objection] = {}
        self._limits: dict[str, int] = {}
        self._directory: NameCheck | None = None
        for kind, part in (
            ("dns", spec.dns),
            ("email", spec.email),
            ("upn", spec.upn),
            ("uri", spec.uri),
            ("ip", spec.ip),
            ("registered-id", spec.registered_id),
            ("other", spec.other),
            ("directory", spec.directory),
        ):
            if part is None:
                continue
            self._limits[kind] = part.max
            if isinstance(part, DirectorySpec):
                self._directory = NameCheck(part)
            else:
                self._objections[kind] = _objection(part)

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        names = request.csr.alternative_names
        for index, name in enumerate(names):
            path = f"san.{name.kind}[{index}]"
            if is_sid_uri(name):
                continue
            if name.kind not in self._limits:
                yield Violation(self.name, path, f"a name of the type {name.kind}: {NOT_NAMED}")
            elif name.kind == "directory" and self._directory is not None and isinstance(name.value, bytes):
                yield from self._directory.check(self.name, path, Name.parse(der.parse(name.value)))
            elif sentence := self._objections[name.kind](name):
                yield Violation(self.name, path, sentence, structural=sentence in _MALFORMED)
        for kind, times in Counter([name.kind for name in names if not is_sid_uri(name)]).items():
            if times > self._limits.get(kind, times):
                yield Violation(self.name, f"san.{kind}", f"{times} names, more than {self._limits[kind]}")

    def look(self, request: Request) -> str:
        """The names with their types."""
        return ", ".join(map(str, request.csr.alternative_names)) or "(none)"


def is_sid_uri(name: GeneralName) -> bool:
    """Whether a name is one of Microsoft's tags, however it is spelt: the rule microsoft judges these."""
    return name.kind == "uri" and isinstance(name.value, str) and name.value.lower().startswith(_MICROSOFT_TAG)


def normal_address(octets: bytes) -> IPv4Address | IPv6Address | None:
    """The address that octets of an iPAddress are, IPv4 where mapped into IPv6; None if they are none (AC-079)."""
    if len(octets) not in (4, 16):
        return None
    return unmapped(ip_address(octets))


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, or itself."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _objection(spec: DNSSpec | MailboxSpec | URISpec | IPSpec | IdentifierSpec) -> Objection:
    match spec:
        case DNSSpec():
            return _dns(spec)
        case MailboxSpec():
            return _mailbox(spec)
        case URISpec():
            return _uri(spec)
        case IPSpec():
            return _ip(spec.networks)
        case _:
            return _identifier(spec)


def _dns(spec: DNSSpec) -> Objection:
    pattern = None if spec.match is None else Pattern(spec.match, ignore_case=True)
    suffixes = tuple("." + suffix for suffix in spec.suffix)

    def objection(name: GeneralName) -> str | None:
        text = name.value
        if not isinstance(text, str):
            return _NO_TEXT
        if sentence := object_to_dns(text, wildcard=spec.wildcard, idn=spec.idn):
            return sentence
        if pattern is not None:
            return None if pattern.matches(text) else f"does not match {pattern.text}"
        return None if text.lower().endswith(suffixes) else f"is not below {' or '.join(spec.suffix)}"

    return objection


def _mailbox(spec: MailboxSpec) -> Objection:
    pattern = None if spec.match is None else Pattern(spec.match)

    def objection(name: GeneralName) -> str | None:
        text = name.value
        if not isinstance(text, str):
            return _NO_TEXT
        if sentence := object_to_mailbox(text):
            return sentence
        local, _, domain = text.rpartition("@")
        domain = domain.lower()
        if pattern is not None:
            return None if pattern.matches(f"{local}@{domain}") else f"does not match {pattern.text}"
        return None if domain in spec.domains else f"is not at {' or '.join(spec.domains)}"

    return objection


def _uri(spec: URISpec) -> Objection:
    pattern = Pattern(spec.match)

    def objection(name: GeneralName) -> str | None:
        text = name.value
        if not isinstance(text, str):
            return _NO_TEXT
        if sentence := object_to_uri(text):
            return sentence
        return None if pattern.matches(text) else f"does not match {pattern.text}"

    return objection


def _ip(networks: tuple[IPv4Network | IPv6Network, ...]) -> Objection:
    def objection(name: GeneralName) -> str | None:
        address = normal_address(name.value) if isinstance(name.value, bytes) else None
        if address is None:
            return _NO_ADDRESS
        if address.is_unspecified:
            return "is the unspecified address"
        return None if any(address in network for network in networks) else "is in none of the networks"

    return objection


def _identifier(spec: IdentifierSpec) -> Objection:
    allowed: Mapping[bytes, str] = {oid.encode(text): text for text in spec.allow}

    def objection(name: GeneralName) -> str | None:
        identifier = name.type_id if name.kind == "other" else name.value
        return None if identifier in allowed else "has an identifier that no rule names"

    return objection
