"""The HTTP binding of SCEP as values (RFC 8894, 4.1): requests as clients really send them, and as a client should.

The request target is read as it arrived, never as a form: ``+`` is a plus sign and ``;`` is data (HTTP-03, AC-002).
What clients do to base64 is undone in a fixed order, each step once, and what is left is decoded strictly (HTTP-04 to
HTTP-09). :class:`~scepra.errors.Refused` is the only exception that bytes can cause here.
"""

from __future__ import annotations

import binascii
import enum
import re
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from scepra.errors import Malformed, Refused
from scepra.scep import der, oid

# Exactly these, in lower case and without parameters: sscep compares them letter by letter (HTTP-24).
CONTENT_TYPE_CA_CAPS = "text/plain"
CONTENT_TYPE_CA_CERT = "application/x-x509-ca-cert"
CONTENT_TYPE_CA_RA_CERT = "application/x-x509-ca-ra-cert"
CONTENT_TYPE_CA_RA_CERT_CHAIN = "application/x-x509-ca-ra-cert-chain"
CONTENT_TYPE_NEXT_CA_CERT = "application/x-x509-next-ca-cert"
CONTENT_TYPE_PKI_MESSAGE = "application/x-pki-message"


class OperationKind(enum.Enum):
    """What is asked for; the value is the canonical spelling on the wire."""

    GET_CA_CAPS = "GetCACaps"
    GET_CA_CERT = "GetCACert"
    GET_CA_CERT_CHAIN = "GetCACertChain"
    GET_NEXT_CA_CERT = "GetNextCACert"
    PKI_OPERATION = "PKIOperation"


# Any case (HTTP-12); certmonger asks for the chain by another name (HTTP-13).
_KINDS = {kind.value.lower().encode(): kind for kind in OperationKind} | {
    b"getcachain": OperationKind.GET_CA_CERT_CHAIN
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One request.

    Attributes:
        kind: what is asked for.
        message: the decoded pkiMessage of a PKIOperation.
        ca_identifier: what the other operations may name (CERT-20).
    """

    kind: OperationKind
    message: bytes = b""
    ca_identifier: str | None = None


_PARAMETERS = 64
_SEGMENTS = 32
_PATH = 1024
_WHITE_SPACE = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPED_AGAIN = re.compile(rb"%(?:2B|2F|3D|0A|0D)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"https?://[^/?]+", re.IGNORECASE)
_ARMOUR = re.compile(rb"-----BEGIN [A-Z0-9 ]{1,64}-----([^-]*)-----END [A-Z0-9 ]{1,64}-----")


def parse_operation(method: str, query: bytes, body: bytes) -> Operation:
    """What a request asks for.

    Args:
        method: as on the request line; it is case-sensitive (RFC 9110, 9.1).
        query: what follows the first ``?`` of the request target, undecoded.
        body: the whole body; one that comes with GET has no meaning (RFC 9110, 9.3.1).

    Raises:
        Refused: 405 for another method than GET, HEAD and POST; 400 for all else that is not a SCEP request.
    """
    if method not in ("GET", "HEAD", "POST"):
        raise Refused("a method that SCEP does not use", 405)
    name, message = _parameters(query)
    kind = None if name is None else _KINDS.get(name)
    if method == "POST":
        if kind is OperationKind.PKI_OPERATION:
            return Operation(kind, _decode_body(body))
        if kind is None:
            # RFC 8894, 4.3 says that many CAs do not look at the operation of a POST (HTTP-11).
            content = _decode_body(body)
            if not _is_signed_data(content):
                raise Refused("no known operation, and no signed data")
            return Operation(OperationKind.PKI_OPERATION, content)
        if body:
            raise Refused("a body where the operation takes none")
    elif kind is None:
        raise Refused("no operation" if name is None else "an unknown operation")
    elif kind is OperationKind.PKI_OPERATION:
        if method == "HEAD":
            raise Refused("an enrolment cannot be asked for by HEAD")
        if not message:
            raise Refused("no message")
        return Operation(kind, _decode_parameter(message))
    return Operation(kind, ca_identifier=unquote_to_bytes(message).decode("utf-8", "replace") if message else None)


def _parameters(query: bytes) -> tuple[bytes | None, bytes | None]:
    """The operation's name in lower case and the undecoded message: the first of each (HTTP-30).

    Raises:
        Refused: a later one says something else, or a program written in C would read a name otherwise (AC-002).
    """
    parts = query.split(b"&", _PARAMETERS)
    if len(parts) > _PARAMETERS:
        raise Refused("too many parameters")
    operation = message = None
    for part in parts:
        name, _, value = part.partition(b"=")
        if b"%" in name:
            name = unquote_to_bytes(name)
        name = name.lower()
        if name == b"operation":
            value = unquote_to_bytes(value).lower()
            if operation is not None and operation != value:
                raise Refused("operations that contradict each other")
            operation = value
        elif name == b"message":
            if message is not None and message != value:
                raise Refused("messages that contradict each other")
            message = value
        elif b"\0" in name:
            raise Refused("a parameter's name holds NUL")
    return operation, message


def _decode_parameter(value: bytes) -> bytes:
    """The message of a GET, after what clients and the proxies before us do to base64."""
    text = unquote_to_bytes(value)
    if _ESCAPED_AGAIN.search(text):
        text = unquote_to_bytes(text)
    return _decode_base64(text.replace(b" ", b"+"))


def _decode_base64(text: bytes) -> bytes:
    """Base64 in either alphabet, in lines or not, padded well or badly (HTTP-05, HTTP-06, HTTP-07)."""
    text = text.translate(None, b"\r\n\t")
    if b"-" in text or b"_" in text:
        if b"+" in text or b"/" in text:
            raise Refused("base64 in two alphabets at once")
        text = text.translate(_URL_SAFE)
    text = text.rstrip(b"=")
    try:
        content = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise Refused("not base64") from None
    if not content:
        raise Refused("no message")
    return content


def _decode_body(body: bytes) -> bytes:
    """The message of a POST: binary, or else the text that some clients send (HTTP-20)."""
    if body[:1] == b"\x30":
        return trim_message(body)
    text = body.rstrip(_WHITE_SPACE)
    if text.startswith(b"-----BEGIN"):
        armour = _ARMOUR.fullmatch(text)
        if armour is None:
            raise Refused("not PEM")
        text = armour[1]
    elif not text.startswith(b"MI"):
        raise Refused("neither binary, base64 nor PEM")
    content = _decode_base64(text.translate(None, b" "))
    if content[:1] != b"\x30":
        raise Refused("text that holds no message")
    return trim_message(content)


def trim_message(body: bytes) -> bytes:
    """*body* without the white space that may follow its one element, in a request or an answer.

    Only the outermost length is looked at: the message's own reader walks the rest.

    Raises:
        Refused: it is cut short, or something else follows.
    """
    octet = body[1] if len(body) > 1 else 0
    if octet == 0x80:
        return body.rstrip(_WHITE_SPACE)  # It ends in end-of-contents octets, which are no white space.
    count = octet & 0x7F if octet & 0x80 else 0
    end = 2 + (int.from_bytes(body[2 : 2 + count], "big") if count else octet) + count
    if end > len(body):
        raise Refused("the message is cut short")
    if body[end:].strip(_WHITE_SPACE):
        raise Refused("octets follow the message")
    return body[:end]


def _is_signed_data(content: bytes) -> bool:
    try:
        content_type, explicit = der.parse(content).sequence(2)[:2]
        return content_type.oid() == oid.SIGNED_DATA and explicit.tag == 0xA0
    except Malformed:
        return False


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, undecoded.

    Args:
        target: in origin form, or in the absolute form that a client sends to a proxy (RFC 9112, 3.2).

    Raises:
        Refused: 404, for the forms that name no path.
    """
    if target[:1] != b"/":
        authority = _AUTHORITY.match(target)
        if authority is None:
            raise Refused("a request target without a path", 404)
        target = target[authority.end() :]
    path, _, query = target.partition(b"?")
    return path, query


# NDES's administration page: clients are pointed at the mscep.dll below it, but it is itself never served (AC-014).
ADMINISTRATION_PAGE = ("certsrv", "mscep_admin")


def read_path(path: bytes) -> tuple[str, ...]:
    """The segments of a path that tell profiles apart (HTTP-14, HTTP-15).

    Decoded once, in lower case; empty segments and the ``pkiclient.exe`` that IOS and Windows append to any URL are
    left out, and so is the ``mscep.dll`` of NDES's enrolment page.

    Args:
        path: the undecoded path of a request target, or of a configured URL.

    Raises:
        Refused: 404, for traversal, NUL, an encoded slash, octets that are not UTF-8, and paths that are too long.
    """
    raw = path.split(b"/", _SEGMENTS)
    if len(path) > _PATH or len(raw) > _SEGMENTS:
        raise Refused("a path too long", 404)
    segments: list[str] = []
    for part in raw:
        if not part:
            continue
        segment = unquote_to_bytes(part) if b"%" in part else part
        if b"/" in segment or b"\0" in segment or segment in (b".", b".."):
            raise Refused("a path that plays tricks", 404)
        try:
            segments.append(segment.lower().decode())
        except UnicodeDecodeError:
            raise Refused("a path that is not UTF-8", 404) from None
    if segments and segments[-1] == "pkiclient.exe":
        segments.pop()
    if segments[-2:] == ["mscep", "mscep.dll"]:
        segments.pop()
    return tuple(segments)


def encode_query(kind: OperationKind, message: bytes | None = None, ca_identifier: str | None = None) -> str:
    """The query string of a request that we send (RFC 8894, 4.1), without ``?``.

    Args:
        kind: the operation.
        message: the pkiMessage, when it travels by GET: base64 in the standard alphabet, fully escaped (HTTP-02).
        ca_identifier: what the other operations may name (CERT-20).
    """
    query = f"operation={kind.value}"
    value = ca_identifier if message is None else b64encode(message).decode("ascii")
    return query if value is None else f"{query}&message={quote(value, safe='')}"
