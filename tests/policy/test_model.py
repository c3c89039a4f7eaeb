"""Rules as the configuration has them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from scepra.policy.model import KeySpec, PolicyRule, RSAKey
from tests.policy.sample import POLICY, policy

FINGERPRINT = "sha256:" + "AB:" * 31 + "AB"


def test_defaults() -> None:
    """What is not said is the closed value, and for sizes the usual one."""
    (rule,) = policy({"key": {"rsa": {}}})
    assert rule.key is not None and rule.key.rsa is not None
    assert (rule.kind, rule.key.rsa.min, rule.key.rsa.max, rule.key.rsa.exponent) == ("key", 2048, 8192, 65537)
    assert (rule.key.ec, rule.key.ed25519, rule.key.refuse) == ((), False, ())
    (rule,) = policy({"hold": {}})
    assert rule.hold is not None and rule.hold.when.model_dump(exclude_none=True) == {}
    assert (rule.hold.approvals, rule.hold.expires) == (1, 7 * 86400.0)
    (rule,) = policy({"san": {}})
    assert rule.san is not None and rule.san.model_dump(exclude_none=True) == {}


def test_spellings() -> None:
    """One item stands for a list of one; names, identifiers, domains and fingerprints get one spelling."""
    rules = policy(
        {"key": {"ec": "P-256", "refuse": FINGERPRINT}},
        {"subject": {"require": "2.5.4.3", "match": {"2.5.4.10": "a", "1.2.3": "b"}}},
        {"san": {"dns": {"suffix": ".Corp.Example"}, "registered-id": {"allow": "1.2.3"}}},
        {"eku": {"allow": ["1.3.6.1.5.5.7.3.2", "1.2.3.4"]}},
        {"key-usage": {"allow": "digitalSignature"}},
        {"source": {"networks": "192.0.2.0/24"}},
    )
    key, subject, san, eku, usage, source = (getattr(rule, rule.kind) for rule in rules)
    assert (key.ec, key.refuse) == (("P-256",), ("ab" * 32,))
    assert (subject.require, dict(subject.match)) == (("CN",), {"O": "a", "1.2.3": "b"})
    assert (san.dns.suffix, san.registered_id.allow) == (("corp.example",), ("1.2.3",))
    assert eku.allow == ("clientAuth", "1.2.3.4")
    assert (usage.allow, source.networks) == (("digitalSignature",), (ip_network("192.0.2.0/24"),))
    assert policy({"source": {"networks": [ip_network("192.0.2.0/24")]}})[0] == rules[-1]


REFUSED: list[tuple[Any, str, str]] = [
    # what stands in the file, where the mistake is, what the sentence says
    ({"severity": "report"}, "", "exactly one of the keys"),
    ({"key": {"rsa": {}}, "severity": "warn"}, "severity", "'enforce' or 'report'"),
    ({"extensions": {"allow": "ntdsCaSecurity"}}, "extensions.allow.0", "by the rule microsoft"),
    ({"time": {"days": ["monday"]}}, "time.days.0", "'mon', 'tue'"),
    ({"time": {"days": []}}, "time.days", "at least 1 item"),
    ({"time": {"hours": "8-18"}}, "time.hours", "expected hours such as 08:00-18:00"),
    ({"time": {"hours": "00:00-24:01"}}, "time.hours", "a day ends at 24:00"),
    ({"time": {"zone": "../etc/passwd"}}, "time.zone", "expected a time zone"),
    ({"time": {"zone": "Mars/Olympus"}}, "time.zone", "no such time zone"),
    ({"time": {"not-before": "2026-13-01"}}, "time.not-before", "expected a date"),
    ({"time": {"not-after": "tomorrow"}}, "time.not-after", "expected a date"),
    ({"time": {"not-after": 20261231}}, "time.not-after", "expected a date"),
    ({"infrastructure": {}}, "infrastructure", "expected names or addresses"),
    ({"microsoft": {"domains": "S-1-5-21-1-2"}}, "microsoft.domains.0", "S-1-5-21- and three numbers"),
    ({"microsoft": {"domains": "S-1-5-21-1-2-3"}}, "microsoft", "domains are named, but sid is forbid"),
    ({"validity": {"most": "0s"}}, "validity.most", "greater than 0"),
    ({"limit": []}, "limit", "at least 1 item"),
    ({"limit": {"per": "subject"}}, "limit.0", "expected active or new, exactly one of them"),
    ({"limit": {"per": "subject", "active": 1, "new": 1}}, "limit.0", "exactly one of them"),
    ({"limit": {"per": "subject", "active": 0}}, "limit.0.active", "greater than or equal to 1"),
    ({"limit": {"per": "subject", "new": 1}}, "limit.0", "new and within belong together"),
    ({"limit": {"per": "subject", "active": 1, "within": "1h"}}, "limit.0", "new and within belong together"),
    ({"limit": {"per": "subject", "new": 1, "within": "32d"}}, "limit.0.within", "less than or equal to"),
    ({"limit": {"per": "moon", "active": 1}}, "limit.0.per", "'subject', 'device'"),
    ({"unique": {}}, "unique", "expected keys or names"),
    ({"unique": {"keys": "profile", "takeover": "hold"}}, "unique", "takeover is about names"),
    ({"keys": {}}, "keys", "Extra inputs are not permitted"),
    (
        {},
        "",
        "exactly one of the keys key, subject, san, extensions, attributes, eku, key-usage, signature, source, time, "
        "infrastructure, microsoft, validity, limit, unique, hold, and perhaps severity",
    ),
    ({"key": {"rsa": {}}, "eku": {"allow": "clientAuth"}}, "", "exactly one of the keys"),
    ({"key": None}, "", "exactly one of the keys"),
    ({"key": {"rsa": {"min": "2048"}}}, "key.rsa.min", "valid integer"),
    ({"key": {"rsa": {"min": 512}}}, "key.rsa.min", "greater than or equal to 1024"),
    ({"key": {"rsa": {"min": 4096, "max": 2048}}}, "key.rsa", "min is larger than max"),
    ({"key": {"rsa": {"exponent": 1}}}, "key.rsa.exponent", "greater than or equal to 3"),
    ({"key": {"ec": ["P-192"]}}, "key.ec.0", "'P-256', 'P-384' or 'P-521'"),
    ({"key": {"ec": ["P-256", "P-256"]}}, "key.ec", "the same item stands twice"),
    ({"key": {"ed25519": "yes"}}, "key.ed25519", "valid boolean"),
    ({"key": {"refuse": "sha256:1234"}}, "key.refuse.0", "the 64 hexadecimal digits"),
    ({"key": {"refuse": "sha256:" + "x" * 64}}, "key.refuse.0", "the 64 hexadecimal digits"),
    ({"subject": {"require": ["cn"]}}, "subject.require.0", "a dotted object identifier or one of CN, SN"),
    ({"subject": {"require": [3]}}, "subject.require.0", "valid string"),
    ({"subject": {"match": {"CN": "a**"}}}, "subject.match.CN", "a pattern that cannot be used: at character 3"),
    ({"subject": {"match": {"CN": "(?i)a"}}}, "subject.match.CN", "no flags"),
    ({"subject": {"match": {"XX": "a"}}}, "subject.match.XX.[key]", "one of CN, SN"),
    ({"subject": {"repeat": ["OU"]}}, "subject", "OU stands under repeat but not under require, allow or match"),
    ({"subject": {"characters": "äb"}}, "subject.characters", "letters beyond ASCII"),
    ({"subject": {"characters": "\u202e"}}, "subject.characters", "letters beyond ASCII"),
    ({"subject": {"characters": "\u3000"}}, "subject.characters", "letters beyond ASCII"),
    ({"san": {"dns": {}}}, "san.dns", "expected match or suffix, exactly one of them"),
    ({"san": {"dns": {"match": "a", "suffix": "b"}}}, "san.dns", "expected match or suffix, exactly one of them"),
    ({"san": {"dns": {"suffix": "*.corp.example"}}}, "san.dns.suffix.0", "expected a domain"),
    ({"san": {"dns": {"suffix": "corp.example."}}}, "san.dns.suffix.0", "expected a domain"),
    ({"san": {"dns": {"suffix": ""}}}, "san.dns.suffix.0", "expected a domain"),
    ({"san": {"dns": {"suffix": "a", "max": 0}}}, "san.dns.max", "greater than or equal to 1"),
    ({"san": {"email": {}}}, "san.email", "expected match or domains"),
    ({"san": {"upn": {"match": "a", "domains": "b"}}}, "san.upn", "expected match or domains"),
    ({"san": {"uri": {}}}, "san.uri.match", "required"),
    ({"san": {"ip": {"networks": []}}}, "san.ip.networks", "at least 1 item"),
    ({"san": {"ip": {"networks": ["10.0.0.1/8"]}}}, "san.ip.networks.0", "its host bits zero"),
    ({"san": {"ip": {"networks": [7]}}}, "san.ip.networks.0", "an address or a network"),
    ({"san": {"other": {"allow": ["KRB5"]}}}, "san.other.allow.0", "a dotted object identifier"),
    ({"san": {"x400": {}}}, "san.x400", "Extra inputs"),
    ({"extensions": {"allow": ["2.5.29.30"]}}, "extensions.allow.0", "nameConstraints belongs to CA certificates"),
    ({"extensions": {"allow": ["keyusage"]}}, "extensions.allow.0", "one of subjectKeyIdentifier, keyUsage"),
    ({"extensions": {"allow": ["1.3.6.1.4.1.311.20.2"]}}, "extensions.allow.0", "name the template under templates"),
    ({"extensions": {"templates": [""]}}, "extensions.templates.0", "at least 1 character"),
    ({"attributes": {}}, "attributes.allow", "required"),
    ({"attributes": {"allow": ["1.2.840.113549.1.9.7"]}}, "attributes.allow.0", "judged elsewhere"),
    ({"attributes": {"allow": ["1.3.6.1.4.1.311.2.1.14"]}}, "attributes.allow.0", "judged elsewhere"),
    ({"attributes": {"allow": ["1.3.6.1.4.1.311.21.7"]}}, "attributes.allow.0", "is an extension, not an attribute"),
    ({"eku": {"allow": []}}, "eku.allow", "at least 1 item"),
    ({"eku": {"allow": ["ClientAuth"]}}, "eku.allow.0", "one of serverAuth, clientAuth"),
    ({"key-usage": {"allow": ["keyCertSign"]}}, "key-usage.allow.0", "'digitalSignature', 'nonRepudiation'"),
    ({"signature": {"digests": ["SHA256"]}}, "signature.digests.0", "'SHA-1', 'SHA-224', 'SHA-256'"),
    ({"source": {"networks": ["example.org"]}}, "source.networks.0", "an address or a network"),
    ({"hold": {"approvals": 0}}, "hold.approvals", "greater than or equal to 1"),
    ({"hold": {"approvals": 3}}, "hold.approvals", "less than or equal to 2"),
    ({"hold": {"approvals": "2"}}, "hold.approvals", "valid integer"),
    ({"hold": {"approvals": True}}, "hold.approvals", "valid integer"),
    ({"hold": {"expires": "0s"}}, "hold.expires", "greater than 0"),
    ({"hold": {"expires": "1w"}}, "hold.expires", "expected a duration"),
    ({"hold": {"expires": "36501d"}}, "hold.expires", "longer than 36500d"),
    ({"hold": {"until": "7d"}}, "hold.until", "Extra inputs"),
    ({"hold": {"when": {"subject": {}}}}, "hold.when.subject", "at least 1 item"),
    ({"hold": {"when": {"subject": {"ou": "a"}}}}, "hold.when.subject.ou.[key]", "one of CN, SN"),
    ({"hold": {"when": {"subject": {"OU": "a**"}}}}, "hold.when.subject.OU", "a pattern that cannot be used"),
    ({"hold": {"when": {"dns": "(?i)a"}}}, "hold.when.dns", "no flags"),
    ({"hold": {"when": {"ip": "192.0.2.1"}}}, "hold.when.ip", "Extra inputs"),
    ({"hold": {"when": {"credential": "challenge"}}}, "hold.when.credential", "'renewal', 'device' or 'on-behalf'"),
    ({"hold": {"when": {"source": []}}}, "hold.when.source", "at least 1 item"),
    ({"hold": {"when": {"source": "10.0.0.1/8"}}}, "hold.when.source.0", "its host bits zero"),
]


@pytest.mark.parametrize(
    ("rule", "place", "sentence"), REFUSED, ids=[f"{place or 'rule'}-{n}" for n, (_, place, _) in enumerate(REFUSED)]
)
@pytest.mark.proves("I12", "AC-077", "AC-080", "AC-082")
def test_refused_rule(rule: Any, place: str, sentence: str) -> None:
    """A rule that cannot be meant is refused at its place, with what is wrong and what is expected."""
    with pytest.raises(ValidationError) as caught:
        policy(rule)
    errors = caught.value.errors()
    assert [".".join(map(str, error["loc"][1:])) for error in errors] == [place]
    assert sentence in errors[0]["msg"]


def test_two_of_a_kind() -> None:
    """Two rules of one kind are refused, whatever they say."""
    with pytest.raises(ValidationError, match="more than one rule of the kind key-usage; put them together"):
        policy({"key-usage": {"allow": "keyAgreement"}}, {"key": {}}, {"key-usage": {"allow": "keyAgreement"}})


def _described(schema: dict[str, Any]) -> list[str]:
    return [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, part in model["properties"].items()
        if not part.get("description")
    ]


def test_schema() -> None:
    """The JSON Schema describes every key, and is closed."""
    schema = POLICY.json_schema()
    assert _described(schema) == []
    assert all(model["additionalProperties"] is False for model in schema["$defs"].values())
    assert "key-usage" in schema["$defs"]["PolicyRule"]["properties"]
    assert json.dumps(schema)


@dataclass
class Loader:
    """What a loader may pass as the context."""

    sections: list[tuple[Any, type[BaseModel]]] = field(default_factory=list)


def test_loader_learns_which_mapping_became_what() -> None:
    """A loader that asks is told which mapping was read as which model, to compare unknown keys with the known ones."""
    loader = Loader()
    rule = {"key": {"rsa": {"min": 2048}}}
    POLICY.validate_python([rule], context=loader)
    assert loader.sections == [(rule, PolicyRule), (rule["key"], KeySpec), (rule["key"]["rsa"], RSAKey)]
