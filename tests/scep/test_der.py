"""The reader and writer that everything else stands on."""

from __future__ import annotations

import pytest
from asn1crypto import core
from asn1crypto import parser as asn1
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import Malformed
from scepra.scep import der, oid
from tests.rig.forge import ber, long_lengths

DEEP = der.Limits(depth=10**6, elements=10**7, total=10**7)


def depth(levels: int, inside: bytes = b"") -> bytes:
    """So many SEQUENCEs in one another, of definite length."""
    for _ in range(levels):
        inside = der.sequence(inside)
    return inside


def open_sequences(levels: int) -> bytes:
    """So many SEQUENCEs of indefinite length in one another."""
    return b"\x30\x80" * levels + b"\0\0" * levels


# --- What is read ----------------------------------------------------------------------------------------------------

PRIMITIVE = st.one_of(
    st.integers(-(2**80), 2**80).map(der.integer),
    st.binary(max_size=300).map(der.octet_string),
    st.sampled_from([oid.SHA256, oid.RSA, oid.MESSAGE_TYPE]).map(der.oid),
    st.binary(max_size=20).map(lambda value: der.tlv(0x80, value)),
    st.just(der.NULL),
)
TREES = st.recursive(
    PRIMITIVE,
    lambda children: st.builds(
        lambda tag, items: der.tlv(tag, *items),
        st.sampled_from([der.SEQUENCE, der.SET, 0xA0, 0xA3]),
        st.lists(children, max_size=5),
    ),
    max_leaves=25,
)


def shape(node: der.Node) -> object:
    """Tags and contents, all the way down."""
    if node.tag & der.CONSTRUCTED:
        return node.tag, [shape(child) for child in node.children()]
    return node.tag, node.content


def asn1_shape(encoding: bytes) -> object:
    """The same, as asn1crypto's parser sees it."""
    kind, method, tag, _, content, _ = asn1.parse(encoding, strict=True)
    octet = kind << 6 | method << 5 | tag
    if not method:
        return octet, content
    children = []
    while content:
        child = asn1.parse(content)
        children.append(asn1_shape(child[3] + child[4] + child[5]))
        content = content[len(child[3] + child[4] + child[5]) :]
    return octet, children


@given(TREES)
def test_what_is_written_is_read_alike_here_and_by_asn1crypto(encoding: bytes) -> None:
    """Two independent readers see one structure, and DER's strict framing is satisfied."""
    assert shape(der.parse(encoding, strict=True)) == shape(der.parse(encoding)) == asn1_shape(encoding)


@given(TREES)
@pytest.mark.proves("CMS-01")
def test_every_level_may_have_an_indefinite_length(encoding: bytes) -> None:
    """Indefinite lengths change where things stand and nothing else."""
    again = ber(encoding)
    assert shape(der.parse(again)) == shape(der.parse(encoding)) == asn1_shape(again)
    assert der.canonical(der.parse(again)) == encoding


@given(TREES)
@pytest.mark.proves("CMS-01")
def test_lengths_may_be_longer_than_they_need(encoding: bytes) -> None:
    """Lengths in four octets are read, and shortened when made canonical."""
    again = long_lengths(encoding)
    assert shape(der.parse(again)) == shape(der.parse(encoding))
    assert der.canonical(der.parse(again)) == encoding


@given(TREES, st.data())
@pytest.mark.proves("SEC-12", "DR-1")
def test_a_mutated_encoding_is_malformed_or_means_what_asn1crypto_says(encoding: bytes, data: st.DataObject) -> None:
    """After any change of octets the reader refuses, or agrees with asn1crypto about every boundary."""
    octets = bytearray(data.draw(st.sampled_from([encoding, ber(encoding, segment=7)])))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
        if not octets:
            return
    try:
        node = der.parse(bytes(octets))
    except Malformed:
        return
    assert node.raw == octets
    assert shape(node) == asn1_shape(bytes(octets))


@given(st.binary(max_size=200))
@pytest.mark.proves("SEC-12")
def test_octets_at_random_raise_nothing_else_than_malformed(octets: bytes) -> None:
    """The reader has one way to refuse."""
    for strict in (False, True):
        try:
            node = der.parse(octets, strict=strict)
        except Malformed:
            continue
        assert node.end == len(octets)


BAD = [
    (b"", "cut short"),
    (b"\x30", "cut short"),
    (b"\x04\x05abcd", "runs over"),
    (b"\x30\x03\x04\x02a", "runs over"),
    (b"\x30\x01\x04", "cut short"),
    (b"\x04\x01ab", "octets follow"),
    (b"\x30\x80\x04\x01a\0\0x", "octets follow"),
    (b"\x30\x80\x04\x01a", "cut short"),
    (b"\x30\x80\x04\x01a\0", "cut short"),
    (b"\x30\x04\x30\x80\x04\x00", "cut short"),
    (b"\x30\x04\x30\x80\x04\x00\0\0", "cut short"),
    (b"\x30\x02\0\0", "end-of-contents"),
    (b"\0\0", "end-of-contents"),
    (b"\x30\x80\0\x01a\0\0", "end-of-contents"),
    (b"\x04\x80\0\0", "indefinite"),
    (b"\x04\x85\0\0\0\0\x01a", "length that cannot be"),
    (b"\x04\xff", "length that cannot be"),
    (b"\x04\x84\0\0", "length that cannot be"),
    (b"\x1f\x81\x01\0", "tag number"),
    (b"\xbf\x01\0", "tag number"),
    (b"\xbf\x80\0\0", "indefinite"),
    (b"\xbf\x21\0", "runs over"),
    (b"\x06\0", "object identifier"),
    (b"\x06\x02\x2a\x86", "object identifier"),
    (b"\x02\0", "integer"),
]


@pytest.mark.parametrize(("octets", "reason"), BAD)
@pytest.mark.proves("AC-020")
def test_broken_encodings_are_refused_with_their_reason(octets: bytes, reason: str) -> None:
    """Each way to be broken has its refusal."""
    with pytest.raises(Malformed, match=reason):
        der.parse(octets)


STRICT = [
    (b"\x30\x80\0\0", "indefinite"),
    (b"\x04\x81\x05abcde", "shortest form"),
    (b"\x04\x82\0\x85" + bytes(0x85), "shortest form"),
    (b"\x24\x03\x04\x01a", "constructed string"),
    (b"\x06\x03\x2a\x80\x01", "object identifier not"),
    (b"\x06\x04\x2a\x03\x80\x01", "object identifier not"),
    (b"\x02\x02\0\x7f", "integer not"),
    (b"\x02\x02\xff\x80", "integer not"),
    (b"\x01\x01\x01", "boolean"),
    (b"\x01\0", "boolean"),
    (b"\x01\x02\xff\xff", "boolean"),
]


@pytest.mark.parametrize(("octets", "reason"), STRICT)
@pytest.mark.proves("AC-020", "DR-5")
def test_der_is_stricter_than_ber(octets: bytes, reason: str) -> None:
    """What BER allows and DER forbids is read, unless the reader is told to be strict."""
    der.parse(octets)
    with pytest.raises(Malformed, match=reason):
        der.parse(octets, strict=True)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x04\x81\x80" + bytes(0x80),
        b"\x06\x04\x2a\x83\x80\x01",
        b"\x02\x02\0\x80",
        b"\x02\x02\xff\x7f",
        b"\x02\x01\0",
        b"\x02\x01\xff",
        b"\x01\x01\0",
        b"\x01\x01\xff",
        b"\xa0\x03\x04\x01a",
        b"\x30\0",
    ],
)
def test_der_as_it_should_be_is_read_strictly(octets: bytes) -> None:
    """The strict reader has nothing against DER."""
    assert der.parse(octets, strict=True).raw == octets


# --- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("SEC-12", "AC-017")
@pytest.mark.parametrize("levels", [32, 33, 1000, 15_000])
@pytest.mark.parametrize("nest", [depth, open_sequences])
def test_nesting_ends_at_32_levels(levels: int, nest: object) -> None:
    """Deep nesting is refused by the bound, whatever the form of the lengths."""
    encoding = nest(levels)  # type: ignore[operator]
    if levels == 32:
        assert der.parse(encoding).raw == encoding
    else:
        with pytest.raises(Malformed, match="too deeply"):
            der.parse(encoding)


@pytest.mark.proves("SEC-12", "AC-017", "DR-1")
def test_the_walk_does_not_recurse() -> None:
    """Without its bound the reader goes down 100 000 levels on its own stack, not on Python's."""
    assert der.parse(open_sequences(100_000), DEEP).tag == der.SEQUENCE
    assert der.parse(depth(10_000), DEEP).tag == der.SEQUENCE


@pytest.mark.proves("SEC-12", "AC-017")
def test_constructed_strings_nest_no_deeper() -> None:
    """Strings in strings count as levels, and joining them does not recurse."""
    nested = b"x"
    for _ in range(40):
        nested = der.tlv(0x24, nested if nested != b"x" else der.octet_string(nested))
    with pytest.raises(Malformed, match="too deeply"):
        der.parse(nested)
    assert der.parse(nested, DEEP).octets() == b"x"


@pytest.mark.proves("SEC-12", "AC-019")
def test_elements_are_counted() -> None:
    """The 4097th element is one too many, wherever it stands."""
    der.parse(der.sequence(*[der.NULL] * 4095))
    with pytest.raises(Malformed, match="too many elements"):
        der.parse(der.sequence(*[der.NULL] * 4096))
    with pytest.raises(Malformed, match="too many elements"):
        der.parse(der.tlv(0x24, *[der.octet_string(b"x")] * 60_000))


@pytest.mark.proves("SEC-12", "AC-016")
def test_identifiers_and_integers_are_bounded() -> None:
    """An object identifier has at most 64 octets, an INTEGER at most 1100."""
    der.parse(b"\x06\x40" + b"\x81" * 63 + b"\x01")
    with pytest.raises(Malformed, match="object identifier"):
        der.parse(b"\x06\x41" + b"\x81" * 64 + b"\x01")
    with pytest.raises(Malformed, match="object identifier"):
        der.parse(der.tlv(6, b"\x2a" + b"\x81" * 60_000 + b"\x01"))
    der.parse(der.tlv(2, b"\x01" * 1100))
    with pytest.raises(Malformed, match="integer"):
        der.parse(der.tlv(2, b"\x01" * 1101))


@pytest.mark.proves("SEC-12")
def test_the_whole_is_bounded() -> None:
    """More than 2 MiB is refused before anything is looked at; as much of open sequences by their depth."""
    with pytest.raises(Malformed, match="too long"):
        der.parse(bytes(2 * 1024 * 1024 + 1))
    with pytest.raises(Malformed, match="too deeply"):
        der.parse(b"\x30\x80" * (1024 * 1024))


@pytest.mark.proves("SEC-12")
def test_a_bound_counts_work_done() -> None:
    """The walk stops at the element after the last one allowed, so that its work is bounded and not only its result."""

    class Counting(bytes):
        reads = 0

        def __getitem__(self, key: object) -> object:  # type: ignore[override]
            Counting.reads += 1
            return super().__getitem__(key)  # type: ignore[call-overload,no-any-return]

    with pytest.raises(Malformed, match="too many elements"):
        der.parse(Counting(der.sequence(*[der.NULL] * 500_000)))
    assert Counting.reads < 10 * der.LIMITS.elements


def test_a_prefix_is_the_first_element() -> None:
    """What follows the first element is the caller's to judge; the bounds are the same."""
    node = der.parse_prefix(der.sequence(der.NULL) + b"\r\n")
    assert (node.raw, node.end) == (b"\x30\x02\x05\0", 4)
    with pytest.raises(Malformed, match="too long"):
        der.parse_prefix(bytes(2 * 1024 * 1024 + 1))
    with pytest.raises(Malformed, match="cut short"):
        der.parse_prefix(b"\x30\x80\x05\0")


# --- Reading parts ---------------------------------------------------------------------------------------------------


def test_children_are_counted_where_it_matters() -> None:
    """Too few elements, an element of another tag and a primitive one have their refusals."""
    node = der.parse(der.sequence(der.NULL, der.NULL))
    assert len(node.sequence(2)) == len(node.children(2)) == 2
    for bad in (lambda: node.sequence(3), lambda: node.children(3), node.only, lambda: node.expect(der.SET)):
        with pytest.raises(Malformed):
            bad()
    with pytest.raises(Malformed, match="primitive"):
        der.parse(der.NULL).children()
    assert der.parse(der.sequence(der.NULL)).only().raw == der.NULL


def test_integers_are_signed() -> None:
    """An INTEGER is read as X.690 has it, and written in its shortest form."""
    for number in (0, 1, 127, 128, 255, 256, -1, -127, -128, -129, -256, -32768, 2**2048, -(2**2047)):
        encoding = der.integer(number)
        assert der.parse(encoding, der.Limits(), strict=True).integer() == number
        assert encoding == core.Integer(number).dump()


@pytest.mark.proves("CMS-01")
@pytest.mark.parametrize(
    ("encoding", "tag"),
    [
        (b"\x04\x04abcd", der.OCTET_STRING),
        (b"\x24\x08\x04\x02ab\x04\x02cd", der.OCTET_STRING),
        (b"\x24\x80\x04\x02ab\x24\x80\x04\x01c\x04\x01d\0\0\x04\0\0\0", der.OCTET_STRING),
        (b"\x33\x08\x04\x02ab\x04\x02cd", der.PRINTABLE_STRING),
        (b"\x33\x08\x13\x02ab\x13\x02cd", der.PRINTABLE_STRING),
        (b"\xa0\x08\x04\x02ab\x04\x02cd", 0x80),
        (b"\x80\x04abcd", 0x80),
    ],
)
def test_segments_of_strings_are_joined(encoding: bytes, tag: int) -> None:
    """A string is the same in one piece and in segments, nested or not."""
    assert der.parse(encoding).octets(tag) == b"abcd"


@pytest.mark.parametrize(
    ("encoding", "tag"),
    [
        (b"\x24\x03\x0c\x01a", der.OCTET_STRING),
        (b"\x24\x02\x30\0", der.OCTET_STRING),
        (b"\xa0\x03\x80\x01a", 0x80),
        (b"\x0c\x01a", der.OCTET_STRING),
        (b"\x30\x03\x04\x01a", der.OCTET_STRING),
    ],
)
def test_segments_of_other_types_are_refused(encoding: bytes, tag: int) -> None:
    """What is no string, or has a segment that is none, has no value."""
    with pytest.raises(Malformed):
        der.parse(encoding).octets(tag)


@given(TREES, st.integers(1, 40))
def test_canonical_joins_what_was_segmented(encoding: bytes, segment: int) -> None:
    """BER of strings in segments becomes the DER it was made of."""
    strings = der.sequence(encoding, der.octet_string(b"a" * 90), der.tlv(0x33, der.octet_string(b"text")))
    node = der.parse(ber(strings, segment=segment), der.Limits(elements=10**5))
    assert der.canonical(node.children()[1]) == der.octet_string(b"a" * 90)
    assert der.canonical(node.children()[2]) == der.printable_string("text")


def test_canonical_leaves_what_is_no_string() -> None:
    """A constructed element of a type that has no segments keeps its structure."""
    external = b"\x28\x80\x04\x01a\0\0"
    assert der.canonical(der.parse(external)) == b"\x28\x03\x04\x01a"


# --- Writing ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 70_000))
def test_lengths_are_written_in_their_shortest_form(size: int) -> None:
    """Lengths agree with asn1crypto's, around every boundary."""
    assert der.octet_string(bytes(size)) == core.OctetString(bytes(size)).dump()
    assert der.tlv(4, bytes(size))[1 : -size or None] == der.length(size)


def test_sets_are_ordered_and_sequences_are_not() -> None:
    """A SET OF stands in DER's order, everything else as it was given."""
    parts = [der.octet_string(b"b"), der.integer(1), der.octet_string(b"a"), der.octet_string(b"aa")]
    assert der.parse(der.set_of(parts)).content == b"".join([parts[1], parts[2], parts[0], parts[3]])
    assert der.parse(der.sequence(*parts)).content == b"".join(parts)
    assert der.explicit(3, der.NULL) == b"\xa3\x02\x05\0"
    assert der.bit_string(b"a") == core.BitString.load(der.bit_string(b"a")).dump() == b"\x03\x02\0a"
