"""The Registration Authority of one profile: the client's side of an enrolment.

Every request runs the same straight line: parse, verify, open, bind, recall, challenge, decide, record, advance, answer
(design, section 3). What is refused on the way is refused in one place, with one record. What was recorded is answered
by what is stored of it, however often it is asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from twisted.logger import Logger

from scepra.admission import Admission
from scepra.agent import Agents
from scepra.answering import Answering
from scepra.audit import RECORDED, RECORDED_NAMES, Record
from scepra.challenge.protocol import ChallengeProvider
from scepra.config import model
from scepra.enrolment import ChallengeRefused, Credential, EnrolmentRequest
from scepra.errors import (
    FailInfo,
    KeyUnavailable,
    ProviderError,
    Refused,
    RevocationError,
    ScepError,
    StoreError,
    UpstreamError,
)
from scepra.forwarding import Forwarding
from scepra.judgement import Judgement, judge
from scepra.keys.hands import opening
from scepra.policy import Rules
from scepra.policy.claim import bounds
from scepra.policy.decision import said_by
from scepra.provenance import Provenance, Revocation
from scepra.query import KINDS, Queries
from scepra.reception import NO_AGENTS, Asker, Query, Reception, receive, receive_poll, receive_query
from scepra.recording import Entry, build_intent, routes
from scepra.renewal import RenewalRules
from scepra.scep import capabilities, transport
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identities, Keyring, NotOurs
from scepra.scep.message import MessageType, PKIMessage
from scepra.shadow import Shadow
from scepra.store import challenges, intents, inventory, outcomes
from scepra.store.holding import Room
from scepra.store.intents import Exceeded, Full, Recorded, Taken
from scepra.store.rows import Corrupt
from scepra.transaction import State, Transaction, request_identity, route
from scepra.ways import Choice, Group, Ways, take_turn

# How often to look whether another request, or another process, has finished what is under way, in seconds.
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 0.5
log = Logger()


@dataclass(frozen=True, slots=True)
class RegistrationAuthority:
    """One profile at work.

    ``profile`` is its configuration; ``identities`` its own; ``provider``, ``rules`` and ``renewal`` who may have
    what; ``ways`` lead to its CAs, and to what is stored; ``pause`` waits for so many seconds. ``agents`` sign
    for others, certificates of ``manufacturers`` for their devices; ``revocation`` tells of one that is to be renewed;
    ``shadow`` is the policy that is tried beside the enforced one; ``queries`` answers GetCert and GetCRL.
    """

    name: str
    profile: model.Profile
    identities: Identities
    provider: ChallengeProvider
    rules: Rules
    policy_version: str
    renewal: RenewalRules | None
    ways: Ways
    admission: Admission
    pause: Callable[[float], Awaitable[object]]
    agents: Agents = NO_AGENTS
    manufacturers: tuple[Certificate, ...] = ()
    revocation: Callable[[Certificate], Awaitable[Revocation]] | None = None
    shadow: Shadow | None = None
    queries: Queries | None = None

    @property
    def keyring(self) -> Keyring:
        """What opens and signs now."""
        return self.identities.keyring

    @property
    def forwarding(self) -> Forwarding:
        """The way to its most usual CA, and to what is stored."""
        return self.ways.first

    @property
    def _static(self) -> bool:
        """Whether a challenge can be found by guessing."""
        return any(isinstance(each, model.StaticChallenge) for each in model.singles(self.profile.challenge))

    @property
    def _renewal(self) -> RenewalRules | None:
        """The rules for renewals, by which a CA that follows one of the anchors is one, too."""
        rules = self.renewal
        for way in self.ways.all:
            view = way.upstream.view
            if rules is not None and view is not None:
                rules = rules.beside(view.lineage)
        return rules

    @property
    def _answers(self) -> Answering:
        return Answering(self.profile, self.identities, self.ways)

    def now(self) -> datetime:
        """The time of day, UTC."""
        return self.forwarding.now()

    def ca_caps(self) -> bytes:
        """The body of a GetCACaps answer: this side's abilities, not the upstream's (CAPS-04)."""
        floor = self.profile.floor
        return capabilities.offered(
            floor.digests,
            floor.ciphers - {ContentCipher.DES_CBC},
            post=self.profile.capabilities.post,
            renewal=self.renewal is not None,
            rollover=self._answers.announcing is not None,
        ).encode()

    def ca_cert(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACert answer (CERT-02, CERT-05).

        Raises:
            Refused: status 502, the upstream's certificates are not known yet.
        """
        return transport.CONTENT_TYPE_CA_RA_CERT, self._answers.bag()

    def ca_cert_chain(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACertChain answer (CERT-22)."""
        return transport.CONTENT_TYPE_CA_RA_CERT_CHAIN, self._answers.bag()

    async def next_ca_cert(self) -> tuple[str, bytes]:
        """Content type and body of a GetNextCACert answer (CERT-30, CERT-31).

        Raises:
            Refused: status 501, there is no next CA to tell of (CERT-34); 503, the answer cannot be signed now.
        """
        try:
            return transport.CONTENT_TYPE_NEXT_CA_CERT, await self._answers.next_ca_cert()
        except KeyUnavailable as error:
            raise Refused(str(error), 503, retry_after=math.ceil(self.forwarding.settings.retry_after)) from error

    async def pki_operation(self, message: bytes, source: str) -> bytes:
        """Answer a pkiMessage.

        Args:
            message: as received.
            source: the peer's IP address.

        Returns:
            A CertRep: SUCCESS, PENDING, or FAILURE with its failInfo.

        Raises:
            Refused: 400 for what cannot be answered, 429 for what comes too often, 503 while it cannot be decided, or
                told to a client that cannot poll.
        """
        self.admission.message(source)
        request = PKIMessage.parse(message)
        with Record(self.name, source, transaction=request.transaction_id) as record:
            try:
                return await self._answer(request, hashlib.sha256(message).digest(), record)
            except Corrupt as error:
                await self._quarantine(error)
                raise self._answers.unavailable(record, str(error)) from error
            except (UpstreamError, ProviderError, RevocationError, StoreError, KeyUnavailable) as error:
                raise self._answers.unavailable(record, str(error)) from error

    async def _answer(self, message: PKIMessage, digest_of_message: bytes, record: Record) -> bytes:
        """The answer to a message, a refusal too, unless there is none now."""
        try:
            return await self._serve(message, digest_of_message, record)
        except (Corrupt, Refused):
            # A client that cannot poll is no reason to refuse what it asks for.
            raise
        except ScepError as error:
            return await self._answers.refuse(message, record, (error.reason,), error.fail_info)

    async def _serve(self, message: PKIMessage, digest_of_message: bytes, record: Record) -> bytes:
        signer, digest = message.verify(self.profile.floor)
        record.signer_key = signer.public_key.sha256.hex()
        record.message_type = message.message_type.name
        self.admission.signed(record.source, signer.public_key.sha256)
        if message.message_type is MessageType.CERT_POLL:
            asker = receive_poll(message, signer, digest, keyring=self.keyring, floor=self.profile.floor)
            return await self._poll(message, asker, record)
        if message.message_type in KINDS:
            return await self._query(message, signer, digest, record)
        if not self.profile.polling and self.ways.full(self.name):
            # Whatever it holds, most likely it would be turned away in the end: so it is before it costs anything.
            raise self.forwarding.upstream.turns.too_many()
        with self.admission.opening(self.name, record.source, static=self._static):
            return await self._enrol(message, digest_of_message, signer, digest, record)

    async def _enrol(
        self, message: PKIMessage, digest_of_message: bytes, signer: Certificate, digest: Digest, record: Record
    ) -> bytes:
        """Answer a PKCSReq or RenewalReq whose signature is verified."""
        try:
            reception = await self._receive(message, signer, digest)
        except NotOurs:
            # Another process may have a new certificate of the RA, and have given it out.
            if not await self.identities.seek():
                raise
            reception = await self._receive(message, signer, digest)
        _describe(reception, record)
        request = self.forwarding.vault.digest(request_identity(self.name, reception.credential, signer, reception.csr))
        found = await self._recall(request, digest_of_message, message, reception)
        if found is not None:
            return await self._answers.tell(message, reception, await self._settled(found), record, reception.csr)
        self._require_validity()
        self.forwarding.hands.require((reception.generation.signing.key,))
        asked = self._asked(message, reception, record)
        group = self.ways.group(asked)
        judgement = await self._judge(asked, group, record)
        if judgement.credential_id is not None:
            record.challenge = judgement.credential_id
        if isinstance(judgement.verdict, ChallengeRefused):
            self.admission.wrong(self.name, record.source)
        if judgement.refused:
            await self._count_misuse(judgement)
            return await self._answers.refuse(message, record, judgement.reasons, judgement.fail_info, reception)
        self.admission.authorised(self.name, record.source)
        choice = await self._choose(group) if judgement.hold is None else Choice(group.first())
        try:
            entry = Entry(
                self.name,
                choice.forwarding,
                message,
                digest_of_message,
                request,
                reception,
                judgement,
                self.policy_version,
                bounds(self.rules),
                self._room(record.source),
                choice.obstacle,
            )
            recorded = await self._begin(entry, record)
        finally:
            if judgement.hold is None and choice.obstacle is None:
                choice.forwarding.upstream.turns.end()
        if isinstance(recorded, Recorded) and recorded.new and choice.obstacle is None:
            recorded = await self._elsewhere(group, recorded, record)
        if isinstance(recorded, Full):
            raise self.admission.refusal("held", recorded.reason, record.source)
        if isinstance(recorded, Taken):
            # Somebody has another's challenge, as likely as not (SEC-06, FT-25).
            log.warn("{credential}: {reason}", credential=recorded.credential, reason=recorded.reason)
            reasons = (f"challenge: {recorded.reason}",)
            return await self._answers.refuse(message, record, reasons, FailInfo.BAD_REQUEST, reception)
        record.reported += tuple(map(str, recorded.reported))
        if isinstance(recorded, Exceeded):
            exceeded = tuple(map(str, recorded.violations))
            record.rules = {**record.rules, **said_by(recorded.violations)}
            return await self._answers.refuse(message, record, exceeded, FailInfo.BAD_REQUEST, reception)
        after = recorded.transaction if recorded.new else await self._settled(recorded.transaction)
        return await self._answers.tell(message, reception, after, record, reception.csr)

    async def _receive(self, message: PKIMessage, signer: Certificate, digest: Digest) -> Reception:
        return await self.forwarding.hands.use(
            opening(self.keyring),
            receive,
            message,
            signer,
            digest,
            keyring=self.keyring,
            floor=self.profile.floor,
            renewal=self._renewal,
            agents=self.agents,
            manufacturers=self.manufacturers,
        )

    async def _poll(self, message: PKIMessage, asker: Asker, record: Record) -> bytes:
        """Answer a CertPoll from what is stored: it causes nothing (MSG-40, MSG-42, RA-21)."""
        where = route(self.name, message.transaction_id, asker.signer.public_key.sha256)
        found = await self.forwarding.database.read(intents.find, where)
        if found is None:
            raise ScepError("a poll for a transaction that is not known", FailInfo.BAD_CERT_ID)
        return await self._answers.tell(message, asker, found, record)

    async def _query(self, message: PKIMessage, signer: Certificate, digest: Digest, record: Record) -> bytes:
        """Answer a GetCert or GetCRL (MSG-50 to MSG-52): it changes nothing.

        To those who may not ask it is refused before the RA's key opens anything, to all others alike whatever is
        missing.
        """
        kind, queries = message.message_type, self.queries
        if queries is None or not queries.answers(kind):
            raise ScepError("queries are not served by this profile")
        with self.admission.opening(self.name, record.source, static=self._static):
            kept = await queries.admit(signer, digest, self._renewal, self.forwarding)
            if (place := queries.location(kind)) is not None:
                asker = receive_poll(message, signer, digest, keyring=self.keyring, floor=self.profile.floor)
                said = ("told where the list is",)
                return await self._answers.refuse(message, record, said, FailInfo.BAD_REQUEST, asker, f"; see {place}")
            if not signer.public_key.encrypts:
                raise ScepError("the client's key cannot decrypt an answer")
            asked = await self.forwarding.hands.use(
                opening(self.keyring),
                receive_query,
                message,
                signer,
                digest,
                keyring=self.keyring,
                floor=self.profile.floor,
            )
            record.request, record.algorithms = asked.asked.hex(), str(asked.algorithms)
            payload = await queries.find(asked, kept, record)
            if payload is None and queries.settings.forward:
                payload = await self._ask_upstream(queries, asked, record)
            if payload is None:
                reasons = ("nothing that this asker may have",)
                return await self._answers.refuse(message, record, reasons, FailInfo.BAD_CERT_ID, asked)
            return await self._answers.deliver(message, asked, payload, record)

    async def _ask_upstream(self, queries: Queries, asked: Query, record: Record) -> bytes | None:
        """What the CA that a query is about answers it with; None where it is about none of the profile's."""
        unknown: UpstreamError | None = None
        for forwarding in self.ways.all:
            try:
                view = await forwarding.upstream.current()
            except UpstreamError as error:
                unknown = unknown or error
                continue
            if queries.concerns(asked, view):
                self.admission.authorised(self.name, record.source)
                await take_turn(forwarding, self.name)
                try:
                    return await queries.forward(asked, forwarding, record)
                finally:
                    forwarding.upstream.turns.end()
        if unknown is not None:
            # It may be that one's.
            raise unknown
        return None

    # What is stored

    async def _recall(
        self, request: bytes, digest_of_message: bytes, message: PKIMessage, reception: Reception
    ) -> Transaction | None:
        """The transaction that this request began before, if it still answers it (MSG-25, FT-21 to FT-23)."""
        found = await self.forwarding.database.read(intents.recall, request)
        if found is None or not found.answers(digest_of_message, self.now()):
            return None
        where = routes(self.name, message, reception)
        if not await self.forwarding.database.read(intents.leads, found.id, where):
            await self.forwarding.database.write(intents.lead, found.id, where)
        return found

    async def _settled(self, found: Transaction) -> Transaction:
        """What is being sent now by another request, or another process, when that has its answer (FT-22)."""
        clock, pause = self.forwarding.reactor, _FIRST_LOOK
        end = clock.seconds() + self.forwarding.settings.timeout
        while found.state is State.SENDING and clock.seconds() < end:
            await self.pause(pause)
            pause = min(2 * pause, _LONGEST_LOOK)
            found = await self._again(found)
        return found

    async def _again(self, found: Transaction) -> Transaction:
        """A transaction as it is now."""
        latest: Transaction | None = await self.forwarding.database.read(intents.get, found.id)
        return found if latest is None else latest

    async def _choose(self, group: Group) -> Choice:
        """The CA that a request goes to; if it can be sent now, it has its turn from now on.

        Raises:
            UpstreamError: not sent; it would have to wait, and its client cannot poll: nothing is consumed (DR-15).
        """
        choice = await group.choose(self.name)
        if choice.obstacle is not None and not self.profile.polling:
            raise choice.obstacle
        return choice

    def _room(self, source: str) -> Room:
        held = self.profile.held
        return Room(held.requests, held.per_address, held.octets, self.admission.place(source))

    async def _begin(self, entry: Entry, record: Record) -> Recorded | Taken | Full | Exceeded:
        """Record a request, and send it if it can be sent now; the transaction is then as it is afterwards."""
        csr, begun, forwarding = entry.reception.csr, self.forwarding.reactor.seconds(), entry.forwarding
        signing = await forwarding.signer.identity(csr.subject.der, self.now())
        intent = build_intent(entry, signing, record)
        recorded = await self.forwarding.database.write(intents.record, intent, intent.values["received"])
        if not isinstance(recorded, Recorded):
            return recorded
        transaction = recorded.transaction
        record.enrolment = transaction.id
        if not recorded.new:
            return recorded
        record.sequence = recorded.sequence
        if transaction.state is not State.SENDING:
            return recorded
        try:
            after = await forwarding.advance(transaction, csr, signing.identity, begun, record)
        except StoreError as error:
            # What the CA did cannot be written, so nobody is told of it; it will be asked again (FT-31, I5).
            log.error("transaction {id} waits: {error}", id=transaction.id, error=error.reason)
            return recorded
        return replace(recorded, transaction=after)

    async def _elsewhere(self, group: Group, recorded: Recorded, record: Record) -> Recorded:
        """What a new request comes to at an equal CA, where its own could not be reached in the end (FT-01)."""
        choice = await group.elsewhere(self.name, recorded.transaction)
        if choice is None:
            return recorded
        forwarding, begun = choice.forwarding, self.forwarding.reactor.seconds()
        theirs = next(way.upstream for way in self.ways.all if way.upstream.name == recorded.transaction.upstream)
        try:
            held = await forwarding.take_over(recorded.transaction, theirs.authority)
            if held is None:
                return recorded
            after = await forwarding.resume(held, begun, record)
        except StoreError as error:
            log.error("transaction {id} waits: {error}", id=recorded.transaction.id, error=error.reason)
            return recorded
        finally:
            forwarding.upstream.turns.end()
        return replace(recorded, transaction=after)

    async def _count_misuse(self, judgement: Judgement) -> None:
        """Note that a challenge was shown by somebody whom it was not given to (AC-091)."""
        if judgement.misused is None:
            return
        with suppress(StoreError):
            suspended = await self.forwarding.database.write(challenges.misused, judgement.misused, self.now())
            if suspended:
                log.error("challenge {id} is suspended: it was given for something else", id=judgement.misused)

    async def _quarantine(self, error: Corrupt) -> None:
        with suppress(StoreError):
            await self.forwarding.database.write(outcomes.quarantine, error.transaction, error.reason, self.now())

    def _require_validity(self) -> None:
        """Nothing new is begun while the RA's own certificates are not valid: they have expired, or the clock is wrong
        (FT-47, FT-49).

        Raises:
            StoreError: nothing is consumed.
        """
        if not self.keyring.valid_at(self.now()):
            raise StoreError("the RA's own certificate is not valid now: it has expired, or the clock is wrong")

    def _asked(self, message: PKIMessage, reception: Reception, record: Record) -> EnrolmentRequest:
        """What is judged, and decides where it goes."""
        return EnrolmentRequest(
            self.name,
            reception.credential,
            reception.message_type,
            message.transaction_id,
            reception.csr,
            reception.signer,
            record.source,
            self.now(),
            reception.digest,
        )

    async def _judge(self, request: EnrolmentRequest, group: Group, record: Record) -> Judgement:
        provenance = Provenance()
        if request.credential is Credential.RENEWAL:
            provenance = await self._provenance(request.signer)
        judgement = await judge(
            request,
            provenance,
            self.provider,
            self.rules,
            self._renewal,
            self.agents,
            challenge_goes_north=group.authorisation == "challenge",
        )
        record.policy, record.rules = self.policy_version, judgement.said
        record.reported = tuple(map(str, judgement.reported))
        if self.shadow is not None:
            record.shadow = self.shadow.compare(request, judgement, record.reference)
        return judgement

    async def _provenance(self, signer: Certificate) -> Provenance:
        """What is known of a certificate that is to be renewed (AC-049, AC-050).

        Raises:
            RevocationError: nothing can be said now.
        """
        profile = await self.forwarding.database.read(inventory.profile_of, bytes.fromhex(signer.fingerprint()))
        revocation = Revocation.GOOD if self.revocation is None else await self.revocation(signer)
        return Provenance(profile, revocation)


def _describe(reception: Reception, record: Record) -> None:
    """Record what is asked for."""
    csr = reception.csr
    record.request = hashlib.sha256(csr.der).hexdigest()
    record.subject = str(csr.subject)[:RECORDED]
    record.names = tuple(str(name)[:RECORDED] for name in csr.alternative_names[:RECORDED_NAMES])
    record.credential = reception.credential.value
    record.algorithms = str(reception.algorithms)
