"""What follows for a transaction from what its CA has said, or has not (MSG-61, RA-23)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.audit import Record
from scepra.config import model
from scepra.enrolment import Credential, Reject, Violation
from scepra.errors import FailInfo, ScepError, UpstreamError
from scepra.issuance import IssuanceRules
from scepra.policy import Judged, Rules, build_issued, decide
from scepra.policy.issued import IssuedContents, IssuedRequest
from scepra.recurring import backoff
from scepra.scep import hresult
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import CertRep, choose_issued
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identities
from scepra.scep.message import PKIStatus
from scepra.store.outcomes import Outcome
from scepra.transaction import Event, State, Transaction
from scepra.upstream.view import UpstreamView

# What an upstream's failInfo means to the client; badMessageCheck and badTime are about our message, not about its
# (RA-23).
_RELAYED = {FailInfo.BAD_ALG, FailInfo.BAD_REQUEST, FailInfo.BAD_CERT_ID}
SOON = 1.0
"""After how many seconds an answer that was lost is asked for again."""


@dataclass(frozen=True, slots=True)
class Consequences:
    """What follows for the transactions of one CA; all as :class:`scepra.forwarding.Forwarding` has it."""

    settings: model.Upstream
    issuance: IssuanceRules
    policies: Mapping[str, Rules]
    own: tuple[Identities, ...]
    now: Callable[[], datetime]
    rules: Mapping[str, Rules]

    def of_answer(
        self, rep: CertRep, view: UpstreamView, held: Transaction, csr: CertificationRequest, record: Record
    ) -> Outcome:
        """What follows from an authentic answer.

        Args:
            view: under which it is believed.
            csr: what was asked for.
            record: what the policy reports of the certificate goes into it.
        """
        now = self.now()
        if rep.status is PKIStatus.PENDING:
            give_up = timedelta(seconds=self.settings.queue.give_up_after)
            late = now - held.received > give_up / 2
            attention = f"the CA has not decided for {(now - held.received).days} days" if late else ""
            return Outcome(
                Event.PENDED,
                self.later(held, self.settings.queue.first_poll),
                "the CA holds it back",
                attention,
                expires=now + give_up,
            )
        if rep.status is PKIStatus.FAILURE:
            return self._refused(rep, held)
        try:
            issued = choose_issued(rep.certificates, csr.spki)
        except ScepError as error:
            reason = _NOT_DELIVERED + error.reason
            return Outcome(Event.MISISSUED, reason=reason, attention=reason, certificate=_another_s(rep.certificates))
        judged = self._judge_again(issued, held, now)
        # What was reported of the request already is not worth saying twice.
        record.reported = tuple(dict.fromkeys((*record.reported, *map(str, judged.reported))))
        # A certificate of the next CA may be valid only when that is (RFC 8894, 4.7): it is judged as of then.
        asked = view.toward(held.authority)
        begins = asked.pinned.not_before if asked is view.next else None
        as_of = now if begins is None else max(now, begins)
        issuers = view.issuers_for(held.authority)
        violations = (*self.issuance.violations(issued, csr, issuers, as_of), *judged.violations)
        if issued.fingerprint() in held.challenge:  # which names what authorised it by the fingerprint
            violations += (Violation("issued", "certificate", "is the one that was to be renewed"),)
        doubtful = not all(each.keyring.valid_at(now) for each in self.own)
        if violations and doubtful and all(violation.path == "validity" for violation in violations):
            # It is the clock that is wrong, as likely as not (FT-47): ask again when it is right.
            reason = "the certificate is not valid by the RA's clock, and neither is the RA's own"
            return Outcome(Event.LOST, self.later(held, self.settings.queue.first_poll), reason, reason)
        if violations:
            reason = _NOT_DELIVERED + "; ".join(map(str, violations))
            return Outcome(Event.MISISSUED, reason=reason, attention=reason, certificate=issued)
        return Outcome(Event.GRANTED, certificate=issued)

    def _judge_again(self, issued: Certificate, held: Transaction, now: datetime) -> Judged:
        """What the policy of its profile says to a certificate: the CA may have changed what was asked for (DR-5)."""
        try:
            contents = IssuedContents.of(issued)
        except ScepError as error:
            return Judged(Reject((Violation("issued", "certificate", error.reason),)))
        request = IssuedRequest(contents, held.credential, held.source, now)
        return decide(self.policies.get(held.profile, _NOTHING), request)

    def _refused(self, rep: CertRep, held: Transaction) -> Outcome:
        said = FailInfo.BAD_REQUEST if rep.fail_info is None else rep.fail_info  # badAlg is 0
        detail = f", {hresult.describe(rep.ndes_error)}" if rep.ndes_error is not None else ""
        reason = f"refused by upstream {held.upstream}: {said.name}{detail}"
        if held.state is State.WAITING and said is FailInfo.BAD_CERT_ID:
            # Nobody has refused it: the CA has forgotten it (FT-15).
            return Outcome(Event.LOST, self.later(held, SOON), reason, "the CA does not know it any more")
        # What is said of a message of ours is for us to put right (RA-23).
        attention = "" if said in _RELAYED else f"it is what the RA sent that was not accepted: {reason}"
        if held.state is State.UNKNOWN:
            attention = f"it may have been issued already, and now it is {reason}"
        return Outcome(
            Event.REFUSED,
            self.later(held, SOON),
            reason,
            attention,
            fail_info=said if said in _RELAYED else FailInfo.BAD_REQUEST,
        )

    def of_silence(self, error: UpstreamError, held: Transaction) -> Outcome:
        """What follows where nothing was believed: it was certainly not sent, or nobody knows (DR-10)."""
        event = Event.LOST if error.sent else Event.NOT_SENT
        at = self.now() if held.state is State.SENDING and not error.sent else self.later(held, SOON)
        if error.pause is not None:
            # What was turned away together does not come back together.
            at = max(at, self.now() + timedelta(seconds=error.pause * random.uniform(1, 1.2)))  # noqa: S311 - no secret
        attention = error.attention or held.attention
        return Outcome(event, at, str(error), attention)

    def of_objections(self, objections: tuple[str, ...], held: Transaction) -> Outcome:
        """What becomes of a request that the policy of now refuses: nothing more of it leaves."""
        reason = "not sent: the policy has changed since it was authorised: " + "; ".join(objections)
        attention = "" if held.state is State.SENDING else f"it may have been issued already, and now it is {reason}"
        return Outcome(Event.REFUSED, self.later(held, SOON), reason, attention)

    def objections(self, held: Transaction, csr: CertificationRequest, record: Record) -> tuple[str, ...]:
        """What the policy of now says against a request that was authorised earlier, perhaps by another (FT-51, DR-19).

        People who have to approve it cannot be asked any more: who asks anew, asks them too.
        """
        rules = self.rules.get(held.profile)
        if rules is None:
            return ("there is no such profile any more at this CA",)
        judged = decide(rules, Stored(csr, held.credential, held.source, held.received))
        if judged.hold is not None and judged.hold.approvals > held.approvals:
            return (f"hold: {judged.hold.reason}",)
        if judged.violations:
            record.rules = judged.said
        return tuple(map(str, judged.violations))

    def later(self, held: Transaction, first: float) -> datetime:
        """When to ask again: each time later than the last, and not all at once (FT-15).

        Args:
            first: how many seconds to wait the first time.
        """
        pause = backoff(first, held.polls + held.sends, self.settings.queue.longest_poll)
        return self.now() + timedelta(seconds=pause)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored request, as rules see it."""

    csr: CertificationRequest
    credential: Credential
    source: str
    received: datetime


def _another_s(encodings: tuple[bytes, ...]) -> Certificate | None:
    """What an answer holds that has not the certificate for the request's key: for people to look at."""
    for encoding in encodings:
        with suppress(ScepError):
            certificate = Certificate.parse(encoding)
            if not certificate.is_ca:
                return certificate
    return None


_NOTHING = build_issued(())
_NOT_DELIVERED = "a certificate from upstream that is not delivered: "
