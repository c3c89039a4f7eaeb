"""Certificates, certification requests and revocation lists as plain values, for :mod:`scepra.cli.description`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from scepra.cli.asn1_text import moment, name_of, number, text
from scepra.errors import Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest, Floor
from scepra.scep.certificate import KEY_USAGES, Certificate, Extension, parse_extensions, parse_key_usage, parse_time
from scepra.scep.csr import CARRIERS, TEMPLATE, TEMPLATE_NAME, CertificationRequest
from scepra.scep.name import Name, parse_general_names
from scepra.scep.publickey import PublicKeyInfo

Report = dict[str, Any]
# To look at a message is no reason to refuse its algorithms.
ANY = Floor(digests=frozenset(Digest), ciphers=frozenset(ContentCipher), rsa_bits=(1, 16384))


def attempt(read: Callable[[], Any]) -> Any:
    """What *read* returns, or why it cannot."""
    try:
        return read()
    except ScepError as error:
        return f"unreadable: {error.reason}"


def certificate(encoding: bytes) -> Report:
    """A certificate.

    Raises:
        Malformed: it is none.
    """
    read = Certificate.parse(encoding)
    signed, algorithm = der.parse(encoding).children()[:2]
    first = signed.children()[0]
    return {
        "kind": "certificate",
        "version": attempt(lambda: first.only().integer() + 1 if first.tag == 0xA0 else 1),
        "subject": attempt(lambda: str(read.subject)),
        "issuer": attempt(lambda: str(read.issuer)),
        "serial-number": number(read.serial),
        "not-before": attempt(lambda: moment(read.not_before)),
        "not-after": attempt(lambda: moment(read.not_after)),
        "key": attempt(lambda: _key(read.public_key)),
        "signature-algorithm": _algorithm(algorithm),
        "self-signed": attempt(lambda: read.is_self_signed),
        "extensions": attempt(lambda: list(map(_extension, read.extensions))),
        "sha256": read.fingerprint(),
        "sha1": read.fingerprint("sha1"),
        "md5": read.fingerprint("md5"),
    }


def request(encoding: bytes, attribute: Callable[[bytes, Sequence[der.Node]], Report]) -> Report:
    """A certification request, also one that the RA would refuse.

    Args:
        attribute: describes an attribute that carries no extensions: its type and values.

    Raises:
        Malformed: it is none.
    """

    def described(node: der.Node) -> Report:
        kind, values = node.sequence(2)[:2]
        if kind.oid() not in CARRIERS:
            return attribute(kind.content, values.children())
        extensions = [extension for value in values.children() for extension in parse_extensions(value)]
        return {"type": name_of(kind.content), "extensions": list(map(_extension, extensions))}

    outer = der.parse(encoding).sequence(3)
    parts = outer[0].sequence(3)
    attributes = parts[3].expect(0xA0).children() if len(parts) > 3 else []
    return {
        "kind": "certification request",
        "version": parts[0].integer(),
        "subject": str(Name.parse(parts[1])),
        "key": _key(PublicKeyInfo.parse(parts[2].raw)),
        "attributes": [attempt(partial(described, node)) for node in attributes],
        "signature-algorithm": _algorithm(outer[1]),
        "verdict": _verdict(encoding),
    }


def crl(encoding: bytes) -> Report:
    """A certificate revocation list, in short.

    Raises:
        Malformed: it is none.
    """
    outer = der.parse(encoding).sequence(3)
    fields = [node for node in outer[0].sequence(3) if node.tag != der.INTEGER]
    times = [time for node in fields[2:4] if (time := parse_time(node)) is not None]
    if not times:
        raise Malformed("a CRL without its time")
    return {
        "kind": "CRL",
        "issuer": str(Name.parse(fields[1])),
        "this-update": moment(times[0]),
        "next-update": moment(times[1]) if len(times) > 1 else None,
        "signature-algorithm": _algorithm(outer[1]),
    }


def _verdict(encoding: bytes) -> str:
    """What the RA's own reader says of a request."""
    try:
        CertificationRequest.parse(encoding).verify(ANY)
    except ScepError as error:
        return f"refused: {error.reason}"
    return "sound, and its signature verifies"


def _key(info: PublicKeyInfo) -> str:
    if info.kind == "RSA":
        return f"RSA, {info.bits} bits, exponent {info.exponent}"
    return f"EC, {info.curve or 'on another curve'}" if info.kind == "EC" else info.kind


def _algorithm(node: der.Node) -> str:
    return str(attempt(lambda: name_of(node.sequence(1)[0].oid())))


def _extension(extension: Extension) -> Report:
    try:
        shown = _EXTENSIONS.get(extension.oid, bytes.hex)(extension.value)
    except ScepError as error:
        shown = f"{extension.value.hex()} (unreadable: {error.reason})"
    return {"type": name_of(extension.oid), "critical": extension.critical, "value": shown}


def _usages(value: bytes) -> list[str]:
    usages = parse_key_usage(value)
    return [name for name in KEY_USAGES if name in usages]


def _authority_key(value: bytes) -> str:
    found = (node.content.hex() for node in der.parse(value).sequence() if node.tag == 0x80)
    return next(found, "no key identifier")


def _constraints(value: bytes) -> str:
    parts = der.parse(value).sequence()
    is_ca = bool(parts) and parts[0].tag == der.BOOLEAN and parts[0].content != b"\0"
    length = next((f", path length {node.integer()}" for node in parts if node.tag == der.INTEGER), "")
    return ("a CA" if is_ca else "no CA") + length


_EXTENSIONS: dict[bytes, Callable[[bytes], str | list[str]]] = {
    oid.KEY_USAGE: _usages,
    oid.EXTENDED_KEY_USAGE: lambda value: [name_of(node.oid()) for node in der.parse(value).sequence()],
    oid.SUBJECT_ALT_NAME: lambda value: list(map(str, parse_general_names(der.parse(value)))),
    oid.SUBJECT_KEY_IDENTIFIER: lambda value: der.parse(value).octets().hex(),
    oid.AUTHORITY_KEY_IDENTIFIER: _authority_key,
    oid.BASIC_CONSTRAINTS: _constraints,
    TEMPLATE_NAME: lambda value: text(der.parse(value)),
    TEMPLATE: lambda value: name_of(der.parse(value).sequence(1)[0].oid()),
}
