"""A bounded BER/DER reader and a DER writer (X.690).

:func:`parse` walks the whole encoding once, iteratively, against the limits of security rule 1 before anything else
looks at it; after that, :class:`Node` reads by slicing and cannot run away. BER is read as real devices send it
(indefinite lengths, constructed strings, non-minimal lengths); ``strict=True`` accepts DER's framing, and DER's one
form of identifiers, integers and booleans, only: for what a CA will read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scepra.errors import Malformed

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL_TAG, OBJECT_IDENTIFIER = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, NUMERIC_STRING, PRINTABLE_STRING, T61_STRING, IA5_STRING = 0x0C, 0x12, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, VISIBLE_STRING, UNIVERSAL_STRING, BMP_STRING = 0x17, 0x18, 0x1A, 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31
CONSTRUCTED = 0x20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one encoding: octets in all, nesting, elements, octets of an OBJECT IDENTIFIER and of an INTEGER."""

    total: int = 2 * 1024 * 1024
    depth: int = 32
    elements: int = 4096
    oid: int = 64
    integer: int = 1100


LIMITS = Limits()


class Node:
    """One element: its tag octet and its place in the encoding.

    ``start`` is the tag's offset, ``body`` and ``stop`` bound the content (without end-of-contents octets), ``end`` is
    where the next element starts.
    """

    __slots__ = ("_ends", "body", "data", "end", "start", "stop", "tag")

    data: bytes
    tag: int
    start: int
    body: int
    stop: int
    end: int
    _ends: dict[int, int]

    @property
    def raw(self) -> bytes:
        """The whole element as it was received."""
        return self.data[self.start : self.end]

    @property
    def content(self) -> bytes:
        """The content octets as received."""
        return self.data[self.body : self.stop]

    def children(self, at_least: int = 0) -> list[Node]:
        """The elements of a constructed element, in order, at least so many.

        Raises:
            Malformed: the element is primitive, or has too few.
        """
        if not self.tag & CONSTRUCTED:
            raise Malformed("a primitive element where a constructed one belongs")
        nodes = _siblings(self.data, self.body, self.stop, self._ends)
        if len(nodes) < at_least:
            raise Malformed("a constructed element is too short")
        return nodes

    def only(self) -> Node:
        """The single element within, as an explicit tag has it.

        Raises:
            Malformed: there is none, or several.
        """
        nodes = self.children()
        if len(nodes) != 1:
            raise Malformed("not exactly one element where one belongs")
        return nodes[0]

    def expect(self, tag: int) -> Node:
        """This node, if it has the tag.

        Raises:
            Malformed: it has another.
        """
        if self.tag != tag:
            raise self._unexpected(tag)
        return self

    def _unexpected(self, tag: int) -> Malformed:
        return Malformed(f"tag {self.tag:#04x} where {tag:#04x} belongs")

    def sequence(self, at_least: int = 0) -> list[Node]:
        """The elements of a SEQUENCE of at least so many.

        Raises:
            Malformed: it is no SEQUENCE, or too short.
        """
        # This and the next are asked most often, and so call as little as they can.
        if self.tag != SEQUENCE:
            raise self._unexpected(SEQUENCE)
        nodes = _siblings(self.data, self.body, self.stop, self._ends)
        if len(nodes) < at_least:
            raise Malformed("a constructed element is too short")
        return nodes

    def oid(self) -> bytes:
        """Content octets of an OBJECT IDENTIFIER (see :mod:`scepra.scep.oid`)."""
        if self.tag != OBJECT_IDENTIFIER:
            raise self._unexpected(OBJECT_IDENTIFIER)
        return self.data[self.body : self.stop]

    def integer(self) -> int:
        """Value of an INTEGER, signed as X.690 has it."""
        return int.from_bytes(self.expect(INTEGER).content, "big", signed=True)

    def octets(self, tag: int = OCTET_STRING) -> bytes:
        """Value of a string type, with the segments of a constructed encoding joined (CMS-01).

        Args:
            tag: the primitive tag.

        Raises:
            Malformed: it has another tag, or segments of another type.
        """
        if self.tag == tag:
            return self.data[self.body : self.stop]
        if self.tag != tag | CONSTRUCTED:
            raise self._unexpected(tag)
        # X.690, 8.23: segments of all strings but BIT STRINGs are OCTET STRINGs; their own tag repeated is read too.
        segments = (OCTET_STRING,) if tag & 0x80 else (OCTET_STRING, tag)
        out: list[bytes] = []
        pending = self.children()[::-1]
        while pending:
            node = pending.pop()
            if node.tag in segments:
                out.append(node.content)
            elif node.tag & ~CONSTRUCTED in segments:
                pending.extend(node.children()[::-1])
            else:
                raise Malformed("a segment of another type in a constructed string")
        return b"".join(out)


def parse(data: bytes, limits: Limits = LIMITS, *, strict: bool = False) -> Node:
    """The one element that *data* is.

    Args:
        data: a whole BER encoding.
        limits: what it may not exceed.
        strict: refuse what DER forbids: indefinite and non-minimal lengths, constructed strings, padded identifiers and
            integers, other booleans than 0 and 255.

    Raises:
        Malformed: it is no such encoding, exceeds a limit, or has trailing octets.
    """
    if len(data) > limits.total:
        raise Malformed("the encoding is too long")
    node = _siblings(data, 0, 1, _walk(data, limits, strict))[0]
    if node.end != len(data):
        raise Malformed("octets follow the encoding")
    return node


def parse_prefix(data: bytes, limits: Limits = LIMITS) -> Node:
    """The first element of *data*; what follows it is the caller's to judge (``node.end``)."""
    if len(data) > limits.total:
        raise Malformed("the encoding is too long")
    return _siblings(data, 0, 1, _walk(data, limits, False))[0]


def _siblings(data: bytes, position: int, stop: int, ends: dict[int, int]) -> list[Node]:
    """The elements that start from *position* on and before *stop*, in an encoding that has been walked.

    The walk has checked every length, so that this need not. Nodes are filled in here rather than by a constructor:
    there are hundreds of them in an enrolment, and a constructor's call would take longer than all that it does.
    """
    nodes: list[Node] = []
    while position < stop:
        node = Node()
        nodes.append(node)
        node.data = data
        node.start = position
        node._ends = ends
        node.tag = data[position]
        length = data[position + 1]
        if length < 0x80:
            node.body = position + 2
            node.stop = node.end = position = position + 2 + length
        elif length == 0x80:
            node.body = position + 2
            node.stop = ends[position]
            node.end = position = node.stop + 2
        else:
            node.body = body = position + 2 + (length & 0x7F)
            node.stop = node.end = position = body + int.from_bytes(data[position + 2 : body], "big")
    return nodes


def _walk(data: bytes, limits: Limits, strict: bool) -> dict[int, int]:  # noqa: PLR0915 - one loop, kept flat for speed
    """Check the first element and all within it; return where indefinite elements' contents stop, by their start.

    One loop over one explicit stack: no recursion, and each octet is looked at once. It is kept flat and its branches
    in the order of their frequency, because every octet that anyone sends goes through it.
    """
    ends: dict[int, int] = {}
    stack: list[int] = []  # where each open element stops; ~start for one of indefinite length
    stop, position = len(data), 0
    depth, oid_limit, integer_limit = limits.depth, limits.oid, limits.integer
    for _ in range(limits.elements):
        start = position
        position += 2
        if position > stop:
            raise Malformed("an element is cut short")
        tag = data[start]
        length = data[start + 1]
        if length == 0x80:
            if strict or not tag & CONSTRUCTED or tag & 0x1F == 0x1F:
                raise Malformed("an indefinite length where none may stand")
            if len(stack) >= depth:
                raise Malformed("nested too deeply")
            stack.append(~start)
        else:
            if length > 0x80:
                count = length & 0x7F
                if count > 4 or position + count > stop:
                    raise Malformed("a length that cannot be")
                length = int.from_bytes(data[position : position + count], "big")
                if strict and (length < 0x80 or not data[position]):
                    raise Malformed("a length not in its shortest form")
                position += count
            end = position + length
            if end > stop:
                raise Malformed("an element runs over its container")
            if tag & CONSTRUCTED:
                if tag & 0x1F == 0x1F or (strict and tag < 0x80 and tag not in (SEQUENCE, SET)):
                    raise Malformed("a tag number above 30, or a constructed string in DER")
                if len(stack) >= depth:
                    raise Malformed("nested too deeply")
                if length:
                    stack.append(stop)
                    stop = end
                    continue
            elif tag == OBJECT_IDENTIFIER:
                if not 0 < length <= oid_limit or data[end - 1] & 0x80:
                    raise Malformed("an object identifier too long or cut short")
            elif tag == INTEGER:
                if not 0 < length <= integer_limit:
                    raise Malformed("an integer too long or empty")
            elif not tag or tag & 0x1F == 0x1F:
                raise Malformed("end-of-contents where none may stand, or a tag number above 30")
            if strict and tag <= OBJECT_IDENTIFIER:
                _check_shortest(tag, data[position:end])
            position = end
        # Close what ends here: definite elements by their position, indefinite ones by their end-of-contents octets.
        while stack:
            if stack[-1] >= 0:
                if position != stop:
                    break
                stop = stack.pop()
            elif position + 2 > stop or data[position] or data[position + 1]:
                break
            else:
                # It has kept its container's bound, so that `stop` needs no restoring.
                ends[~stack.pop()] = position
                position += 2
        if not stack:
            return ends
    raise Malformed("too many elements")


def _check_shortest(tag: int, content: bytes) -> None:
    """Refuse what DER writes in one way only and this writes in another."""
    if tag == OBJECT_IDENTIFIER:
        if b"\x80" in content and _padded(content):
            raise Malformed("an object identifier not in its shortest form")
    elif tag == INTEGER:
        if content[0] in (0, 255) and len(content) > 1 and not (content[0] ^ content[1]) & 0x80:
            raise Malformed("an integer not in its shortest form")
    elif tag == BOOLEAN and (len(content) != 1 or content[0] not in (0, 255)):
        raise Malformed("a boolean that is neither true nor false in DER")


def _padded(content: bytes) -> bool:
    """Whether an arc of an identifier starts with an octet that adds nothing (X.690, 8.19.2)."""
    return any(octet == 0x80 and (not index or content[index - 1] < 0x80) for index, octet in enumerate(content))


_OCTETS = [bytes((octet,)) for octet in range(256)]


def length(size: int) -> bytes:
    """DER length octets."""
    if size < 0x80:
        return _OCTETS[size]
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return _OCTETS[0x80 | len(octets)] + octets


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element with the concatenation of *parts* as its content."""
    content = b"".join(parts)
    size = len(content)
    # Most are short. Octets are looked up, since making them takes longer than all the rest.
    return _OCTETS[tag] + (_OCTETS[size] if size < 0x80 else length(size)) + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of encoded elements."""
    return tlv(SEQUENCE, *parts)


def set_of(parts: Iterable[bytes]) -> bytes:
    """A SET OF in DER order (X.690, 11.6)."""
    return tlv(SET, *sorted(parts))


def integer(value: int) -> bytes:
    """An INTEGER."""
    magnitude = value if value >= 0 else ~value
    return tlv(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def oid(content: bytes) -> bytes:
    """An OBJECT IDENTIFIER from its content octets."""
    return tlv(OBJECT_IDENTIFIER, content)


def octet_string(value: bytes) -> bytes:
    """A primitive OCTET STRING."""
    return tlv(OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\0", value)


def printable_string(text: str) -> bytes:
    """A PrintableString; the caller vouches for the characters."""
    return tlv(PRINTABLE_STRING, text.encode("ascii"))


def explicit(number: int, *parts: bytes) -> bytes:
    """A constructed context tag around encoded elements; also an implicit SET or SEQUENCE."""
    return tlv(0xA0 | number, *parts)


NULL = b"\x05\x00"


def canonical(node: Node) -> bytes:
    """The element with definite, minimal lengths and joined strings; SETs keep their order.

    The recursion is bounded by the depth that the walk admitted.

    Raises:
        Malformed: it has a constructed string of which a segment is none.
    """
    if not node.tag & CONSTRUCTED:
        return tlv(node.tag, node.content)
    if node.tag & ~CONSTRUCTED in _STRINGS:
        return tlv(node.tag & ~CONSTRUCTED, node.octets(node.tag & ~CONSTRUCTED))
    return tlv(node.tag, *(canonical(child) for child in node.children()))


_STRINGS = frozenset((OCTET_STRING, UTF8_STRING, *range(NUMERIC_STRING, UNIVERSAL_STRING + 1), BMP_STRING))
