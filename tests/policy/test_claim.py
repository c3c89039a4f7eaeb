"""What a request stands for, and what is counted of that."""

from __future__ import annotations

import pytest

from scepra.enrolment import Hold, Violation
from scepra.policy import build as build_rules
from scepra.policy import explain
from scepra.policy.claim import Bound, Claim, bounds, claims
from scepra.scep import der
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import build, carried, dns, san, upn
from tests.policy.sample import Asked, policy

LIMITS = [
    {"per": "subject", "active": 1},
    {"per": "profile", "new": 100, "within": "1h"},
    {"per": "device", "active": 2, "then": "hold"},
]


def standing(encoding: bytes, **of: str) -> dict[str, set[bytes]]:
    """What a request stands for, by kind."""
    found: dict[str, set[bytes]] = {}
    for claim in claims(CertificationRequest.parse(encoding), "wifi", **of):
        found.setdefault(claim.kind, set()).add(claim.value)
    return found


def test_everything_that_a_request_stands_for() -> None:
    """Profile, subject, key and names always; the device and the challenge where they are known."""
    encoding = build(carried(san(dns("a.example"), upn("dev@x.example"))))
    assert set(standing(encoding)) == {"profile", "subject", "key", "name"}
    assert set(standing(encoding, device="d", challenge="c")) == {
        "profile",
        "subject",
        "key",
        "name",
        "device",
        "challenge",
    }
    found = standing(encoding)
    assert found["key"] == {CertificationRequest.parse(encoding).public_key.sha256}
    assert len(found["name"]) == 3
    assert all(len(value) == 32 for values in found.values() for value in values)


@pytest.mark.proves("AC-073", "AC-076")
def test_one_subject_in_many_spellings() -> None:
    """Subjects are one where RFC 5280 says so: letter case, spaces and string types do not matter, order does."""

    def subject(*values: bytes) -> set[bytes]:
        return standing(build(subject=csrs.name(*values)))["subject"]

    usual = subject(csrs.value(csrs.CN, "Dev one"), csrs.value(csrs.ORGANISATION, "X"))
    assert subject(csrs.value(csrs.CN, "dEV  ONE"), csrs.value(csrs.ORGANISATION, "x")) == usual
    assert subject(csrs.value(csrs.CN, "Dev one", der.PRINTABLE_STRING), csrs.value(csrs.ORGANISATION, "X")) == usual
    assert subject(csrs.value(csrs.ORGANISATION, "X"), csrs.value(csrs.CN, "Dev one")) != usual
    assert subject(csrs.value(csrs.CN, "Dev one")) != usual
    assert subject(csrs.value(csrs.CN, "Dev oneX")) != usual


def test_without_a_subject_the_names_stand_for_it() -> None:
    """Devices without a subject are told apart by their other names, in whatever order these are."""

    def subject(*names: bytes) -> set[bytes]:
        return standing(build(carried(san(*names)), subject=csrs.name()))["subject"]

    assert subject(dns("a.example"), dns("b.example")) == subject(dns("B.example"), dns("a.example"))
    assert subject(dns("a.example")) != subject(dns("b.example"))


def test_one_name_in_many_places() -> None:
    """A common name, a DNS name, an address are one name where they say the same; what is no text is itself."""

    def names(*alternative: bytes, cn: str = "unlike") -> set[bytes]:
        return standing(build(carried(san(*alternative)), subject=csrs.subject(cn)))["name"]

    assert names(dns("A.example."), cn="a.EXAMPLE") == names(dns("a.example"), cn="a.example")
    assert len(names(dns("a.example"), cn="a.example")) == 1
    mapped = der.tlv(0x87, bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1)))
    assert names(mapped) == names(der.tlv(0x87, bytes((10, 0, 0, 1)))) == names(dns("10.0.0.1"))
    assert names(der.tlv(0x87, bytes(3))) != names(der.tlv(0x87, bytes(5)))
    assert names(csrs.other("1.2.3", der.NULL)) != names(csrs.other("1.2.4", der.NULL))
    broken = build(subject=csrs.name(csrs.value(csrs.CN, b"\xff")))
    assert standing(broken)["name"] != standing(build(subject=csrs.name(csrs.value(csrs.CN, b"\xfe"))))["name"]


def test_what_is_counted() -> None:
    """Each limit and each uniqueness becomes a bound with its place, what it is about, and what is done beyond it."""
    rules = build_rules(
        policy({"limit": LIMITS}, {"unique": {"keys": "all-profiles", "names": "profile", "takeover": "hold"}})
    )
    subject, hourly, device, key, name = bounds(rules)
    assert subject == Bound(Violation("limit", "limit[0].subject", "is beyond 1 valid or under way"), "subject")
    assert (hourly.kind, hourly.most, hourly.within) == ("profile", 100, 3600.0)
    assert hourly.violation.sentence == "is beyond 100 within 1h"
    assert device.hold == Hold(1, 604800.0, "limit[2].device: is beyond 2 valid or under way")
    assert (key.kind, key.unique, key.everywhere, key.hold) == ("key", True, True, None)
    assert (name.kind, name.unique, name.everywhere, name.hold) == (
        "name",
        True,
        False,
        Hold(1, 604800.0, "a name is another key's"),
    )
    assert bounds(build_rules(policy())) == ()
    one = policy({"limit": {"per": "key", "active": 1}}, {"unique": {"names": "all-profiles"}})
    assert [(each.kind, each.everywhere, each.hold) for each in bounds(build_rules(one))] == [
        ("key", False, None),
        ("name", True, None),
    ]


def test_what_is_counted_and_only_reported() -> None:
    """A limit that only reports neither refuses nor holds."""
    rules = build_rules(policy({"limit": LIMITS, "severity": "report"}))
    assert all(each.reported and each.hold is None for each in bounds(rules))


def test_what_is_shown() -> None:
    """The explanation says what will be counted: there is nothing to be said before."""
    rules = build_rules(policy({"limit": LIMITS[0]}, {"unique": {"keys": "profile", "names": "profile"}}))
    *_, limit, unique = explain(rules, Asked(CertificationRequest.parse(build())))
    later = " (looked at when a request is recorded)"
    assert (limit.looked_at, limit.ok) == (f"limit[0].subject is beyond 1 valid or under way{later}", True)
    assert (unique.looked_at, unique.ok) == (f"unique.keys and unique.names{later}", True)


@pytest.mark.parametrize(
    ("rule", "patience"),
    [
        ({"limit": LIMITS}, 604800.0),
        ({"limit": LIMITS[0]}, None),
        ({"unique": {"names": "profile", "takeover": "hold"}}, 604800.0),
        ({"unique": {"names": "profile"}}, None),
        ({"hold": {"expires": "1h"}}, 3600.0),
        ({"hold": {}, "severity": "report"}, None),
        ({"limit": LIMITS, "severity": "report"}, None),
        ({"eku": {"allow": "clientAuth"}}, None),
    ],
)
def test_for_how_long_people_are_waited_for(rule: dict[str, object], patience: float | None) -> None:
    """Whatever puts a request before people says for how long it may wait."""
    (made,) = policy(rule)
    assert made.patience == patience


def test_claims_are_values() -> None:
    """The same thing claimed twice is one claim."""
    found = claims(CertificationRequest.parse(build(carried(san(dns("dev"), dns("DEV"))))), "wifi")
    assert len([each for each in found if each.kind == "name"]) == 1
    assert Claim("name", b"x") == Claim("name", b"x")
