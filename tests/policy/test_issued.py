"""Certificates, judged by the rules of the requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from scepra.enrolment import Credential
from scepra.policy import build, build_issued, decide, explain
from scepra.policy.issued import IssuedContents, IssuedRequest
from scepra.policy.model import PolicyRule
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import Validity, build_certificate, key_usage, name
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import SoftwareKey
from tests import csrs
from tests.policy.sample import Asked, policy
from tests.rig.material import DAY, NOW, authority, key

SUBJECT = {"subject": {"match": {"CN": "dev"}}}


def certificate(*extensions: Extension, days: int = 10) -> Certificate:
    """A certificate of CN=dev."""
    return build_certificate(
        subject=name("dev"),
        public_key=SoftwareKey(key()).public.der,
        issuer=authority().certificate.subject_der,
        signer=authority().identity.key,
        validity=Validity.of(NOW, days * DAY),
        extensions=extensions,
    )


def asked(made: Certificate) -> IssuedRequest:
    """It in the place of a request."""
    return IssuedRequest(IssuedContents.of(made), Credential.INITIAL, "192.0.2.1", NOW)


def objected(made: Certificate, rules: tuple[PolicyRule, ...], *tolerated: str) -> list[str]:
    """The paths that the rules object to."""
    return [each.path for each in decide(build_issued(rules, tolerated), asked(made)).violations]


def test_which_rules_judge() -> None:
    """Those about what a certificate holds; not those about the key, which is the request's, its signature, where it
    came from and when, and people."""
    every: list[dict[str, Any]] = [
        {"key": {"ed25519": True}},
        SUBJECT,
        {"signature": {"digests": "SHA-512"}},
        {"source": {"networks": "203.0.113.1"}},
        {"time": {"not-after": "2000-01-01"}},
        {"limit": {"per": "key", "active": 1}},
        {"unique": {"keys": "profile"}},
        {"hold": {}},
        {"validity": {"most": "30d"}},
        {"infrastructure": {"names": "root"}},
        {"attributes": {"allow": "osVersion"}},
    ]
    rules = build_issued(policy(*every))
    assert [rule.name for rule in rules] == [
        "ca-powers",
        "subject",
        "san",
        "extensions",
        "eku",
        "microsoft",
        "infrastructure",
        "validity",
    ]
    assert decide(rules, asked(certificate())).outcome == "approve"
    more = policy(SUBJECT, {"key-usage": {"allow": "digitalSignature"}})
    assert "key-usage" in [rule.name for rule in build_issued(more)]


@pytest.mark.proves("AC-110", "I12")
def test_what_a_ca_may_add() -> None:
    """A usage that narrows is no deviation where no rule is about it; other extensions are, unless tolerated."""
    usage = certificate(key_usage(["digitalSignature"]))
    assert objected(usage, policy(SUBJECT)) == []
    named = policy(SUBJECT, {"key-usage": {"allow": "keyEncipherment"}})
    assert objected(usage, named) == ["key-usage.digitalSignature"]
    odd = certificate(Extension(oid.encode("1.2.3"), False, der.NULL))
    assert objected(odd, policy(SUBJECT)) == ["extensions.1.2.3"]
    assert objected(odd, policy(SUBJECT, {"extensions": {"allow": "1.2.3"}})) == []
    assert objected(odd, policy(SUBJECT), "extensions") == []
    assert objected(certificate(), policy()) == ["subject.CN"]
    assert objected(certificate(), policy(), "subject", "names") == []


def test_how_long_it_is_valid() -> None:
    """Longer than the rule says is a violation; a validity that cannot be read is one that no severity waives."""
    rule = {"validity": {"most": "10d"}}
    assert objected(certificate(days=9), policy(SUBJECT, rule)) == []
    assert objected(certificate(days=11), policy(SUBJECT, rule)) == ["validity.most"]
    reports = build_issued(policy(SUBJECT, {**rule, "severity": "report"}))
    said = decide(reports, asked(certificate(days=11)))
    assert (said.outcome, [each.path for each in said.reported]) == ("approve", ["validity.most"])
    known = IssuedContents.of(certificate())
    values = {each: getattr(known, each) for each in IssuedContents.__slots__}
    unread = IssuedRequest(IssuedContents(**values | {"lifetime": None}), Credential.INITIAL, "", NOW)
    assert decide(reports, unread).outcome == "reject"
    assert explain(reports, unread)[-1].looked_at == "unreadable"
    assert explain(reports, asked(certificate(days=11)))[-1].looked_at == "11 days"
    request = Asked(CertificationRequest.parse(csrs.build()))
    assert explain(build(policy(SUBJECT, rule)), request)[-1].looked_at == "10d at most, judged when the CA has issued"


def test_what_is_read() -> None:
    """Its validity, and no template: that is the CA's to say."""
    template = Extension(oid.encode("1.3.6.1.4.1.311.20.2"), False, der.tlv(der.UTF8_STRING, b"WebServer"))
    contents = IssuedContents.of(certificate(template))
    assert (contents.templates, contents.attributes, contents.carrier) == ((), (), None)
    assert contents.lifetime is not None
    assert timedelta(days=10) <= contents.lifetime < timedelta(days=11)
