"""The SCEP face of the lab's CA: a twisted.web resource over :mod:`scepra.scep` in the server's role (RFC 8894, 4).

It authorises by a challenge, or anyone where it has none, and by its own certificates. Who signs a request need not
hold the key of the CSR: a registration authority never does (RA-13).
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepra.errors import FailInfo, Refused, ScepError
from scepra.lab import forgery
from scepra.lab.answer import answering, seal, write
from scepra.lab.authority import REMEMBERED, Authority, RAUsage, remember
from scepra.lab.behaviour import Behaviour, Duplicates, Faces, Forgery, Payload
from scepra.lab.fault import PAGE, respond
from scepra.lab.manner import Renewals
from scepra.scep import oid
from scepra.scep.algorithm import Algorithms, Digest, KeyTransport
from scepra.scep.capabilities import offered
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate
from scepra.scep.csr import CertificationRequest
from scepra.scep.envelope import EnvelopedData
from scepra.scep.identity import Generation, Keyring
from scepra.scep.message import (
    REQUESTS,
    Answer,
    MessageType,
    PKIMessage,
    PKIStatus,
    parse_issuer_and_serial,
)
from scepra.scep.transport import (
    CONTENT_TYPE_CA_CAPS,
    CONTENT_TYPE_CA_CERT,
    CONTENT_TYPE_CA_RA_CERT,
    CONTENT_TYPE_CA_RA_CERT_CHAIN,
    CONTENT_TYPE_NEXT_CA_CERT,
    CONTENT_TYPE_PKI_MESSAGE,
    Operation,
    OperationKind,
    parse_operation,
    split_target,
)

log = Logger()

_COMMON_NAME = oid.encode("2.5.4.3")
_ORGANIZATIONAL_UNIT = oid.encode("2.5.4.11")


@dataclass(slots=True)
class Received:
    """One operation that came in, and what became known of it.

    ``message`` is the pkiMessage as it came; ``signer`` is None until its signature has verified, ``csr`` and
    ``algorithms`` until it has been opened, ``status`` where it was not answered by a CertRep.
    """

    kind: OperationKind
    method: str
    message: bytes = b""
    ca_identifier: str | None = None
    request: PKIMessage | None = None
    signer: Certificate | None = None
    algorithms: Algorithms | None = None
    csr: CertificationRequest | None = None
    status: PKIStatus | None = None
    refusal: str | None = None

    @property
    def message_type(self) -> MessageType | None:
        """What was asked for; None for what is no request of SCEP."""
        return REQUESTS.get(self.request.message_type_text or "") if self.request is not None else None

    @property
    def transaction_id(self) -> str | None:
        """The transactionID; None for other operations than PKIOperation."""
        return self.request.transaction_id if self.request is not None else None

    def __str__(self) -> str:
        """One line for the log, without secrets."""
        kind = self.message_type.name if self.message_type is not None else "unknown"
        subject = f" {self.csr.subject}" if self.csr is not None else ""
        status = self.status.name if self.status is not None else "unanswered"
        return f"{kind}{subject} by {self.method}: {status}{f', {self.refusal}' if self.refusal else ''}"

    @property
    def challenge(self) -> str | None:
        """The challengePassword that was sent."""
        return self.csr.challenge_password if self.csr is not None else None


@dataclass(slots=True)
class Transaction:
    """What was asked for under one transactionID, what came of it, how often it was polled for before, and which CA
    it was asked of."""

    csr: CertificationRequest
    requester: Certificate
    status: PKIStatus = PKIStatus.PENDING
    certificate: Certificate | None = None
    polls: int = 0
    authority: Authority | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request comes to, before it is sealed."""

    status: PKIStatus
    payload: bytes = b""
    password: str | None = None
    fail_info: FailInfo | None = None
    fail_info_text: str | None = None


PENDING = Outcome(PKIStatus.PENDING)


class CertificationService(Resource):
    """Serves SCEP for an :class:`~scepra.lab.authority.Authority`, at any path.

    ``behaviour`` may be exchanged at any time. ``received`` is what came in, oldest first; ``transactions`` what was
    asked for, by transactionID. Of each, the last :data:`REMEMBERED` are kept.
    """

    isLeaf = True

    def __init__(
        self,
        authority: Authority,
        challenge: str | None = None,
        behaviour: Behaviour = Behaviour(),  # noqa: B008 - frozen
        one_time: Callable[[str], bool] | None = None,
        calendar: Callable[[CertificationService], None] | None = None,
    ) -> None:
        """
        Args:
            authority: issues the certificates.
            challenge: what every initial enrolment must know; None asks for none.
            behaviour: how the CA behaves at first.
            one_time: uses up a one-time password, and says whether it was good; None asks for none.
            calendar: looks, before each operation, whether it is time for the next CA.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self.authority = authority
        self.challenge = challenge
        self.behaviour = behaviour
        self.one_time = one_time
        self.calendar = calendar
        self.following: Authority | None = None
        self.former: tuple[Authority, ...] = ()
        self.received: deque[Received] = deque(maxlen=REMEMBERED)
        self.transactions: dict[str, Transaction] = {}
        self._generations: dict[tuple[Faces, Authority], Generation] = {}

    # What its operator does

    def approve(self, transaction_id: str) -> Certificate:
        """Issue what is pending; the next poll fetches it."""
        return self._issue(self.transactions[transaction_id])

    def deny(self, transaction_id: str) -> None:
        """Refuse what is pending; the next poll is told so."""
        self.transactions[transaction_id].status = PKIStatus.FAILURE

    def announce(self, following: Authority) -> None:
        """Tell of the CA that will follow; requests may be made to it from now on."""
        self.following = following

    def roll_over(self) -> None:
        """The CA that was announced takes over; what is encrypted to the former one is opened still."""
        if self.following is None:
            raise ValueError("no CA is announced")
        self.former = (*self.former, self.authority)
        self.authority, self.following = self.following, None

    def replace_ra(self) -> None:
        """Exchange the certificates of its RA; what is encrypted to the former ones is not opened any more."""
        self._generations.clear()

    @property
    def generation(self) -> Generation:
        """The certificates and keys that clients talk to now."""
        return self._generation_of(self.authority)

    def _generation_of(self, authority: Authority) -> Generation:
        faces = self.behaviour.faces
        if (faces, authority) not in self._generations:
            self._generations[faces, authority] = _generation(authority, faces)
        return self._generations[faces, authority]

    @property
    def _authorities(self) -> tuple[Authority, ...]:
        """Whoever may be asked: the CA of today first."""
        return (self.authority, *((self.following,) if self.following is not None else ()), *self.former)

    # HTTP

    def render(self, request: http.Request) -> bytes | int:
        """Answer any request, as the behaviour wants it."""
        method = request.method.decode("latin-1")
        body = request.content.read() if request.content is not None else b""
        request.responseHeaders.removeHeader(b"content-type")
        manner = self.behaviour.manner
        if manner.server is not None:
            request.setHeader(b"server", manner.server.encode("ascii"))
        try:
            query = split_target(request.uri)[1]
            if manner.page and method == "GET" and not query:
                request.setHeader(b"content-type", b"text/html")
                return PAGE
            if manner.longest_query is not None and len(query) > manner.longest_query:
                raise Refused("a query too long", 404)
            if not manner.takes_chunks and request.requestHeaders.hasHeader(b"transfer-encoding"):
                raise Refused("a body in chunks", 411)
            operation = parse_operation(method, query, body)
            content_type, content = self._operate(operation, method)
        except Refused as refused:
            request.setResponseCode(refused.status)
            return b""
        request.setHeader(b"content-type", content_type.encode("ascii"))
        behaviour = self.behaviour
        if manner.chunks and operation.kind is OperationKind.PKI_OPERATION:
            request.write(content)
            request.finish()
            return NOT_DONE_YET
        faulty = operation.kind in behaviour.faulty and method in behaviour.faulty_methods
        return respond(request, content, behaviour if faulty else None)

    def _operate(self, operation: Operation, method: str) -> tuple[str, bytes]:
        received = Received(operation.kind, method, operation.message, operation.ca_identifier)
        self.received.append(received)
        if self.calendar is not None:
            self.calendar(self)
        if operation.kind is OperationKind.GET_CA_CAPS:
            return CONTENT_TYPE_CA_CAPS, self._ca_caps()
        if operation.kind is OperationKind.GET_CA_CERT:
            return self._ca_cert(operation.ca_identifier)
        if operation.kind is OperationKind.GET_CA_CERT_CHAIN:
            return CONTENT_TYPE_CA_RA_CERT_CHAIN, degenerate([self.authority.certificate.der])
        if operation.kind is OperationKind.PKI_OPERATION:
            if not (self.behaviour.post if method == "POST" else self.behaviour.get):
                raise Refused("switched off", 405)
            return CONTENT_TYPE_PKI_MESSAGE, self._pki_operation(received)
        return CONTENT_TYPE_NEXT_CA_CERT, self._next_ca_cert()

    def _next_ca_cert(self) -> bytes:
        if self.following is None:
            raise Refused("there is no next CA certificate", 501)
        following = self._generation_of(self.following)
        certificates = dict.fromkeys(
            (self.following.certificate, following.encryption.certificate, following.signing.certificate)
        )
        return forgery.next_ca_cert(tuple(certificates), self.authority, self.generation.signing, self.behaviour.word)

    def _ca_caps(self) -> bytes:
        if self.behaviour.capabilities is not None:
            return self.behaviour.capabilities
        floor = self.behaviour.floor
        return offered(
            floor.digests, floor.ciphers, post=self.behaviour.post, renewal=True, rollover=self.following is not None
        ).encode()

    def _ca_cert(self, wanted: str | None) -> tuple[str, bytes]:
        manner, authority = self.behaviour.manner, self.authority.certificate.der
        ours = [self.generation.encryption.certificate.der, self.generation.signing.certificate.der]
        certificates = list(dict.fromkeys((authority, *ours) if manner.ca_first else (*ours, authority)))
        if manner.one_certificate:
            number = int(wanted) if wanted is not None and wanted.isdecimal() else 0
            if number >= len(certificates):
                raise Refused("the chain has not so many certificates", 404)
            return CONTENT_TYPE_CA_CERT, certificates[number]
        if len(certificates) == 1 and not manner.always_bag:
            return CONTENT_TYPE_CA_CERT, certificates[0]
        return CONTENT_TYPE_CA_RA_CERT, degenerate(certificates)

    # SCEP

    def _pki_operation(self, received: Received) -> bytes:
        """The CertRep that answers a pkiMessage.

        Raises:
            Refused: no CertRep can answer it.
        """
        request = received.request = PKIMessage.parse(received.message)
        manner, used, generation = self.behaviour.manner, Algorithms(), self.generation
        if request.message_type not in manner.serves:
            raise Refused("a message that is not read here", 500)
        try:
            if manner.hexadecimal and not set(request.transaction_id.upper()) <= set("0123456789ABCDEF"):
                raise ScepError("a transactionID that is no hexadecimal number")
            signer, digest = request.verify(self.behaviour.floor)
            received.signer = signer
            used = Algorithms(digest)
            content, used, generation = self._open(request, digest)
            received.algorithms = used
            outcome = self._judge(received, request, signer, content, self._asked(generation))
            used = answering(self.behaviour, used)
            answer = self._seal(outcome, signer, request, used)
        except ScepError as error:
            received.refusal = error.reason
            status = manner.unreadable if received.algorithms is None else manner.refused
            if status is not None:
                log.info("{received}", received=received)
                raise Refused(error.reason, status) from error
            answer = Answer(PKIStatus.FAILURE, fail_info=error.fail_info, fail_info_text=error.reason)
        received.status = answer.status
        log.info("{received}", received=received)
        signing = generation.signing
        if self.behaviour.forgery is Forgery.SIGNER:
            signing = forgery.impostor(signing)
        misdirected = forgery.misdirected(request, self.behaviour.forgery)
        return write(misdirected, answer, signing, self.behaviour.algorithms or used, self.behaviour)

    def _asked(self, generation: Generation) -> Authority:
        """The CA that is asked by a message to one of our generations: today's, or the one that follows (CERT-35)."""
        following = self.following
        chosen = following is not None and generation is self._generation_of(following)
        return following if following is not None and chosen else self.authority

    def _open(self, request: PKIMessage, digest: Digest) -> tuple[bytes, Algorithms, Generation]:
        """The content of a request, what it was sealed with: to our key, or under our challenge (CMS-27); and to which
        of our generations."""
        envelope = EnvelopedData.parse(request.signed_data.content or b"")
        if self.challenge and any(item.transport is KeyTransport.PASSWORD for item in envelope.recipients):
            content = envelope.open_with_password(self.challenge.encode("utf-8"))
            return content, Algorithms(digest, envelope.cipher), self.generation
        keyring = Keyring(map(self._generation_of, self._authorities))
        opened = request.open(keyring, self.behaviour.floor, digest)
        return opened.content, opened.algorithms, opened.generation

    def _judge(
        self, received: Received, request: PKIMessage, signer: Certificate, content: bytes, authority: Authority
    ) -> Outcome:
        kind = request.message_type
        if kind is MessageType.CERT_POLL:
            return self._poll(request.transaction_id, signer)
        if kind is MessageType.GET_CERT:
            return self._get_cert(content)
        if kind is MessageType.GET_CRL:
            return Outcome(PKIStatus.SUCCESS, degenerate(crls=[self.authority.crl()]))
        csr = received.csr = CertificationRequest.parse(content)
        csr.verify(self.behaviour.floor)
        known = self._recall(request.transaction_id)
        if self.behaviour.manner.common_name and not csr.subject.values(_COMMON_NAME):
            raise ScepError("a subject without a common name")
        self._authorise(kind, signer, csr, again=known is not None and known.csr.der == csr.der)
        return self._enrol(request.transaction_id, signer, csr, authority)

    def _authorise(self, kind: MessageType, signer: Certificate, csr: CertificationRequest, *, again: bool) -> None:
        """Let in whoever has a certificate of ours, or knows the challenge; *again*: was let in with it before."""
        manner, ours = self.behaviour.manner, any(each.has_issued(signer) for each in self._authorities)
        if manner.same_subject and not ours and not signer.subject.matches(csr.subject):
            raise ScepError("signed by another subject than the request's")
        if ours and self._renews(kind, signer, csr):
            return
        if kind is MessageType.RENEWAL_REQ and not ours:
            raise ScepError("a renewal that is not signed by a certificate of this CA")
        if not ours and not signer.is_self_signed:
            raise ScepError("signed by a certificate of another CA")
        given = (csr.challenge_password or "").encode("utf-8", "surrogatepass")
        if self.challenge is not None and not hmac.compare_digest(given, self.challenge.encode("utf-8")):
            raise ScepError("the challenge is missing or wrong")
        if self.one_time is not None and not again and not self.one_time(csr.challenge_password or ""):
            raise ScepError("the password is wrong, used, expired or forgotten")

    def _renews(self, kind: MessageType, signer: Certificate, csr: CertificationRequest) -> bool:
        """Whether a certificate of this CA's is all that a request needs.

        Raises:
            ScepError: it may not be used for this at all.
        """
        renewals = self.behaviour.manner.renewals
        if self._recognises(signer):
            return True
        if renewals is Renewals.SAME_SUBJECT and kind is MessageType.RENEWAL_REQ:
            raise ScepError("a RenewalReq, which is not known here")
        if renewals is Renewals.SAME_SUBJECT and not signer.subject.matches(csr.subject):
            raise ScepError("the subject is not that of the certificate to renew")
        return renewals in (Renewals.ANYTHING, Renewals.SAME_SUBJECT)

    def _enrol(
        self, transaction_id: str, signer: Certificate, csr: CertificationRequest, authority: Authority
    ) -> Outcome:
        """The outcome of a request; the same request again is the same transaction (MSG-25)."""
        transaction = self._recall(transaction_id)
        if transaction is None or not self._same(transaction.csr, csr):
            transaction = Transaction(csr, signer, authority=authority)
            remember(self.transactions, transaction_id, transaction)
            if self.behaviour.status is PKIStatus.SUCCESS or self._recognises(signer):
                self._issue(transaction)
            elif self.behaviour.status is PKIStatus.FAILURE:
                transaction.status = PKIStatus.FAILURE
        elif self.behaviour.duplicates is Duplicates.REFUSED:
            raise ScepError("the password has been used already")
        elif self.behaviour.duplicates is Duplicates.ISSUED and transaction.certificate is not None:
            self._issue(transaction)
        return self._outcome(transaction)

    def _same(self, known: CertificationRequest, csr: CertificationRequest) -> bool:
        """Whether a request under the same transactionID is the same."""
        if self.behaviour.duplicates is Duplicates.KEY:
            return known.public_key.same_key(csr.public_key)
        return known.der == csr.der

    def _recognises(self, signer: Certificate) -> bool:
        """Whether a signer is one that is never made to wait."""
        unit = self.behaviour.manner.recognises
        units = [value.text for value in signer.subject.values(_ORGANIZATIONAL_UNIT)]
        return unit in units and self.authority.has_issued(signer)

    def _poll(self, transaction_id: str, signer: Certificate) -> Outcome:
        """The outcome so far, for whoever holds the requester's key (MSG-41, MSG-42)."""
        transaction = self._recall(transaction_id)
        keys = () if transaction is None else (transaction.requester.public_key, transaction.csr.public_key)
        if transaction is None or not any(signer.public_key.same_key(key) for key in keys):
            raise ScepError("a poll for a transaction that is unknown", FailInfo.BAD_CERT_ID)
        if transaction.status is PKIStatus.PENDING:
            polls = self.behaviour.polls
            if polls is not None and transaction.polls >= polls:
                self._issue(transaction)
            transaction.polls += 1
        return self._outcome(transaction)

    def _recall(self, transaction_id: str) -> Transaction | None:
        """What is known by a transactionID."""
        transaction = self.transactions.get(transaction_id)
        if transaction is not None and transaction.status is PKIStatus.PENDING and self.behaviour.forgets:
            return None
        return transaction

    def _outcome(self, transaction: Transaction) -> Outcome:
        if transaction.status is PKIStatus.PENDING:
            return PENDING
        if transaction.certificate is None:
            refused = self.behaviour
            return Outcome(PKIStatus.FAILURE, fail_info=refused.fail_info, fail_info_text=refused.fail_info_text)
        payload = self._payload(transaction.certificate)
        return Outcome(PKIStatus.SUCCESS, payload, transaction.csr.challenge_password)

    def _get_cert(self, content: bytes) -> Outcome:
        issuer, serial = parse_issuer_and_serial(content)
        certificate = next((each.issued[serial] for each in self._authorities if serial in each.issued), None)
        if certificate is None or certificate.issuer_der != issuer:
            raise ScepError("no such certificate", FailInfo.BAD_CERT_ID)
        return Outcome(PKIStatus.SUCCESS, degenerate([certificate.der]))

    def _issue(self, transaction: Transaction) -> Certificate:
        authority = transaction.authority
        if authority is None or authority in self.former:
            authority = self.authority
        transaction.certificate = forgery.issue(authority, transaction.csr, self.behaviour.forgery)
        transaction.status = PKIStatus.SUCCESS
        return transaction.certificate

    def _payload(self, certificate: Certificate) -> bytes:
        issuing = next((each for each in self._authorities if each.has_issued(certificate)), self.authority)
        leaf, issuer = certificate.der, issuing.certificate.der
        order = {
            Payload.LEAF: [leaf],
            Payload.LEAF_THEN_CA: [leaf, issuer],
            Payload.CA_THEN_LEAF: [issuer, leaf],
            Payload.NOTHING: [],
        }
        return degenerate(order[self.behaviour.payload])

    def _seal(self, outcome: Outcome, signer: Certificate, request: PKIMessage, algorithms: Algorithms) -> Answer:
        if outcome.status is not PKIStatus.SUCCESS:
            return Answer(outcome.status, fail_info=outcome.fail_info, fail_info_text=outcome.fail_info_text)
        envelope = seal(outcome.payload, signer, request, algorithms, self.behaviour, outcome.password)
        return Answer(PKIStatus.SUCCESS, envelope)


def _generation(authority: Authority, faces: Faces) -> Generation:
    if faces is Faces.CA:
        return Generation(authority.identity, authority.identity)
    if faces is Faces.RA:
        both = authority.issue_ra("scepra lab CA, enrolment")
        return Generation(both, both)
    return Generation(
        authority.issue_ra("scepra lab CA, enrolment (signing)", RAUsage.SIGNING),
        authority.issue_ra("scepra lab CA, enrolment (encryption)", RAUsage.ENCRYPTION),
    )
