"""A second policy that every request is judged by beside the enforced one: counted, logged, recorded, never enforced.

The client's answer cannot depend on it: it is asked after the decision, what it raises is counted, and between two
rules it stops when it has had its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.enrolment import ChallengeAccepted, EnrolmentRequest
from scepra.judgement import Judgement
from scepra.policy import Judged, Reporting, Rule, Rules, decide
from scepra.policy.decision import OK, Outcome
from scepra.recurring import Recurring

log = Logger()

PATIENCE = 0.1
"""How long it may take over one request, in seconds."""
EVERY = 3600.0
"""How often it is summed up in the log, in seconds."""


class TooSlow(Exception):
    """It has had its time."""


@dataclass(slots=True)
class Tally:
    """What has been counted since it was last summed up: numbers, however much there was to count."""

    judged: int = 0
    same: int = 0
    would_reject: int = 0
    would_approve: int = 0
    would_hold: int = 0
    failed: int = 0

    def count(self, enforced: Outcome, shadow: Outcome) -> None:
        """Count one request that was judged by both."""
        self.judged += 1
        if enforced == shadow:
            self.same += 1
        else:
            name = f"would_{shadow}"
            setattr(self, name, getattr(self, name) + 1)


@dataclass(slots=True)
class Shadow:
    """The second policy of one profile.

    Args:
        profile: its name.
        rules, version: of the second policy.
        clock: seconds that nobody sets.
    """

    profile: str
    rules: Rules
    version: str
    clock: Callable[[], float]
    tally: Tally = field(default_factory=Tally)

    def compare(self, request: EnrolmentRequest, judgement: Judgement, reference: str) -> Mapping[str, Any]:
        """Judge a request that has been judged, and count what differs.

        What refuses a request whatever its policy refuses it here too: that is no difference between policies.

        Args:
            judgement: the enforced one.
            reference: of its audit record.

        Returns:
            What is recorded of it: which policy, what would come of it and, where that differs, why.
        """
        try:
            found = decide(self._in_time(), request)
        except Exception as error:
            # Whatever it is: nobody's enrolment depends on a policy that is only tried.
            self.tally.judged += 1
            self.tally.failed += 1
            log.warn(
                "shadow policy of profile {profile} failed ({kind}), ref {reference}",
                profile=self.profile,
                kind=type(error).__name__,
                reference=reference,
            )
            return {"policy": self.version, "outcome": "failed"}
        enforced, instead = judgement.outcome, self._outcome(found, judgement)
        self.tally.count(enforced, instead)
        recorded: dict[str, Any] = {"policy": self.version, "outcome": instead}
        if enforced != instead:
            reasons = {name: said for name, said in found.said.items() if said != OK}
            log.info(
                "shadow policy of profile {profile}: {shadow} instead of {enforced} ({rules}), ref {reference}",
                profile=self.profile,
                enforced=enforced,
                shadow=instead,
                rules=", ".join(reasons) or "no rule objects",
                reference=reference,
            )
            recorded["rules"] = reasons
        return recorded

    def sum_up(self) -> None:
        """Say what has been counted, and begin anew; nothing is said of nothing."""
        tally, self.tally = self.tally, Tally()
        if not tally.judged:
            return
        log.info(
            "shadow policy of profile {profile}, version {version}: {judged} judged, {same} the same; it would refuse"
            " {would_reject}, approve {would_approve}, hold {would_hold}; {failed} failed",
            profile=self.profile,
            version=self.version,
            judged=tally.judged,
            same=tally.same,
            would_reject=tally.would_reject,
            would_approve=tally.would_approve,
            would_hold=tally.would_hold,
            failed=tally.failed,
        )

    def _outcome(self, found: Judged, judgement: Judgement) -> Outcome:
        """What would come of it, with the same credential."""
        if judgement.besides:
            return "reject"
        asked = isinstance(judgement.verdict, ChallengeAccepted) and judgement.verdict.hold is not None
        return "hold" if found.outcome == "approve" and asked else found.outcome

    def _in_time(self) -> Iterator[Rule | Reporting]:
        end = self.clock() + PATIENCE
        for rule in self.rules:
            if self.clock() > end:
                raise TooSlow
            yield rule


class ShadowSummary(Recurring):
    """Sums up the second policies of a process, every hour and when it ends.

    Args:
        shadows: of all profiles.
        reactor: the clock that nobody sets.
    """

    def __init__(self, shadows: tuple[Shadow, ...], reactor: IReactorTime) -> None:
        super().__init__(reactor, "summing up shadow policies", EVERY)
        self._shadows = shadows

    async def look(self) -> None:
        """Sum up what has been counted."""
        for shadow in self._shadows:
            shadow.sum_up()

    def pause(self) -> float:
        """Evenly: each sum is that of one hour."""
        return self._every

    async def end(self) -> None:
        """Sum up what is left."""
        await self.look()
