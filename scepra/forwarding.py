"""One exchange with a CA about a transaction: sealed north, answered, believed late, and written down (DR-10, DR-11).

:meth:`Forwarding.advance` is the one way on which a transaction goes on, from the request that began it and from the
reconciler alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.audit import Record
from scepra.config import model
from scepra.consequence import SOON, Consequences
from scepra.conversation import Conversation
from scepra.errors import FailInfo, ScepError, StoreError, UpstreamError
from scepra.issuance import IssuanceRules
from scepra.keys.hands import Hands
from scepra.policy import Rules
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

# What is said, among other things, of an envelope that was not opened.
_PERHAPS_UNREAD = {FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_REQUEST, None}
_OUTCOMES = {Event.GRANTED: "issued", Event.REFUSED: "refused", Event.MISISSUED: "refused"}
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

    @property
    def consequences(self) -> Consequences:
        """What follows from what it says."""
        return Consequences(self.settings, self.issuance, self.policies, self.own, self.now, self.rules)

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
        held, consequences = errand.held, self.consequences
        try:
            if held.state is not State.SENDING:
                errand.polls = 1
                rep, view = await self._exchange(errand, MessageType.CERT_POLL)
            if held.state is State.SENDING or (held.state is State.UNKNOWN and rep.status is PKIStatus.FAILURE):
                objections = consequences.objections(held, errand.csr, record) if errand.stored else ()
                if objections:
                    return replace(consequences.of_objections(objections, held), polls=errand.polls)
                errand.sends = 1
                rep, view = await self._exchange(errand, MessageType.PKCS_REQ)
            view = await self._abreast(rep, view, errand)
        except UpstreamError as error:
            outcome = consequences.of_silence(error, held)
            return replace(outcome, sends=errand.sends if error.sent else 0, polls=errand.polls)
        except ScepError as error:
            at = consequences.later(held, SOON)
            return Outcome(Event.REFUSED, at, error.reason, error.reason, error.fail_info)
        record.upstream_status = rep.status.name
        outcome = consequences.of_answer(rep, view, held, errand.csr, record)
        if outcome.certificate is not None:
            record.serial = f"{outcome.certificate.serial:x}"
            record.certificate = outcome.certificate.fingerprint()
        return replace(outcome, sends=errand.sends, polls=errand.polls)

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
