"""Secrets: read from a private file or the environment, never shown."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from scepra.config.private import NotPrivate, read_private
from scepra.config.section import Surroundings

MAXIMUM = 16 * 1024


class Secret:
    """Octets that no text form shows.

    ``origin`` tells where they come from, for people: "the file ...", "the environment variable ...", "the
    configuration".
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: bytes, origin: str) -> None:
        self._value = value
        self.origin = origin

    def reveal(self) -> bytes:
        """The octets themselves."""
        return self._value

    def __repr__(self) -> str:
        return f"<Secret from {self.origin}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def _checked(value: bytes, origin: str) -> Secret:
    """A secret that is one line of text, whatever reads it."""
    if not value.strip():
        raise ValueError(f"{origin} is empty")
    if len(value) > MAXIMUM:
        raise ValueError(f"{origin} holds more than {MAXIMUM} octets")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{origin} does not hold UTF-8 text") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError(f"{origin} holds more than one line, or control characters")
    return Secret(value, origin)


def _from_file(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected the path of a file")
    try:
        content = read_private(Surroundings.of(info).base / value, MAXIMUM + 2)
    except NotPrivate as error:
        raise ValueError(f"the file {value} {error}") from None
    return _checked(content.removesuffix(b"\n").removesuffix(b"\r"), f"the file {value}")


def _from_environment(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected the name of an environment variable")
    found = Surroundings.of(info).environ.get(value)
    if found is None:
        raise ValueError(f"the environment variable {value} is not set")
    return _checked(found.encode("utf-8", "surrogateescape"), f"the environment variable {value}")


def _inline(value: Any) -> Any:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("expected text; put it in quotes")
    return _checked(value.encode("utf-8", "surrogatepass"), "the configuration")


def _hidden(secret: Secret) -> str:
    return repr(secret)


_SHOWN = (PlainSerializer(_hidden, return_type=str), WithJsonSchema({"type": "string"}))
SecretFile = Annotated[Secret, BeforeValidator(_from_file), *_SHOWN]
SecretEnvironment = Annotated[Secret, BeforeValidator(_from_environment), *_SHOWN]
InlineSecret = Annotated[Secret, BeforeValidator(_inline), *_SHOWN]
