"""Names that nobody gets."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.policy import build as build_rules
from scepra.policy import explain
from scepra.scep import der
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import build, carried, dns, san, upn
from tests.policy.sample import Asked, judged, policy

RULE: dict[str, Any] = {
    "infrastructure": {
        "names": [r"dc[0-9]+\.corp\.example", "administrator", r"ra\.corp\.example"],
        "addresses": ["10.0.0.0/28", "2001:db8::1"],
    }
}
OPEN: list[dict[str, Any]] = [
    {"subject": {"allow": ["CN", "O", "UID"], "characters": "ＤＣ"}},
    {
        "san": {
            "dns": {"match": ".*", "wildcard": True},
            "email": {"match": ".*"},
            "upn": {"match": ".*"},
            "uri": {"match": ".*"},
            "ip": {"networks": ["0.0.0.0/0", "::/0"]},
            "directory": {"allow": ["CN"]},
            "other": {"allow": "1.2.3"},
        }
    },
]


def paths(*names: bytes, cn: str = "dev", kind: bytes = csrs.CN) -> list[str]:
    """Where the rule finds a name of the infrastructure."""
    encoding = build(*([carried(san(*names))] if names else []), subject=csrs.name(csrs.value(kind, cn)))
    return [each.path for each in judged(encoding, *OPEN, RULE) if each.rule == "infrastructure"]


@pytest.mark.parametrize(
    "cn",
    [
        "dc1.corp.example",
        "DC1.Corp.Example",
        "dc1.corp.example.",
        "ＤＣ1.corp.example",
        "*.corp.example",
        "administrator",
        "Administrator@corp.example",
        "x@dc1.corp.example",
        "https://dc1.corp.example:443/x",
        "10.0.0.5",
        "2001:DB8:0::1",
        "::ffff:10.0.0.5",
    ],
)
@pytest.mark.proves("AC-076", "AC-077", "AC-073")
def test_in_the_subject(cn: str) -> None:
    """No attribute of the subject calls somebody by such a name, in whatever letters, as a part or by a wildcard."""
    assert paths(cn=cn) == ["subject.CN"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (dns("DC7.corp.example"), "san.dns[0]"),
        (dns("*.corp.example"), "san.dns[0]"),
        (dns("10.0.0.5"), "san.dns[0]"),
        (upn("administrator@corp.example"), "san.upn[0]"),
        (upn("administrator@other.example"), "san.upn[0]"),
        (der.tlv(0x81, b"a@RA.corp.example"), "san.email[0]"),
        (der.tlv(0x86, b"https://ra.corp.example/scep"), "san.uri[0]"),
        (der.tlv(0x87, bytes((10, 0, 0, 7))), "san.ip[0]"),
        (der.tlv(0x87, bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 7))), "san.ip[0]"),
        (der.tlv(0xA4, csrs.subject("Administrator")), "san.directory[0].CN"),
    ],
)
@pytest.mark.proves("AC-071", "AC-079")
def test_in_names_of_every_type(name: bytes, path: str) -> None:
    """Nor does a name of any type, whatever the rule about these accepts."""
    assert paths(name) == [path]


@pytest.mark.parametrize(
    "name",
    [
        dns("device.corp.example"),
        dns("*.devices.example"),
        dns("xdc1.corp.example"),
        dns("dc1.corp.example.evil.example"),
        upn("administrators@corp.example"),
        der.tlv(0x86, b"https://[dc1.corp.example"),
        der.tlv(0x86, b"urn:device:1"),
        der.tlv(0x87, bytes((10, 0, 1, 7))),
        der.tlv(0x87, bytes(3)),
        der.tlv(0xA4, csrs.name(csrs.value(csrs.CN, b"\xff", der.BMP_STRING))),
        csrs.other("1.2.3", der.NULL),
        dns(b"\xff"),
    ],
)
def test_other_names(name: bytes) -> None:
    """Other names are nobody's of the infrastructure; what cannot be read, the other rules refuse."""
    assert paths(name) == []


def test_odd_texts() -> None:
    """Texts of any length and kind are looked at without harm."""
    assert paths(cn="x" * 60000) == []
    assert paths(cn="é" * 5000) == []
    assert paths(cn="") == []
    undecodable = build(subject=csrs.name(csrs.value(csrs.CN, b"\xff", der.UTF8_STRING)))
    assert "infrastructure" not in {each.rule for each in judged(undecodable, *OPEN, RULE)}


def test_names_alone() -> None:
    """Without addresses, texts that are addresses are texts."""
    rule = {"infrastructure": {"names": "root"}}
    assert judged(build(subject=csrs.subject("10.0.0.5")), *OPEN, rule) == ()


def test_what_is_shown() -> None:
    """The explanation counts what was looked at: the other rules show it."""
    request = Asked(CertificationRequest.parse(build(carried(san(dns("a.b"), upn("x@y.z"))))))
    assert explain(build_rules(policy(RULE)), request)[-1].looked_at == "3 texts"
