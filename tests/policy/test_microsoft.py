"""Security identifiers and UPNs."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.policy import build as build_rules
from scepra.policy import explain
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import build, carried, extension, san, upn
from tests.policy.sample import Asked, judged, objected, policy

SID = "S-1-5-21-1004336348-1177238915-682003330-1104"
DOMAIN = SID.rpartition("-")[0]
TAG = "tag:microsoft.com,2022-09-14:sid:"


def uri(text: str) -> bytes:
    """A SAN's URI."""
    return der.tlv(0x86, text.encode())


def encoded(text: str | bytes, kind: str = "1.3.6.1.4.1.311.25.2.1") -> bytes:
    """The extension's value."""
    octets = text.encode() if isinstance(text, str) else text
    return der.sequence(der.tlv(0xA0, der.oid(oid.encode(kind)), der.tlv(0xA0, der.octet_string(octets))))


def szoid(value: bytes) -> bytes:
    """The extension."""
    return extension("1.3.6.1.4.1.311.25.2", value)


def refusals(*extensions: bytes, cn: str = "dev", **spec: Any) -> list[str]:
    """The paths that the rule objects to, with everything else allowed."""
    rules = [{"subject": {"allow": ["CN"]}}, {"san": {"upn": {"match": ".*"}, "uri": {"match": ".*"}}}]
    encoding = build(carried(*extensions), subject=csrs.subject(cn))
    return objected(encoding, *rules, *([{"microsoft": spec}] if spec else []))


@pytest.mark.proves("AC-071", "P10-11", "I12", "SEC-05")
def test_only_where_it_is_named() -> None:
    """A security identifier is refused in both places unless the rule allows it, whatever the other rules accept."""
    assert refusals(szoid(encoded(SID))) == ["extensions.ntdsCaSecurity"]
    assert refusals(san(uri(TAG + SID))) == ["san.uri[0]"]
    assert refusals(san(uri(TAG + SID)), sid="forbid") == ["san.uri[0]"]
    assert refusals(san(uri(TAG + SID)), sid="allow") == []
    assert refusals(szoid(encoded(SID)), san(uri(TAG + SID)), sid="allow") == []
    assert refusals(san(upn("a@x.example")), sid="allow") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "S-1-5-18",
        SID + "\n",
        " " + SID,
        SID.lower(),
        SID + "-1",
        DOMAIN,
        DOMAIN + "-01104",
        DOMAIN + "-500",
        DOMAIN + "-512",
        DOMAIN + "-999",
        b"\xff",
    ],
)
@pytest.mark.proves("AC-074", "AC-077", "AC-089")
def test_identifiers_of_no_account(text: str | bytes) -> None:
    """What is no account's identifier of a domain, in exactly one spelling, or is one that every domain has, is
    refused."""
    assert refusals(szoid(encoded(text)), sid="allow") == ["extensions.ntdsCaSecurity"]
    if isinstance(text, str):
        assert refusals(san(uri(TAG + text)), sid="allow") == ["san.uri[0]"]


@pytest.mark.parametrize(
    "value",
    [
        der.NULL,
        der.sequence(),
        encoded(SID, "1.3.6.1.4.1.311.25.2.2"),
        encoded(SID) + b"\x05\x00",
        der.sequence(der.tlv(0xA0, der.oid(oid.encode("1.3.6.1.4.1.311.25.2.1")))),
        der.sequence(
            der.tlv(
                0xA0,
                der.oid(oid.encode("1.3.6.1.4.1.311.25.2.1")),
                der.tlv(0xA0, der.octet_string(SID.encode()), der.octet_string(SID.encode())),
            )
        ),
        der.sequence(*(der.parse(encoded(SID)).sequence()[0].raw for _ in range(2))),
        der.octet_string(SID.encode()),
    ],
)
@pytest.mark.proves("AC-089", "AC-068")
def test_extensions_of_another_form(value: bytes) -> None:
    """The extension has one form; any other is an identifier that cannot be read, never none."""
    assert refusals(szoid(value), sid="allow") == ["extensions.ntdsCaSecurity"]
    assert refusals(szoid(value), sid="require") == ["extensions.ntdsCaSecurity"]


@pytest.mark.parametrize(
    "text", [TAG.upper() + SID, "tag:Microsoft.com,2022-09-14:sid:" + SID, "tag:microsoft.com,2023:x"]
)
def test_tags_spelt_otherwise(text: str) -> None:
    """Another tag of Microsoft's, or this one in other letters, is judged here and refused."""
    assert refusals(san(uri(text)), sid="allow") == ["san.uri[0]"]


@pytest.mark.proves("SEC-05")
def test_both_places_say_the_same() -> None:
    """Two identifiers are equal, since Windows takes one and people see the other."""
    other = DOMAIN + "-1105"
    assert refusals(szoid(encoded(SID)), san(uri(TAG + other)), sid="allow") == ["sid"]
    assert refusals(san(uri(TAG + SID), uri(TAG + other)), sid="allow") == ["sid"]


def test_domains() -> None:
    """An identifier is of one of the domains, if some are named."""
    assert refusals(szoid(encoded(SID)), sid="allow", domains=DOMAIN) == []
    assert refusals(szoid(encoded(SID)), sid="allow", domains=["S-1-5-21-1-2-3"]) == ["extensions.ntdsCaSecurity"]


def test_where_it_must_be() -> None:
    """It is required always, or where there is a principal name that it makes strong."""
    assert refusals(sid="require") == ["sid"]
    assert refusals(szoid(encoded(SID)), sid="require") == []
    assert refusals(sid="with-upn") == []
    assert refusals(san(upn("a@x.example")), sid="with-upn") == ["sid"]
    assert refusals(san(upn("a@x.example"), uri(TAG + SID)), sid="with-upn") == []


@pytest.mark.parametrize(
    ("cn", "name", "fits"),
    [
        ("alice", "alice@corp.example", True),
        ("Alice", "ALICE@corp.example", True),
        ("alice@corp.example", "alice@corp.example", True),
        ("alice", "administrator@corp.example", False),
        ("corp.example", "alice@corp.example", False),
    ],
)
def test_principal_names_that_fit(cn: str, name: str, fits: bool) -> None:
    """A principal name is the common name, or begins with it."""
    assert refusals(san(upn(name)), cn=cn, upn_matches_cn=True) == ([] if fits else ["san.upn"])


def test_a_principal_name_that_is_no_text() -> None:
    """What cannot be read fits no common name."""
    broken = csrs.other("1.3.6.1.4.1.311.20.2.3", der.octet_string(b"dev@corp.example"))
    rules: list[dict[str, Any]] = [{"san": {"upn": {"match": ".*"}}}, {"microsoft": {"upn-matches-cn": True}}]
    assert "microsoft" in {each.rule for each in judged(build(carried(san(broken))), *rules)}


def test_what_is_shown() -> None:
    """The explanation shows the identifiers."""

    def shown(*extensions: bytes) -> str:
        request = Asked(CertificationRequest.parse(build(carried(*extensions))))
        return {each.rule: each.looked_at for each in explain(build_rules(policy()), request)}["microsoft"]

    assert shown(szoid(encoded(SID)), san(uri(TAG.upper()))) == f"{SID}, unreadable"
    assert shown() == "no security identifier"
