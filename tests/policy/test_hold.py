"""Which requests wait for people, and for how many."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.enrolment import Approve, Credential, Decision, Hold, Reject
from scepra.policy import build as build_rules
from scepra.policy import decide, explain
from scepra.scep import der
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import build, dns, san, upn, with_extensions
from tests.policy.sample import KEY, Asked, policy

OPEN: list[dict[str, Any]] = [
    KEY,
    {"subject": {"require": ["CN"], "allow": ["OU"], "repeat": ["OU"]}},
    {
        "san": {
            "dns": {"match": ".*"},
            "email": {"match": ".*"},
            "upn": {"match": ".*"},
            "uri": {"match": ".*"},
        }
    },
]


def decided(encoding: bytes, hold: dict[str, Any], **options: Any) -> Decision:
    """What is decided about a request to which nobody objects."""
    rules = build_rules(policy(*OPEN, {"hold": hold}))
    return decide(rules, Asked(CertificationRequest.parse(encoding), **options)).decision


def held(encoding: bytes, when: dict[str, Any], **options: Any) -> bool:
    """Whether such a request is held."""
    decision = decided(encoding, {"when": when}, **options)
    assert isinstance(decision, Hold | Approve)
    return isinstance(decision, Hold)


def of_units(*units: str) -> bytes:
    """A request of CN=dev with organisational units."""
    values = [csrs.value(csrs.UNIT, unit) for unit in units]
    return build(subject=csrs.name(csrs.value(csrs.CN, "dev"), *values))


@pytest.mark.parametrize("hold", [{}, {"when": {}}])
def test_a_hold_without_conditions_holds_everything(hold: dict[str, Any]) -> None:
    """Without conditions every request waits, for one approval and a week, unless told otherwise."""
    assert decided(build(), hold) == Hold(1, 604800.0, "every request")
    assert decided(build(), {**hold, "approvals": 2, "expires": "36h"}) == Hold(2, 129600.0, "every request")


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (("servers",), True),
        (("SERVERS",), True),
        (("printers", "servers"), True),
        (("servers-2",), False),
        (("printers",), False),
        ((), False),
    ],
)
def test_a_value_of_the_subject_holds(units: tuple[str, ...], expected: bool) -> None:
    """One value that matches in full is enough, in any letter case."""
    assert held(of_units(*units), {"subject": {"OU": "servers"}}) is expected


@pytest.mark.parametrize(
    ("kind", "pattern", "name"),
    [
        ("dns", r"[a-z]+\.corp\.example", dns("Web.CORP.example")),
        ("email", r"root@corp\.example", der.tlv(0x81, b"Root@corp.example")),
        ("upn", r"root@corp\.example", upn("ROOT@corp.example")),
        ("uri", "urn:device:[0-9]+", der.tlv(0x86, b"URN:device:7")),
    ],
)
def test_a_name_of_the_type_holds(kind: str, pattern: str, name: bytes) -> None:
    """One name of the type that matches is enough, in any letter case; a name of another type is none."""
    when = {kind: pattern}
    assert held(with_extensions(san(dns("other.example"), name)), when)
    assert not held(with_extensions(san(dns("other.example"))), when)
    assert not held(build(), when)
    assert not held(with_extensions(san(name)), {"dns" if kind != "dns" else "uri": pattern})


@pytest.mark.parametrize("credential", Credential)
def test_the_credential_holds(credential: Credential) -> None:
    """Initial enrolments or renewals alone can be held."""
    assert held(build(), {"credential": credential.value}, credential=credential)
    other = next(each for each in Credential if each is not credential)
    assert not held(build(), {"credential": credential.value}, credential=other)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::5", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.3.7", False),
        ("", True),
        ("unix", True),
    ],
)
@pytest.mark.proves("AC-011")
def test_the_source_holds(source: str, expected: bool) -> None:
    """Requests from a network can be held, and so is what has no address: not to be placed leads past nobody."""
    assert held(build(), {"source": ["192.0.2.0/24", "2001:db8::/32"]}, source=source) is expected


def test_every_condition_must_be_met() -> None:
    """A request that meets all conditions but one is not held."""
    when = {"subject": {"OU": "servers", "CN": "d.v"}, "credential": "initial", "source": "192.0.2.0/24"}
    assert decided(of_units("servers"), {"when": when}) == Hold(
        1,
        604800.0,
        "subject.OU matches servers; subject.CN matches d.v; credential is initial; source is in 192.0.2.0/24",
    )
    assert not held(of_units("printers"), when)
    assert not held(of_units("servers"), {**when, "subject": {"OU": "servers", "CN": "other"}})
    assert not held(of_units("servers"), when, credential=Credential.RENEWAL)
    assert not held(of_units("servers"), when, source="203.0.113.7")


@pytest.mark.parametrize(
    ("encoding", "when"),
    [
        (of_units(""), {}),
        (build(subject=csrs.name(csrs.value(csrs.CN, b"\xff"))), {"subject": {"CN": ".*"}}),
        (with_extensions(san(dns(b"\xff"))), {"dns": ".*"}),
    ],
    ids=["empty", "no-text", "no-dns-name"],
)
@pytest.mark.proves("I12")
def test_a_violation_outweighs_a_hold(encoding: bytes, when: dict[str, Any]) -> None:
    """People are not asked about a request that a rule objects to, and cannot approve it."""
    decision = decided(encoding, {"when": when})
    assert isinstance(decision, Reject)
    assert "hold" not in {violation.rule for violation in decision.violations}


def test_the_explanation_of_a_hold() -> None:
    """It names each condition and whether it is met, and what the request waits for; a hold is no objection."""
    when = {"subject": {"OU": "servers"}, "dns": "a", "source": ["192.0.2.0/24", "::1"]}
    rules = build_rules(policy(*OPEN, {"hold": {"when": when, "approvals": 2, "expires": "36h"}}))
    conditions = "subject.OU matches servers: yes; dns matches a: {}; source is in 192.0.2.0/24 or ::1/128: yes"

    *_, report = explain(rules, Asked(CertificationRequest.parse(of_units("servers"))))
    assert (report.rule, report.said, report.ok, report.hold) == ("hold", "ok", True, None)
    assert report.looked_at == conditions.format("no")

    named = build(
        csrs.carried(san(dns("a"))),
        subject=csrs.name(csrs.value(csrs.CN, "dev"), csrs.value(csrs.UNIT, "servers")),
    )
    *others, report = explain(rules, Asked(CertificationRequest.parse(named)))
    assert report.looked_at == conditions.format("yes")
    assert (report.said, report.ok) == ("waits for two approvals by different people, 36h at most", True)
    assert report.hold == decide(rules, Asked(CertificationRequest.parse(named))).decision
    assert all(other.hold is None for other in others)

    everything = build_rules(policy(*OPEN, {"hold": {}}))
    *_, report = explain(everything, Asked(CertificationRequest.parse(build())))
    assert (report.looked_at, report.said) == ("every request", "waits for one approval, 7d at most")
