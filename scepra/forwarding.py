"""One exchange with a CA about a transaction: sealed north, answered, believed late, and written down (DR-10, DR-11).

:meth:`Forwarding.advance` is the one way on which a transaction goes on, from the request that began it and from the
reconciler alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.audit import Record
from scepra.config import model
from scepra.conversation import Conversation
from scepra.enrolment import Credential, Reject, Violation
from scepra.errors import FailInfo, ScepError, StoreError, UpstreamError
from scepra.issuance import IssuanceRules
from scepra.keys.hands import Hands
from scepra.policy import Judged, Rules, build_issued, decide
from scepra.policy.issued import IssuedContents, IssuedRequest
from scepra.recurring import backoff
from scepra.scep import hresult
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import CertRep, choose_issued
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identities, Identity
from scepra.scep.message import MessageType, PKIStatus
from scepra.store import intents, leases, outcomes
from scepra.store.database import Database
from scepra.store.outcomes import Outcome
from scepra.store.rows import Corrupt
from scepra.store.vault import Vault
from scepra.transaction import Event, State, Transaction
from scepra.upstream.client import Upstream
from scepra.upstream.signer import UpstreamSigner
from scepra.upstream.view import UpstreamView

log = Logger()

# What an upstream's failInfo means to the client; badMessageCheck and badTime are about our message, not about its
# (RA-23).
_RELAYED = {FailInfo.BAD_ALG, FailInfo.BAD_REQUEST, FailInfo.BAD_CERT_ID}
# What is said, among other things, of an envelope that was not opened.
_PERHAPS_UNREAD = {FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_REQUEST, None}
_OUTCOMES = {Event.GRANTED: "issued", Event.REFUSED: "refused", Event.MISISSUED: "refused"}
SOON = 1.0
"""After how many seconds an answer that was lost is asked for again."""
LEASE_MARGIN = timedelta(seconds=15)
"""How long a lease lasts beyond an exchange: what is written after it needs time too."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The way to one CA.

    ``settings`` is the upstream's section of the configuration; ``signer`` signs to it, ``issuance`` judges what it
    issues, by the time of day only while that agrees with the RA's own certificates, ``own``; so do the
    ``policies`` of the profiles that it serves, by their names: where there is none, nothing is accepted; ``owner``
    names this process in leases; ``now`` is the time in UTC, ``reactor`` the clock that nobody sets. ``rules`` judge
    requests once more before they are sent, by the same names: where there are none, nothing is sent. ``hands`` use the
    RA's keys.
    """

    settings: model.Upstream
    upstream: Upstream
    signer: UpstreamSigner
    issuance: IssuanceRules
    policies: Mapping[str, Rules]
    own: tuple[Identities, ...]
    database: Database
    vault: Vault
    owner: str
    now: Callable[[], datetime]
    reactor: IReactorTime
    rules: Mapping[str, Rules]
    hands: Hands

    @property
    def lease(self) -> timedelta:
        """How long a transaction that is taken up belongs to this process: two exchanges, and what is written after."""
        return timedelta(seconds=2 * self.settings.timeout) + LEASE_MARGIN

    @property
    def conversation(self) -> Conversation:
        """How single messages are exchanged with it."""
        return Conversation(self.settings, self.upstream, self.hands)

    async def claim(self, transaction: str, fence: int) -> Transaction | None:
        """Take up a transaction that nobody is at work on; None if somebody was faster.

        Raises:
            Corrupt: its row cannot be used.
            StoreError: the database does not answer.
        """
        now = self.now()
        return await self.database.write(leases.claim, transaction, fence, self.owner, now, now + self.lease)

    async def take_over(self, transaction: Transaction, present: bytes | None) -> Transaction | None:
        """Take up what certainly was not sent to another CA, to be sent to this one; None if somebody was faster.

        Args:
            present: that upstream's present CA; what is for the one that follows it stays there (CERT-35).

        Raises:
            Corrupt: its row cannot be used.
            StoreError: the database does not answer.
        """
        now = self.now()
        fence = await self.database.write(
            leases.move, transaction.id, transaction.fence, transaction.upstream, self.upstream.name, now, present
        )
        return None if fence is None else await self.claim(transaction.id, fence)

    async def resume(self, held: Transaction, begun: float, record: Record) -> Transaction:
        """As :meth:`advance`, for a transaction that comes from the store.

        Raises:
            Corrupt: what it holds cannot be read.
            StoreError: the database does not answer.
        """
        csr = self.request(held)
        try:
            identity = await self.signer.again(held.signer_key_id, held.signer_certificate)
        except (ScepError, ValueError, LookupError) as error:
            raise Corrupt(held.id, str(error)) from error
        return await self.advance(held, csr, identity, begun, record, stored=True)

    def request(self, held: Transaction) -> CertificationRequest:
        """What a stored transaction asks for.

        Raises:
            Corrupt: it cannot be read.
        """
        try:
            return CertificationRequest.parse(self.vault.open(held.csr))
        except (ScepError, StoreError) as error:
            raise Corrupt(held.id, error.reason) from error

    async def advance(
        self,
        held: Transaction,
        csr: CertificationRequest,
        identity: Identity,
        begun: float,
        record: Record,
        *,
        stored: bool = False,
    ) -> Transaction:
        """Ask the CA about a transaction that this process holds, and write down what came of it.

        What is SENDING is sent; what is WAITING is polled; what is UNKNOWN is polled and, if the CA does not know it,
        sent again: under the same transactionID, by the same key (RA-20).

        Args:
            held: as claimed or recorded by this process.
            csr: its request.
            identity: what signs to the CA.
            begun: when it was taken up, by the reactor's clock.
            record: what becomes known goes into it.
            stored: whether it was authorised earlier than just now, and is judged once more before it is sent.

        Returns:
            The transaction as it is now.

        Raises:
            StoreError: what came of it could not be written; it will be asked again.
        """
        record.upstream = held.upstream
        record.upstream_transaction = held.upstream_transaction
        outcome = await self._ask(_Errand(held, csr, identity, begun, stored), record)
        record.outcome = _OUTCOMES.get(outcome.event, "pending")
        after = await self.database.write(outcomes.apply, held, replace(outcome, record=record.known()), self.now())
        if after is None:
            return await self._overtaken(held, outcome)
        if after.attention and after.attention != held.attention:
            log.error("transaction {id} needs somebody: {attention}", id=held.id, attention=after.attention)
        record.reasons = (after.reason,) if after.reason else ()
        return after

    async def _ask(self, errand: _Errand, record: Record) -> Outcome:
        held = errand.held
        try:
            if held.state is not State.SENDING:
                errand.polls = 1
                rep, view = await self._exchange(errand, MessageType.CERT_POLL)
            if held.state is State.SENDING or (held.state is State.UNKNOWN and rep.status is PKIStatus.FAILURE):
                objections = self._objections(errand, record) if errand.stored else ()
                if objections:
                    return self._not_sent(errand, objections)
                errand.sends = 1
                rep, view = await self._exchange(errand, MessageType.PKCS_REQ)
            view = await self._abreast(rep, view, errand)
        except UpstreamError as error:
            return self._unanswered(errand, error)
        except ScepError as error:
            return Outcome(Event.REFUSED, self._later(held, SOON), error.reason, error.reason, error.fail_info)
        record.upstream_status = rep.status.name
        outcome = self._believe(rep, view, errand, record)
        if outcome.certificate is not None:
            record.serial = f"{outcome.certificate.serial:x}"
            record.certificate = outcome.certificate.fingerprint()
        return replace(outcome, sends=errand.sends, polls=errand.polls)

    def _objections(self, errand: _Errand, record: Record) -> tuple[str, ...]:
        """What the policy of now says against a request that was authorised earlier, perhaps by another (FT-51, DR-19).

        People who have to approve it cannot be asked any more: who asks anew, asks them too.
        """
        held, rules = errand.held, self.rules.get(errand.held.profile)
        if rules is None:
            return ("there is no such profile any more at this CA",)
        judged = decide(rules, Stored(errand.csr, held.credential, held.source, held.received))
        if judged.hold is not None and judged.hold.approvals > held.approvals:
            return (f"hold: {judged.hold.reason}",)
        if judged.violations:
            record.rules = judged.said
        return tuple(map(str, judged.violations))

    def _not_sent(self, errand: _Errand, objections: tuple[str, ...]) -> Outcome:
        """What becomes of a request that the policy of now refuses: nothing more of it leaves."""
        held = errand.held
        reason = "not sent: the policy has changed since it was authorised: " + "; ".join(objections)
        attention = "" if held.state is State.SENDING else f"it may have been issued already, and now it is {reason}"
        return Outcome(Event.REFUSED, self._later(held, SOON), reason, attention, polls=errand.polls)

    async def _exchange(self, errand: _Errand, kind: MessageType) -> tuple[CertRep, UpstreamView]:
        """One message and its answer, with the view that it was believed under.

        What a CA refuses may have been encrypted to a certificate that its RA has replaced since the last look, and
        not have been read at all: then it is encrypted to the new one and sent once more (CERT-13).

        Raises:
            UpstreamError: no answer, or none that can be believed.
            ScepError: nothing can be sent to this CA.
        """
        authority = errand.held.authority
        view = await self.upstream.current()
        if not view.knows(authority):
            # Another process has recorded it, which knows more.
            view = await self.upstream.refresh()
        rep, believed = await self._converse(errand, kind, view)
        if rep.status is PKIStatus.FAILURE and rep.fail_info in _PERHAPS_UNREAD:
            found = await self.upstream.refresh()
            if found.toward(authority).encryption != view.toward(authority).encryption:
                return await self._converse(errand, kind, found)
        return rep, believed

    async def _converse(self, errand: _Errand, kind: MessageType, view: UpstreamView) -> tuple[CertRep, UpstreamView]:
        """The same, to the certificates of a view; as it is refused, if it is."""
        held, csr, settings = errand.held, errand.csr, self.settings
        asked = view.toward(held.authority)
        password = csr.challenge_password.encode("utf-8") if csr.challenge_password else None
        if password is None and not asked.encryption.public_key.encrypts:
            raise ScepError("the upstream's key only signs, and there is no challenge to encrypt with (RA-19)")
        content = csr.der
        if kind is MessageType.CERT_POLL:
            content = self.conversation.poll_content(asked.issuers[0], csr.subject.der)
        encoding, expected = await self.conversation.compose(
            kind, held.upstream_transaction, content, errand.identity, view, password, held.authority
        )
        if self.reactor.seconds() - errand.begun > self.lease.total_seconds() - settings.timeout:
            # It may be another's by now (FT-43).
            raise UpstreamError(held.upstream, "this process was held up for too long", sent=False)
        return await self.conversation.converse(encoding, expected, view, held.authority)

    async def _abreast(self, rep: CertRep, view: UpstreamView, errand: _Errand) -> UpstreamView:
        """The view by which what was issued is judged.

        Raises:
            UpstreamError: it cannot be had now.
        """
        if rep.status is not PKIStatus.SUCCESS:
            return view
        try:
            issued = choose_issued(rep.certificates, errand.csr.spki)
        except ScepError:
            # There is nothing to judge.
            return view
        return await self.conversation.abreast(issued, view, errand.held.authority)

    def _believe(self, rep: CertRep, view: UpstreamView, errand: _Errand, record: Record) -> Outcome:
        """What an authentic answer means (MSG-61, RA-23)."""
        held, now = errand.held, self.now()
        if rep.status is PKIStatus.PENDING:
            give_up = timedelta(seconds=self.settings.queue.give_up_after)
            late = now - held.received > give_up / 2
            attention = f"the CA has not decided for {(now - held.received).days} days" if late else ""
            return Outcome(
                Event.PENDED,
                self._later(held, self.settings.queue.first_poll),
                "the CA holds it back",
                attention,
                expires=now + give_up,
            )
        if rep.status is PKIStatus.FAILURE:
            return self._refused(rep, errand)
        try:
            issued = choose_issued(rep.certificates, errand.csr.spki)
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
        violations = (*self.issuance.violations(issued, errand.csr, issuers, as_of), *judged.violations)
        if issued.fingerprint() in held.challenge:  # which names what authorised it by the fingerprint
            violations += (Violation("issued", "certificate", "is the one that was to be renewed"),)
        doubtful = not all(each.keyring.valid_at(now) for each in self.own)
        if violations and doubtful and all(violation.path == "validity" for violation in violations):
            # It is the clock that is wrong, as likely as not (FT-47): ask again when it is right.
            reason = "the certificate is not valid by the RA's clock, and neither is the RA's own"
            return Outcome(Event.LOST, self._later(held, self.settings.queue.first_poll), reason, reason)
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

    def _refused(self, rep: CertRep, errand: _Errand) -> Outcome:
        held = errand.held
        said = FailInfo.BAD_REQUEST if rep.fail_info is None else rep.fail_info  # badAlg is 0
        detail = f", {hresult.describe(rep.ndes_error)}" if rep.ndes_error is not None else ""
        reason = f"refused by upstream {held.upstream}: {said.name}{detail}"
        if held.state is State.WAITING and said is FailInfo.BAD_CERT_ID:
            # Nobody has refused it: the CA has forgotten it (FT-15).
            return Outcome(Event.LOST, self._later(held, SOON), reason, "the CA does not know it any more")
        # What is said of a message of ours is for us to put right (RA-23).
        attention = "" if said in _RELAYED else f"it is what the RA sent that was not accepted: {reason}"
        if held.state is State.UNKNOWN:
            attention = f"it may have been issued already, and now it is {reason}"
        return Outcome(
            Event.REFUSED,
            self._later(held, SOON),
            reason,
            attention,
            fail_info=said if said in _RELAYED else FailInfo.BAD_REQUEST,
        )

    def _unanswered(self, errand: _Errand, error: UpstreamError) -> Outcome:
        """Nothing believed: certainly not sent, or unknown (DR-10)."""
        held = errand.held
        event = Event.LOST if error.sent else Event.NOT_SENT
        if not error.sent and errand.sends:
            errand.sends = 0
        at = self.now() if held.state is State.SENDING and not error.sent else self._later(held, SOON)
        if error.pause is not None:
            # What was turned away together does not come back together.
            at = max(at, self.now() + timedelta(seconds=error.pause * random.uniform(1, 1.2)))  # noqa: S311 - no secret
        attention = error.attention or held.attention
        return Outcome(event, at, str(error), attention, sends=errand.sends, polls=errand.polls)

    async def _overtaken(self, held: Transaction, outcome: Outcome) -> Transaction:
        """Somebody else has taken it up meanwhile: theirs is what counts (FT-13, FT-43)."""
        log.warn("transaction {id} was taken over while this process was at work on it", id=held.id)
        certificate = outcome.certificate if outcome.event is Event.GRANTED else None
        if certificate is not None and await self.database.write(outcomes.surplus, held, certificate, self.now()):
            log.critical(
                "upstream {upstream} issued a second certificate, {serial}, for transaction {id}",
                upstream=held.upstream,
                serial=f"{certificate.serial:x}",
                id=held.id,
            )
        found = await self.database.read(intents.get, held.id)
        return held if found is None else found

    def _later(self, held: Transaction, first: float) -> datetime:
        """When to ask again: each time later than the last, and not all at once (FT-15).

        Args:
            first: how many seconds to wait the first time.
        """
        pause = backoff(first, held.polls + held.sends, self.settings.queue.longest_poll)
        return self.now() + timedelta(seconds=pause)


@dataclass(slots=True)
class _Errand:
    """What one call of :meth:`Forwarding.advance` is about, and how far it has come."""

    held: Transaction
    csr: CertificationRequest
    identity: Identity
    begun: float
    stored: bool
    sends: int = 0
    polls: int = 0


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
