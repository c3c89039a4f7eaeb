"""The kinds of value that stand in the configuration, each with the sentence that refuses a wrong one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    StrictBool,
    StrictStr,
    ValidationInfo,
)

from scepra.config.section import Surroundings
from scepra.policy.value import Count, Distinct, Listed, Network, Seconds, Text

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_COLON = re.compile(r"(?<!\\):")


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("expected a name of lower-case letters, digits and hyphens, at most 64 characters")
    return text


_EXPECTED = "expected an http or https URL"


def _place(text: str, expected: str = _EXPECTED) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError(expected)
    if " " in text or port == 0:
        raise ValueError(expected)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL here has no user name and no password")
    return text


def _url(text: str) -> str:
    if "?" in _place(text) or "#" in text:
        raise ValueError("a URL here ends with its path: the operation is appended to it as the query")
    return text


def document_url(text: str, expected: str = _EXPECTED) -> str:
    """The URL of a document, perhaps with a query.

    Args:
        expected: what anything else is told.

    Raises:
        ValueError: it is none.
    """
    if "#" in _place(text, expected):
        raise ValueError("a URL here has no fragment")
    return text


def _https(text: str) -> str:
    if urlsplit(_url(text)).scheme != "https":
        raise ValueError("expected an https URL")
    return text.rstrip("/")


def _service(text: str) -> str:
    if not text.startswith("unix:"):
        return _url(text)
    path = text.removeprefix("unix:")
    if not path.startswith("/") or not path.isprintable():
        raise ValueError("expected the absolute path of a socket after unix:")
    return text


def _endpoint(text: str) -> str:
    kind, *rest = _COLON.split(text)
    if kind in ("tcp", "ssl"):
        if not rest or not re.fullmatch(r"[0-9]{1,5}", rest[0]) or int(rest[0]) > 65535:
            raise ValueError(f"expected {kind}:PORT, perhaps with :interface=ADDRESS")
    elif kind not in ("unix", "systemd") or not rest or not rest[0]:
        raise ValueError("expected tcp:PORT, ssl:PORT, unix:PATH or systemd:...")
    return text


def on_loopback(endpoint: str) -> str:
    """An endpoint that is on this machine only, unless it says otherwise."""
    kind, *rest = _COLON.split(endpoint)
    if kind not in ("tcp", "ssl") or any(part.startswith("interface=") for part in rest):
        return endpoint
    return f"{endpoint}:interface=127.0.0.1"


def _path(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the path of a file")
    return Surroundings.of(info).base / value


Flag = StrictBool
Octets = Count
Label = Annotated[StrictStr, AfterValidator(_label)]
Url = Annotated[StrictStr, AfterValidator(_url)]
HttpsUrl = Annotated[StrictStr, AfterValidator(_https)]
ServiceUrl = Annotated[StrictStr, AfterValidator(_service)]
Endpoint = Annotated[StrictStr, AfterValidator(_endpoint)]
FilePath = Annotated[Path, BeforeValidator(_path, json_schema_input_type=str)]

__all__ = [
    "Count",
    "Distinct",
    "Endpoint",
    "FilePath",
    "Flag",
    "HttpsUrl",
    "Label",
    "Listed",
    "Network",
    "Octets",
    "Seconds",
    "ServiceUrl",
    "Text",
    "Url",
    "document_url",
    "on_loopback",
]
