"""A SCEP client (RFC 8894) over HTTP: discovers, enrols, polls, renews, and fetches certificates and CRLs.

What it is given for HTTP decides what it talks to: :func:`~scepra.lab.http.http_client` reaches real servers,
``treq.testing.StubTreq(resource)`` is one in memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from twisted.web.client import ResponseFailed

from scepra.errors import FailInfo, Refused, ScepError
from scepra.lab.authority import utc_now
from scepra.lab.behaviour import PERMISSIVE
from scepra.lab.csr import RequestedExtension, build_csr
from scepra.lab.discovery import Discovery
from scepra.lab.http import HTTP, read
from scepra.lab.key import PrivateKey, new_key
from scepra.scep.algorithm import Algorithms, Digest, Floor
from scepra.scep.capabilities import Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.certification import self_signed
from scepra.scep.certrep import CertRep, Expectation, choose_issued, read_cert_rep
from scepra.scep.cms import parse_ca_certificates
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, PKIStatus, build_request, issuer_and_serial, issuer_and_subject, new_nonce
from scepra.scep.transport import CONTENT_TYPE_PKI_MESSAGE, OperationKind, encode_query


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of a request.

    Attributes:
        status: SUCCESS, PENDING (see :meth:`Client.poll`) or FAILURE.
        certificate: the one for the request's key; None unless SUCCESS.
        certificates: all that the answer had, in its order.
        fail_info: why it failed; ``fail_info_text`` in the server's own words.
        key: the key that the certificate is for.
        csr: the request, DER.
        challenge: what it was authorised by.
        signer: what signed the request: the answer is encrypted to it.
        transaction_id: the name of the conversation.
        seconds: how long it took from the first octet sent to the opened answer.
    """

    status: PKIStatus
    certificate: Certificate | None
    certificates: tuple[Certificate, ...]
    fail_info: FailInfo | None
    fail_info_text: str | None
    key: PrivateKey
    csr: bytes
    challenge: str | None
    signer: Identity
    transaction_id: str
    seconds: float

    @property
    def identity(self) -> Identity:
        """The certificate that was issued, and its key.

        Raises:
            ValueError: none was.
        """
        if self.certificate is None:
            raise ValueError("nothing was issued")
        return Identity(self.certificate, SoftwareKey(self.key))


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GetCert or a GetCRL brought: encodings."""

    status: PKIStatus
    fail_info: FailInfo | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Conversation:
    """What stays the same from a request through all of its polls."""

    key: PrivateKey
    csr: bytes
    challenge: str | None
    signer: Identity
    transaction_id: str


class Client:
    """One client of one server. What it discovers it keeps, until it is told to :meth:`discover` again."""

    def __init__(
        self,
        url: str,
        http: HTTP,
        *,
        transport: Literal["auto", "get", "post"] = "auto",
        algorithms: Algorithms | None = None,
        ca_fingerprint: str | None = None,
        ca_identifier: str | None = None,
        floor: Floor = PERMISSIVE,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            url: of the server, up to the query.
            http: how it is reached, see :class:`HTTP`.
            transport: GET or POST for PKIOperation; "auto" is what the server's capabilities say.
            algorithms: what to send; chosen by the server's capabilities if None.
            ca_fingerprint: SHA-256 of the CA's certificate in hex; others are believed only if that CA signed them.
            ca_identifier: the ``message`` of GetCACaps and GetCACert.
            floor: what answers may use.
            clock: the time of day, UTC.
            monotonic: what durations are measured with, seconds.
        """
        self._url = url
        self._http = http
        self._transport = transport
        self._algorithms = algorithms
        self._pin = ca_fingerprint
        self._ca_identifier = ca_identifier
        self._floor = floor
        self._clock = clock
        self._monotonic = monotonic
        self._discovery: Discovery | None = None

    async def discover(self) -> Discovery:
        """Ask the server for its capabilities and certificates.

        Raises:
            Refused: it answered GetCACert with another status than 200.
            ScepError: what it answered is no certificate, or not the pinned CA's.
        """
        try:
            capabilities = Capabilities.parse(await self._fetch(OperationKind.GET_CA_CAPS))
        except (Refused, ResponseFailed):
            capabilities = Capabilities()  # CAPS-08
        body = await self._fetch(OperationKind.GET_CA_CERT)
        certificates = self._believed(parse_ca_certificates(body))
        self._discovery = Discovery(capabilities, certificates)
        return self._discovery

    async def enrol(
        self,
        subject: str | x509.Name = "",
        *,
        names: Iterable[str | x509.GeneralName] = (),
        challenge: str | None = None,
        key: PrivateKey | str = "RSA-2048",
        extensions: Iterable[RequestedExtension] = (),
        digest: Digest = Digest.SHA256,
        csr: bytes | None = None,
        transaction_id: str | None = None,
        signer: Identity | None = None,
        message_type: MessageType = MessageType.PKCS_REQ,
    ) -> Enrolment:
        """Ask for a certificate.

        Args:
            subject, names, challenge, extensions, digest: what the request says, see :func:`~scepra.lab.csr.build_csr`.
            key: the device's key, or what kind of key to make.
            csr: a finished request for *key*, instead of all these.
            transaction_id: derived from the request if None, so that a retry is the same transaction.
            signer: signs the message; a self-signed certificate over *key* if None.
            message_type: PKCSReq or RenewalReq.

        Raises:
            Refused: the server answered with another status than 200.
            ScepError: it answered something that is no CertRep for this request.
        """
        if isinstance(key, str):
            key = new_key(key)
        if csr is None:
            csr = build_csr(key, subject, names=names, challenge=challenge, extensions=extensions, digest=digest)
        if signer is None:
            own = SoftwareKey(key)
            signer = Identity(self_signed(own, CertificationRequest.parse(csr).subject.der, self._clock()), own)
        if transaction_id is None:
            transaction_id = hashlib.sha256(csr).hexdigest()[:32].upper()
        return await self._converse(message_type, csr, _Conversation(key, csr, challenge, signer, transaction_id))

    async def poll(self, pending: Enrolment) -> Enrolment:
        """Ask what has become of a request (CertPoll; RFC 8894, 3.3.3). As :meth:`enrol` otherwise."""
        issuer = (await self._server()).issuer.subject_der
        content = issuer_and_subject(issuer, CertificationRequest.parse(pending.csr).subject.der)
        conversation = _Conversation(
            pending.key, pending.csr, pending.challenge, pending.signer, pending.transaction_id
        )
        return await self._converse(MessageType.CERT_POLL, content, conversation)

    async def renew(
        self,
        old: Enrolment,
        *,
        key: PrivateKey | str = "RSA-2048",
        names: Iterable[str | x509.GeneralName] = (),
        challenge: str | None = None,
        message_type: MessageType = MessageType.RENEWAL_REQ,
    ) -> Enrolment:
        """Ask for a successor of a certificate, authorised by it (RFC 8894, 2.3).

        Args:
            old: has the certificate, and the subject of the new one.
            key: of the new one.
            names: the subject alternative names of the new one.
            challenge: for servers that ask for one nevertheless.
            message_type: RenewalReq, or PKCSReq as before RFC 8894 (PEER-06).
        """
        subject = x509.load_der_x509_csr(old.csr).subject
        return await self.enrol(
            subject, names=names, challenge=challenge, key=key, signer=old.identity, message_type=message_type
        )

    async def get_cert(self, identity: Identity, certificate: Certificate) -> Fetched:
        """Fetch a certificate by issuer and serial number (GetCert; RFC 8894, 3.3.4)."""
        return await self._get(MessageType.GET_CERT, identity, certificate)

    async def get_crl(self, identity: Identity, certificate: Certificate) -> Fetched:
        """Fetch the CRL for a certificate (GetCRL; RFC 8894, 3.3.5)."""
        return await self._get(MessageType.GET_CRL, identity, certificate)

    async def _get(self, message_type: MessageType, identity: Identity, certificate: Certificate) -> Fetched:
        content = issuer_and_serial(certificate)
        transaction_id = hashlib.sha256(content).hexdigest()[:32].upper()
        answer = await self._operate(message_type, content, identity, transaction_id, None)
        return Fetched(answer.status, answer.fail_info, answer.certificates, answer.crls)

    async def _converse(self, message_type: MessageType, content: bytes, about: _Conversation) -> Enrolment:
        begun = self._monotonic()
        answer = await self._operate(message_type, content, about.signer, about.transaction_id, about.challenge)
        issued = None
        if answer.status is PKIStatus.SUCCESS:
            issued = choose_issued(answer.certificates, SoftwareKey(about.key).public.der)
        return Enrolment(
            status=answer.status,
            certificate=issued,
            certificates=tuple(map(Certificate.parse, answer.certificates)),
            fail_info=answer.fail_info,
            fail_info_text=answer.fail_info_text,
            key=about.key,
            csr=about.csr,
            challenge=about.challenge,
            signer=about.signer,
            transaction_id=about.transaction_id,
            seconds=self._monotonic() - begun,
        )

    async def _operate(
        self, message_type: MessageType, content: bytes, signer: Identity, transaction_id: str, challenge: str | None
    ) -> CertRep:
        """Send one pkiMessage and read what comes back."""
        server = await self._server()
        nonce = new_nonce()
        password = challenge.encode("utf-8") if challenge else None
        message = build_request(
            message_type,
            transaction_id,
            nonce,
            content,
            signer,
            server.encryption,
            self._algorithms or server.algorithms,
            password=password,
        )
        answer = await self._fetch(OperationKind.PKI_OPERATION, message)
        expected = Expectation(transaction_id, nonce, server.certificates, signer.key, self._floor, password)
        return read_cert_rep(answer, expected)

    async def _server(self) -> Discovery:
        return self._discovery or await self.discover()

    async def _fetch(self, kind: OperationKind, message: bytes | None = None) -> bytes:
        """The body of an answer with status 200.

        Raises:
            Refused: it has another status, or is too large.
        """
        if message is None:
            query = encode_query(kind, ca_identifier=self._ca_identifier)
            response = await self._http.get(self._target(query), allow_redirects=False)
        elif self._posts():
            headers = {"content-type": CONTENT_TYPE_PKI_MESSAGE}
            response = await self._http.post(
                self._target(encode_query(kind)), data=message, headers=headers, allow_redirects=False
            )
        else:
            response = await self._http.get(self._target(encode_query(kind, message)), allow_redirects=False)
        return await read(response)

    def _posts(self) -> bool:
        if self._transport == "auto":
            return self._discovery is not None and self._discovery.capabilities.post
        return self._transport == "post"

    def _target(self, query: str) -> str:
        return f"{self._url}?{query}"

    def _believed(self, certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        """The certificates of the pinned CA, or all where there is no pin (CERT-12)."""
        if self._pin is None:
            return certificates
        authority = next((item for item in certificates if item.fingerprint() == self._pin.lower()), None)
        if authority is None:
            raise ScepError("the server shows another CA than the pinned one")
        return tuple(item for item in certificates if item.signed_by(authority.public_key))
