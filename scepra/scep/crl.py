"""Certificate revocation lists, read and believed (RFC 5280, 5 and 6.3).

Only the frame is read before the signature has been verified with an anchor's key. The entries of a list may be a
million, more than the general reader admits elements, so they are read by a loop of their own that knows what an entry
looks like; everything else goes through :mod:`~scepra.scep.der` in pieces.

A list is refused if it may say less than it seems to: delta and indirect ones, those for some reasons or for CAs only,
and those with critical extensions that are not understood. One that is for some certificates only, by their
distribution point, says so (:meth:`RevocationList.covers`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from scepra.errors import Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, Extension, parse_extensions, parse_time
from scepra.scep.name import Name
from scepra.scep.publickey import verify_signature

MAX_ENTRIES = 2_000_000

DISTRIBUTION_POINTS = oid.encode("2.5.29.31")
_AUTHORITY_KEY_IDENTIFIER = oid.AUTHORITY_KEY_IDENTIFIER
_CRL_NUMBER = oid.encode("2.5.29.20")
_REASON = oid.encode("2.5.29.21")
_DELTA = oid.encode("2.5.29.27")
_ISSUING_POINT = oid.encode("2.5.29.28")
_CERTIFICATE_ISSUER = oid.encode("2.5.29.29")
_UNDERSTOOD = frozenset((_AUTHORITY_KEY_IDENTIFIER, _CRL_NUMBER, _ISSUING_POINT))
_REMOVE_FROM_CRL = 8
_REMEMBERED = 1024
_PEM = re.compile(rb"-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----")
_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)


@dataclass(frozen=True, slots=True, repr=False)
class RevocationList:
    """A list that an anchor's key has signed.

    Attributes:
        issuer: that anchor.
        this_update, next_update: from when until when it is good, UTC.
        number: its cRLNumber; None where it has none.
        revoked: the serial numbers on it.
        points: the names, encoded, of the distribution points that it is for; None: it is for all certificates.
    """

    issuer: Certificate
    this_update: datetime
    next_update: datetime
    number: int | None
    revoked: frozenset[int]
    points: frozenset[bytes] | None

    def valid_at(self, now: datetime) -> bool:
        """Whether it is good."""
        return self.this_update <= now <= self.next_update

    def covers(self, certificate: Certificate) -> bool:
        """Whether it says anything about a certificate that its issuer has issued.

        A list for some distribution points is for the certificates that name one of them. The names are compared and
        otherwise not used.

        Raises:
            Malformed: the certificate's extension cannot be read.
        """
        if self.points is None:
            return True
        extension = certificate.extension(DISTRIBUTION_POINTS)
        if extension is None:
            return False
        for point in der.parse(extension.value).sequence():
            for part in point.sequence():
                if part.tag == 0xA0 and not self.points.isdisjoint(_full_name(part)):
                    return True
        return False

    def __repr__(self) -> str:
        return f"<RevocationList of {len(self.revoked)} until {self.next_update:%Y-%m-%d %H:%M}>"


def parse_crl(
    content: bytes, anchors: Iterable[Certificate], digests: frozenset[Digest], limit: int = MAX_ENTRIES
) -> RevocationList:
    """Read a list and believe it.

    Args:
        content: DER, or PEM with one list.
        anchors: the CAs one of which must have signed it: the same name, and its key.
        digests: those that the signature may use.
        limit: how many entries it may have.

    Raises:
        ScepError: it is none, none of an anchor's, or says less than it should; the reason says which.
    """
    encoding = crl_der(content)
    whole = _element(encoding, 0, len(encoding))
    signed, algorithm, signature = _parts(encoding, *_body(encoding, whole, der.SEQUENCE))
    fields = _fields(encoding, signed)
    if _raw(encoding, fields.algorithm) != _raw(encoding, algorithm):
        raise Malformed("a list that names two signature algorithms")
    issuer = _issuer(encoding, fields, anchors)
    parts = der.parse(_raw(encoding, algorithm)).sequence(1)
    bits = der.parse(_raw(encoding, signature)).expect(der.BIT_STRING).content
    parameters = parts[1] if len(parts) > 1 else None
    data = encoding[signed.start : signed.end]
    verify_signature(issuer.public_key, parts[0].oid(), parameters, bits[1:], data, allowed=digests)
    number, points = _judge(fields.extensions)
    return RevocationList(
        issuer, fields.this_update, fields.next_update, number, _entries(encoding, fields.entries, limit), points
    )


def crl_der(content: bytes) -> bytes:
    """The DER of a list in PEM; anything else as it is.

    Raises:
        Malformed: several lists, or what is no PEM.
    """
    blocks = _PEM.findall(content) if content[:1] == b"-" else []
    if not blocks:
        return content
    if len(blocks) > 1:
        raise Malformed("several lists in one file")
    try:
        return base64.b64decode(b"".join(blocks[0].split()), validate=True)
    except binascii.Error as error:
        raise Malformed("a list in PEM that is no base64") from error


# --- The frame -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Element:
    """An element's tag and its place: ``body`` to ``end`` is its content."""

    tag: int
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class _Fields:
    algorithm: _Element
    issuer: _Element
    this_update: datetime
    next_update: datetime
    entries: _Element | None
    extensions: tuple[Extension, ...]


def _element(data: bytes, start: int, stop: int) -> _Element:
    """The element of definite length at an offset."""
    if start + 2 > stop:
        raise Malformed("a list that is cut short")
    length, body = data[start + 1], start + 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 4:
            raise Malformed("a length that cannot be")
        length, body = int.from_bytes(data[body : body + count], "big"), body + count
    if body + length > stop:
        raise Malformed("an element runs over its container")
    return _Element(data[start], start, body, body + length)


def _body(data: bytes, element: _Element, tag: int) -> tuple[int, int]:
    """Where the content of an element with a tag begins and ends."""
    if element.tag != tag:
        raise Malformed(f"tag {element.tag:#04x} where {tag:#04x} belongs")
    return element.body, element.end


def _elements(data: bytes, start: int, stop: int, most: int) -> list[_Element]:
    """The elements between two offsets."""
    found: list[_Element] = []
    while start < stop:
        if len(found) == most:
            raise Malformed("too many elements")
        found.append(_element(data, start, stop))
        start = found[-1].end
    return found


def _parts(data: bytes, start: int, stop: int) -> tuple[_Element, _Element, _Element]:
    if stop != len(data):
        raise Malformed("octets follow the list")
    found = _elements(data, start, stop, 3)
    if len(found) != 3:
        raise Malformed("a list has three parts")
    return found[0], found[1], found[2]


def _raw(data: bytes, element: _Element) -> bytes:
    return data[element.start : element.end]


def _fields(data: bytes, signed: _Element) -> _Fields:
    """The fields of a TBSCertList."""
    found = _elements(data, *_body(data, signed, der.SEQUENCE), 7)
    version = 0
    if found and found[0].tag == der.INTEGER:
        version = der.parse(_raw(data, found.pop(0))).integer()
    if len(found) < 4 or version not in (0, 1):
        raise Malformed("a list of another version, or too short")
    algorithm, issuer, this_update, next_update, *rest = found
    if next_update.tag not in _TIMES:
        raise Malformed("a list that does not say when the next one comes")
    times = [parse_time(der.parse(_raw(data, each))) for each in (this_update, next_update)]
    if times[0] is None or times[1] is None:
        raise Malformed("a list whose times cannot be read")
    entries = rest.pop(0) if rest and rest[0].tag == der.SEQUENCE else None
    extensions: tuple[Extension, ...] = ()
    if rest:
        if len(rest) > 1 or rest[0].tag != 0xA0 or version != 1:
            raise Malformed("a list with parts that none has")
        extensions = parse_extensions(der.parse(_raw(data, rest[0])).only())
    return _Fields(algorithm, issuer, times[0], times[1], entries, extensions)


def _issuer(data: bytes, fields: _Fields, anchors: Iterable[Certificate]) -> Certificate:
    """The anchor that signed the list, judging by what both say; the signature is verified next."""
    name = Name.parse(der.parse(_raw(data, fields.issuer)))
    called = [
        anchor
        for anchor in anchors
        if anchor.is_ca and (anchor.key_usage is None or "cRLSign" in anchor.key_usage) and anchor.subject.matches(name)
    ]
    identifier = next((each.value for each in fields.extensions if each.oid == _AUTHORITY_KEY_IDENTIFIER), None)
    if len(called) > 1 and identifier is not None:
        # A CA's old and new key bear one name.
        key = next((part.content for part in der.parse(identifier).sequence() if part.tag == 0x80), None)
        called.sort(key=lambda anchor: anchor.subject_key_identifier != key)
    if not called:
        raise ScepError("a list of a CA that is no anchor, or may not sign any")
    return called[0]


# --- What it is for --------------------------------------------------------------------------------------------------


def _judge(extensions: tuple[Extension, ...]) -> tuple[int | None, frozenset[bytes] | None]:
    """The list's number and distribution points.

    Raises:
        ScepError: it says less than it should.
    """
    number: int | None = None
    points: frozenset[bytes] | None = None
    for extension in extensions:
        if extension.oid == _DELTA:
            raise ScepError("a delta list")
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise ScepError("a list with a critical extension that is not understood")
        if extension.oid == _CRL_NUMBER:
            number = der.parse(extension.value).integer()
        elif extension.oid == _ISSUING_POINT:
            points = _issuing_point(extension.value)
    return number, points


def _issuing_point(value: bytes) -> frozenset[bytes] | None:
    """The distribution points that a list is for; None if it is for all certificates of devices (RFC 5280, 5.2.5)."""
    points: frozenset[bytes] | None = None
    for part in der.parse(value).sequence():
        if part.tag == 0xA0:
            points = _full_name(part)
            if not points:
                raise ScepError("a list for a distribution point without a full name")
        elif part.tag == 0x81:
            pass  # onlyContainsUserCerts: of devices, that is
        elif part.tag not in (0x82, 0x84, 0x85) or part.content != b"\0":
            raise ScepError("a list for CAs, for some reasons or for other issuers only")
    return points


def _full_name(point: der.Node) -> frozenset[bytes]:
    """The names, encoded, in a DistributionPointName's fullName; none where it has another form."""
    name = point.only()
    return frozenset(each.raw for each in name.children()) if name.tag == 0xA0 else frozenset()


# --- Its entries -----------------------------------------------------------------------------------------------------


def _entries(data: bytes, entries: _Element | None, limit: int) -> frozenset[int]:
    """The serial numbers on a list; one loop, since there may be a million."""
    if entries is None:
        return frozenset()
    revoked: list[int] = []
    said: dict[bytes, bool] = {}
    position, stop = entries.body, entries.end
    for _ in range(limit):
        if position == stop:
            return frozenset(revoked)
        # Entries shorter than 128 octets, as nearly all are, cost least.
        if stop - position > 4 and data[position] == der.SEQUENCE and data[position + 1] < 0x80:
            start, end = position + 2, position + 2 + data[position + 1]
        else:
            start, end = _body(data, _element(data, position, stop), der.SEQUENCE)
        if end > stop or end - start < 3 or data[start] != der.INTEGER or not 0 < data[start + 1] < 0x80:
            raise Malformed("an entry without a serial number")
        body = start + 2 + data[start + 1]
        date = _element(data, body, end)
        if date.tag not in _TIMES:
            raise Malformed("an entry without a date")
        if date.end != end:
            rest = data[date.end : end]
            keeps = said.get(rest)
            if keeps is None:
                keeps = _is_revoked(rest)
                if len(said) < _REMEMBERED:
                    said[rest] = keeps
            if not keeps:
                position = end
                continue
        revoked.append(int.from_bytes(data[start + 2 : body], "big", signed=True))
        position = end
    if position == stop:
        return frozenset(revoked)
    raise Malformed(f"a list of more than {limit} entries")


def _is_revoked(extensions: bytes) -> bool:
    """Whether an entry with these extensions means a revoked certificate: unless it says that it does not any more.

    Raises:
        ScepError: it is about somebody else's certificate, or says something that is not understood.
    """
    revoked = True
    for extension in parse_extensions(der.parse(extensions)):
        if extension.oid == _CERTIFICATE_ISSUER:
            raise ScepError("an indirect list")
        if extension.oid == _REASON:
            revoked = int.from_bytes(der.parse(extension.value).expect(0x0A).content, "big") != _REMOVE_FROM_CRL
        elif extension.critical:
            raise ScepError("an entry with a critical extension that is not understood")
    return revoked
