"""The kinds of value that stand in rules, each with the sentence that refuses a wrong one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StrictInt,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from scepra.policy import register
from scepra.policy.pattern import Pattern
from scepra.policy.text import object_to_dns
from scepra.scep import oid

T = TypeVar("T")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# A century: dates can still be reckoned with it.
LONGEST = 36500 * 86400.0
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_DOMAIN_SID = re.compile(r"S-1-5-21(?:-(?:0|[1-9][0-9]{0,9})){3}")
_LISTED_KEY = re.compile(r"[0-9a-f]{64}|[0-9a-f]{20}")
_LARGEST_LIST = 64 * 1024 * 1024
_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h|d)")


def parse_duration(value: Any) -> Any:
    """Seconds of a text such as ``30s``; numbers pass, since defaults are seconds already."""
    if isinstance(value, float):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 30d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST:
        raise ValueError(f"longer than {format_duration(LONGEST)}")
    return seconds


def format_duration(seconds: float) -> str:
    """The text that stands for *seconds* in the largest unit that divides them."""
    for unit in ("d", "h", "m", "s"):
        if seconds and not seconds % _UNITS[unit]:
            return f"{round(seconds / _UNITS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


class _Listed:
    """Lets one item stand for a list of it.

    Args:
        kind: what items look like in a file.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def _listed(self, value: Any) -> Any:
        return (value,) if isinstance(value, self._kind) else value

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the same item stands twice in this list")
    return values


def _identifier(text: str) -> str:
    try:
        content = oid.encode(text)
    except ValueError:
        raise ValueError("expected a dotted object identifier such as 1.3.6.1.4.1.311.25.2") from None
    return oid.dotted(content)


def _named(names: Mapping[str, bytes]) -> Callable[[str], str]:
    """A validator for one of *names*, or a dotted identifier; it answers the name where there is one."""
    by_content = {content: name for name, content in names.items()}

    def check(text: str) -> str:
        if text in names:
            return text
        try:
            content = oid.encode(text)
        except ValueError:
            raise ValueError(f"expected a dotted object identifier or one of {', '.join(names)}") from None
        return by_content.get(content) or oid.dotted(content)

    return check


def content_of(names: Mapping[str, bytes], text: str) -> bytes:
    """The identifier's content octets that a checked name or dotted text stands for."""
    return names.get(text) or oid.encode(text)


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except ValueError as error:
        raise ValueError(f"a pattern that cannot be used: {error}") from None
    return text


def _suffix(text: str) -> str:
    if object_to_dns(text.removeprefix("."), idn=True):
        raise ValueError("expected a domain such as corp.example: letters, digits and hyphens, its dots are literal")
    return text.removeprefix(".").lower()


def _network(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return ip_network(value)
        except ValueError:
            pass
    elif isinstance(value, IPv4Network | IPv6Network):
        return value
    raise ValueError("expected an address or a network such as 192.0.2.0/24, its host bits zero")


def _characters(text: str) -> str:
    for character in text:
        if not character.isprintable() or character.isspace() or character.isascii():
            raise ValueError("expected letters beyond ASCII, one after the other, such as ÄÖÜäöüß")
    return text


def _fingerprint(text: str) -> str:
    digits = text.removeprefix("sha256:").replace(":", "").lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError("expected sha256: and the 64 hexadecimal digits of a SubjectPublicKeyInfo's SHA-256")
    return digits


def _extension(text: str) -> str:
    name = _named(register.EXTENSIONS)(text)
    content = content_of(register.EXTENSIONS, name)
    if content in register.CA_EXTENSIONS:
        raise ValueError(
            f"{register.CA_EXTENSIONS[content]} belongs to CA certificates and is refused in every profile"
        )
    if content in register.TEMPLATE_SELECTORS:
        raise ValueError("a template selector is allowed by its value only: name the template under templates")
    if content == register.SECURITY_IDENTIFIER:
        raise ValueError("a security identifier is allowed by its value only: by the rule microsoft")
    return name


def _attribute(text: str) -> str:
    name = _named(register.ATTRIBUTES)(text)
    content = content_of(register.ATTRIBUTES, name)
    if content in register.ALWAYS_ALLOWED_ATTRIBUTES:
        raise ValueError("the challenge and the attributes that carry extensions are judged elsewhere; leave them out")
    if content in register.TEMPLATE_SELECTORS:
        raise ValueError("a template selector is an extension, not an attribute; see extensions, templates")
    return name


def _date(value: Any) -> Any:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    elif isinstance(value, date):
        return value
    raise ValueError("expected a date such as 2026-12-31")


def _hours(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if match is None or (match[3] == "24" and match[4] != "00"):
        raise ValueError("expected hours such as 08:00-18:00, or 22:00-06:00 over midnight; a day ends at 24:00")
    return text


def _zone(text: str) -> str:
    # Only names, never a path: zoneinfo would look for it among files.
    if not _ZONE.fullmatch(text):
        raise ValueError("expected a time zone such as Europe/Berlin, or UTC")
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no such time zone on this machine; expected one such as Europe/Berlin") from None
    return text


def _domain_sid(text: str) -> str:
    if not _DOMAIN_SID.fullmatch(text):
        raise ValueError("expected the security identifier of a domain, S-1-5-21- and three numbers")
    return text


def _fingerprints(value: Any, info: ValidationInfo) -> Any:
    """The entries of the files, which are looked for where the policy's own file is."""
    if isinstance(value, frozenset):
        return value
    found: set[str] = set()
    for name in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError("expected the path of a file, or a list of them")
        path = getattr(info.context, "base", Path()) / name
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_LIST + 1)
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from None
        if len(content) > _LARGEST_LIST:
            raise ValueError(f"{name} has more than {_LARGEST_LIST} octets")
        for number, line in enumerate(content.decode("latin-1").splitlines(), 1):
            text = line.partition("#")[0].strip().lower().removeprefix("sha256:")
            if text and not _LISTED_KEY.fullmatch(text):
                raise ValueError(f"{name}, line {number}: expected 64 or 20 hexadecimal digits, or a # and a remark")
            found.add(text)
    return frozenset(found - {""})


Text = Annotated[StrictStr, Field(min_length=1)]
Count = Annotated[StrictInt, Field(ge=1)]
Listed = _Listed(str)
ListedMappings = _Listed(Mapping)
Distinct = AfterValidator(_distinct)
Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
PatternText = Annotated[StrictStr, AfterValidator(_pattern)]
Suffix = Annotated[StrictStr, AfterValidator(_suffix)]
Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    WithJsonSchema({"type": "string", "examples": ["192.0.2.0/24"]}),
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=f"^{_DURATION.pattern}$")]),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
Characters = Annotated[StrictStr, AfterValidator(_characters)]
KeyFingerprint = Annotated[StrictStr, AfterValidator(_fingerprint)]
AttributeType = Annotated[StrictStr, AfterValidator(_named(register.ATTRIBUTE_TYPES))]
ExtensionType = Annotated[StrictStr, AfterValidator(_extension)]
RequestAttribute = Annotated[StrictStr, AfterValidator(_attribute)]
Purpose = Annotated[StrictStr, AfterValidator(_named(register.PURPOSES))]
Day = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
Hours = Annotated[StrictStr, AfterValidator(_hours)]
Zone = Annotated[StrictStr, AfterValidator(_zone)]
DomainSID = Annotated[StrictStr, AfterValidator(_domain_sid)]
KeyList = Annotated[
    frozenset[str],
    BeforeValidator(_fingerprints),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    PlainSerializer(sorted, return_type=list, when_used="json"),
]
"""Keys of files: 64 hexadecimal digits are the SHA-256 of a SubjectPublicKeyInfo, 20 an entry of openssl-blacklist."""
