"""For whom a challenge is: a request may ask for fewer names, never for others (SEC-05, AC-091)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.binding import Binding, NoBinding
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from tests import csrs

PRINTER = Binding(common_name="printer-7", dns=("printer-7.example",), ip=("192.0.2.7",))
SID = "S-1-5-21-1-2-3-1104"
SID_URI = f"tag:microsoft.com,2022-09-14:sid:{SID}"


def names(*encodings: bytes) -> bytes:
    """An extension request with these names."""
    return csrs.carried(csrs.san(*encodings))


def subject(*pairs: tuple[str, str]) -> bytes:
    """A subject of these attribute types and values."""
    return csrs.name(*[csrs.value(oid.encode(kind), text) for kind, text in pairs])


def uri(text: str) -> bytes:
    return der.tlv(0x86, text.encode())


def email(text: str) -> bytes:
    return der.tlv(0x81, text.encode())


def ip(*octets: int) -> bytes:
    return der.tlv(0x87, bytes(octets))


def security(sid: str, kind: str = "1.3.6.1.4.1.311.25.2.1") -> bytes:
    """Microsoft's extension that says a security identifier."""
    value = der.tlv(0xA0, der.octet_string(sid.encode()))
    name = der.tlv(0xA0, der.tlv(der.OBJECT_IDENTIFIER, oid.encode(kind)) + value)
    return csrs.carried(csrs.extension("1.3.6.1.4.1.311.25.2", der.sequence(name)))


def violations(binding: Binding, *attributes: bytes, **options: Any) -> tuple[str, ...]:
    """What a binding objects to in a request."""
    return binding.violations(CertificationRequest.parse(csrs.build(*attributes, **options)))


CN, SERIAL, MAIL, UID = "2.5.4.3", "2.5.4.5", "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.1"

GOOD = {
    "all that it names": (
        PRINTER,
        [names(csrs.dns("printer-7.example"), ip(192, 0, 2, 7))],
        {"subject": csrs.subject("printer-7")},
    ),
    "fewer names": (PRINTER, [], {"subject": csrs.subject("printer-7")}),
    "the common name as a DNS name, in any case": (
        PRINTER,
        [names(csrs.dns("PRINTER-7"))],
        {"subject": csrs.subject("printer-7")},
    ),
    "a DNS name as common name where none is bound": (
        Binding(dns=("a.example",)),
        [],
        {"subject": csrs.subject("a.example")},
    ),
    "where somebody belongs": (
        Binding(common_name="a"),
        [],
        {"subject": subject(("2.5.4.10", "Example"), (CN, "a"), ("2.5.4.11", "anything"))},
    ),
    "a serial number": (
        Binding(common_name="a", serial_number="4711"),
        [],
        {"subject": subject((CN, "a"), (SERIAL, "4711"))},
    ),
    "names of every type": (
        Binding(upn=("a@corp.example",), email=("a@example",), uri=("urn:a",), ip=("2001:db8::7",)),
        [names(csrs.upn("a@corp.example"), email("a@example"), uri("urn:a"), ip(0x20, 1, 0xD, 0xB8, *[0] * 11, 7))],
        {"subject": csrs.subject("a@corp.example")},
    ),
    "a security identifier": (
        Binding(common_name="a", sid=SID),
        [names(uri(SID_URI))],
        {"subject": csrs.subject("a")},
    ),
    "the extension that says it": (Binding(common_name="a", sid=SID), [security(SID)], {"subject": csrs.subject("a")}),
    "a key usage": (
        Binding(key_usage=("digitalSignature",)),
        [csrs.carried(csrs.key_usage(b"\x07\x80"))],
        {"subject": csrs.subject("anybody")},
    ),
    "nobody named": (Binding(), [names(csrs.dns("any"), csrs.upn("any"))], {"subject": csrs.subject("any")}),
    "a device names nobody": (Binding(device="d-1"), [], {"subject": csrs.subject("any")}),
}


@pytest.mark.proves("AC-091", "SEC-05", "DR-17")
@pytest.mark.parametrize("case", GOOD)
def test_what_a_challenge_is_good_for(case: str) -> None:
    """A request for what is named, or for less of it, is what the challenge was given for."""
    binding, attributes, options = GOOD[case]
    assert violations(binding, *attributes, **options) == ()


BAD = {
    "another common name": (PRINTER, [], {"subject": csrs.subject("printer-8")}, "the common name is another"),
    "another common name beside it": (
        PRINTER,
        [],
        {"subject": subject((CN, "printer-7"), (CN, "administrator"))},
        "the common name is another",
    ),
    "another letter case": (PRINTER, [], {"subject": csrs.subject("Printer-7")}, "the common name is another"),
    "no common name": (PRINTER, [], {"subject": subject(("2.5.4.10", "Example"))}, "there is no common name"),
    "another DNS name": (
        PRINTER,
        [names(csrs.dns("printer-7.example"), csrs.dns("dc.example"))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type dns is another",
    ),
    "a user beside the device": (
        PRINTER,
        [names(csrs.upn("administrator@corp.example"))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type upn is another",
    ),
    "its name as another type": (
        PRINTER,
        [names(email("printer-7"))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type email is another",
    ),
    "another address": (
        PRINTER,
        [names(ip(192, 0, 2, 8))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type ip is another",
    ),
    "an address with a mask": (
        PRINTER,
        [names(ip(192, 0, 2, 7, 255, 255, 255, 255))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type ip is another",
    ),
    "a name of a type that cannot be bound": (
        PRINTER,
        [names(csrs.other("1.3.6.1.4.1.311.25.1", der.octet_string(b"guid")))],
        {"subject": csrs.subject("printer-7")},
        "a name of the type other is another",
    ),
    "a mail address in the subject": (
        PRINTER,
        [],
        {"subject": subject((CN, "printer-7"), (MAIL, "ceo@example"))},
        "the mail address is another",
    ),
    "a user id in the subject": (
        PRINTER,
        [],
        {"subject": subject((CN, "printer-7"), (UID, "root"))},
        "the user id is another",
    ),
    "a serial number that is not bound": (
        PRINTER,
        [],
        {"subject": subject((CN, "printer-7"), (SERIAL, "printer-7"))},
        "the serial number is another",
    ),
    "another security identifier": (
        Binding(common_name="a", sid=SID),
        [names(uri(SID_URI + "0"))],
        {"subject": csrs.subject("a")},
        "a name of the type uri is another",
    ),
    "another in the extension": (
        Binding(common_name="a", sid=SID),
        [security("S-1-5-21-1-2-3-500")],
        {"subject": csrs.subject("a")},
        "the security identifier is another",
    ),
    "one that is not bound": (
        Binding(common_name="a"),
        [security(SID)],
        {"subject": csrs.subject("a")},
        "the security identifier is another",
    ),
    "an extension that says something else": (
        Binding(common_name="a", sid=SID),
        [security(SID, "1.3.6.1.4.1.311.25.2.2")],
        {"subject": csrs.subject("a")},
        "the security identifier is another",
    ),
    "an extension that says nothing": (
        Binding(common_name="a", sid=SID),
        [csrs.carried(csrs.extension("1.3.6.1.4.1.311.25.2", b"\x30\x00"))],
        {"subject": csrs.subject("a")},
        "the security identifier is another",
    ),
    "another key usage": (
        Binding(key_usage=("digitalSignature",)),
        [csrs.carried(csrs.key_usage(b"\x05\xa0"))],
        {"subject": csrs.subject("any")},
        "the key usage is another",
    ),
    "no key usage": (
        Binding(key_usage=("digitalSignature",)),
        [],
        {"subject": csrs.subject("any")},
        "the key usage is another",
    ),
}


@pytest.mark.proves("AC-091", "SEC-05", "DR-17")
@pytest.mark.parametrize("case", BAD)
def test_what_a_challenge_is_not_good_for(case: str) -> None:
    """A name that is not bound is refused wherever it stands and whatever its type, and is not repeated."""
    binding, attributes, options, said = BAD[case]
    assert violations(binding, *attributes, **options) == (said,)


TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_categories=("Cc", "Cf", "Zs")), min_size=1, max_size=20
)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)


@given(
    st.builds(
        Binding, common_name=TEXT | st.just(""), serial_number=TEXT, dns=TEXTS, email=TEXTS, upn=TEXTS, uri=TEXTS,
        ip=st.lists(st.ip_addresses().map(str), max_size=3).map(tuple), sid=TEXT, key_usage=TEXTS, device=TEXT,
    )
)  # fmt: skip
def test_a_binding_is_kept_as_it_is(binding: Binding) -> None:
    """What goes into the store comes back."""
    assert Binding.from_json(binding.to_json()) == binding


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"cn": "a"}, "'cn': there is no such key"),
        ({"common_name": ""}, "common_name: expected printable text"),
        ({"common_name": " a"}, "common_name: expected printable text"),
        ({"common_name": "a\n"}, "common_name: expected printable text"),
        ({"common_name": ["a"]}, "common_name: expected printable text"),
        ({"common_name": "a" * 256}, "common_name: expected printable text"),
        ({"device": "a" * 129}, "device: expected printable text"),
        ({"dns": "a"}, "dns: expected a list of such texts"),
        ({"dns": ["a", 1]}, "dns: expected a list of such texts"),
        ({"dns": ["a"] * 33}, "dns: expected a list of such texts"),
        ({"ip": ["a"]}, "ip: expected IP addresses"),
    ],
)
def test_what_is_no_binding(data: dict[str, Any], said: str) -> None:
    """Keys, types and lengths that no binding has are refused, with the key."""
    with pytest.raises(NoBinding, match="^" + said):
        Binding.from_json(data)


KEYS = st.text(max_size=5) | st.sampled_from(["dns", "ip", "sid"])


@given(
    st.dictionaries(
        KEYS, st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none() | st.text(max_size=5), max_size=3)
    )
)
def test_any_object(data: dict[str, Any]) -> None:
    """Whatever JSON holds is a binding or is refused, and nothing else."""
    with suppress(NoBinding):
        Binding.from_json(data)
