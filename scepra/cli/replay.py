"""Stored requests judged by another policy, and what that would have changed."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from scepra.cli.seen import Seen
from scepra.cli.table import table
from scepra.config.document import MAXIMUM, Document
from scepra.config.load import read
from scepra.config.policyfile import parse_policy
from scepra.policy import Rules, build, decide, observing, version
from scepra.policy.decision import OK, Outcome, Said

_WORDS = {"approve": "approved", "hold": "held", "reject": "refused"}
_MOST_REASONS, _REASONS_KEPT = 10, 1000


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """The policy of one profile in a file: its rules, and its version."""

    rules: Rules
    version: str


Policies = Callable[[str], NewPolicy | None]


def read_policies(path: Path, profile: str | None) -> Policies:
    """What a file says about each profile: a whole configuration, or a file with a policy alone.

    Raises:
        UsageError: it cannot be used, with all its problems.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM + 1)
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="NEW") from error
    data = Document.parse(content, str(path)).data
    if isinstance(data, Mapping) and "policy" in data and "profiles" not in data:
        if profile is None:
            raise click.UsageError(f"{path} holds one policy alone: say with --profile whose it would be")
        reading = parse_policy(content, str(path))
        if reading.policy is None:
            raise click.UsageError("\n".join(map(str, reading.problems)))
        only = NewPolicy(build(reading.policy), version(reading.policy))
        return lambda name: only if name == profile else None
    config = read(path)
    if config.config is None:
        raise click.UsageError("\n".join(map(str, config.problems)))
    profiles = {
        name: NewPolicy(observing(rules) if each.observe else rules, version(each.policy))
        for name, each in config.config.profiles.items()
        for rules in [build(each.policy)]
    }
    if profile is not None and profile not in profiles:
        raise click.BadParameter(f"there is no profile {profile!r} in {path}", param_hint="--profile")
    return profiles.get


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A request on which the policy would have come to something else."""

    received: str
    id: str
    profile: str = field(compare=False)
    subject: str = field(compare=False)
    was: Outcome = field(compare=False)
    would_be: Outcome = field(compare=False)
    rules: Mapping[str, Said] = field(compare=False)


@dataclass(slots=True)
class Replay:
    """What came of judging requests anew; of the differences the newest are kept, all are counted."""

    limit: int
    judged: int = 0
    changes: Counter[tuple[Outcome, Outcome]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    newest: list[Difference] = field(default_factory=list)

    @property
    def differing(self) -> int:
        """How many requests differ."""
        return self.changes.total()

    def judge(self, request: Seen, policies: Policies) -> None:
        """Judge one."""
        self.judged += 1
        was, (would_be, rules) = decided(request), _judged(request, policies)
        if was == would_be:
            return
        self.changes[was, would_be] += 1
        for name, said in rules.items():
            for sentence in (said,) if isinstance(said, str) else said:
                reason = f"{name}: {sentence}"
                # Paths name identifiers that clients choose: there may be any number of them.
                if reason in self.reasons or len(self.reasons) < _REASONS_KEPT:
                    self.reasons[reason] += 1
        held = request.transaction
        difference = Difference(held.received.isoformat(), held.id, held.profile, held.subject, was, would_be, rules)
        push = heapq.heappush if len(self.newest) < self.limit else heapq.heappushpop
        push(self.newest, difference)

    def report(self, skipped: Iterable[str]) -> dict[str, Any]:
        """Everything by names."""
        return {
            "judged": self.judged,
            "same": self.judged - self.differing,
            "changes": [
                {"was": was, "would_be": would_be, "count": count}
                for (was, would_be), count in self.changes.most_common()
            ],
            "reasons": [{"reason": reason, "count": count} for reason, count in self.reasons.most_common()],
            "differences": [_plain(each) for each in sorted(self.newest, reverse=True)],
            "skipped": list(skipped),
        }

    def lines(self, skipped: int, width: int | None) -> Iterator[str]:
        """The same for people."""
        counts = [
            (self.judged, "judged anew"),
            (self.judged - self.differing, "would be decided the same"),
            *(
                (count, f"would be {_WORDS[would_be]}, and {'were' if count != 1 else 'was'} {_WORDS[was]}")
                for (was, would_be), count in self.changes.most_common()
            ),
            *([(skipped, "cannot be read, and were skipped")] if skipped else []),
        ]
        widest = max(len(str(count)) for count, _ in counts)
        yield from (f"  {count:{widest}}  {what}" for count, what in counts)
        if not self.newest:
            return
        yield ""
        reasons = [(str(count), reason) for reason, count in self.reasons.most_common(_MOST_REASONS)]
        yield from table(("REQUESTS", "BECAUSE OF"), reasons, width)
        if len(self.reasons) > _MOST_REASONS:
            yield "There are other reasons: --json has all."
        rows = [
            (
                each.id,
                each.received[:10],
                _WORDS[each.was],
                _WORDS[each.would_be],
                " ".join(each.rules),
                each.subject,
            )
            for each in sorted(self.newest, reverse=True)
        ]
        yield ""
        yield from table(("ID", "RECEIVED", "WAS", "WOULD BE", "RULES", "SUBJECT"), rows, width)
        if self.differing > len(self.newest):
            yield f"The newest {len(self.newest)} of {self.differing}; --limit says how many."


def decided(request: Seen) -> Outcome:
    """What the policy of that time came to; what it refused is not stored.

    Records that do not say what each rule said know only whether people were asked, perhaps for the challenge's sake.
    """
    record = request.decision.record if request.decision is not None else {}
    rules = record.get("rules")
    if isinstance(rules, dict):
        return "approve" if rules.get("hold", OK) == OK else "hold"
    return "hold" if request.transaction.approvals else "approve"


def _judged(request: Seen, policies: Policies) -> tuple[Outcome, Mapping[str, Said]]:
    """What would come of a request, and what the rules that have anything to say would say."""
    policy = policies(request.transaction.profile)
    if policy is None:
        return "reject", {"profile": ("there is no such profile",)}
    judged = decide(policy.rules, request)
    return judged.outcome, {name: said for name, said in judged.said.items() if said != OK}


def _plain(difference: Difference) -> dict[str, Any]:
    return {name: getattr(difference, name) for name in Difference.__slots__}
