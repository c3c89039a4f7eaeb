"""What in a policy can never happen."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.policy import openness
from scepra.policy.contradiction import contradictions
from scepra.policy.pattern import Pattern
from tests.policy.sample import KEY, SUBJECT, policy

OTHERS: dict[str, dict[str, Any]] = {
    "key": KEY,
    "subject": {"subject": {"match": {"CN": "dev", "C": "[A-Z]{2}"}}},
    "san": {
        "san": {
            "dns": {"match": r"(\*\.)?[a-z.]+\.example", "wildcard": True},
            "upn": {"match": r"[a-z]+@corp\.example"},
            "ip": {"networks": ["10.0.0.0/8", "2001:db8::/32"]},
        }
    },
    "source": {"source": {"networks": ["192.0.2.0/24", "::1"]}},
}


def found(*rules: dict[str, Any], severity: str = "error") -> list[tuple[str, str]]:
    """What is found, of one severity: places and sentences."""
    kinds = {next(iter(rule)) for rule in rules}
    usual = [rule for kind, rule in OTHERS.items() if kind not in kinds]
    said = list(contradictions(policy(*rules, *usual)))
    assert {each.severity for each in said} <= {severity}
    return [(".".join(map(str, each.path)), each.sentence) for each in said]


NEVER = "nothing that may stand there matches the pattern"


@pytest.mark.parametrize(
    ("rule", "place", "sentence"),
    [
        ({"subject": {"match": {"CN": " dev"}}}, "0.subject.match.CN", NEVER),
        ({"subject": {"match": {"CN": "é+"}}}, "0.subject.match.CN", NEVER),
        ({"subject": {"match": {"CN": "[^ -~]"}}}, "0.subject.match.CN", NEVER),
        ({"subject": {"match": {"CN": "a{65,}"}}}, "0.subject.match.CN", "65 characters or more match, and CN has 64"),
        ({"subject": {"match": {"UID": "a{300}"}}}, "0.subject.match.UID", "300 characters or more"),
        ({"subject": {"match": {"C": "DEU"}}}, "0.subject.match.C", "3 characters or more match, and C has 2 at most"),
        ({"subject": {"match": {"C": "[0-9]+"}}}, "0.subject.match.C", NEVER),
        ({"san": {"dns": {"match": "a_b"}}}, "0.san.dns.match", NEVER),
        ({"san": {"dns": {"match": r"\*\.corp\.example"}}}, "0.san.dns.match", NEVER),
        ({"san": {"dns": {"suffix": ["a.b", "com"], "wildcard": True}}}, "0.san.dns.suffix.1", "*.com is accepted"),
        ({"san": {"email": {"match": "[a-z]+"}}}, "0.san.email.match", NEVER),
        ({"san": {"upn": {"match": r"[a-z]+@Corp\.example"}}}, "0.san.upn.match", "with its domain in lower case"),
        ({"san": {"uri": {"match": "a b"}}}, "0.san.uri.match", NEVER),
        ({"san": {"uri": {"match": r"tag:microsoft\.com,.*"}}}, "0.san.uri.match", "judged by the rule microsoft"),
        ({"san": {"directory": {"match": {"CN": "a b"}}}}, "", ""),
        ({"subject": {"match": {"CN": "é+"}, "characters": "é"}}, "", ""),
        ({"san": {"directory": {"match": {"CN": "[^ -~]"}}}}, "0.san.directory.match.CN", NEVER),
        ({"time": {"hours": "08:00-08:00"}}, "0.time.hours", "the time between is empty"),
        ({"time": {"not-before": "2026-02-01", "not-after": "2026-01-31"}}, "0.time.not-after", "before not-before"),
        ({"infrastructure": {"names": ["x", ".*"]}}, "0.infrastructure.names.1", "every request is refused"),
        ({"infrastructure": {"addresses": ["10.0.0.0/7", "::1"]}}, "3.san.ip.networks.0", "are the infrastructure's"),
        ({"hold": {"when": {"subject": {"CN": "é"}}}}, "0.hold.when.subject.CN", NEVER),
        (
            {"hold": {"when": {"subject": {"OU": "servers"}}}},
            "0.hold.when.subject.OU",
            "accepts no OU: nothing",
        ),
        ({"hold": {"when": {"dns": "a b"}}}, "0.hold.when.dns", NEVER),
        ({"hold": {"when": {"upn": "alice"}}}, "0.hold.when.upn", NEVER),
        ({"hold": {"when": {"uri": "urn:.*"}}}, "0.hold.when.uri", "accepts names of the type uri"),
        ({"hold": {"when": {"email": "a@b"}}}, "0.hold.when.email", "accepts names of the type email"),
        ({"hold": {"when": {"source": "203.0.113.0/24"}}}, "0.hold.when.source", "accepts none of these addresses"),
        ({"hold": {"when": {"source": "::/64"}}}, "", ""),
        ({"hold": {"when": {"source": "192.0.2.5"}}}, "", ""),
        ({"microsoft": {"sid": "with-upn"}}, "", ""),
        ({"signature": {"digests": ["SHA-256"]}}, "", ""),
    ],
)
@pytest.mark.proves("DR-19", "AC-077")
def test_what_never_happens(rule: dict[str, Any], place: str, sentence: str) -> None:
    """A pattern that nothing matches, an empty time, a hold that never comes: each is an error at its place."""
    said = found(rule)
    assert len(said) == bool(place), said
    for where, what in said:
        assert where == place
        assert sentence in what


@pytest.mark.parametrize(
    "rules",
    [
        [{"hold": {"when": {"subject": {"OU": "x"}}}}, {**OTHERS["subject"], "severity": "report"}],
        [{"hold": {"when": {"uri": "urn:x"}}}, {**OTHERS["san"], "severity": "report"}],
        [{"hold": {"when": {"source": "203.0.113.1"}}}, {**OTHERS["source"], "severity": "report"}],
        [{"limit": {"per": "key", "active": 2}}, {"unique": {"keys": "profile"}, "severity": "report"}],
        [{"limit": {"per": "key", "active": 2}}, {"unique": {"names": "profile"}}],
        [{"limit": {"per": "subject", "active": 2}}, {"unique": {"keys": "profile"}}],
        [{"key": {"ec": "P-256", "ed25519": True}}, {"signature": {"digests": ["SHA-512"]}}],
        [{"infrastructure": {"names": ["dc", "é"]}}],
        [{"hold": {"when": {"subject": {"CN": "é"}}}}, {"subject": {"match": {"CN": "é"}, "characters": "é"}}],
        [{"infrastructure": {"addresses": "10.0.0.0/9"}}],
        [{"infrastructure": {"addresses": "10.0.0.0/7"}}, {"san": {"dns": {"suffix": "a.b"}}}],
    ],
)
def test_what_may_happen(rules: list[dict[str, Any]]) -> None:
    """What another rule only reports, or does not rule out, is no contradiction."""
    assert found(*rules) == []


def test_without_the_other_rule() -> None:
    """A hold by what no rule accepts is found where there is no such rule at all; without a subject rule another
    remark is enough."""
    (alone,) = contradictions(policy(KEY, {"hold": {"when": {"dns": "a.b", "subject": {"OU": "x"}}}}))
    assert alone.path == (1, "hold", "when", "dns")
    assert list(contradictions(policy(KEY, SUBJECT, {"hold": {"when": {"source": "192.0.2.1"}}}))) == []


@pytest.mark.parametrize(
    ("rules", "place", "severity"),
    [
        ([{"san": {"dns": {"match": r"[a-z]+\.example", "wildcard": True}}}], "0.san.dns.wildcard", "warning"),
        ([{"infrastructure": {"names": "[^ -~]"}}], "0.infrastructure.names.0", "warning"),
        (
            [{"limit": [{"per": "subject", "active": 1}, {"per": "subject", "active": 2}]}],
            "0.limit.1",
            "warning",
        ),
        (
            [
                {
                    "limit": [
                        {"per": "key", "active": 1},
                        {"per": "subject", "active": 2},
                        {"per": "subject", "active": 2},
                    ]
                }
            ],
            "0.limit.2",
            "warning",
        ),
        (
            [
                {
                    "limit": [
                        {"per": "subject", "new": 9, "within": "1h"},
                        {"per": "subject", "new": 9, "within": "1d"},
                        {"per": "subject", "active": 1},
                    ]
                }
            ],
            "0.limit.0",
            "warning",
        ),
        (
            [{"limit": {"per": "key", "new": 2, "within": "1d"}}, {"unique": {"keys": "profile"}}],
            "0.limit.0",
            "warning",
        ),
        ([{"san": {"dns": {"suffix": "a.b"}}}, {"microsoft": {"sid": "with-upn"}}], "1.microsoft.sid", "error"),
        (
            [{"san": {"dns": {"suffix": "a.b"}}}, {"microsoft": {"upn-matches-cn": True}}],
            "1.microsoft.upn-matches-cn",
            "warning",
        ),
        ([{"key": {"ed25519": True}}, {"signature": {"digests": "SHA-256"}}], "1.signature.digests", "error"),
    ],
)
def test_rules_that_undo_each_other(rules: list[dict[str, Any]], place: str, severity: str) -> None:
    """What another rule makes idle is remarked on, at the one that does nothing."""
    ((where, _),) = found(*rules, severity=severity)
    assert where == place


def test_it_is_part_of_what_is_remarked_on() -> None:
    """The linter says it beside what is open, and what is an error stays one."""
    said = openness(policy(KEY, SUBJECT, {"time": {"hours": "08:00-08:00"}}))
    assert [(each.path, each.severity) for each in said] == [((2, "time", "hours"), "error")]


@pytest.mark.parametrize(
    ("pattern", "parts", "length"),
    [
        ("a", ["a"], 1),
        ("a*", ["a"], 1),
        ("a{3,5}", ["ab"], 3),
        ("a|bb|ccc", ["bc"], 2),
        ("ab", ["a", "b"], 2),
        ("ba", ["a", "b"], None),
        ("x@y", ["x", "@", "y"], 3),
        (".*", ["x", "@", "y"], 3),
        ("xy", ["x", "@", "y"], None),
        ("(ab)+c", ["abc", "c"], 3),
        ("c", ["ab"], None),
    ],
)
def test_the_shortest_match(pattern: str, parts: list[str], length: int | None) -> None:
    """How long a text has to be at least that matches and is made of such parts."""
    assert Pattern(pattern).shortest(parts) == length


@pytest.mark.parametrize(
    ("pattern", "suffix", "matches"),
    [
        (r"dc[0-9]+\.corp", ".corp", True),
        (r"dc[0-9]+\.corp", ".other", False),
        (r"a\.b\.corp", ".corp", False),
        (r"a\.b\.corp", ".b.corp", True),
        (r"\.corp", ".corp", False),
        ("[0-9a-f]+", "", True),
    ],
)
def test_what_a_wildcard_stands_for(pattern: str, suffix: str, matches: bool) -> None:
    """A wildcard stands for one label before its domain."""
    assert Pattern(pattern).matches_below(suffix) is matches
