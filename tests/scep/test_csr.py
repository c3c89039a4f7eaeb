"""Certification requests as the CA will read them."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from asn1crypto import core
from asn1crypto import csr as asn1crypto_csr
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.csr import BasicConstraints, CertificationRequest, decode_challenge
from tests import csrs
from tests.csrs import assemble, attribute, build, carried, challenge, dns, extension, san, with_extensions

RECORDED = sorted((Path(__file__).parent.parent / "vectors" / "csr").glob("*.der"))
UNSORTED = "strongswan-shape-004"  # cryptography refuses attributes out of order
CARRIERS = {
    "PKCS#9": oid.EXTENSION_REQUEST,
    "Microsoft": oid.MICROSOFT_EXTENSIONS,
    "VeriSign": oid.VERISIGN_EXTENSIONS,
}
OS_VERSION = "1.3.6.1.4.1.311.13.2.3"
GOOD, EVIL = "dev.example.org", "administrator.corp.example"


def parse(encoding: bytes) -> CertificationRequest:
    return CertificationRequest.parse(encoding)


def refused(encoding: bytes) -> None:
    """Assert that it is refused as a bad request, at whatever step."""
    with pytest.raises(ScepError) as caught:
        parse(encoding).verify()
    assert caught.value.fail_info is FailInfo.BAD_REQUEST


# Structure


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
@pytest.mark.proves("P10-01", "P10-09", "P10-10", "PEER-10", "AC-089")
def test_recorded_request(path: Path) -> None:
    """Every recorded client's request is read, verifies, stays the same bytes, and reads as two libraries read it."""
    encoding = path.read_bytes()
    request = parse(encoding)
    request.verify()
    assert request.der == encoding
    if path.stem != UNSORTED:
        agrees_with_cryptography(request)
    theirs = asn1crypto_csr.CertificationRequest.load(encoding)["certification_request_info"]
    assert theirs["subject"].dump() == request.subject.der
    assert theirs["subject_pk_info"].dump() == request.spki
    assert [item["type"].dotted for item in theirs["attributes"]] == [
        oid.dotted(item.oid) for item in request.attributes
    ]
    challenges = [
        item["values"][0].native for item in theirs["attributes"] if item["type"].native == "challenge_password"
    ]
    assert [request.challenge_password] == (challenges or [None])
    carriers = [item["values"][0] for item in theirs["attributes"] if item["type"].native == "extension_request"]
    assert [(oid.dotted(each.oid), each.critical, each.value) for each in request.extensions] == [
        (each["id"].dotted, each["critical"].native, each["value"].native)
        for extensions in carriers
        for each in UnreadExtensions.load(extensions.dump())
    ]


class UnreadExtension(core.Sequence):  # type: ignore[misc]
    """asn1crypto's own type reads the value too, and refuses a template name that is no BMPString."""

    _fields: ClassVar = [
        ("id", core.ObjectIdentifier),
        ("critical", core.Boolean, {"default": False}),
        ("value", core.OctetString),
    ]


class UnreadExtensions(core.SequenceOf):  # type: ignore[misc]
    """Extensions whose values are left alone."""

    _child_spec = UnreadExtension


def agrees_with_cryptography(request: CertificationRequest) -> None:
    theirs = x509.load_der_x509_csr(request.der)
    assert theirs.subject.public_bytes() == request.subject.der
    assert theirs.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == request.spki
    assert theirs.tbs_certrequest_bytes == request.signed
    if request.carrier in (None, oid.EXTENSION_REQUEST):
        ours = [(oid.dotted(each.oid), each.critical) for each in request.extensions]
        assert [(each.oid.dotted_string, each.critical) for each in theirs.extensions] == ours
        for read, each in zip(theirs.extensions, request.extensions, strict=True):
            if isinstance(read.value, x509.SubjectAlternativeName | x509.UnrecognizedExtension):
                assert read.value.public_bytes() == each.value


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.proves("P10-09", "PEER-10", "AC-089")
def test_version(version: int) -> None:
    """Versions 1 and 2, which Apple's clients send, are as good as 0."""
    request = parse(build(version=der.integer(version)))
    request.verify()
    assert request.version == version


@pytest.mark.parametrize("field", [b"", der.tlv(0xA0)], ids=["absent", "empty"])
@pytest.mark.proves("P10-09", "AC-089")
def test_no_attributes(field: bytes) -> None:
    """The attributes may be absent or empty; then nothing is asked for."""
    request = parse(build(attributes_field=field))
    request.verify()
    assert (request.attributes, request.extensions, request.carrier, request.challenge_password) == ((), (), None, None)
    assert (request.alternative_names, request.key_usage, request.extended_key_usage) == ((), None, None)
    assert (request.basic_constraints, request.templates) == (None, ())


@pytest.mark.proves("P10-09", "AC-089", "PEER-10")
def test_attributes_out_of_order() -> None:
    """Attributes in any order are read, in the order in which they stand (strongSwan)."""
    both = [carried(san(dns(GOOD))), challenge("secret")]
    for attributes in (both, both[::-1]):
        request = parse(build(*attributes))
        request.verify()
        assert request.challenge_password == "secret"
        assert [name.value for name in request.alternative_names] == [GOOD]
    assert [each.oid for each in request.attributes] == [oid.CHALLENGE_PASSWORD, oid.EXTENSION_REQUEST]


@pytest.mark.proves("P10-09")
def test_rsa_without_parameters() -> None:
    """An RSA key and an RSA signature without the NULL that they should have are those of an RSA key."""
    key = csrs.rsa_key()
    numbers = key.public_key().public_numbers()
    request = parse(
        build(
            key=key,
            public_key=csrs.rsa_spki(numbers.n, numbers.e, parameters=b""),
            signature_algorithm=csrs.algorithm(oid.SHA256_RSA),
        )
    )
    request.verify()
    assert request.public_key.bits == 2048


@pytest.mark.proves("P10-10")
def test_unknown_attributes() -> None:
    """Attributes that nobody knows are kept with their octets, several values, none, or no DER type at all."""
    values = (der.octet_string(b"x" * 5000), der.tlv(0xC1, b"odd"))
    request = parse(build(attribute("1.3.6.1.4.1.99999.1", *values), attribute("1.3.6.1.4.1.99999.2")))
    assert [each.values for each in request.attributes] == [values, ()]


def indefinite(encoding: bytes) -> bytes:
    """The same element with indefinite length."""
    node = der.parse(encoding)
    return encoding[:1] + b"\x80" + node.content + b"\0\0"


def parts() -> tuple[bytes, bytes, bytes, bytes]:
    """Version, subject, key and attributes of a sound request."""
    return der.integer(0), csrs.subject(), csrs.spki(csrs.ec_key()), der.tlv(0xA0, carried(san(dns(GOOD))))


def signed(*fields: bytes) -> bytes:
    """A request of these fields."""
    content = der.sequence(*fields)
    algorithm, sign = csrs.signer(csrs.ec_key())
    return assemble(content, algorithm, sign(content))


VERSION, SUBJECT, KEY, ATTRIBUTES = parts()
PADDED_CN = der.sequence(der.tlv(der.SET, der.sequence(der.oid(b"\x55\x04\x80\x03"), der.tlv(der.UTF8_STRING, b"dev"))))
MALFORMED = {
    "trailing octets": build() + b"\0",
    "trailing element": der.sequence(*(node.raw for node in der.parse(build()).children()), der.NULL),
    "indefinite outside": indefinite(build()),
    "indefinite inside": signed(VERSION, indefinite(SUBJECT), KEY, ATTRIBUTES),
    "long length": signed(VERSION, SUBJECT, KEY, b"\xa0\x81" + ATTRIBUTES[1:]),
    "constructed string": signed(
        VERSION, csrs.name(csrs.value(csrs.CN, der.tlv(der.UTF8_STRING, b"dev"), 0x2C)), KEY, ATTRIBUTES
    ),
    "negative version": signed(der.integer(-1), SUBJECT, KEY, ATTRIBUTES),
    "version 3": signed(der.integer(3), SUBJECT, KEY, ATTRIBUTES),
    "padded version": signed(der.tlv(der.INTEGER, b"\0\0"), SUBJECT, KEY, ATTRIBUTES),
    "version is no integer": signed(der.NULL, SUBJECT, KEY, ATTRIBUTES),
    "padded arc": signed(VERSION, PADDED_CN, KEY, ATTRIBUTES),
    "no key": signed(VERSION, SUBJECT),
    "key is no sequence": signed(VERSION, SUBJECT, der.NULL, ATTRIBUTES),
    "five fields": signed(VERSION, SUBJECT, KEY, ATTRIBUTES, der.NULL),
    "primitive attributes": signed(VERSION, SUBJECT, KEY, b"\x80" + ATTRIBUTES[1:]),
    "attributes with another tag": signed(VERSION, SUBJECT, KEY, b"\xa1" + ATTRIBUTES[1:]),
    "attribute values in a sequence": build(der.sequence(der.oid(oid.CHALLENGE_PASSWORD), der.sequence(der.NULL))),
    "attribute of three": build(der.sequence(der.oid(oid.CHALLENGE_PASSWORD), der.tlv(der.SET), der.NULL)),
    "attribute of one": build(der.sequence(der.oid(oid.CHALLENGE_PASSWORD))),
    "repeated attribute": build(attribute(OS_VERSION, der.NULL), attribute(OS_VERSION, der.NULL)),
    "boolean 1": with_extensions(
        der.sequence(der.oid(oid.SUBJECT_ALT_NAME), der.tlv(1, b"\x01"), der.octet_string(der.sequence(dns(GOOD))))
    ),
    "critical is no boolean": with_extensions(
        der.sequence(der.oid(oid.SUBJECT_ALT_NAME), der.NULL, der.octet_string(der.sequence(dns(GOOD))))
    ),
    "extension of four": with_extensions(
        der.sequence(der.oid(oid.SUBJECT_ALT_NAME), der.tlv(1, b"\xff"), der.octet_string(b""), der.octet_string(b""))
    ),
    "trailing in extension": with_extensions(extension(oid.SUBJECT_ALT_NAME, der.sequence(dns(GOOD)) + dns(EVIL))),
    "indefinite in extension": with_extensions(extension(oid.SUBJECT_ALT_NAME, indefinite(der.sequence(dns(GOOD))))),
    "flipped tag in extension": with_extensions(san(der.tlv(0xA2, der.tlv(0x16, b"a")))),
    "empty extension": with_extensions(extension(oid.SUBJECT_ALT_NAME, b"")),
    "no names": with_extensions(san()),
    "extension value is no octet string": with_extensions(
        der.sequence(der.oid(oid.SUBJECT_ALT_NAME), der.bit_string(der.sequence(dns(GOOD))))
    ),
    "signature not of whole octets": der.sequence(
        *(node.raw for node in der.parse(build()).children()[:2]), der.tlv(der.BIT_STRING, b"\x01\x02")
    ),
    "signature without octets": der.sequence(
        *(node.raw for node in der.parse(build()).children()[:2]), der.tlv(der.BIT_STRING)
    ),
    "signature is an octet string": der.sequence(
        *(node.raw for node in der.parse(build()).children()[:2]), der.octet_string(b"x")
    ),
    "algorithm of three": build(
        signature_algorithm=der.sequence(der.oid(oid.ECDSA_SHA256), der.NULL, der.NULL),
    ),
    "algorithm with odd parameters": build(
        signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256, der.sequence()),
    ),
    "empty": b"",
    "not DER at all": b"-----BEGIN CERTIFICATE REQUEST-----",
}


@pytest.mark.parametrize("encoding", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.proves("AC-089", "AC-073", "I12")
def test_other_encodings_are_refused(encoding: bytes) -> None:
    """What readers could read differently, though it is properly signed, is a bad request."""
    refused(encoding)


# Extensions


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.proves("P10-05", "AC-068")
def test_each_carrier(carrier: bytes) -> None:
    """Extensions are found in each of the three attributes."""
    request = parse(build(carried(san(dns(GOOD), dns(EVIL)), carrier=carrier), challenge("x")))
    request.verify()
    assert request.carrier == carrier
    assert [name.value for name in request.alternative_names] == [GOOD, EVIL]


@pytest.mark.parametrize("second", [EVIL, GOOD, None], ids=["other", "equal", "empty"])
@pytest.mark.parametrize(("one", "other"), [(a, b) for a in CARRIERS for b in CARRIERS if a != b], ids=str)
@pytest.mark.proves("P10-05", "AC-067")
def test_two_carriers(one: str, other: str, second: str | None) -> None:
    """Extensions in two attributes are refused, in either order, even where they are equal or one is empty."""
    extensions = (san(dns(second)),) if second else ()
    refused(build(carried(san(dns(GOOD)), carrier=CARRIERS[one]), carried(*extensions, carrier=CARRIERS[other])))


@pytest.mark.parametrize(
    "values",
    [(), (der.sequence(san(dns(GOOD))), der.sequence(san(dns(EVIL)))), (der.NULL,), (san(dns(GOOD)),)],
    ids=["none", "two", "null", "extension"],
)
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.proves("AC-067", "AC-068", "P10-05")
def test_carrier_without_one_value(carrier: bytes, values: tuple[bytes, ...]) -> None:
    """An attribute for extensions whose values are not exactly one list of extensions is refused, not passed over."""
    refused(build(attribute(carrier, *values)))


@pytest.mark.parametrize(
    "extensions",
    [
        (san(dns(GOOD)), san(dns(EVIL))),
        (csrs.eku("1.3.6.1.5.5.7.3.2"), csrs.eku("1.3.6.1.5.5.7.3.1")),
        (csrs.key_usage(b"\x07\x80"), csrs.key_usage(b"\x07\x80")),
        (extension("1.2.3.4", b"a"), san(dns(GOOD)), extension("1.2.3.4", b"a")),
    ],
    ids=["san", "eku", "key-usage", "unknown"],
)
@pytest.mark.proves("AC-070")
def test_repeated_extension(extensions: tuple[bytes, ...]) -> None:
    """An extension that stands twice is refused."""
    refused(with_extensions(*extensions))


@pytest.mark.proves("AC-083", "P10-09")
def test_unknown_extensions() -> None:
    """Unknown extensions are kept with their octets and their criticality, written out or left out."""
    blob = b"\xff" * 10_000
    request = parse(
        with_extensions(
            extension("1.2.3.1", blob),
            extension("1.2.3.2", b"", critical=False),
            extension("1.2.3.3", b"", critical=True),
        )
    )
    assert [(oid.dotted(each.oid), each.critical, each.value) for each in request.extensions] == [
        ("1.2.3.1", False, blob),
        ("1.2.3.2", False, b""),
        ("1.2.3.3", True, b""),
    ]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"\x05\xa0", {"digitalSignature", "keyEncipherment"}),
        (b"\x00\xa0", {"digitalSignature", "keyEncipherment"}),
        (b"\x01\x06", {"keyCertSign", "cRLSign"}),
        (b"\x07\x80", {"digitalSignature"}),
        (b"\x07\x00\x80", {"decipherOnly"}),
        (b"\x00", set()),
        (b"\x07\x00", set()),
        (b"", None),
        (b"\x01", None),
        (b"\x08\x80", None),
        (b"\x07\xff", None),
        (b"\x06\x00\x40", None),
        (b"\x00\x80\x00\x00", None),
    ],
)
@pytest.mark.proves("AC-080", "AC-089")
def test_key_usage(content: bytes, names: set[str] | None) -> None:
    """The nine bits are read by name; bits that do not exist, or are said to be unused, are refused."""
    encoding = with_extensions(csrs.key_usage(content))
    if names is None:
        refused(encoding)
    else:
        assert parse(encoding).key_usage == names


@pytest.mark.parametrize(
    ("content", "parsed"),
    [
        (der.sequence(), BasicConstraints(False, None)),
        (der.sequence(der.tlv(1, b"\0")), BasicConstraints(False, None)),
        (der.sequence(der.tlv(1, b"\xff")), BasicConstraints(True, None)),
        (der.sequence(der.tlv(1, b"\xff"), der.integer(0)), BasicConstraints(True, 0)),
        (der.sequence(der.integer(3)), BasicConstraints(False, 3)),
        (der.sequence(der.tlv(1, b"\x01")), None),
        (der.sequence(der.integer(-1)), None),
        (der.sequence(der.tlv(1, b"\xff"), der.integer(0), der.NULL), None),
        (der.sequence(der.NULL), None),
        (der.NULL, None),
    ],
)
@pytest.mark.proves("AC-080", "AC-089")
def test_basic_constraints(content: bytes, parsed: BasicConstraints | None) -> None:
    """basicConstraints are read, a written-out FALSE included; a boolean that is not DER's is refused."""
    encoding = with_extensions(extension(oid.BASIC_CONSTRAINTS, content))
    if parsed is None:
        refused(encoding)
    else:
        assert parse(encoding).basic_constraints == parsed


@pytest.mark.proves("AC-080")
def test_extended_key_usage() -> None:
    """Purposes are read in order; an empty list is refused."""
    request = parse(with_extensions(csrs.eku("1.3.6.1.5.5.7.3.2", "2.5.29.37.0")))
    assert request.extended_key_usage == (oid.encode("1.3.6.1.5.5.7.3.2"), oid.encode("2.5.29.37.0"))
    refused(with_extensions(csrs.eku()))


@pytest.mark.parametrize(
    ("kind", "content", "template"),
    [
        ("1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, "WiFi".encode("utf-16-be")), "WiFi"),
        ("1.3.6.1.4.1.311.20.2", der.tlv(der.UTF8_STRING, b"WiFi"), "WiFi"),
        ("1.3.6.1.4.1.311.20.2", der.tlv(der.PRINTABLE_STRING, b"WiFi"), "WiFi"),
        ("1.3.6.1.4.1.311.20.2", der.tlv(der.T61_STRING, b"WiFi"), "WiFi"),
        ("1.3.6.1.4.1.311.21.7", der.sequence(der.oid(oid.encode("1.3.6.1.4.1.311.21.8.1"))), "1.3.6.1.4.1.311.21.8.1"),
        (
            "1.3.6.1.4.1.311.21.7",
            der.sequence(der.oid(oid.encode("1.3.6.1.4.1.311.21.8.1")), der.integer(100), der.integer(2)),
            "1.3.6.1.4.1.311.21.8.1",
        ),
        ("1.3.6.1.4.1.311.20.2", der.octet_string(b"WiFi"), None),
        ("1.3.6.1.4.1.311.21.7", der.sequence(), None),
    ],
)
@pytest.mark.proves("P10-06")
def test_template(kind: str, content: bytes, template: str | None) -> None:
    """Both template selectors are read in each string type, for a policy to compare; one without text is refused."""
    encoding = with_extensions(extension(kind, content))
    if template is None:
        refused(encoding)
    else:
        assert parse(encoding).templates == (template,)


# The challenge

PASSWORD = "Pä$$-1"


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (der.PRINTABLE_STRING, PASSWORD.encode("latin-1")),
        (der.UTF8_STRING, PASSWORD.encode()),
        (der.T61_STRING, PASSWORD.encode("latin-1")),
        (der.BMP_STRING, PASSWORD.encode("utf-16-be")),
        (der.UNIVERSAL_STRING, PASSWORD.encode("utf-32-be")),
        (der.IA5_STRING, PASSWORD.encode("latin-1")),
        (der.UTF8_STRING, unicodedata.normalize("NFD", PASSWORD).encode()),
        (der.BMP_STRING, unicodedata.normalize("NFD", PASSWORD).encode("utf-16-be")),
    ],
)
@pytest.mark.proves("P10-03", "AC-097")
def test_challenge_in_each_type(tag: int, content: bytes) -> None:
    """The same password in six string types, composed or decomposed, is the same text."""
    request = parse(build(challenge(content, tag)))
    request.verify()
    assert request.challenge_password == PASSWORD


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (der.OCTET_STRING, b"secret"),
        (der.BIT_STRING, b"\0secret"),
        (der.INTEGER, b"\x01"),
        (der.NULL_TAG, b""),
        (der.NUMERIC_STRING, b"123"),
        (der.SEQUENCE, der.tlv(der.UTF8_STRING, b"secret")),
        (der.UTF8_STRING, b"s\xff"),
        (der.UTF8_STRING, b"\xed\xa0\x80"),
        (der.BMP_STRING, b"\0s\0"),
        (der.BMP_STRING, b"\xd8\0"),
        (der.UNIVERSAL_STRING, b"\0\0\0s\0"),
        (der.UNIVERSAL_STRING, b"\x7f\xff\xff\xff"),
        (der.PRINTABLE_STRING, b"x" * 20_000),
        (der.UTF8_STRING, b"x" * 100_000),
        (der.UTF8_STRING, ("a" + "\u0315\u0300" * 16).encode()),
    ],
)
@pytest.mark.proves("P10-03", "P10-04", "AC-097")
def test_challenge_that_is_none(tag: int, content: bytes) -> None:
    """What is no text, or too long, is refused as a bad request, and the error does not quote it."""
    encoding = build(challenge(content, tag))
    with pytest.raises(ScepError) as caught:
        parse(encoding)
    assert caught.value.fail_info is FailInfo.BAD_REQUEST
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


@given(st.integers(0, 255), st.binary(max_size=200))
@pytest.mark.proves("P10-03", "AC-097")
def test_challenge_of_any_octets(tag: int, content: bytes) -> None:
    """Whatever the tag and the octets, there is a text in normal form or a ScepError."""
    try:
        text = decode_challenge(tag, content)
    except ScepError:
        return
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize("length", [0, 255, 256, 6000, 16384])
@pytest.mark.parametrize(("tag", "codec"), [(der.PRINTABLE_STRING, "ascii"), (der.UNIVERSAL_STRING, "utf-32-be")])
@pytest.mark.proves("P10-04")
def test_challenge_length(length: int, tag: int, codec: str) -> None:
    """Up to 16 KiB a challenge is read, PKCS#9's 255 notwithstanding (Intune); an empty one is there and empty."""
    assert parse(build(challenge(("x" * length).encode(codec), tag))).challenge_password == "x" * length


@pytest.mark.proves("P10-04", "AC-097")
def test_challenge_of_combining_characters_is_cheap() -> None:
    """A challenge made to normalise slowly is refused at once."""
    content = ("\u0315\u0300" * 8192).encode("utf-32-be")
    started = time.process_time()
    with pytest.raises(ScepError):
        decode_challenge(der.UNIVERSAL_STRING, content)
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    "attributes",
    [
        (attribute(oid.CHALLENGE_PASSWORD),),
        (attribute(oid.CHALLENGE_PASSWORD, der.printable_string("a"), der.printable_string("a")),),
        (attribute(oid.CHALLENGE_PASSWORD, der.printable_string("a"), der.printable_string("b")),),
        (challenge("a"), challenge("a")),
        (challenge("a"), challenge("b")),
    ],
    ids=["no value", "value twice", "two values", "attribute twice", "two attributes"],
)
@pytest.mark.proves("P10-03")
def test_not_exactly_one_challenge(attributes: tuple[bytes, ...]) -> None:
    """The attribute stands once and has one value, or the request is refused."""
    refused(build(*attributes))


@pytest.mark.parametrize(
    ("sent", "plain", "quirk"),
    [("a\0", "a\0", "a"), ("a\0\0", "a\0\0", "a\0"), ("a ", "a ", "a "), ("\0", "\0", ""), ("a\n", "a\n", "a\n")],
)
@pytest.mark.proves("P10-03", "AC-097")
def test_nothing_is_trimmed(sent: str, plain: str, quirk: str) -> None:
    """A challenge is taken as it is; where the caller knows that clients count the terminator, one final NUL goes."""
    encoding = build(challenge(sent, der.UTF8_STRING))
    assert parse(encoding).challenge_password == plain
    assert CertificationRequest.parse(encoding, trailing_nul=True).challenge_password == quirk


# Possession of the key

LEGACY = Floor(digests=frozenset(Digest), rsa_bits=(1024, 8192))
HASHES = {
    Digest.MD5: (Digest.MD5.hash, oid.MD5_RSA, None),
    Digest.SHA1: (Digest.SHA1.hash, oid.SHA1_RSA, oid.ECDSA_SHA1),
    Digest.SHA224: (hashes.SHA224(), oid.SHA224_RSA, oid.ECDSA_SHA224),
    Digest.SHA256: (hashes.SHA256(), oid.SHA256_RSA, oid.ECDSA_SHA256),
    Digest.SHA384: (hashes.SHA384(), oid.SHA384_RSA, oid.ECDSA_SHA384),
    Digest.SHA512: (hashes.SHA512(), oid.SHA512_RSA, oid.ECDSA_SHA512),
}
PSS_DIGESTS = [Digest.SHA1, Digest.SHA256, Digest.SHA384, Digest.SHA512]


def fails(encoding: bytes) -> FailInfo:
    """How the verification of a request that can be read fails."""
    request = parse(encoding)
    with pytest.raises(ScepError) as caught:
        request.verify()
    return caught.value.fail_info


def rsa_request(digest: Digest, key: rsa.RSAPrivateKey | None = None) -> bytes:
    """A request signed in the old way."""
    signer = key or csrs.rsa_key()
    algorithm, kind, _ = HASHES[digest]
    return build(
        key=signer,
        signature_algorithm=csrs.algorithm(kind, der.NULL),
        sign=lambda data: signer.sign(data, padding.PKCS1v15(), algorithm),
    )


def pss_parameters(digest: Digest, mask: Digest, salt: int, trailer: int | None = None) -> bytes:
    """RSASSA-PSS-params."""
    return der.sequence(
        der.explicit(0, csrs.algorithm(digest.oid, der.NULL)),
        der.explicit(1, csrs.algorithm(oid.MGF1, csrs.algorithm(mask.oid, der.NULL))),
        der.explicit(2, der.integer(salt)),
        b"" if trailer is None else der.explicit(3, der.integer(trailer)),
    )


def pss_request(parameters: bytes, digest: Digest, salt: int) -> bytes:
    """A request signed with RSASSA-PSS."""
    algorithm = HASHES[digest][0]
    key = csrs.rsa_key()
    return build(
        key=key,
        signature_algorithm=csrs.algorithm(oid.RSASSA_PSS, parameters),
        sign=lambda data: key.sign(data, padding.PSS(padding.MGF1(algorithm), salt), algorithm),
    )


@pytest.mark.parametrize("digest", [digest for digest in Digest if digest is not Digest.MD5])
@pytest.mark.proves("P10-02", "AC-088")
def test_rsa_signature(digest: Digest) -> None:
    """RSA v1.5 signatures verify with SHA-1 and all of SHA-2."""
    request = parse(rsa_request(digest))
    request.verify()
    assert request.signature_digest is digest


@pytest.mark.parametrize("digest", PSS_DIGESTS)
@pytest.mark.parametrize("salt", [0, 20, 32])
@pytest.mark.proves("P10-02", "AC-088")
def test_pss_signature(digest: Digest, salt: int) -> None:
    """RSASSA-PSS signatures verify with the salt length that their parameters state."""
    request = parse(pss_request(pss_parameters(digest, digest, salt, 1), digest, salt))
    request.verify()
    assert request.signature_digest is digest


@pytest.mark.parametrize(
    ("parameters", "fail_info"),
    [
        (pss_parameters(Digest.SHA256, Digest.SHA1, 32), FailInfo.BAD_ALG),
        (pss_parameters(Digest.SHA256, Digest.SHA256, 32, 2), FailInfo.BAD_ALG),
        (pss_parameters(Digest.SHA256, Digest.SHA256, -1), FailInfo.BAD_ALG),
        (pss_parameters(Digest.SHA256, Digest.SHA256, 600), FailInfo.BAD_ALG),
        (pss_parameters(Digest.MD5, Digest.MD5, 32), FailInfo.BAD_ALG),
        (der.NULL, FailInfo.BAD_ALG),
        (pss_parameters(Digest.SHA256, Digest.SHA256, 20), FailInfo.BAD_REQUEST),
        (pss_parameters(Digest.SHA512, Digest.SHA512, 32), FailInfo.BAD_REQUEST),
    ],
    ids=["mixed", "trailer", "negative salt", "long salt", "MD5", "NULL", "other salt", "other digest"],
)
@pytest.mark.proves("AC-088", "P10-02")
def test_pss_parameters(parameters: bytes, fail_info: FailInfo) -> None:
    """Refused parameters are badAlg; parameters that are not the signature's are badRequest."""
    assert fails(pss_request(parameters, Digest.SHA256, 32)) is fail_info


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
@pytest.mark.parametrize("digest", [digest for digest in Digest if digest is not Digest.MD5])
@pytest.mark.proves("P10-02", "P10-12")
def test_ecdsa_signature(curve: str, digest: Digest) -> None:
    """ECDSA signatures verify on the three curves."""
    key = csrs.ec_key(curve)
    algorithm, _, kind = HASHES[digest]
    assert kind is not None
    encoding = build(
        key=key, signature_algorithm=csrs.algorithm(kind), sign=lambda data: key.sign(data, ec.ECDSA(algorithm))
    )
    request = parse(encoding)
    request.verify()
    assert (request.signature_digest, request.public_key.curve) == (digest, curve)


@pytest.mark.proves("P10-02")
def test_ed25519_signature() -> None:
    """Ed25519 requests verify."""
    request = parse(build(key=csrs.ed25519_key()))
    request.verify()
    assert request.public_key.kind == "Ed25519"


@pytest.mark.proves("P10-02", "AC-088")
def test_md5_only_where_named() -> None:
    """MD5 is badAlg, unless the profile names it as legacy."""
    encoding = rsa_request(Digest.MD5)
    assert fails(encoding) is FailInfo.BAD_ALG
    parse(encoding).verify(LEGACY)


@pytest.mark.parametrize(
    "algorithm",
    [
        csrs.algorithm(oid.encode("1.2.840.113549.1.1.2"), der.NULL),
        csrs.algorithm(oid.encode("1.2.3.4"), der.NULL),
        csrs.algorithm(oid.RSA, der.NULL),
        csrs.algorithm(oid.SHA256),
    ],
    ids=["MD2", "unknown", "rsaEncryption", "digest"],
)
@pytest.mark.proves("AC-088", "I12")
def test_unknown_signature_algorithm(algorithm: bytes) -> None:
    """An algorithm that is not on the list is badAlg."""
    request = parse(build(key=csrs.rsa_key(), signature_algorithm=algorithm))
    assert request.signature_digest is None
    assert fails(request.der) is FailInfo.BAD_ALG


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (csrs.rsa_key, csrs.algorithm(oid.ECDSA_SHA256)),
        (csrs.rsa_key, csrs.algorithm(oid.ED25519)),
        (csrs.ec_key, csrs.algorithm(oid.SHA256_RSA, der.NULL)),
        (csrs.ec_key, csrs.algorithm(oid.RSASSA_PSS, pss_parameters(Digest.SHA256, Digest.SHA256, 32))),
        (csrs.ed25519_key, csrs.algorithm(oid.ECDSA_SHA256)),
    ],
)
@pytest.mark.proves("AC-065", "AC-088")
def test_algorithm_for_another_kind_of_key(key: Callable[[], csrs.PrivateKey], algorithm: bytes) -> None:
    """An algorithm that is not the key's is a signature that does not verify: badRequest."""
    assert fails(build(key=key(), signature_algorithm=algorithm)) is FailInfo.BAD_REQUEST


@pytest.mark.parametrize("key", [csrs.rsa_key, csrs.ec_key, csrs.ed25519_key])
@pytest.mark.proves("P10-02", "AC-065")
def test_wrong_signature(key: Callable[[], csrs.PrivateKey]) -> None:
    """A flipped bit anywhere in what is signed or in the signature, another's signature, and none are badRequest."""
    ours = key()
    good = build(challenge("secret"), key=ours)
    request = parse(good)
    request.verify()
    at = good.index(b"secret")
    for position in (at, len(good) - 1, len(good) - 20):
        flipped = bytearray(good)
        flipped[position] ^= 1
        assert fails(bytes(flipped)) is FailInfo.BAD_REQUEST
    algorithm, sign = csrs.signer(ours)
    for signature in (b"", b"\0", b"x" * 500, sign(request.signed + b"x"), sign(request.signed)[:-1]):
        assert fails(assemble(request.signed, algorithm, signature)) is FailInfo.BAD_REQUEST
    assert fails(build(key=csrs.rsa_key(), public_key=csrs.spki(csrs.rsa_key(which=1)))) is FailInfo.BAD_REQUEST


@pytest.mark.proves("AC-065")
def test_other_digest_than_stated() -> None:
    """A signature under the identifier of another digest does not verify."""
    key = csrs.rsa_key()
    encoding = build(key=key, signature_algorithm=csrs.algorithm(oid.SHA512_RSA, der.NULL))
    assert fails(encoding) is FailInfo.BAD_REQUEST


def _dsa() -> bytes:
    return dsa.generate_private_key(2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _x25519() -> bytes:
    return x25519.X25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _ec(parameters: bytes, point: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid(oid.EC_PUBLIC_KEY), parameters), der.bit_string(point))


def _point() -> bytes:
    return csrs.ec_key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


REFUSED_KEYS = {
    "RSA 512": lambda: csrs.rsa_spki((1 << 511) | 1, 65537),
    "RSA 2047": lambda: csrs.rsa_spki((1 << 2046) | 1, 65537),
    "RSA 16384": lambda: csrs.rsa_spki((1 << 16383) | 1, 65537),
    "RSA 131072": lambda: csrs.rsa_spki((1 << 131071) | 1, 65537),
    "negative modulus": lambda: csrs.rsa_spki(-((1 << 2047) | 1), 65537),
    "even modulus": lambda: csrs.rsa_spki(1 << 2047, 65537),
    "exponent 1": lambda: csrs.rsa_spki(csrs.rsa_key().public_key().public_numbers().n, 1),
    "even exponent": lambda: csrs.rsa_spki(csrs.rsa_key().public_key().public_numbers().n, 65538),
    "exponent 2^32+1": lambda: csrs.rsa_spki(csrs.rsa_key().public_key().public_numbers().n, 2**32 + 1),
    "exponent as long as the modulus": lambda: csrs.rsa_spki(
        csrs.rsa_key().public_key().public_numbers().n, csrs.rsa_key().public_key().public_numbers().n - 2
    ),
    "secp256k1": lambda: csrs.spki(csrs.ec_key("secp256k1")),
    "off the curve": lambda: _ec(der.oid(oid.P256), _point()[:-1] + bytes((_point()[-1] ^ 1,))),
    "point at infinity": lambda: _ec(der.oid(oid.P256), b"\0"),
    "explicit parameters": lambda: _ec(der.sequence(der.integer(1)), _point()),
    "no parameters": lambda: _ec(b"", _point()),
    "DSA": _dsa,
    "X25519": _x25519,
}


@pytest.mark.parametrize("public_key", REFUSED_KEYS.values(), ids=REFUSED_KEYS)
@pytest.mark.proves("AC-086", "AC-064", "P10-12")
def test_refused_key(public_key: Callable[[], bytes]) -> None:
    """A key of a refused kind or size is badAlg, found from its encoding, in no time."""
    encoded = public_key()
    algorithm = csrs.algorithm(oid.ECDSA_SHA256 if der.oid(oid.EC_PUBLIC_KEY) in encoded else oid.SHA256_RSA)
    encoding = build(public_key=encoded, signature_algorithm=algorithm)
    started = time.process_time()
    assert fails(encoding) is FailInfo.BAD_ALG
    assert time.process_time() - started < 0.05


@pytest.mark.proves("AC-086")
def test_small_keys_only_where_named() -> None:
    """RSA-1024 is badAlg, unless the profile names it as legacy."""
    encoding = rsa_request(Digest.SHA256, csrs.rsa_key(1024))
    assert fails(encoding) is FailInfo.BAD_ALG
    parse(encoding).verify(LEGACY)


# Other opinions


@given(
    st.integers(0), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
)
@pytest.mark.proves("AC-089", "AC-068")
def test_damaged_requests(which: int, damage: list[tuple[float, int]]) -> None:
    """A damaged request is refused by a ScepError, or is read just as cryptography reads it, if that can read it."""
    encoding = bytearray(RECORDED[which % len(RECORDED)].read_bytes())
    for place, octet in damage:
        encoding[int(place * len(encoding))] = octet
    try:
        request = parse(bytes(encoding))
    except ScepError:
        return
    try:
        theirs = x509.load_der_x509_csr(request.der)
        theirs.extensions  # noqa: B018 - parsing happens here
        theirs.subject  # noqa: B018 - and here
        theirs.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        return
    agrees_with_cryptography(request)


def test_random_octets() -> None:
    """Octets at random are refused by a ScepError and nothing else."""
    generator = random.Random(2026)
    for _ in range(2000):
        body = generator.randbytes(generator.randrange(60))
        with pytest.raises(ScepError):
            parse(der.sequence(body))


openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def run_openssl(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], input=content, capture_output=True, check=False)


@openssl
@pytest.mark.interop
@pytest.mark.parametrize("path", RECORDED[::6], ids=lambda path: path.stem)
@pytest.mark.proves("AC-089")
def test_openssl_agrees(path: Path) -> None:
    """OpenSSL finds the same key and verifies the same signature."""
    encoding = path.read_bytes()
    answer = run_openssl("req", "-inform", "DER", "-verify", "-noout", "-pubkey", content=encoding)
    assert answer.returncode == 0
    key = serialization.load_pem_public_key(answer.stdout)
    assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == parse(encoding).spki


@openssl
@pytest.mark.interop
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("microsoft_first", [False, True])
@pytest.mark.proves("AC-067", "P10-05")
def test_what_smuggling_would_do(tmp_path: Path, swapped: bool, microsoft_first: bool) -> None:
    """Where cryptography sees one name and a CA that copies everything issues another, the request is refused here."""
    seen, hidden = (EVIL, GOOD) if swapped else (GOOD, EVIL)
    attributes = [
        carried(san(dns(seen)), carrier=oid.MICROSOFT_EXTENSIONS),
        carried(san(dns(hidden)), carrier=oid.EXTENSION_REQUEST),
    ]
    encoding = build(*(attributes if microsoft_first else attributes[::-1]))
    (tmp_path / "ca.key").write_bytes(
        csrs.ec_key(which=7).private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (tmp_path / "request.pem").write_bytes(csrs.pem(encoding))
    ca, key, request = (str(tmp_path / name) for name in ("ca.pem", "ca.key", "request.pem"))
    made = run_openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=CA", "-days", "1", "-out", ca)
    assert made.returncode == 0, made.stderr
    issued = run_openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-copy_extensions", "copyall", "-days", "1"
    )
    assert issued.returncode == 0, issued.stderr
    names = x509.load_pem_x509_certificate(issued.stdout).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [hidden]
    refused(encoding)


@pytest.mark.proves("AC-089")
def test_typical_request_is_cheap() -> None:
    """Reading a request takes well under a millisecond."""
    encoding = max((path.read_bytes() for path in RECORDED if b"\x01\x09\x0e" in path.read_bytes()), key=len)
    best = 1.0
    for _ in range(20):
        started = time.process_time()
        parse(encoding)
        best = min(best, time.process_time() - started)
    assert best < 0.001
