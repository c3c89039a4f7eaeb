"""The kinds of value that stand in rules, each with the sentence that refuses a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StrictInt,
    StrictStr,
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
    """Lets one text stand for a list of it."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


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
    return name


def _attribute(text: str) -> str:
    name = _named(register.ATTRIBUTES)(text)
    content = content_of(register.ATTRIBUTES, name)
    if content in register.ALWAYS_ALLOWED_ATTRIBUTES:
        raise ValueError("the challenge and the attributes that carry extensions are judged elsewhere; leave them out")
    if content in register.TEMPLATE_SELECTORS:
        raise ValueError("a template selector is an extension, not an attribute; see extensions, templates")
    return name


Text = Annotated[StrictStr, Field(min_length=1)]
Count = Annotated[StrictInt, Field(ge=1)]
Listed = _Listed()
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
