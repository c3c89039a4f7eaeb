"""Object identifiers."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from scepra.scep import oid

ARCS = st.tuples(
    st.one_of(
        st.tuples(st.integers(0, 1), st.integers(0, 39)),
        st.tuples(st.just(2), st.integers(0, 2**40)),
    ),
    st.lists(st.integers(0, 2**64), max_size=8),
)


@given(ARCS)
def test_dotted_text_and_octets_are_the_same_thing(arcs: tuple[tuple[int, int], list[int]]) -> None:
    """Encoding agrees with asn1crypto's, and what is encoded is shown as it was."""
    text = ".".join(map(str, (*arcs[0], *arcs[1])))
    content = oid.encode(text)
    assert content == core.ObjectIdentifier(text).contents
    assert oid.dotted(content) == text


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "3.1", "1.40", "0.40", "1.2.x", "1.-2", "1.2.٣", "a.b", "1..2"])
def test_what_is_no_identifier_is_refused(text: str) -> None:
    """Text that is no identifier is a mistake of its author."""
    with pytest.raises(ValueError, match="not an object identifier"):
        oid.encode(text)


def test_nothing_is_shown_as_nothing() -> None:
    """Octets without one complete arc have no text."""
    assert oid.dotted(b"") == "" == oid.dotted(b"\x80")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (oid.MESSAGE_TYPE, "2.16.840.1.113733.1.9.2"),
        (oid.PKI_STATUS, "2.16.840.1.113733.1.9.3"),
        (oid.FAIL_INFO, "2.16.840.1.113733.1.9.4"),
        (oid.SENDER_NONCE, "2.16.840.1.113733.1.9.5"),
        (oid.RECIPIENT_NONCE, "2.16.840.1.113733.1.9.6"),
        (oid.TRANSACTION_ID, "2.16.840.1.113733.1.9.7"),
        (oid.FAIL_INFO_TEXT, "1.3.6.1.5.5.7.24.1"),
    ],
)
def test_the_attributes_of_scep_have_the_identifiers_of_the_rfc(content: bytes, text: str) -> None:
    """The register of RFC 8894, 3.2.1, octet by octet."""
    assert oid.dotted(content) == text
