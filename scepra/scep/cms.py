"""The Cryptographic Message Syntax as SCEP uses it: SignedData read, verified and written (RFC 5652; conformance 4).

Reading takes BER as devices send it and keeps the received octets; writing emits the one shape that every peer reads
(PEER-01). :mod:`scepra.scep.envelope` has EnvelopedData.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import DIGEST_BY_OID, Digest, Floor
from scepra.scep.certificate import Certificate
from scepra.scep.identity import CertificateName, Identity
from scepra.scep.publickey import ECDSA_SIGNATURES, verify_signature

MAXIMUM_CERTIFICATES = 8
MAXIMUM_ATTRIBUTES = 64
_VERSION_1 = der.integer(1)
_ECDSA_BY_DIGEST = {digest: identifier for identifier, digest in ECDSA_SIGNATURES.items()}
ALGORITHM_IDENTIFIERS = {digest: der.sequence(der.oid(digest.oid), der.NULL) for digest in Digest}
RSA_IDENTIFIER = der.sequence(der.oid(oid.RSA), der.NULL)


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """The one signer of a message, unverified.

    ``attributes`` are the signed attributes, in order, each with its values; ``attributes_node`` is what the signature
    is over, as received (CMS-07).
    """

    signer: CertificateName
    digest: bytes
    signature_algorithm: bytes
    signature_parameters: der.Node | None
    signature: bytes
    attributes: tuple[tuple[bytes, tuple[der.Node, ...]], ...]
    attributes_node: der.Node

    def attribute(self, identifier: bytes) -> der.Node | None:
        """The one value of a signed attribute, or None where it is absent.

        Raises:
            ScepError: it stands twice, or has no value or several (AC-025).
        """
        found: tuple[der.Node, ...] | None = None
        for name, values in self.attributes:
            if name == identifier:
                if found is not None or len(values) != 1:
                    raise ScepError(f"the attribute {oid.dotted(identifier)} is not there exactly once with one value")
                found = values
        return found[0] if found is not None else None


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData with exactly one SignerInfo that has signed attributes, unverified.

    ``content_type`` is whatever eContentType says; ``content`` the value of eContent, None where it is absent;
    ``bag`` are the certificates, in order, unread.
    """

    content_type: bytes
    content: bytes | None
    bag: tuple[der.Node, ...]
    signer_info: SignerInfo

    @classmethod
    def parse(cls, encoding: bytes) -> SignedData:
        """Read a message's outer layer.

        Raises:
            Malformed: it is no ContentInfo with such a SignedData, or has too many parts (AC-019, AC-022, AC-043).
        """
        fields = _signed_data_fields(der.parse(encoding))
        content_type, content = _encapsulated(fields[2])
        signer_infos = fields[-1].expect(der.SET).children()
        if len(signer_infos) != 1:
            raise Malformed("not exactly one SignerInfo")
        return cls(content_type, content, _bag(fields, MAXIMUM_CERTIFICATES), _signer_info(signer_infos[0]))

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The encodings in the bag."""
        return tuple(node.raw for node in self.bag)

    def verify(self, floor: Floor, candidates: Sequence[Certificate] | None = None) -> tuple[Certificate, Digest]:
        """Verify the signature; no private key is used.

        Args:
            floor: digests and keys that are accepted.
            candidates: who may have signed; the message's own certificates where not given (a request's signer proves
                only that it holds its key).

        Returns:
            The certificate whose key verified, and the digest that was used.

        Raises:
            ScepError: badAlg or badMessageCheck.
        """
        info = self.signer_info
        digest = DIGEST_BY_OID.get(info.digest)
        if digest is None or digest not in floor.digests:
            raise ScepError("a message digest that is refused", FailInfo.BAD_ALG)
        self._check_digest(digest)
        signer = self._find_signer(candidates)
        try:
            key = signer.public_key
        except Malformed as error:
            raise ScepError("the signer's key cannot be read", FailInfo.BAD_ALG) from error
        key.check(floor)
        for encoding in _signed_encodings(info.attributes_node):
            try:
                verify_signature(
                    key,
                    info.signature_algorithm,
                    info.signature_parameters,
                    info.signature,
                    encoding,
                    allowed=floor.digests,
                    digest=digest,
                )
            except ScepError as error:
                if error.fail_info is FailInfo.BAD_ALG:
                    raise
            else:
                return signer, digest
        raise ScepError("a message whose signature does not verify", FailInfo.BAD_MESSAGE_CHECK)

    def _check_digest(self, digest: Digest) -> None:
        """contentType, messageDigest and, if there, algorithm protection agree with the message (CMS-03, CMS-06)."""
        info = self.signer_info
        try:
            content_type, stated = info.attribute(oid.CONTENT_TYPE), info.attribute(oid.MESSAGE_DIGEST)
            protection = info.attribute(oid.ALGORITHM_PROTECTION)
            if content_type is None or content_type.oid() != self.content_type:
                raise ScepError("the contentType attribute is missing or differs from the content's")
            computed = digest.of(self.content or b"")
            if stated is None or stated.octets() != computed:
                raise ScepError("the messageDigest attribute is missing or differs from the content's digest")
            if protection is not None:
                parts = protection.sequence(2)
                named = [parts[0].sequence(1)[0].oid(), parts[1].expect(0xA1).children(1)[0].oid()]
                if named != [info.digest, info.signature_algorithm]:
                    raise ScepError("the algorithms differ from those that are protected")
        except ScepError as error:
            raise ScepError(error.reason, FailInfo.BAD_MESSAGE_CHECK) from error

    def _find_signer(self, candidates: Sequence[Certificate] | None) -> Certificate:
        """The one certificate that the SignerInfo names; two that it could mean are refused (CMS-13, AC-031)."""
        found: list[Certificate] = []
        try:
            bag = candidates if candidates is not None else [Certificate(node) for node in self.bag]
            for certificate in bag:
                if self.signer_info.signer.names(certificate) and certificate not in found:
                    found.append(certificate)
        except Malformed as error:
            raise ScepError(error.reason, FailInfo.BAD_MESSAGE_CHECK) from error
        if len(found) != 1:
            reason = "the signer's certificate is ambiguous" if found else "the signer's certificate is missing"
            raise ScepError(reason, FailInfo.BAD_MESSAGE_CHECK)
        return found[0]


def _signed_data_fields(root: der.Node) -> list[der.Node]:
    """The fields of the SignedData in a ContentInfo: version, digestAlgorithms, encapContentInfo, ..., signerInfos."""
    content_info = root.sequence(2)
    if content_info[0].oid() != oid.SIGNED_DATA:
        raise Malformed("not a SignedData")
    return content_info[1].expect(0xA0).only().sequence(4)


def _encapsulated(node: der.Node) -> tuple[bytes, bytes | None]:
    """eContentType and the joined value of eContent (CMS-02, CMS-03)."""
    parts = node.sequence(1)
    return parts[0].oid(), parts[1].expect(0xA0).only().octets() if len(parts) > 1 else None


def _bag(fields: list[der.Node], limit: int) -> tuple[der.Node, ...]:
    """The certificates field; other certificate formats in it are passed over, CRLs are never read (CMS-15)."""
    nodes = [node for field in fields[3:-1] if field.tag == 0xA0 for node in field.children()]
    if len(nodes) > limit:
        raise Malformed("too many certificates")
    return tuple([node for node in nodes if node.tag == der.SEQUENCE])


def _signer_info(node: der.Node) -> SignerInfo:
    fields = node.sequence(6)
    if fields[3].tag != 0xA0:
        raise Malformed("a SignerInfo without signed attributes")
    attribute_nodes = fields[3].children()
    if not 0 < len(attribute_nodes) <= MAXIMUM_ATTRIBUTES:
        raise Malformed("no signed attributes, or too many")
    attributes = []
    for attribute in attribute_nodes:
        parts = attribute.sequence(2)
        attributes.append((parts[0].oid(), tuple(parts[1].expect(der.SET).children())))
    algorithm = fields[4].sequence(1)
    return SignerInfo(
        certificate_name(fields[1]),
        fields[2].sequence(1)[0].oid(),
        algorithm[0].oid(),
        algorithm[1] if len(algorithm) > 1 else None,
        fields[5].octets(),
        tuple(attributes),
        fields[3],
    )


def certificate_name(node: der.Node) -> CertificateName:
    """A SignerIdentifier or RecipientIdentifier: IssuerAndSerialNumber, or [0] SubjectKeyIdentifier."""
    if node.tag == der.SEQUENCE:
        parts = node.sequence(2)
        return CertificateName(parts[0].expect(der.SEQUENCE).raw, parts[1].integer())
    return CertificateName(key_identifier=node.octets(0x80))


def _signed_encodings(attributes: der.Node) -> Iterator[bytes]:
    """What a signature over signed attributes may cover, most likely first (CMS-07).

    The received order, DER's SET OF, and DER's SET OF of values that came in BER; mostly these are one and the same.
    """
    received = der.tlv(der.SET, attributes.content)
    yield received
    children = attributes.children()
    with suppress(Malformed):
        others = (der.set_of(child.raw for child in children), der.set_of(map(der.canonical, children)))
        yield from dict.fromkeys(item for item in others if item != received)


def sign(
    content: bytes | None,
    attributes: Iterable[bytes],
    signer: Identity,
    digest: Digest,
    certificates: Iterable[Certificate],
) -> bytes:
    """Write a SignedData of version 1 in a ContentInfo, with one signer (CMS-40, CMS-41, PEER-01).

    Args:
        content: the value of eContent; None leaves it out.
        attributes: encoded signed attributes beside contentType and messageDigest, which are added.
        signer: signs; named by issuer and serial number.
        certificates: the bag, in this order.

    Raises:
        ScepError: badAlg; there is no signature of the signer's kind of key with that digest.
    """
    value = digest.of(content or b"")
    body = b"".join(sorted((_CONTENT_TYPE_DATA, attribute(oid.MESSAGE_DIGEST, der.octet_string(value)), *attributes)))
    algorithm = RSA_IDENTIFIER
    if signer.key.public.kind != "RSA":
        if digest not in _ECDSA_BY_DIGEST:
            raise ScepError(f"an EC key does not sign with {digest.value}", FailInfo.BAD_ALG)
        algorithm = der.sequence(der.oid(_ECDSA_BY_DIGEST[digest]))
    signature = signer.key.sign(der.tlv(der.SET, body), digest)
    certificate = signer.certificate
    signer_info = der.sequence(
        _VERSION_1,
        der.sequence(certificate.issuer_der, certificate.serial_der),
        ALGORITHM_IDENTIFIERS[digest],
        der.tlv(0xA0, body),
        algorithm,
        der.octet_string(signature),
    )
    encapsulated = _DATA_ABSENT if content is None else der.sequence(_DATA, der.explicit(0, der.octet_string(content)))
    return _content_info(
        der.tlv(der.SET, ALGORITHM_IDENTIFIERS[digest]),
        encapsulated,
        der.explicit(0, *(item.der for item in certificates)),
        der.tlv(der.SET, signer_info),
    )


def attribute(identifier: bytes, value: bytes) -> bytes:
    """An Attribute with one encoded value."""
    return der.sequence(der.oid(identifier), der.tlv(der.SET, value))


def _content_info(*fields: bytes) -> bytes:
    return der.sequence(_SIGNED_DATA, der.explicit(0, der.sequence(_VERSION_1, *fields)))


_DATA, _SIGNED_DATA = der.oid(oid.DATA), der.oid(oid.SIGNED_DATA)
_DATA_ABSENT = der.sequence(_DATA)
_CONTENT_TYPE_DATA = attribute(oid.CONTENT_TYPE, _DATA)
_EMPTY_SET = der.tlv(der.SET)


def degenerate(certificates: Iterable[bytes] = (), crls: Iterable[bytes] = ()) -> bytes:
    """A certs-only (or CRL-only) SignedData: eContent absent, the given order kept (RFC 8894, 3.4; CERT-03,
    CERT-04)."""
    certificates, crls = tuple(certificates), tuple(crls)
    fields = [der.explicit(0, *certificates)] if certificates else []
    if crls:
        fields.append(der.explicit(1, *crls))
    return _content_info(_EMPTY_SET, _DATA_ABSENT, *fields, _EMPTY_SET)


@dataclass(frozen=True, slots=True)
class Degenerate:
    """What a certs-only SignedData carries: encodings of certificates and of CRLs, in their own order."""

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]


def parse_degenerate(encoding: bytes, limit: int = 32) -> Degenerate:
    """Read a certs-only SignedData as CAs send it: BER, eContent present or not, any order, signed or not (MSG-62).

    Args:
        encoding: the whole message; nothing about a signature in it is looked at.
        limit: how many certificates it may have.

    Raises:
        Malformed: it is none.
    """
    fields = _signed_data_fields(der.parse(encoding))
    crls = tuple(node.raw for field in fields[3:] if field.tag == 0xA1 for node in field.children())
    certificates = [node for field in fields[3:] if field.tag == 0xA0 for node in field.children()]
    if len(certificates) > limit or len(crls) > limit:
        raise Malformed("too many certificates or CRLs")
    return Degenerate(tuple(node.raw for node in certificates if node.tag == der.SEQUENCE), crls)


def parse_ca_certificates(body: bytes) -> tuple[Certificate, ...]:
    """The certificates of a GetCACert answer: one bare, or a certs-only message, whatever it is labelled (CERT-14).

    Raises:
        Malformed: it is neither, or empty.
    """
    first = der.parse_prefix(body)
    if body[first.end :].strip():
        raise Malformed("octets follow the certificates")
    if first.sequence(1)[0].tag != der.OBJECT_IDENTIFIER:
        return (Certificate.parse(first.raw),)
    certificates = tuple(dict.fromkeys(map(Certificate.parse, parse_degenerate(first.raw).certificates)))
    if not certificates:
        raise Malformed("no certificate at all")
    return certificates
