"""A decision, rule by rule, from its audit record: for people, and for scripts.

A record in a file may be anything; what of it is no record is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scepra.cli.asn1_text import printable
from scepra.cli.table import facts

_OUTCOMES = {
    "authorised": "was approved",
    "issued": "was approved",
    "pending": "was approved",
    "held": "was held for people",
    "refused": "was refused",
}
_SHADOW = {
    "approve": "would have approved it",
    "hold": "would have asked people about it",
    "reject": "would have refused it",
    "failed": "failed: nobody knows what it would have done",
}
_KEPT = ("enrolment", "reference", "profile", "outcome", "policy", "subject", "source", "credential", "challenge")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an audit record says about a decision.

    ``rules`` is what each rule said: "ok", what is waited for (text), or objections (a tuple); ``reported`` the
    objections that refused nothing; ``current`` the version of the profile's policy now, None if that is not known.
    """

    record: Mapping[str, str]
    rules: Mapping[str, str | tuple[str, ...]]
    reasons: tuple[str, ...]
    reported: tuple[str, ...]
    shadow: Mapping[str, Any]
    current: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any], current: str | None = None) -> Explanation:
        """The explanation in a record."""
        return cls(
            {name: value for name in _KEPT if isinstance(value := record.get(name), str)},
            _rules(record.get("rules")),
            _texts(record.get("reasons")),
            _texts(record.get("reported")),
            shadow if isinstance(shadow := record.get("shadow"), dict) else {},
            current,
        )

    def report(self) -> dict[str, Any]:
        """Everything by names."""
        return {
            **self.record,
            "rules": self.rules,
            "reasons": self.reasons,
            "reported": self.reported,
            "shadow": self.shadow,
            "current_policy": self.current,
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        record = self.record
        named = "enrolment" in record
        what = f"transaction {record['enrolment']}" if named else f"request with ref {record.get('reference', '')}"
        how = _OUTCOMES.get(record.get("outcome", ""), "was not decided")
        version = f" by policy {record['policy']}" if "policy" in record else ""
        yield printable(f"{what} of profile {record.get('profile', '(unknown)')} {how}{version}")
        yield from facts({name: record.get(name, "") for name in ("subject", "source", "challenge")})
        if not self.rules:
            yield "The record does not say what each rule said: no policy was asked."
            yield from (f"  {printable(reason)}" for reason in self.reasons)
            return
        yield ""
        yield from self._marked(self.rules)
        if self.reported:
            yield "What is marked REPORT refused nothing: the rule, or the whole policy, only"
            yield "reports."
        if self.current is not None and self.current != record.get("policy"):
            yield f"The profile has another policy now: {self.current}."
        if self.shadow:
            word = _SHADOW.get(str(self.shadow.get("outcome")), "said something else")
            yield ""
            yield printable(f"The shadow policy {self.shadow.get('policy', '')} {word}.")
            yield from self._marked(_rules(self.shadow.get("rules")))

    def _marked(self, rules: Mapping[str, str | tuple[str, ...]]) -> Iterator[str]:
        width = max(map(len, rules), default=0)
        for name, said in rules.items():
            sentences = (said,) if isinstance(said, str) else said
            mark = "HOLD" if isinstance(said, str) else self._mark(rules, name)
            if said == "ok":
                yield f"{'ok':6} {printable(name)}"
                continue
            for place, sentence in enumerate(sentences):
                start = f"{mark:6} {printable(name):{width}}" if not place else " " * (width + 7)
                yield f"{start}  {printable(sentence)}"

    def _mark(self, rules: Mapping[str, Any], name: str) -> str:
        reported = rules is self.rules and any(sentence.startswith(f"{name}: ") for sentence in self.reported)
        return "REPORT" if reported else "REFUSE"


def records(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The audit records in lines of a log, whatever stands before them; other lines are left out."""
    for line in lines:
        start = line.find("{")
        if start < 0:
            continue
        try:
            found = json.loads(line[start:])
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("outcome"), str) and isinstance(found.get("profile"), str):
            yield found


def _rules(value: Any) -> dict[str, str | tuple[str, ...]]:
    if not isinstance(value, dict):
        return {}
    return {name: said if isinstance(said, str) else _texts(said) for name, said in value.items()}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()
