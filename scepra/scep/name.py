"""Names (X.501) and GeneralNames (RFC 5280, 4.2.1.6), read as devices really write them (P10-08).

Nothing is lost in reading: unknown attribute types, string types and characters keep their octets, and what cannot be
decoded has no text, so that a policy sees it and refuses it (I12). Decisions are made on decoded attribute values,
never on the rendered string (AC-073).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from scepra.errors import Malformed
from scepra.scep import der, oid
from scepra.scep.der import Node

MAX_ATTRIBUTES = 32
"""Attribute values, and with them relative distinguished names, of one name (AC-085)."""

# Normalising takes quadratic time in the worst case; longer texts are compared octet by octet.
_LONGEST_COMPARED = 1024

COMMON_NAME = oid.encode("2.5.4.3")
UPN = oid.encode("1.3.6.1.4.1.311.20.2.3")

SHORT_NAMES: dict[bytes, str] = {
    oid.encode(dotted): short
    for dotted, short in (
        ("2.5.4.3", "CN"),
        ("2.5.4.4", "SN"),
        ("2.5.4.5", "serialNumber"),
        ("2.5.4.6", "C"),
        ("2.5.4.7", "L"),
        ("2.5.4.8", "ST"),
        ("2.5.4.9", "street"),
        ("2.5.4.10", "O"),
        ("2.5.4.11", "OU"),
        ("2.5.4.12", "title"),
        ("2.5.4.13", "description"),
        ("2.5.4.15", "businessCategory"),
        ("2.5.4.17", "postalCode"),
        ("2.5.4.41", "name"),
        ("2.5.4.42", "GN"),
        ("2.5.4.43", "initials"),
        ("2.5.4.44", "generationQualifier"),
        ("2.5.4.45", "x500UniqueIdentifier"),
        ("2.5.4.46", "dnQualifier"),
        ("2.5.4.65", "pseudonym"),
        ("2.5.4.97", "organizationIdentifier"),
        ("0.9.2342.19200300.100.1.1", "UID"),
        ("0.9.2342.19200300.100.1.25", "DC"),
        ("1.2.840.113549.1.9.1", "emailAddress"),
        ("1.2.840.113549.1.9.2", "unstructuredName"),
        ("1.2.840.113549.1.9.8", "unstructuredAddress"),
    )
}
"""What attribute types are called in configuration and in rendered names; the rest go by their dotted identifier."""

# T61 is read as Latin-1, as everyone does (P10-03). Octets above 127 in the ASCII types have no agreed meaning: no
# text.
_CODECS = {
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
    der.NUMERIC_STRING: "ascii",
    der.VISIBLE_STRING: "ascii",
    der.T61_STRING: "latin-1",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}
_KINDS = {
    0x81: "email",
    0x82: "dns",
    0xA3: "x400",
    0xA4: "directory",
    0xA5: "edi-party",
    0x86: "uri",
    0x87: "ip",
    0x88: "registered-id",
}


def decode(tag: int, content: bytes) -> str | None:
    """Text of a string type's content octets; None where tag or octets allow no sure reading."""
    codec = _CODECS.get(tag)
    if codec is None:
        return None
    try:
        return content.decode(codec)
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """One value of a name: type (OID content octets), tag and content octets as received, and the text if it has
    one."""

    oid: bytes
    tag: int
    raw: bytes
    text: str | None

    @property
    def type_name(self) -> str:
        """Short name of the type, or its dotted identifier."""
        return SHORT_NAMES.get(self.oid) or oid.dotted(self.oid)

    def __str__(self) -> str:
        value = "#" + der.tlv(self.tag, self.raw).hex() if self.text is None else _escape(self.text)
        return f"{self.type_name}={value}"


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name in wire order; ``der`` is its encoding as received."""

    der: bytes
    rdns: tuple[tuple[AttributeValue, ...], ...]

    @classmethod
    def parse(cls, node: Node) -> Name:
        """Read a Name.

        Raises:
            Malformed: it is none, or has more than :data:`MAX_ATTRIBUTES` values.
        """
        rdns = []
        count = 0
        for rdn in node.sequence():
            values = tuple([_attribute(value) for value in rdn.expect(der.SET).children()])
            count += len(values)
            if not values or count > MAX_ATTRIBUTES:
                raise Malformed("a name with an empty element or too many of them")
            rdns.append(values)
        return cls(node.raw, tuple(rdns))

    @property
    def attributes(self) -> tuple[AttributeValue, ...]:
        """Every attribute value, in wire order."""
        return tuple([value for rdn in self.rdns for value in rdn])

    def values(self, attribute_type: bytes) -> list[AttributeValue]:
        """The values of one attribute type (OID content octets), in wire order."""
        return [value for rdn in self.rdns for value in rdn if value.oid == attribute_type]

    def matches(self, other: Name) -> bool:
        """Whether both are the same name by RFC 5280, 7.1: letter case, spacing and string type do not matter."""
        return self.der == other.der or (len(self.rdns) == len(other.rdns) and _prepared(self) == _prepared(other))

    @property
    def canonical(self) -> bytes:
        """Octets that are the same for names that match, and for no others."""
        return der.sequence(
            *(
                der.tlv(der.SET, *(der.sequence(der.oid(kind), der.tlv(tag, text)) for kind, tag, text in rdn))
                for rdn in _prepared(self)
            )
        )

    def __str__(self) -> str:
        """Like RFC 4514, most specific first; for people, never to be parsed or matched."""
        return ",".join("+".join(map(str, rdn)) for rdn in reversed(self.rdns))


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One GeneralName.

    ``kind`` is one of dns, email, uri, ip, directory, upn, other, registered-id, x400, edi-party. ``value`` is text for
    dns, email, uri and upn, and octets where these cannot be decoded; the address octets for ip; the Name's DER for
    directory; the identifier's content octets for registered-id; the value's DER for other; the content octets for the
    rest. ``type_id`` is the type of an otherName. ``raw`` is the whole element.
    """

    kind: str
    value: str | bytes
    type_id: bytes | None
    raw: bytes

    def __str__(self) -> str:
        """``kind:value`` for people."""
        if isinstance(self.value, str):
            return f"{self.kind}:{_escape(self.value)}"
        if self.kind == "directory":
            return f"directory:{Name.parse(der.parse(self.value))}"
        if self.kind == "registered-id":
            return f"registered-id:{oid.dotted(self.value)}"
        kind = f"other:{oid.dotted(self.type_id)}" if self.kind == "other" and self.type_id is not None else self.kind
        return f"{kind}:#{self.value.hex()}"


def parse_general_names(node: Node) -> tuple[GeneralName, ...]:
    """Read GeneralNames.

    Raises:
        Malformed: it is none, is empty, or has a name of a type that does not exist.
    """
    return tuple([_general_name(child) for child in node.sequence(1)])


def _attribute(node: Node) -> AttributeValue:
    parts = node.sequence()
    if len(parts) != 2:
        raise Malformed("a name attribute is a type and a value")
    value = parts[1]
    content = value.content
    return AttributeValue(parts[0].oid(), value.tag, content, decode(value.tag, content))


def _general_name(node: Node) -> GeneralName:
    content = node.content
    if node.tag == 0xA0:
        return _other_name(node)
    kind = _KINDS.get(node.tag)
    if kind is None:
        raise Malformed(f"a general name with tag {node.tag:#04x}")
    value: str | bytes = content
    if kind in ("dns", "email", "uri"):
        text = decode(der.IA5_STRING, content)
        value = content if text is None else text
    elif kind == "directory":
        names = node.children()
        if len(names) != 1:
            raise Malformed("a directoryName is one name")
        value = Name.parse(names[0]).der
    elif kind == "registered-id" and (not 0 < len(content) <= der.LIMITS.oid or content[-1] & 0x80):
        raise Malformed("a registeredID that is no object identifier")
    return GeneralName(kind, value, None, node.raw)


def _other_name(node: Node) -> GeneralName:
    parts = node.children()
    if len(parts) != 2:
        raise Malformed("an otherName is a type and a value")
    type_id = parts[0].oid()
    values = parts[1].expect(0xA0).children()
    if len(values) != 1:
        raise Malformed("an otherName has one value")
    value = values[0]
    if type_id != UPN:
        return GeneralName("other", value.raw, type_id, node.raw)
    text = decode(value.tag, value.content)
    return GeneralName("upn", value.raw if text is None else text, type_id, node.raw)


def _prepared(name: Name) -> list[list[tuple[bytes, int, bytes]]]:
    """The name in comparable form: relative names in order, the values of each sorted."""
    return [
        sorted(
            (value.oid, value.tag, value.raw)
            if value.text is None or len(value.text) > _LONGEST_COMPARED
            else (value.oid, 0, _prepare(value.text).encode())
            for value in rdn
        )
        for rdn in name.rdns
    ]


def _prepare(text: str) -> str:
    """RFC 4518's preparation as far as names in certificates need it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _escape(text: str) -> str:
    """RFC 4514 escaping; what does not print becomes hexadecimal pairs of its UTF-8."""
    last = len(text) - 1
    return "".join(
        "".join(f"\\{octet:02X}" for octet in character.encode())
        if not character.isprintable()
        else "\\" + character
        if character in '\\,+"<>;=' or (character == "#" and not index) or (character == " " and index in (0, last))
        else character
        for index, character in enumerate(text)
    )
