"""Rules that only report."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.enrolment import Hold
from scepra.policy import build as build_rules
from scepra.policy import decide, explain
from scepra.policy.decision import MAX_VIOLATIONS, Judged
from scepra.scep import der
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import attribute, build, carried, dns, san
from tests.policy.sample import KEY, SUBJECT, Asked, policy


def judged(encoding: bytes, *rules: dict[str, Any]) -> Judged:
    """What a policy says."""
    return decide(build_rules(policy(*rules)), Asked(CertificationRequest.parse(encoding)))


def test_what_is_reported_refuses_nothing() -> None:
    """What a reporting rule objects to is told, with rule and place; what an enforced one does, refuses."""
    encoding = build(carried(san(dns("evil.example"))), attribute("1.2.3.4", der.NULL), key=csrs.ec_key("P-384"))
    rules = [SUBJECT, {"san": {"dns": {"suffix": "corp.example"}}, "severity": "report"}]
    key = {"key": {"ec": ["P-256"]}, "severity": "report"}
    anything = {"attributes": {"allow": ["1.2.3.4"]}, "severity": "enforce"}
    said = judged(encoding, *rules, key, anything)
    assert (said.outcome, said.violations, said.hold) == ("approve", (), None)
    assert [(each.rule, each.path) for each in said.reported] == [("key", "key.ec"), ("san", "san.dns[0]")]
    said = judged(encoding, *rules, key)
    assert (said.outcome, [each.path for each in said.violations]) == ("reject", ["attributes.1.2.3.4"])
    assert len(said.reported) == 2


def test_a_hold_that_is_reported() -> None:
    """A request that would wait for people goes on, and that it would have waited is told."""
    said = judged(build(), KEY, SUBJECT, {"hold": {"approvals": 2}, "severity": "report"})
    assert said.outcome == "approve"
    assert list(map(str, said.reported)) == ["hold: waits for two approvals by different people, 7d at most"]
    said = judged(build(), KEY, SUBJECT, {"hold": {}})
    assert (said.outcome, said.hold, said.reported) == ("hold", Hold(1, 604800.0, "every request"), ())


def broken(name: str) -> bytes:
    """A request that is malformed, or asks for powers."""
    match name:
        case "control character":
            return build(subject=csrs.subject("dev\n"))
        case "no text":
            return build(subject=csrs.name(csrs.value(csrs.CN, b"\xff", der.UTF8_STRING)))
        case "no name at all":
            return build(subject=csrs.name())
        case "short address":
            return build(carried(san(der.tlv(0x87, bytes(3)))))
        case "undecodable name":
            return build(carried(san(dns(b"\xff"))))
        case "purpose":
            return build(carried(csrs.eku("2.5.29.37.0")))
        case "policies":
            return build(carried(csrs.extension("1.3.6.1.4.1.311.21.10", b"\x05\x00")))
        case "weak key":
            return build(public_key=csrs.rsa_spki((1 << 2047) + 3 * 5 * 7, 65537))
        case "even modulus":
            return build(public_key=csrs.rsa_spki(1 << 2047, 65537))
        case "identifier":
            return build(carried(csrs.extension("1.3.6.1.4.1.311.25.2", der.NULL)))
        case _:
            return build(carried(csrs.extension(csrs.oid.BASIC_CONSTRAINTS, der.sequence(b"\x01\x01\xff"))))


@pytest.mark.parametrize(
    "name",
    [
        "control character",
        "no text",
        "no name at all",
        "short address",
        "undecodable name",
        "purpose",
        "policies",
        "weak key",
        "even modulus",
        "identifier",
        "CA",
    ],
)
@pytest.mark.proves("AC-080", "AC-086", "AC-074", "I12")
def test_what_is_broken_is_refused_all_the_same(name: str) -> None:
    """What is malformed, weak keys, and powers that no rule names are refused whatever only reports."""
    rules: list[dict[str, Any]] = [
        {"key": {"rsa": {}, "ec": "P-256"}},
        {"subject": {"allow": ["CN"]}},
        {"san": {"dns": {"match": ".*"}, "ip": {"networks": "0.0.0.0/0"}}},
        {"extensions": {"allow": ["basicConstraints", "applicationPolicies"]}},
        {"eku": {"allow": "clientAuth"}},
        {"microsoft": {"sid": "forbid"}},
    ]
    assert judged(broken(name), *({**rule, "severity": "report"} for rule in rules)).outcome == "reject"


def test_as_many_as_may_be_are_reported() -> None:
    """A request made of violations fills no record when they are only reported, either."""
    encoding = build(*(attribute(f"1.2.3.{index}", der.NULL) for index in range(300)))
    said = judged(encoding, KEY, SUBJECT, {"attributes": {"allow": ["osVersion"]}, "severity": "report"})
    assert (said.outcome, len(said.reported)) == ("approve", MAX_VIOLATIONS + 1)


def test_the_explanation_of_what_is_reported() -> None:
    """It says what would have been refused; what is refused all the same is no report."""
    rules = build_rules(policy(KEY, {"subject": {"match": {"CN": "x"}}, "severity": "report"}))
    reports = {each.rule: each for each in explain(rules, Asked(CertificationRequest.parse(build())))}
    subject = reports["subject"]
    assert (subject.ok, subject.reported, subject.said) == (True, True, "subject.CN: does not match x")
    assert not any(each.reported for name, each in reports.items() if name != "subject")
    (subject,) = (
        each
        for each in explain(rules, Asked(CertificationRequest.parse(broken("control character"))))
        if each.rule == "subject"
    )
    assert (subject.ok, subject.reported) == (False, False)
