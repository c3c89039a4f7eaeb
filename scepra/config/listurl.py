"""The address of a revocation list in a directory: an LDAP URL that names one entry and one attribute (RFC 4516)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

LIST = "certificateRevocationList;binary"
"""The attribute in which CAs publish their lists (RFC 4523, 2.2), unless a URL names another."""
PORTS = {"ldap": 389, "ldaps": 636}
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?:;[A-Za-z0-9-]+)*")
_WHOLE = ("", "(objectclass=*)")


@dataclass(frozen=True, slots=True)
class ListUrl:
    """One attribute of one entry of a directory; ``tls`` from the first octet on (ldaps)."""

    host: str
    port: int
    tls: bool
    entry: str
    attribute: str


def is_directory(text: str) -> bool:
    """Whether an address is one of a directory's."""
    return text[:8].lower().startswith(("ldap:", "ldaps:"))


def parse_list_url(text: str) -> ListUrl:
    """Read an LDAP URL.

    A scope but base, a filter that selects and extensions are refused: they would say something that is not done.

    Raises:
        ValueError: it is none, or asks for more than one attribute of one entry.
    """
    if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
        raise ValueError("expected an ldap or ldaps URL, with what is special in it as %XX")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("expected ldap://HOST/ENTRY or ldaps://HOST/ENTRY") from None
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise ValueError("expected ldap://HOST/ENTRY or ldaps://HOST/ENTRY")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL here has no user name and no password")
    entry = _decoded(parts.path.removeprefix("/"))
    if "=" not in entry:
        raise ValueError("expected the distinguished name of an entry after the host")
    asked = [_decoded(each) for each in parts.query.split("?")]
    attribute, scope, selection, extensions = (*asked, *("",) * 4)[:4]
    if len(asked) > 4 or extensions or scope.lower() not in ("", "base") or selection.lower() not in _WHOLE:
        raise ValueError("one entry is read, by its name: no scope but base, no filter and no extension")
    if attribute and not _ATTRIBUTE.fullmatch(attribute):
        raise ValueError("expected one attribute after the entry")
    return ListUrl(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "ldaps", entry, attribute or LIST)


def _decoded(text: str) -> str:
    """What a part with %XX in it says.

    Raises:
        ValueError: no text.
    """
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8 in what is written as %XX") from None
    if not decoded.isprintable():
        raise ValueError("expected printable characters in what is written as %XX")
    return decoded
