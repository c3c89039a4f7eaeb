"""How open a policy is."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.policy import openness
from tests.policy.sample import KEY, SUBJECT, policy

CLOSED: list[dict[str, Any]] = [
    KEY,
    {"subject": {"require": ["CN"], "match": {"CN": "[a-z0-9-]+", "O": "Example"}}},
    {
        "san": {
            "dns": {"match": r"[a-z0-9-]+\.wifi\.corp\.example"},
            "email": {"domains": "corp.example"},
            "ip": {"networks": ["10.0.0.0/8"]},
            "directory": {"match": {"CN": "a"}},
        }
    },
    {"extensions": {"allow": ["keyUsage", "subjectAltName", "basicConstraints"], "templates": ["WiFi"]}},
    {"attributes": {"allow": ["osVersion"]}},
    {"eku": {"allow": ["clientAuth"]}},
    {"key-usage": {"allow": ["digitalSignature"]}},
    {"signature": {"digests": ["SHA-256"]}},
    {"source": {"networks": ["10.0.0.0/8"]}},
    {"hold": {"when": {"subject": {"CN": ".*"}, "source": ["0.0.0.0/0"]}}},
    {"limit": [{"per": "subject", "active": 1}, {"per": "profile", "new": 10, "within": "1h"}]},
    {"unique": {"keys": "profile", "names": "profile"}},
    {"time": {"hours": "22:00-06:00", "not-before": "2026-01-01", "not-after": "2026-01-01"}},
    {"infrastructure": {"names": "dc[0-9]+", "addresses": "10.0.0.0/28"}},
    {"microsoft": {"sid": "allow"}},
    {"validity": {"most": "398d"}},
]


def test_closed_policy() -> None:
    """About a policy that says what it means there is nothing to say."""
    assert openness(policy(*CLOSED)) == ()


@pytest.mark.parametrize(
    ("rule", "path", "sentence"),
    [
        ({"subject": {"match": {"CN": ".*"}}}, "subject.match.CN", "the pattern accepts everything"),
        ({"subject": {"match": {"CN": "[ -~]+"}}}, "subject.match.CN", "the pattern accepts everything"),
        ({"subject": {"match": {"CN": "a.corp"}}}, "subject.match.CN", "a dot in the pattern stands for any character"),
        ({"subject": {"require": ["CN"]}}, "subject.require.0", "CN may have any text"),
        ({"subject": {"allow": ["O"], "match": {"CN": "a"}}}, "subject.allow.0", "O may have any text"),
        ({"key": {"rsa": {"min": 1024}}}, "key.rsa.min", "RSA keys below 2048 bits"),
        ({"key": {}}, "key", "no kind of key is named"),
        ({"san": {"dns": {"match": r".*\.a.b"}}}, "san.dns.match", "a dot in the pattern"),
        ({"san": {"dns": {"suffix": ["a.b", "com"]}}}, "san.dns.suffix.1", "every name below com is accepted"),
        ({"san": {"dns": {"suffix": "a.b", "wildcard": True}}}, "san.dns.wildcard", "wildcard names are accepted"),
        ({"san": {"dns": {"suffix": "a.b", "idn": True}}}, "san.dns.idn", "Punycode names are accepted"),
        ({"san": {"email": {"match": ".+"}}}, "san.email.match", "the pattern accepts everything"),
        ({"san": {"upn": {"match": "a@.b"}}}, "san.upn.match", "a dot in the pattern"),
        ({"san": {"uri": {"match": ".*"}}}, "san.uri.match", "the pattern accepts everything"),
        ({"san": {"ip": {"networks": ["10.0.0.0/8", "::/0"]}}}, "san.ip.networks.1", "::/0 is every address"),
        ({"san": {"directory": {"allow": ["CN"]}}}, "san.directory.allow.0", "CN may have any text"),
        ({"san": {"other": {"allow": ["1.2.3"]}}}, "san.other", "the values of other names are not looked at"),
        (
            {"extensions": {"allow": ["tlsFeature"]}},
            "extensions.allow.0",
            "tlsFeature is allowed with any value",
        ),
        ({"extensions": {"allow": ["1.2.3"]}}, "extensions.allow.0", "1.2.3 is allowed with any value"),
        ({"eku": {"allow": ["clientAuth", "2.5.29.37.0"]}}, "eku.allow.1", "certificates for every purpose"),
        ({"eku": {"allow": ["certificateRequestAgent"]}}, "eku.allow.0", "in anyone's name"),
        (
            {"signature": {"digests": ["SHA-256", "SHA-1"]}},
            "signature.digests.1",
            "signatures with SHA-1 can be forged",
        ),
        ({"signature": {"digests": ["MD5"]}}, "signature.digests.0", "signatures with MD5 can be forged"),
        ({"eku": {"allow": ["1.3.6.1.5.5.7.3.3"]}}, "eku.allow.0", "codeSigning makes certificates that sign programs"),
        ({"attributes": {"allow": ["enrollmentNameValuePair"]}}, "attributes.allow.0", "may name other subjects"),
        ({"source": {"networks": ["0.0.0.0/0"]}}, "source.networks.0", "0.0.0.0/0 is every address"),
    ],
)
@pytest.mark.proves("AC-077")
def test_opening(rule: dict[str, Any], path: str, sentence: str) -> None:
    """What lets in more than it seems to is remarked on, at its place."""
    kind = next(iter(rule))
    rules = [rule if next(iter(each)) == kind else each for each in CLOSED]
    (opening,) = openness(policy(*rules))
    assert ".".join(map(str, opening.path)) == f"{rules.index(rule)}.{path}"
    assert sentence in opening.sentence


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ([SUBJECT], "there is no key rule, so that every request is refused"),
        ([KEY], "there is no subject rule, so that every request is refused"),
        ([KEY, SUBJECT, {"extensions": {"allow": "keyUsage"}}], "there is no key-usage rule"),
        ([KEY, SUBJECT, {"extensions": {"allow": "extendedKeyUsage"}}], "there is no eku rule"),
        ([KEY, SUBJECT, {"extensions": {"allow": "subjectAltName"}}], "there is no san rule"),
        ([KEY, SUBJECT, {"extensions": {"allow": "applicationPolicies"}}], "there is no eku rule"),
    ],
)
@pytest.mark.proves("I12")
def test_what_is_missing(rules: list[dict[str, Any]], sentence: str) -> None:
    """A policy that can approve nothing of a kind, though it seems to, is remarked on."""
    (opening,) = openness(policy(*rules))
    assert opening.path == ()
    assert sentence in opening.sentence


def test_what_only_reports() -> None:
    """A rule that only reports is remarked on, at its severity."""
    (opening,) = openness(policy(KEY, {**SUBJECT, "severity": "report"}))
    assert (opening.path, opening.severity) == ((1, "severity"), "warning")
    assert opening.sentence == "what the rule objects to is reported and not refused"
