"""Deciding: all rules, all violations (design rule 5, I12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from scepra.enrolment import Approve, Decision, Hold, Reject, Violation
from scepra.policy.alternative import AlternativeNames
from scepra.policy.extension import Attributes, CAPowers, Extensions, KeyUsage, Purposes
from scepra.policy.hold import Held, described
from scepra.policy.key import Key, Signature
from scepra.policy.model import (
    AttributesSpec,
    ExtensionsSpec,
    KeySpec,
    PolicyRule,
    SANSpec,
    SubjectSpec,
    one_of_each,
)
from scepra.policy.rule import Request, Rule, RuleReport
from scepra.policy.source import Source
from scepra.policy.subject import Subject
from scepra.scep import oid

MAX_VIOLATIONS = 100


def build(policy: Iterable[PolicyRule]) -> tuple[Rule, ...]:
    """The rules of a profile, ready to be applied.

    A rule that is not there becomes one that names nothing, and so refuses whatever it would have judged; only those
    about the signature, the source and people are left out, which narrow a profile and do not open it.

    Raises:
        ValueError: there are two rules of one kind.
    """
    specs = {rule.kind: getattr(rule, rule.kind) for rule in one_of_each(tuple(policy))}
    judged = frozenset(
        content
        for kind, content in (
            ("san", oid.SUBJECT_ALT_NAME),
            ("eku", oid.EXTENDED_KEY_USAGE),
            ("key_usage", oid.KEY_USAGE),
        )
        if kind in specs
    )
    rules: list[Rule] = [
        CAPowers(),
        Key(specs.get("key") or KeySpec.model_validate({})),
        Subject(specs.get("subject") or SubjectSpec.model_validate({})),
        AlternativeNames(specs.get("san") or SANSpec.model_validate({})),
        Extensions(specs.get("extensions") or ExtensionsSpec.model_validate({}), judged),
        Attributes(specs.get("attributes") or AttributesSpec.model_validate({"allow": ()})),
        Purposes(specs.get("eku")),
        KeyUsage(specs.get("key_usage")),
    ]
    if "signature" in specs:
        rules.append(Signature(specs["signature"]))
    if "source" in specs:
        rules.append(Source(specs["source"]))
    if "hold" in specs:
        rules.append(Held(specs["hold"]))
    return tuple(rules)


def version(policy: Iterable[PolicyRule]) -> str:
    """Names a policy: the same for the same rules, in any order (DR-19); sixteen hexadecimal digits."""
    said = sorted(rule.model_dump_json(exclude_unset=True) for rule in policy)
    return hashlib.sha256("\n".join(said).encode("utf-8")).hexdigest()[:16]


def decide(rules: Iterable[Rule], request: Request) -> Decision:
    """Whether the request may be forwarded, at once or when people have approved it.

    If it may not: every reason (at most :data:`MAX_VIOLATIONS`). A single violation outweighs a hold.
    """
    violations: list[Violation] = []
    hold: Hold | None = None
    for rule in rules:
        violations.extend(rule.check(request))
        if isinstance(rule, Held):
            hold = rule.hold(request)
    if not violations:
        return hold or Approve()
    if len(violations) > MAX_VIOLATIONS:
        more = len(violations) - MAX_VIOLATIONS
        violations[MAX_VIOLATIONS:] = [Violation("policy", "", f"{more} more violations")]
    return Reject(tuple(violations))


def explain(rules: Iterable[Rule], request: Request) -> tuple[RuleReport, ...]:
    """What each rule looked at and said, for people; it repeats what the client sent, but never the challenge."""
    reports = []
    for rule in rules:
        violations = list(rule.check(request))
        hold = rule.hold(request) if isinstance(rule, Held) else None
        said = "; ".join(f"{violation.path}: {violation.sentence}" for violation in violations)
        said = said or (described(hold) if hold is not None else "ok")
        reports.append(RuleReport(rule.name, rule.look(request), said, not violations, hold))
    return tuple(reports)
