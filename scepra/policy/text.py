"""Whether a text may stand in a certificate at all, before any pattern is asked (AC-074, AC-076, AC-077, AC-079)."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# Most names by far are made of these, and found to be right without being taken apart.
_USUAL = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")


def object_to_text(text: str | None, characters: frozenset[str] = frozenset()) -> str | None:
    """What is wrong with a name's text: a sentence, or None.

    Args:
        text: the decoded text; None for one that could not be decoded.
        characters: what is allowed beyond printable ASCII.
    """
    if text is None:
        return "is of a type, or has octets, that cannot be decoded"
    if not text:
        return "is empty"
    if text[0] == " " or text[-1] == " ":
        return "begins or ends with a space"
    if not (text.isascii() and text.isprintable()):
        for character in text:
            if not " " <= character <= "~" and character not in characters:
                return f"has the character U+{ord(character):04X}, which is not allowed"
    return None


def object_to_dns(name: str, *, wildcard: bool = False, idn: bool = False) -> str | None:
    """What is wrong with a DNS name: a sentence, or None.

    Args:
        name: the name.
        wildcard: whether the first label may be ``*``.
        idn: whether labels may be Punycode (``xn--``), which can look like anything.
    """
    if len(name) <= 253 and _USUAL.fullmatch(name) and "xn--" not in name:
        return None
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 1:
        if not wildcard:
            return "is a wildcard, which is not allowed"
        del labels[0]
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return "is not a DNS name of letters, digits and hyphens without a final dot"
    if _NUMBER.fullmatch(labels[-1]):
        return "ends with a number, as addresses do"
    if not idn and any(label[:4].lower() == "xn--" for label in labels):
        return "has a Punycode label (xn--), which is not allowed"
    return None


def object_to_mailbox(address: str) -> str | None:
    """What is wrong with a mail address, or a UPN: a sentence, or None."""
    local, _, domain = address.rpartition("@")
    if len(address) > 254 or not _LOCAL_PART.fullmatch(local):
        return "is not an address of the form name@domain"
    return object_to_dns(domain)


def object_to_uri(uri: str) -> str | None:
    """What is wrong with a URI: a sentence, or None."""
    if len(uri) > 2048 or not _URI.fullmatch(uri):
        return "is not an absolute URI of at most 2048 printable ASCII characters"
    return None
