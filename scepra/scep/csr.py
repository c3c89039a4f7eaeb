"""A certification request (PKCS#10, RFC 2986) as the CA will read it (security finding 1, design rule 5).

The request is forwarded byte for byte (P10-01), so whatever two readers could read differently is refused here:
encodings that are not DER, more than one carrier of extensions, a repeated attribute or extension, a challenge of
several values. What real devices send is accepted where no name, key or credential depends on it: attributes out of
order, absent or empty, version 1 or 2, absent RSA parameters (P10-09, PEER-10).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.certificate import KEY_USAGES, Extension, parse_extensions
from scepra.scep.der import Node
from scepra.scep.name import GeneralName, Name, decode, parse_general_names
from scepra.scep.publickey import ECDSA_SIGNATURES, RSA_SIGNATURES, PublicKeyInfo, pss_padding, verify_signature

CARRIERS = frozenset((oid.EXTENSION_REQUEST, oid.MICROSOFT_EXTENSIONS, oid.VERISIGN_EXTENSIONS))
"""The three attributes in which CAs look for extensions (P10-05)."""

TEMPLATE_NAME = oid.encode("1.3.6.1.4.1.311.20.2")
TEMPLATE = oid.encode("1.3.6.1.4.1.311.21.7")

CHALLENGE_LIMIT = 16 * 1024
"""Characters of a challenge, and a quarter of its octets (P10-04)."""

# Printable and IA5 strings are octets to those who wrong them: Latin-1, as OpenSSL reads them (P10-03).
_CHALLENGE_CODECS = {
    der.PRINTABLE_STRING: "latin-1",
    der.IA5_STRING: "latin-1",
    der.T61_STRING: "latin-1",
    der.UTF8_STRING: "utf-8",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}
# Unicode's stream-safe format (UAX 15, 13): without this bound normalisation takes quadratic time.
_COMBINING_RUN = 30


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the request: type (OID content octets) and its values, each a whole element."""

    oid: bytes
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """RFC 5280, 4.2.1.9."""

    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True)
class KnownExtensions:
    """What the extensions say that are read here, by the names that :class:`CertificationRequest` has for it."""

    alternative_names: tuple[GeneralName, ...]
    key_usage: frozenset[str] | None
    extended_key_usage: tuple[bytes, ...] | None
    basic_constraints: BasicConstraints | None
    templates: tuple[str, ...]

    @classmethod
    def read(cls, extensions: tuple[Extension, ...], *, strict: bool = True) -> KnownExtensions:
        """Read them; a value that cannot be read is never "no value" (AC-068).

        Args:
            strict: whether their values must be DER.

        Raises:
            ScepError: one is repeated, or cannot be read.
        """
        if len({extension.oid for extension in extensions}) != len(extensions):
            raise Malformed("an extension that is repeated")
        known = {
            extension.oid: der.parse(extension.value, strict=strict)
            for extension in extensions
            if extension.oid in _KNOWN
        }
        names = known.get(oid.SUBJECT_ALT_NAME)
        usage = known.get(oid.KEY_USAGE)
        extended = known.get(oid.EXTENDED_KEY_USAGE)
        constraints = known.get(oid.BASIC_CONSTRAINTS)
        return cls(
            () if names is None else parse_general_names(names),
            None if usage is None else _key_usage(usage),
            None if extended is None else tuple([purpose.oid() for purpose in extended.sequence(1)]),
            None if constraints is None else _basic_constraints(constraints),
            _templates(known),
        )


@dataclass(frozen=True, slots=True)
class CertificationRequest:
    """A request that has exactly one reading.

    ``der`` is the request as received; ``signed`` the part its signature covers. ``carrier`` is the attribute type that
    carried ``extensions``, None where there was none. ``challenge_password`` is normalised (NFC) text, "" where the
    attribute is there and empty (which counts as absent for a renewal: P10-04), None where it is not there.
    ``templates`` are the names and dotted identifiers of certificate templates that the request asks for (P10-06).
    ``signature_digest`` is None for a signature algorithm that no key of this kind has; :meth:`verify` says why.
    """

    der: bytes
    signed: bytes
    version: int
    subject: Name
    spki: bytes
    public_key: PublicKeyInfo
    attributes: tuple[Attribute, ...]
    extensions: tuple[Extension, ...]
    carrier: bytes | None
    challenge_password: str | None = field(repr=False)
    alternative_names: tuple[GeneralName, ...]
    key_usage: frozenset[str] | None
    extended_key_usage: tuple[bytes, ...] | None
    basic_constraints: BasicConstraints | None
    templates: tuple[str, ...]
    signature_algorithm: bytes
    signature_parameters: Node | None
    signature_digest: Digest | None
    signature: bytes

    @classmethod
    def parse(cls, encoding: bytes, *, trailing_nul: bool = False) -> CertificationRequest:
        """Read a request.

        Args:
            encoding: its DER.
            trailing_nul: drop one NUL at the end of the challenge, for clients that count the terminator (P10-03).

        Raises:
            ScepError: it is no request, or has more than one reading; badRequest in all cases.
        """
        outer = der.parse(encoding, strict=True).sequence(3)
        if len(outer) != 3:
            raise Malformed("a certification request with too many elements")
        signed = outer[0]
        parts = signed.sequence(3)
        if len(parts) > 4:
            raise Malformed("a certification request with too many elements")
        version = parts[0].integer()
        if version not in (0, 1, 2):
            raise Malformed("a certification request of an unknown version")
        spki = parts[2].expect(der.SEQUENCE).raw
        public_key = PublicKeyInfo.parse(spki)
        attributes = _attributes(parts[3]) if len(parts) == 4 else {}
        carrier = _carrier(attributes)
        extensions = parse_extensions(_only(attributes[carrier])) if carrier is not None else ()
        known = KnownExtensions.read(extensions)
        challenge = attributes.get(oid.CHALLENGE_PASSWORD)
        algorithm, parameters = _algorithm(outer[1])
        return cls(
            der=encoding,
            signed=signed.raw,
            version=version,
            subject=Name.parse(parts[1]),
            spki=spki,
            public_key=public_key,
            attributes=tuple(
                [Attribute(kind, tuple([value.raw for value in values])) for kind, values in attributes.items()]
            ),
            extensions=extensions,
            carrier=carrier,
            challenge_password=None if challenge is None else _challenge(_only(challenge), trailing_nul),
            alternative_names=known.alternative_names,
            key_usage=known.key_usage,
            extended_key_usage=known.extended_key_usage,
            basic_constraints=known.basic_constraints,
            templates=known.templates,
            signature_algorithm=algorithm,
            signature_parameters=parameters,
            signature_digest=_digest(public_key, algorithm, parameters),
            signature=_whole_octets(outer[2]),
        )

    def verify(self, floor: Floor = Floor()) -> None:  # noqa: B008 - frozen, and the same for all
        """Verify the proof of possession (P10-02), with the key judged before it is used (AC-064, AC-086).

        Raises:
            ScepError: badAlg for a key or an algorithm that the floor refuses, badRequest for a signature that does not
            verify
                or whose algorithm is not one for this kind of key.
        """
        self.public_key.check(floor)
        if self.signature_digest is None:
            if _kind(self.signature_algorithm) not in (None, self.public_key.kind):
                raise ScepError("a request signed by an algorithm for another kind of key")
            raise ScepError("a request signed by an algorithm that is refused", FailInfo.BAD_ALG)
        try:
            verify_signature(
                self.public_key,
                self.signature_algorithm,
                self.signature_parameters,
                self.signature,
                self.signed,
                allowed=floor.digests,
            )
        except ScepError as error:
            if error.fail_info is FailInfo.BAD_ALG:
                raise
            raise ScepError("a request whose own signature does not verify") from error


def decode_challenge(tag: int, content: bytes) -> str:
    """The text of a challenge, normalised to NFC (P10-03).

    Args:
        tag: of the string type; an OCTET STRING is none (AC-097).
        content: its content octets.

    Raises:
        Malformed: it has no text, or exceeds :data:`CHALLENGE_LIMIT`.
    """
    codec = _CHALLENGE_CODECS.get(tag)
    if codec is None:
        raise Malformed("a challenge of a type that is no string")
    if len(content) > 4 * CHALLENGE_LIMIT:
        raise Malformed("a challenge that is too long")
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        # Not chained: the error quotes the octets.
        raise Malformed("a challenge that cannot be decoded") from None
    if len(text) > CHALLENGE_LIMIT:
        raise Malformed("a challenge that is too long")
    return text if text.isascii() else _normalised(text)


def _normalised(text: str) -> str:
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > _COMBINING_RUN:
            raise Malformed("a challenge with too many combining characters")
    return unicodedata.normalize("NFC", text)


def _challenge(node: Node, trailing_nul: bool) -> str:
    text = decode_challenge(node.tag, node.content)
    return text.removesuffix("\0") if trailing_nul else text


def _attributes(node: Node) -> dict[bytes, list[Node]]:
    """Values by type, in wire order."""
    attributes: dict[bytes, list[Node]] = {}
    for item in node.expect(0xA0).children():
        parts = item.sequence(2)
        kind = parts[0].oid()
        if len(parts) != 2 or kind in attributes:
            raise Malformed("an attribute that is repeated, or more than a type and its values")
        attributes[kind] = parts[1].expect(der.SET).children()
    return attributes


def _only(values: list[Node]) -> Node:
    if len(values) != 1:
        raise Malformed("an attribute that must have exactly one value has another number of them")
    return values[0]


def _carrier(attributes: dict[bytes, list[Node]]) -> bytes | None:
    carriers = [kind for kind in attributes if kind in CARRIERS]
    if len(carriers) > 1:
        # Even where they agree: CAs merge them, or take the first or the last (AC-067).
        raise Malformed("extensions in more than one attribute")
    return carriers[0] if carriers else None


_KNOWN = frozenset(
    (
        oid.SUBJECT_ALT_NAME,
        oid.KEY_USAGE,
        oid.EXTENDED_KEY_USAGE,
        oid.BASIC_CONSTRAINTS,
        TEMPLATE_NAME,
        TEMPLATE,
    )
)


def _key_usage(node: Node) -> frozenset[str]:
    content = node.expect(der.BIT_STRING).content
    if not 1 <= len(content) <= 3 or content[0] > 7 or (len(content) == 1 and content[0]):
        raise Malformed("a keyUsage that is no bit string of nine bits")
    bits = int.from_bytes(content[1:].ljust(2, b"\0"), "big")
    unused = 8 * (3 - len(content)) + content[0]
    if bits & 0x7F or bits & ((1 << unused) - 1):
        raise Malformed("a keyUsage with bits that do not exist")
    return frozenset([name for index, name in enumerate(KEY_USAGES) if bits & 0x8000 >> index])


def _basic_constraints(node: Node) -> BasicConstraints:
    parts = node.sequence()
    ca = bool(parts) and parts[0].tag == der.BOOLEAN and parts.pop(0).content != b"\0"
    path_length = parts.pop(0).integer() if parts else None
    if parts or (path_length is not None and path_length < 0):
        raise Malformed("basicConstraints that are not a flag and a length")
    return BasicConstraints(ca, path_length)


def _templates(known: dict[bytes, Node]) -> tuple[str, ...]:
    templates = []
    if name := known.get(TEMPLATE_NAME):
        text = decode(name.tag, name.content)
        if text is None:
            raise Malformed("a template name that cannot be decoded")
        templates.append(text)
    if template := known.get(TEMPLATE):
        templates.append(oid.dotted(template.sequence(1)[0].oid()))
    return tuple(templates)


def _algorithm(node: Node) -> tuple[bytes, Node | None]:
    parts = node.sequence(1)
    if len(parts) > 2:
        raise Malformed("an algorithm with too many elements")
    algorithm = parts[0].oid()
    parameters = parts[1] if len(parts) == 2 else None
    if parameters is not None and algorithm != oid.RSASSA_PSS and parameters.raw != der.NULL:
        raise Malformed("a signature algorithm with parameters that it does not have")
    return algorithm, parameters


def _whole_octets(node: Node) -> bytes:
    content = node.expect(der.BIT_STRING).content
    if not content or content[0]:
        raise Malformed("a signature that is not whole octets")
    return content[1:]


def _kind(algorithm: bytes) -> str | None:
    """The kind of key that a signature algorithm is for; None for an unknown one."""
    if algorithm in RSA_SIGNATURES or algorithm == oid.RSASSA_PSS:
        return "RSA"
    if algorithm in ECDSA_SIGNATURES:
        return "EC"
    return "Ed25519" if algorithm == oid.ED25519 else None


def _digest(public_key: PublicKeyInfo, algorithm: bytes, parameters: Node | None) -> Digest | None:
    if _kind(algorithm) != public_key.kind:
        return None
    if algorithm == oid.RSASSA_PSS:
        try:
            return pss_padding(parameters)[0]
        except ScepError:
            return None
    return RSA_SIGNATURES.get(algorithm) or ECDSA_SIGNATURES.get(algorithm) or Digest.SHA512
