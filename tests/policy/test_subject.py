"""The rule about the subject."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.scep import der, oid
from tests import csrs
from tests.csrs import CN, COUNTRY, ORGANISATION, UNIT, build, carried, dns, name, san, value
from tests.policy.sample import EMPTY_SUBJECT, judged, objected

GOOD = {"subject": {"match": {"CN": r"^good\.example$"}}}
LOCALITY, SERIAL_NUMBER, DOMAIN_COMPONENT = (
    oid.encode("2.5.4.7"),
    oid.encode("2.5.4.5"),
    oid.encode("0.9.2342.19200300.100.1.25"),
)


def subject(**spec: Any) -> dict[str, Any]:
    return {"subject": spec}


@pytest.mark.proves("I12")
def test_no_rule() -> None:
    """Without a subject rule any subject is refused."""
    assert objected(build(), {"key": {"ec": ["P-256"]}}, usual=False) == ["subject.CN"]


@pytest.mark.proves("I12", "P10-08")
def test_type_that_is_not_named() -> None:
    """An attribute type that the rule does not name is refused, known or not, beside those that it names."""
    encoding = build(
        subject=name(
            value(CN, "dev"), value(ORGANISATION, "Example"), value(oid.encode("1.2.3"), "x"), value(UNIT, "Unit")
        )
    )
    assert objected(encoding, subject(match={"CN": "dev"}, allow=["OU"])) == ["subject.O", "subject.1.2.3"]


@pytest.mark.proves("P10-08")
def test_type_by_its_identifier() -> None:
    """Types may be configured by dotted identifier, and names and identifiers mean the same."""
    encoding = build(subject=name(value(oid.encode("1.2.3"), "x"), value(SERIAL_NUMBER, "FTX1")))
    assert objected(encoding, subject(match={"1.2.3": "x", "2.5.4.5": "FTX[0-9]"})) == []
    assert objected(encoding, subject(allow=["1.2.3", "serialNumber"])) == []


@pytest.mark.proves("AC-085")
def test_required() -> None:
    """What is required must be there; it may have any text unless a pattern says otherwise."""
    assert objected(build(subject=name(value(UNIT, "a"))), subject(require=["CN"], allow=["OU"])) == ["subject.CN"]
    assert objected(build(), subject(require=["CN"])) == []
    assert objected(build(), subject(require=["CN"], match={"CN": "other"})) == ["subject.CN"]


@pytest.mark.parametrize(
    "rdns",
    [
        (value(CN, "good.example"), value(CN, "evil.example")),
        (value(CN, "evil.example"), value(CN, "good.example")),
        ([value(CN, "evil.example"), value(CN, "good.example")],),
        ([value(ORGANISATION, "x"), value(CN, "evil.example")], value(CN, "good.example")),
        (value(CN, "good.example"), value(CN, "good.example")),
    ],
)
@pytest.mark.proves("AC-073")
def test_several_common_names(rdns: tuple[Any, ...]) -> None:
    """More than one common name is refused, even of the same value, and each of them is judged."""
    violations = judged(build(subject=name(*rdns)), subject(match={"CN": r"good\.example"}, allow=["O"]))
    assert "is there 2 times" in [violation.sentence for violation in violations]
    evil = sum(b"evil" in (rdn if isinstance(rdn, bytes) else b"".join(rdn)) for rdn in rdns)
    assert [violation.sentence for violation in violations].count(r"does not match good\.example") == evil


@pytest.mark.proves("AC-073")
def test_common_name_in_a_multi_valued_rdn() -> None:
    """A common name is found inside a relative name of several values."""
    encoding = build(subject=name([value(ORGANISATION, "x"), value(CN, "evil.example")]))
    assert objected(encoding, subject(match={"CN": r"good\.example"}, allow=["O"])) == ["subject.CN"]


@pytest.mark.parametrize(
    "text", [r"good.example\,CN=evil", "good.example,CN=evil", "good.example+CN=evil", "CN=good.example"]
)
@pytest.mark.proves("AC-073")
def test_text_that_looks_like_a_name(text: str) -> None:
    """A value that looks like several is one value, and does not match."""
    assert objected(build(subject=csrs.subject(text)), GOOD) == ["subject.CN"]


@pytest.mark.proves("AC-073")
def test_repeat() -> None:
    """Types that may repeat do, and each value is judged."""
    rule = subject(match={"CN": "dev", "DC": "[a-z]+"}, repeat=["DC"])
    good = name(value(DOMAIN_COMPONENT, "example"), value(DOMAIN_COMPONENT, "corp"), value(CN, "dev"))
    bad = name(value(DOMAIN_COMPONENT, "example"), value(DOMAIN_COMPONENT, "C0RP"), value(CN, "dev"))
    assert objected(build(subject=good), rule) == []
    assert objected(build(subject=bad), rule) == ["subject.DC"]


@pytest.mark.parametrize(
    "text",
    [
        "good.example\0",
        "good.example\0.evil",
        "good.example\n",
        "\ngood.example",
        " good.example",
        "good.example ",
        "good.example\t",
        "good.example\x7f",
        "good.example\x85",
        "good.example\u2028",
        "gооd.example",
        "good\uff0eexample",
        "good\u202eelpmaxe.",
        "go\u200dod.example",
        "",
        " ",
    ],
)
@pytest.mark.proves("AC-074", "AC-076", "AC-085")
def test_unprintable_text(text: str) -> None:
    """Controls, spaces at the ends, look-alikes and empty values are refused, whatever the pattern."""
    encoding = build(subject=csrs.subject(text))
    assert objected(encoding, GOOD) == ["subject.CN"]
    assert objected(encoding, subject(match={"CN": ".*"})) == ["subject.CN"]
    assert objected(encoding, subject(allow=["CN"])) == ["subject.CN"]


@pytest.mark.parametrize(
    ("tag", "content", "accepted"),
    [
        (der.UTF8_STRING, "Bär".encode(), True),
        (der.BMP_STRING, "Bär".encode("utf-16-be"), True),
        (der.UTF8_STRING, "Ba\u0308r".encode(), False),
        (der.UTF8_STRING, "B\u0430r".encode(), False),
        (der.UTF8_STRING, "BÄR".encode(), False),
        (der.PRINTABLE_STRING, "Bär".encode("latin-1"), False),
        (der.UTF8_STRING, b"B\xe4r", False),
        (der.OCTET_STRING, b"Bar", False),
    ],
)
@pytest.mark.proves("AC-076", "P10-08")
def test_characters_of_a_profile(tag: int, content: bytes, accepted: bool) -> None:
    """Beyond printable ASCII only the characters that the profile lists are accepted, in their composed form."""
    encoding = build(subject=name(value(CN, content, tag)))
    assert objected(encoding, subject(allow=["CN"])) == ([] if content == b"Bar" and accepted else ["subject.CN"])
    assert objected(encoding, subject(allow=["CN"], characters="äöü")) == ([] if accepted else ["subject.CN"])


@pytest.mark.parametrize(
    ("kind", "text", "accepted"),
    [
        (CN, "x" * 64, True),
        (CN, "x" * 65, False),
        (CN, "x" * 60_000, False),
        (ORGANISATION, "x" * 65, False),
        (LOCALITY, "x" * 128, True),
        (LOCALITY, "x" * 129, False),
        (oid.encode("1.2.840.113549.1.9.2"), "x" * 255, True),
        (oid.encode("1.2.840.113549.1.9.2"), "x" * 256, False),
        (COUNTRY, "DE", True),
        (COUNTRY, "DEDED", False),
        (COUNTRY, "D", False),
        (COUNTRY, "4Z", False),
    ],
)
@pytest.mark.proves("AC-085")
def test_length(kind: bytes, text: str, accepted: bool) -> None:
    """Values have the upper bounds of RFC 5280; a country is two letters."""
    rule = subject(allow=["CN", "O", "L", "C", "unstructuredName"])
    assert bool(objected(build(subject=name(value(kind, text))), rule)) is not accepted


@pytest.mark.parametrize("permitted", [True, False])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.proves("P10-07", "AC-085")
def test_empty_subject(permitted: bool, names: bool, empty: bool) -> None:
    """An empty subject needs another name and the profile's permission; without any name there is no request."""
    attributes = [carried(san(dns("a.example")))] if names else []
    encoding = build(*attributes, subject=name() if empty else csrs.subject())
    rules = [{"subject": {"match": {"CN": "dev"}, "empty": permitted}}, {"san": {"dns": {"suffix": "example"}}}]
    violations = judged(encoding, *rules)
    if not empty or (names and permitted):
        assert violations == ()
    else:
        (violation,) = violations
        assert violation.sentence == ("is empty" if names else "is empty, and there is no other name")


@pytest.mark.proves("P10-07")
def test_only_an_empty_subject() -> None:
    """A rule that permits an empty subject permits no other."""
    assert objected(build(), EMPTY_SUBJECT) == ["subject.CN"]


@pytest.mark.proves("I10")
def test_values_are_not_repeated() -> None:
    """Violations go to the log, so they do not quote what the client sent."""
    encoding = build(csrs.challenge("canary-1"), subject=name(value(CN, "canary-2"), value(UNIT, "canary-3")))
    for violation in judged(encoding, GOOD):
        assert "canary" not in str(violation)
