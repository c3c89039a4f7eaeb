"""Names as devices write them."""

from __future__ import annotations

import time

import pytest
from asn1crypto import x509 as asn1crypto_x509
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import Malformed
from scepra.scep import der, oid
from scepra.scep.name import COMMON_NAME, SHORT_NAMES, UPN, GeneralName, Name, decode, parse_general_names
from tests.csrs import COUNTRY, ORGANISATION, dns, name, other, upn, value

UNSTRUCTURED_NAME = oid.encode("1.2.840.113549.1.9.2")
SERIAL_NUMBER = oid.encode("2.5.4.5")
# asn1crypto reads domain components and mail addresses as Punycode, unique identifiers as bit strings only.
COMMON = sorted(
    kind for kind, short in SHORT_NAMES.items() if short not in ("DC", "emailAddress", "x500UniqueIdentifier")
)


def read(encoding: bytes) -> Name:
    return Name.parse(der.parse(encoding))


def general(*names: bytes) -> tuple[GeneralName, ...]:
    return parse_general_names(der.parse(der.sequence(*names)))


@pytest.mark.parametrize(
    ("tag", "content", "text"),
    [
        (der.UTF8_STRING, "Bär".encode(), "Bär"),
        (der.PRINTABLE_STRING, b"a*b@c_d", "a*b@c_d"),
        (der.IA5_STRING, b"router.example", "router.example"),
        (der.NUMERIC_STRING, b"12 3", "12 3"),
        (der.VISIBLE_STRING, b"v", "v"),
        (der.T61_STRING, b"B\xe4r", "Bär"),
        (der.BMP_STRING, "Bär".encode("utf-16-be"), "Bär"),
        (der.UNIVERSAL_STRING, "Bär".encode("utf-32-be"), "Bär"),
        (der.UTF8_STRING, b"B\xe4r", None),
        (der.PRINTABLE_STRING, b"B\xe4r", None),
        (der.BMP_STRING, b"\0B\0", None),
        (der.BMP_STRING, b"\xd8\0", None),
        (der.UNIVERSAL_STRING, b"\xff\xff\xff\xff", None),
        (der.OCTET_STRING, b"Baer", None),
        (der.BIT_STRING, b"\0Baer", None),
        (der.UTF8_STRING | der.CONSTRUCTED, der.tlv(der.UTF8_STRING, b"B"), None),
    ],
)
@pytest.mark.proves("P10-08", "AC-073")
def test_value_of_any_string_type(tag: int, content: bytes, text: str | None) -> None:
    """Every string type is read, illegal characters included; what has no sure reading has no text."""
    parsed = read(name(value(COMMON_NAME, content, tag)))
    (only,) = parsed.values(COMMON_NAME)
    assert (only.text, only.tag, only.raw) == (text, tag, content)
    assert decode(tag, content) == text


@pytest.mark.proves("P10-08")
def test_cisco_subject() -> None:
    """Unstructured names, serial numbers, a multi-valued RDN and unknown types are all read, in wire order."""
    unknown = oid.encode("1.3.6.1.4.1.99999.1")
    parsed = read(
        name(
            [
                value(SERIAL_NUMBER, "FTX1", der.PRINTABLE_STRING),
                value(UNSTRUCTURED_NAME, "r1.example", der.IA5_STRING),
            ],
            value(unknown, b"\x01\x02", der.OCTET_STRING),
            value(COMMON_NAME, "r1"),
        )
    )
    assert [len(rdn) for rdn in parsed.rdns] == [2, 1, 1]
    assert [attribute.type_name for attribute in parsed.attributes] == [
        "serialNumber",
        "unstructuredName",
        "1.3.6.1.4.1.99999.1",
        "CN",
    ]
    assert str(parsed) == "CN=r1,1.3.6.1.4.1.99999.1=#04020102,serialNumber=FTX1+unstructuredName=r1.example"


@pytest.mark.proves("P10-08", "PEER-10")
def test_set_out_of_order() -> None:
    """A multi-valued RDN that is not in DER order is read in the order in which it stands."""
    values = sorted([value(COMMON_NAME, "a"), value(ORGANISATION, "b"), value(COUNTRY, "DE")], reverse=True)
    assert [attribute.oid for attribute in read(name(values)).attributes] == [COUNTRY, ORGANISATION, COMMON_NAME]


@pytest.mark.parametrize("count", [32, 33])
@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.proves("AC-085")
def test_number_of_values(count: int, multiple: bool) -> None:
    """32 values are a name, 33 are not, whether in as many RDNs or in one."""
    values = [value(COMMON_NAME, str(index)) for index in range(count)]
    encoding = name(values) if multiple else name(*values)
    if count == 32:
        assert len(read(encoding).attributes) == 32
    else:
        with pytest.raises(Malformed):
            read(encoding)


@pytest.mark.parametrize(
    "encoding",
    [
        der.tlv(der.SET),
        name([]),
        name(der.sequence(der.oid(COMMON_NAME))),
        name(der.sequence(der.oid(COMMON_NAME), der.NULL, der.NULL)),
        name(der.sequence(der.NULL, der.NULL)),
        der.sequence(value(COMMON_NAME, "a")),
        der.sequence(der.NULL),
    ],
    ids=["set", "empty-rdn", "no-value", "two-values", "no-type", "no-set", "null"],
)
def test_not_a_name(encoding: bytes) -> None:
    """What is not a sequence of sets of typed values is refused."""
    with pytest.raises(Malformed):
        read(encoding)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("good,CN=evil", "good\\,CN\\=evil"),
        (' a"+;<>\\b ', '\\ a\\"\\+\\;\\<\\>\\\\b\\ '),
        ("#1", "\\#1"),
        ("a#1", "a#1"),
        ("a b", "a b"),
        ("a\n\0", "a\\0A\\00"),
        ("a\u202eb", "a\\E2\\80\\AEb"),
        ("ä", "ä"),
    ],
)
@pytest.mark.proves("AC-073")
def test_rendering(text: str, shown: str) -> None:
    """A rendered name cannot be mistaken: separators are escaped, and so is what does not print."""
    assert str(read(name(value(COMMON_NAME, text)))) == f"CN={shown}"


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (name(value(COMMON_NAME, "Dev")), name(value(COMMON_NAME, "Dev")), True),
        (name(value(COMMON_NAME, "Dev 1", 0x13)), name(value(COMMON_NAME, " dev   1 ", 0x0C)), True),
        (name(value(COMMON_NAME, "Straße")), name(value(COMMON_NAME, "STRASSE")), True),
        (name(value(COMMON_NAME, "e\u0301")), name(value(COMMON_NAME, "\u00c9")), True),
        (name(value(COMMON_NAME, "dev")), name(value(COMMON_NAME, "dev2")), False),
        (name(value(COMMON_NAME, "dev")), name(value(ORGANISATION, "dev")), False),
        (
            name(value(COMMON_NAME, "a"), value(COMMON_NAME, "b")),
            name(value(COMMON_NAME, "b"), value(COMMON_NAME, "a")),
            False,
        ),
        (
            name([value(COMMON_NAME, "a"), value(ORGANISATION, "b")]),
            name([value(ORGANISATION, "b"), value(COMMON_NAME, "a")]),
            True,
        ),
        (
            name([value(COMMON_NAME, "a"), value(ORGANISATION, "b")]),
            name(value(COMMON_NAME, "a"), value(ORGANISATION, "b")),
            False,
        ),
        (name(value(COMMON_NAME, b"\xe4", 0x13)), name(value(COMMON_NAME, b"\xe4", 0x13), value(COUNTRY, "DE")), False),
        (
            name(value(COMMON_NAME, b"\xe4", 0x13), value(COUNTRY, "de")),
            name(value(COMMON_NAME, b"\xe4", 0x13), value(COUNTRY, "DE")),
            True,
        ),
        (name(value(COMMON_NAME, b"\xe4", 0x13)), name(value(COMMON_NAME, b"\xe4", 0x0C)), False),
    ],
)
def test_same_name(one: bytes, two: bytes, same: bool) -> None:
    """RFC 5280, 7.1: case, spacing, string type and normal form do not matter; order and types do."""
    assert read(one).matches(read(two)) is same
    assert read(two).matches(read(one)) is same


@pytest.mark.proves("AC-085")
def test_comparison_of_long_names_is_cheap() -> None:
    """A name made to normalise slowly is compared octet by octet instead."""
    slow = "\u0315\u0300" * 40_000
    one, two = read(name(value(COMMON_NAME, slow))), read(name(value(COMMON_NAME, slow + "x")))
    started = time.process_time()
    assert not one.matches(two)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("encoding", "kind", "parsed", "shown"),
    [
        (der.tlv(0x81, b"a@b.example"), "email", "a@b.example", "email:a@b.example"),
        (dns("a.example"), "dns", "a.example", "dns:a.example"),
        (dns(b"\xc3\xa4.example"), "dns", b"\xc3\xa4.example", "dns:#c3a42e6578616d706c65"),
        (dns("a\0b"), "dns", "a\0b", "dns:a\\00b"),
        (der.tlv(0x86, b"tag:a,1:b"), "uri", "tag:a,1:b", "uri:tag:a\\,1:b"),
        (der.tlv(0x87, b"\x7f\0\0\1"), "ip", b"\x7f\0\0\1", "ip:#7f000001"),
        (der.tlv(0x88, oid.encode("1.2.3")), "registered-id", oid.encode("1.2.3"), "registered-id:1.2.3"),
        (der.tlv(0xA3, der.sequence()), "x400", der.sequence(), "x400:#3000"),
        (der.tlv(0xA5, der.NULL), "edi-party", der.NULL, "edi-party:#0500"),
        (der.tlv(0xA4, name(value(COMMON_NAME, "x"))), "directory", name(value(COMMON_NAME, "x")), "directory:CN=x"),
        (upn("a@b.example"), "upn", "a@b.example", "upn:a@b.example"),
        (other(oid.dotted(UPN), der.tlv(0x0C, b"\xff")), "upn", der.tlv(0x0C, b"\xff"), "upn:#0c01ff"),
        (other("1.3.6.1.5.2.2", der.sequence()), "other", der.sequence(), "other:1.3.6.1.5.2.2:#3000"),
    ],
)
@pytest.mark.proves("AC-071", "AC-068")
def test_general_name_of_every_type(encoding: bytes, kind: str, parsed: str | bytes, shown: str) -> None:
    """Names of all types are read, none is passed over; what is not ASCII stays octets."""
    (only,) = general(encoding)
    assert (only.kind, only.value, only.raw, str(only)) == (kind, parsed, encoding, shown)
    assert (only.type_id is not None) is (encoding[0] == 0xA0)


@pytest.mark.parametrize(
    "encoding",
    [
        der.sequence(),
        der.tlv(der.SET, dns("a")),
        der.sequence(der.tlv(0x89, b"a")),
        der.sequence(der.tlv(0x80, b"a")),
        der.sequence(der.tlv(0xA2, der.tlv(0x16, b"a"))),
        der.sequence(der.tlv(0xA7, der.octet_string(b"aaaa"))),
        der.sequence(der.tlv(0x84, b"a")),
        der.sequence(der.tlv(0xA4)),
        der.sequence(der.tlv(0xA4, der.NULL)),
        der.sequence(der.tlv(0x88)),
        der.sequence(der.tlv(0x88, b"\x81")),
        der.sequence(der.tlv(0xA0, der.oid(UPN))),
        der.sequence(der.tlv(0xA0, der.oid(UPN), der.tlv(0x0C, b"a"))),
        der.sequence(der.tlv(0xA0, der.oid(UPN), der.tlv(0xA0))),
        der.sequence(der.tlv(0xA0, der.NULL, der.tlv(0xA0, der.NULL))),
        der.sequence(der.tlv(0x16, b"a")),
    ],
)
@pytest.mark.proves("AC-071", "AC-089")
def test_not_general_names(encoding: bytes) -> None:
    """Unknown tags, flipped tag classes and an empty list are refused: an error never means "no names"."""
    with pytest.raises(Malformed):
        parse_general_names(der.parse(encoding))


@pytest.mark.proves("AC-071")
def test_tag_31() -> None:
    """A general name with a tag number in more octets is refused by the reader already."""
    with pytest.raises(Malformed):
        der.parse(der.sequence(b"\x9f\x1f\x01a"))


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(COMMON), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)),
            min_size=1,
            max_size=3,
            unique_by=lambda pair: pair[0],
        ),
        max_size=6,
    )
)
@pytest.mark.proves("AC-089")
def test_agrees_with_others(rdns: list[list[tuple[bytes, str]]]) -> None:
    """Types and texts are those that asn1crypto reads."""
    encoding = name(*([value(kind, text) for kind, text in rdn] for rdn in rdns))
    ours = [(oid.dotted(attribute.oid), attribute.text) for attribute in read(encoding).attributes]
    theirs = asn1crypto_x509.Name.load(encoding)
    assert ours == [(pair["type"].dotted, pair["value"].native) for rdn in theirs.chosen for pair in rdn]


@given(st.lists(st.text(max_size=8), max_size=3), st.lists(st.text(max_size=8), max_size=3))
@pytest.mark.proves("AC-073")
def test_names_in_canonical_form(one: list[str], other: list[str]) -> None:
    """Names have the same octets exactly where they match."""
    first, second = (
        read(name(*(value(COMMON_NAME, text.encode("utf-8", "ignore")) for text in texts))) for texts in (one, other)
    )
    assert (first.canonical == second.canonical) is first.matches(second)
    shouted = read(name(*(value(COMMON_NAME, text.encode("utf-8", "ignore").decode().upper()) for text in one)))
    assert (first.canonical == shouted.canonical) is first.matches(shouted)
