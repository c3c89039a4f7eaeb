"""Deciding: all rules, all violations (design rule 5, I12)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scepra.enrolment import Approve, Decision, Hold, Reject, Violation
from scepra.policy.alternative import AlternativeNames
from scepra.policy.claim import Limits, Unique
from scepra.policy.extension import Attributes, CAPowers, Extensions, KeyUsage, Purposes
from scepra.policy.hold import Held, described
from scepra.policy.infrastructure import Infrastructure
from scepra.policy.issued import USUAL_ADDITIONS
from scepra.policy.key import Key, Signature
from scepra.policy.lifetime import Lifetime
from scepra.policy.microsoft import Microsoft
from scepra.policy.model import (
    AttributesSpec,
    ExtensionsSpec,
    KeySpec,
    MicrosoftSpec,
    PolicyRule,
    SANSpec,
    SubjectSpec,
    one_of_each,
)
from scepra.policy.register import SECURITY_IDENTIFIER
from scepra.policy.rule import Reporting, Request, Rule, RuleReport, Rules
from scepra.policy.source import Source
from scepra.policy.subject import Subject
from scepra.policy.window import Window
from scepra.scep import oid

MAX_VIOLATIONS = 100
RECORDED_SENTENCES = 10
"""How many sentences of one rule are recorded."""
OK = "ok"

Outcome = Literal["approve", "hold", "reject"]
Said = str | tuple[str, ...]
"""What one rule said, for records: "ok", what is waited for, or the objections, the first of many."""


def build(policy: Iterable[PolicyRule]) -> Rules:
    """The rules of a profile, ready to be applied.

    A rule that is not there becomes one that names nothing, and so refuses whatever it would have judged; only those
    that narrow a profile and do not open it are left out.

    Raises:
        ValueError: there are two rules of one kind.
    """
    policy = one_of_each(tuple(policy))
    specs = {rule.kind: getattr(rule, rule.kind) for rule in policy}
    microsoft = specs.get("microsoft") or MicrosoftSpec.model_validate({})
    rules: list[Rule] = [
        CAPowers(),
        Key(specs.get("key") or KeySpec.model_validate({})),
        Subject(specs.get("subject") or SubjectSpec.model_validate({})),
        AlternativeNames(specs.get("san") or SANSpec.model_validate({})),
        Extensions(specs.get("extensions") or ExtensionsSpec.model_validate({}), _judged_elsewhere(specs)),
        Attributes(specs.get("attributes") or AttributesSpec.model_validate({"allow": ()})),
        Purposes(specs.get("eku")),
        KeyUsage(specs.get("key_usage")),
        Microsoft(microsoft),
        *(make(specs[kind]) for kind, make in _NARROWING.items() if kind in specs),
    ]
    reporting = {rule.kind.replace("_", "-") for rule in policy if rule.severity == "report"}
    return tuple([Reporting(rule) if rule.name in reporting else rule for rule in rules])


def build_issued(policy: Iterable[PolicyRule], tolerated: Collection[str] = ()) -> Rules:
    """The rules of a profile that judge the certificates issued for it (:mod:`scepra.policy.issued`).

    They are the same, without those about what no certificate has. A CA may add :data:`USUAL_ADDITIONS`; a usage of the
    key, which narrows, where no rule of the profile is about it; and what it is *tolerated* to: "subject", which it
    makes itself then, and "extensions".

    Raises:
        ValueError: there are two rules of one kind.
    """
    policy = tuple(policy)
    left_out: set[str] = {"subject"} & set(tolerated)
    if all(rule.kind != "key_usage" for rule in policy):
        left_out.add("key-usage")
    rules = []
    for rule in build(policy):
        inner = rule.rule if isinstance(rule, Reporting) else rule
        if not isinstance(inner, _OF_CERTIFICATES) or inner.name in left_out:
            continue
        if isinstance(inner, Extensions):
            if "extensions" in tolerated:
                continue
            inner = inner.with_additions(USUAL_ADDITIONS | _JUDGED_IN_CERTIFICATES)
        rules.append(Reporting(inner) if isinstance(rule, Reporting) else inner)
    return tuple(rules)


def _judged_elsewhere(specs: Mapping[str, Any]) -> frozenset[bytes]:
    """The extensions whose values other rules judge."""
    judged = {
        oid.SUBJECT_ALT_NAME: "san" in specs,
        oid.EXTENDED_KEY_USAGE: "eku" in specs,
        oid.KEY_USAGE: "key_usage" in specs,
        # Refused by its rule, wherever it is not allowed.
        SECURITY_IDENTIFIER: True,
    }
    return frozenset(content for content, elsewhere in judged.items() if elsewhere)


_OF_CERTIFICATES = (
    CAPowers,
    Subject,
    AlternativeNames,
    Extensions,
    Purposes,
    KeyUsage,
    Microsoft,
    Infrastructure,
    Lifetime,
)
# Whether or not the profile has a rule about them: without one, every value is refused.
_JUDGED_IN_CERTIFICATES = frozenset((oid.SUBJECT_ALT_NAME, oid.EXTENDED_KEY_USAGE))
_NARROWING: Mapping[str, Callable[[Any], Rule]] = {
    "signature": Signature,
    "source": Source,
    "time": Window,
    "infrastructure": Infrastructure,
    "validity": Lifetime,
    "limit": Limits,
    "unique": Unique,
    "hold": Held,
}


def version(policy: Iterable[PolicyRule]) -> str:
    """Names a policy: the same for the same rules, in any order (DR-19); sixteen hexadecimal digits."""
    said = sorted(rule.model_dump_json(exclude_unset=True) for rule in policy)
    return hashlib.sha256("\n".join(said).encode("utf-8")).hexdigest()[:16]


def observing(rules: Rules) -> Rules:
    """Rules of which none refuses anything, but those about a CA's powers and what is structural; people are still
    asked."""
    return tuple([rule if isinstance(rule, Reporting | Held | CAPowers) else Reporting(rule) for rule in rules])


@dataclass(frozen=True, slots=True)
class Judged:
    """What a policy says to a request: the decision, what rules that only report object to, and what each rule said:
    bounded, and repeating no more of the client's than violations do."""

    decision: Decision
    reported: tuple[Violation, ...] = ()
    said: Mapping[str, Said] = field(default_factory=dict, compare=False)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Why the request is refused; empty if it is not."""
        return self.decision.violations if isinstance(self.decision, Reject) else ()

    @property
    def hold(self) -> Hold | None:
        """What the request has to wait for, if it does."""
        return self.decision if isinstance(self.decision, Hold) else None

    @property
    def outcome(self) -> Outcome:
        """The decision in one word."""
        return "reject" if self.violations else "approve" if self.hold is None else "hold"


def decide(rules: Iterable[Rule | Reporting], request: Request) -> Judged:
    """Whether the request may be forwarded, at once or when people have approved it.

    If it may not: every reason (at most :data:`MAX_VIOLATIONS`). A single violation outweighs a hold.
    """
    violations: list[Violation] = []
    reported: list[Violation] = []
    hold: Hold | None = None
    said: dict[str, Said] = {}
    for rule in rules:
        if isinstance(rule, Reporting):
            objections = tuple(_objections(rule.rule, request))
            for violation in objections:
                (violations if violation.structural else reported).append(violation)
            said[rule.rule.name] = _said(objections)
            continue
        objections = tuple(rule.check(request))
        violations.extend(objections)
        said[rule.name] = _said(objections)
        if isinstance(rule, Held):
            hold = rule.hold(request)
            if hold is not None:
                said[rule.name] = f"{described(hold)}: {hold.reason}"
    decision = Reject(_bounded(violations)) if violations else hold or Approve()
    return Judged(decision, _bounded(reported), said)


def said_by(violations: Iterable[Violation]) -> dict[str, Said]:
    """What the rules said that have these objections."""
    by_rule: dict[str, list[Violation]] = {}
    for violation in violations:
        by_rule.setdefault(violation.rule, []).append(violation)
    return {rule: _said(tuple(objections)) for rule, objections in by_rule.items()}


def _said(objections: tuple[Violation, ...]) -> Said:
    if not objections:
        return OK
    sentences = [f"{each.path}: {each.sentence}" if each.path else each.sentence for each in objections]
    if len(sentences) > RECORDED_SENTENCES:
        sentences[RECORDED_SENTENCES:] = [f"{len(sentences) - RECORDED_SENTENCES} more"]
    return tuple(sentences)


def explain(rules: Rules, request: Request) -> tuple[RuleReport, ...]:
    """What each rule looked at and said, for people; it repeats what the client sent, but never the challenge."""
    return tuple([_report(rule, request) for rule in rules])


def _report(rule: Rule | Reporting, request: Request) -> RuleReport:
    if isinstance(rule, Reporting):
        violations, hold, rule = list(_objections(rule.rule, request)), None, rule.rule
        ok = not any(violation.structural for violation in violations)
        reported = ok and bool(violations)
    else:
        violations = list(rule.check(request))
        hold = rule.hold(request) if isinstance(rule, Held) else None
        ok, reported = not violations, False
    said = "; ".join(f"{each.path}: {each.sentence}" if each.path else each.sentence for each in violations)
    said = said or (described(hold) if hold is not None else "ok")
    return RuleReport(rule.name, rule.look(request), said, ok, hold, reported)


def _objections(rule: Rule, request: Request) -> Iterator[Violation]:
    """What a rule that only reports has to say: to wait for people is worth a line, too."""
    yield from rule.check(request)
    hold = rule.hold(request) if isinstance(rule, Held) else None
    if hold is not None:
        yield Violation(rule.name, "", described(hold))


def _bounded(violations: list[Violation]) -> tuple[Violation, ...]:
    if len(violations) > MAX_VIOLATIONS:
        more = len(violations) - MAX_VIOLATIONS
        violations[MAX_VIOLATIONS:] = [Violation("policy", "", f"{more} more violations")]
    return tuple(violations)
