"""For whom a challenge is: the names that a request may ask for with it (SEC-05, AC-091; CERT VU#971035).

A challenge that names somebody is good for nobody else: a request may ask for fewer names than it is bound to, never
for others, of whatever type and in whatever place. One that names nobody leaves names to the policy alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

from scepra.errors import ScepError
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from scepra.scep.name import GeneralName

LONGEST, LONGEST_DEVICE = 255, 128
MOST = 32

_COMMON_NAME, _SERIAL_NUMBER = oid.encode("2.5.4.3"), oid.encode("2.5.4.5")
# Attributes of a subject that name somebody; the others say where somebody belongs, which is the policy's to judge.
_NAMING = {
    _COMMON_NAME: "common name",
    _SERIAL_NUMBER: "serial number",
    oid.encode("0.9.2342.19200300.100.1.1"): "user id",
    oid.encode("1.2.840.113549.1.9.1"): "mail address",
    oid.encode("1.2.840.113549.1.9.2"): "unstructured name",
}
_SECURITY = oid.encode("1.3.6.1.4.1.311.25.2")
_SECURITY_SID = oid.encode("1.3.6.1.4.1.311.25.2.1")
_SID_TAG = "tag:microsoft.com,2022-09-14:sid:"


class NoBinding(ValueError):
    """What was meant to say for whom a challenge is says nothing that a request could be compared with."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The names that a challenge is good for; empty ones bind nothing by themselves.

    Attributes:
        common_name, serial_number: of the subject; ``serial_number`` is a device's.
        dns, email, upn, uri, ip: of subjectAltName, as text; addresses as :mod:`ipaddress` writes them.
        sid: Microsoft's security identifier, in the extension or the URI that says it.
        key_usage: exactly these usages, by RFC 5280's names.
        device: what limits count by; names nobody.
    """

    common_name: str = ""
    serial_number: str = ""
    dns: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    upn: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    sid: str = ""
    key_usage: tuple[str, ...] = ()
    device: str = ""

    @property
    def names_somebody(self) -> bool:
        """Whether it is bound to any name at all."""
        return any(getattr(self, name) for name in _NAMES)

    def violations(self, csr: CertificationRequest) -> tuple[str, ...]:
        """What a request asks for beyond this, as sentences that repeat nothing of it; empty if it is for this one."""
        return tuple(dict.fromkeys(self._violations(csr)))

    def _violations(self, csr: CertificationRequest) -> Iterator[str]:
        if self.key_usage and csr.key_usage != frozenset(self.key_usage):
            yield "the key usage is another"
        if not self.names_somebody:
            return
        for value in csr.subject.attributes:
            if value.oid in _NAMING and (value.text is None or not self._may_call(value.oid, value.text)):
                yield f"the {_NAMING[value.oid]} is another"
        if self.common_name and not csr.subject.values(_COMMON_NAME):
            yield "there is no common name"
        for name in csr.alternative_names:
            if not self._may_name(name):
                yield f"a name of the type {name.kind} is another"
        for extension in csr.extensions:
            if extension.oid == _SECURITY and (not self.sid or _sid(extension.value) != self.sid):
                yield "the security identifier is another"

    def _may_call(self, attribute: bytes, text: str) -> bool:
        """Whether an attribute of the subject may say this."""
        if attribute == _SERIAL_NUMBER:
            return text == self.serial_number
        if attribute == _COMMON_NAME and self.common_name:
            return text == self.common_name
        return text != "" and text in (self.common_name, *self.dns, *self.email, *self.upn, *self.ip)

    def _may_name(self, name: GeneralName) -> bool:
        """Whether subjectAltName may hold this."""
        value = name.value
        if name.kind == "ip" and isinstance(value, bytes):
            return len(value) in (4, 16) and str(ip_address(value)) in self.ip
        if not isinstance(value, str) or name.kind not in ("dns", "email", "upn", "uri"):
            return False
        if name.kind == "uri" and value.startswith(_SID_TAG):
            return value.removeprefix(_SID_TAG) == self.sid != ""
        if name.kind == "dns":
            # A name that is the common name says nothing new; letter case says nothing in the DNS.
            return value.lower() in [each.lower() for each in (*self.dns, self.common_name) if each]
        bound: tuple[str, ...] = getattr(self, name.kind)
        return value in bound

    def to_json(self) -> dict[str, Any]:
        """The parts that are not empty, as JSON values."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Binding:
        """The inverse of :meth:`to_json`, also of what comes from outside.

        Raises:
            NoBinding: it has keys, types or lengths that no binding has; the sentence names the key.
        """
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key in _TEXTS and _is_text(value) and (key != "device" or len(value) <= LONGEST_DEVICE):
                values[key] = value
            elif key in _LISTS and isinstance(value, list | tuple) and len(value) <= MOST and all(map(_is_text, value)):
                values[key] = tuple(value)
            elif key in _TEXTS or key in _LISTS:
                what = "a list of such texts" if key in _LISTS else "printable text"
                longest = LONGEST_DEVICE if key == "device" else LONGEST
                raise NoBinding(f"{key}: expected {what}, of 1 to {longest} characters")
            else:
                raise NoBinding(f"{str(key)[:40]!r}: there is no such key")
        try:
            values["ip"] = tuple(str(ip_address(each)) for each in values.get("ip", ()))
        except ValueError:
            raise NoBinding("ip: expected IP addresses") from None
        return cls(**values)


_TEXTS = ("common_name", "serial_number", "sid", "device")
_LISTS = ("dns", "email", "upn", "uri", "ip", "key_usage")
_NAMES = ("common_name", "serial_number", "dns", "email", "upn", "uri", "ip", "sid")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable() and value.strip() == value


def _sid(encoding: bytes) -> str | None:
    """The security identifier that Microsoft's extension says (KB5014754); None if it says none."""
    try:
        (name,) = der.parse(encoding, strict=True).sequence()
        kind, value = name.expect(0xA0).children()
        if kind.oid() != _SECURITY_SID:
            return None
        (text,) = value.expect(0xA0).children()
        return text.expect(der.OCTET_STRING).content.decode("ascii")
    except (ScepError, ValueError):
        return None
