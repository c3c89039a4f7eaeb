"""Deciding: every rule, every violation, no header."""

from __future__ import annotations

import time

import pytest

from scepra.enrolment import Approve
from scepra.policy import Judged, decide, explain
from scepra.policy import build as build_rules
from scepra.policy.decision import MAX_VIOLATIONS
from scepra.scep import der
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import attribute, build, carried, challenge, dns, san
from tests.policy.sample import KEY, SUBJECT, Asked, judged, objected, policy

WIFI = policy(
    {"key": {"rsa": {"min": 2048}, "ec": ["P-256", "P-384"]}},
    {"subject": {"require": ["CN"], "match": {"CN": "[a-z0-9-]+"}}},
    {"san": {"dns": {"match": r"[a-z0-9-]+\.wifi\.corp\.example", "max": 2}}},
    {"extensions": {"allow": ["keyUsage", "extendedKeyUsage", "subjectAltName"]}},
    {"attributes": {"allow": ["osVersion"]}},
    {"eku": {"allow": ["clientAuth"]}},
    {"key-usage": {"allow": ["digitalSignature", "keyEncipherment"]}},
    {"signature": {"digests": ["SHA-256"]}},
    {"source": {"networks": ["192.0.2.0/24", "2001:db8::/32"]}},
)


def asked(encoding: bytes, source: str = "192.0.2.7") -> Asked:
    return Asked(CertificationRequest.parse(encoding), source)


def typical(key: csrs.PrivateKey | None = None) -> bytes:
    return build(
        challenge("secret"),
        carried(san(dns("dev.wifi.corp.example")), csrs.eku("1.3.6.1.5.5.7.3.2"), csrs.key_usage(b"\x05\xa0")),
        key=key,
    )


def test_approved() -> None:
    """A request that satisfies every rule is approved."""
    assert decide(build_rules(WIFI), asked(typical())) == Judged(Approve())


@pytest.mark.proves("I12")
def test_empty_policy() -> None:
    """A policy without rules approves nothing."""
    for encoding in (build(), typical(), build(subject=csrs.name())):
        assert decide(build_rules(()), asked(encoding)).outcome == "reject"


def test_every_violation() -> None:
    """All violations of all rules are named, with the rule and the place."""
    encoding = build(
        attribute("1.2.3.4", der.NULL),
        carried(
            san(dns("evil.example"), csrs.upn("root@x.example")),
            csrs.eku("1.3.6.1.5.5.7.3.1"),
            csrs.key_usage(b"\x01\x06"),
        ),
        subject=csrs.name(csrs.value(csrs.CN, "EVIL"), csrs.value(csrs.UNIT, "x")),
        key=csrs.ec_key("P-521"),
        signature_algorithm=csrs.algorithm(b"\x2a\x03"),
    )
    decision = decide(build_rules(WIFI), asked(encoding, "203.0.113.1"))
    assert [(violation.rule, violation.path) for violation in decision.violations] == [
        ("ca-powers", "extensions.keyUsage.cRLSign"),
        ("ca-powers", "extensions.keyUsage.keyCertSign"),
        ("key", "key.ec"),
        ("subject", "subject.CN"),
        ("subject", "subject.OU"),
        ("san", "san.dns[0]"),
        ("san", "san.upn[1]"),
        ("attributes", "attributes.1.2.3.4"),
        ("eku", "eku.serverAuth"),
        ("signature", "signature.digests"),
        ("source", "source"),
    ]


@pytest.mark.proves("AC-085")
def test_number_of_violations() -> None:
    """A request made of violations fills no log: beyond a hundred they are counted."""
    encoding = build(*(attribute(f"1.2.3.{index}", der.NULL) for index in range(300)))
    violations = judged(encoding)
    assert len(violations) == MAX_VIOLATIONS + 1
    assert violations[-1].sentence == "200 more violations"


@pytest.mark.parametrize(
    ("source", "accepted"),
    [
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("2001:db8::5", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.3.1", False),
        ("2001:db9::5", False),
        ("", False),
        ("unix", False),
        ("192.0.2.1, 203.0.113.1", False),
    ],
)
@pytest.mark.proves("AC-011")
def test_source(source: str, accepted: bool) -> None:
    """The address that the connection has decides, and what is no address is in no network."""
    rule = {"source": {"networks": ["192.0.2.0/24", "2001:db8::/32"]}}
    assert objected(build(), rule, source=source) == ([] if accepted else ["source"])
    assert objected(build(), source=source) == []


def test_explanation() -> None:
    """Each rule says what it looked at and whether it is content; the challenge is not shown."""
    reports = explain(build_rules(WIFI), asked(typical()))
    assert [report.rule for report in reports] == [
        "ca-powers",
        "key",
        "subject",
        "san",
        "extensions",
        "attributes",
        "eku",
        "key-usage",
        "microsoft",
        "signature",
        "source",
    ]
    assert all(report.ok and report.said == "ok" for report in reports)
    assert "secret" not in str(reports)
    shown = {report.rule: report.looked_at for report in reports}
    assert shown["subject"] == "CN=dev"
    assert shown["san"] == "dns:dev.wifi.corp.example"
    assert (shown["signature"], shown["source"]) == ("SHA-256", "192.0.2.7")
    refused = explain(build_rules(policy(KEY, SUBJECT)), asked(build(subject=csrs.name())))
    report = next(report for report in refused if report.rule == "subject")
    assert (report.ok, report.looked_at, report.said) == (
        False,
        "(empty)",
        "subject: is empty, and there is no other name",
    )


def test_two_rules_of_a_kind() -> None:
    """Two rules of one kind are refused here too, since the second would replace the first."""
    with pytest.raises(ValueError, match="more than one rule of the kind key"):
        build_rules([*WIFI, *policy(KEY)])


@pytest.mark.proves("AC-086")
def test_cheap() -> None:
    """Judging a request takes well under a millisecond, for an RSA key too."""
    rules, request = build_rules(WIFI), asked(typical(csrs.rsa_key()))
    best = 1.0
    for _ in range(20):
        started = time.process_time()
        assert decide(rules, request) == Judged(Approve())
        best = min(best, time.process_time() - started)
    assert best < 0.001
