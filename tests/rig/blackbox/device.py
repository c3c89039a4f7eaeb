"""A device: it asks, asks again in each of the ways that clients have, polls, renews, and checks what it is told."""

from __future__ import annotations

import enum
import hashlib
import os
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

from asn1crypto import cms as asn1
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.errors import FailInfo
from scepra.scep import oid
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus, issuer_and_subject
from tests import csrs
from tests.rig.blackbox.diary import Diary, Entry
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.wire import Response, Wire
from tests.rig.forge import Forge, ReadAnswer, issuer_and_serial, own_certificate, read_answer

QUERY = "?operation=PKIOperation"
_REFERENCE = re.compile(r"ref ([0-9a-f]{12})")


class Retry(enum.Enum):
    """How clients ask again (FT-21 to FT-23)."""

    SAME_BYTES = "the same octets"
    SAME_TRANSACTION = "a message made anew, under the same transactionID"
    NEW_TRANSACTION = "a message made anew, under another transactionID, with the same request"


@dataclass(frozen=True, slots=True)
class Message:
    """A pkiMessage, and what its answer must match."""

    transaction: str
    nonce: bytes
    octets: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` and what follows is of a CertRep that has been verified, and None without one."""

    http: int
    headers: dict[str, str]
    status: PKIStatus | None = None
    fail_info: FailInfo | None = None
    text: str = ""
    certificate: Certificate | None = None

    @property
    def retry_after(self) -> int | None:
        """When to come again, in seconds."""
        value = self.headers.get("retry-after")
        return int(value) if value is not None else None


class Talk:
    """One exchange under way: the :class:`Wire`, and the device that judges what comes of it."""

    def __init__(self, device: Device, message: Message, wire: Wire) -> None:
        self.wire = wire
        self.finish, self.read, self.close, self.reset = wire.finish, wire.read, wire.close, wire.reset
        self._device = device
        self._message = message

    def answer(self) -> Answer:
        """Take in the whole answer, and verify it.

        Raises:
            AssertionError: it is not what an RA may answer.
            OSError: there is no whole answer.
        """
        return self._device.judge(self._message, self.wire.response())


@dataclass(slots=True)
class Device:
    """One key, one request for it, and the messages that carry it.

    Attributes:
        name: the common name.
        key: what the certificate is for.
        laboratory: whose certificates are believed.
        port, path: of the RA.
        challenge: in the request; None: there is none.
        profile: for the diary.
        identity: key and certificate that sign the messages; a self-signed one over ``key`` if None.
        source: its address, in 127.0.0.0/8.
        sent: the last request, which :meth:`retry` is about.
        certificate: the one that it got.
    """

    name: str
    key: rsa.RSAPrivateKey
    laboratory: Laboratory
    diary: Diary
    port: int
    path: str
    profile: str
    challenge: str | None
    message_type: str = "19"
    identity: tuple[rsa.RSAPrivateKey, Certificate] | None = None
    source: str = "127.0.0.1"
    csr: bytes = b""
    sent: Message | None = None
    certificate: Certificate | None = None
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        attributes = [csrs.challenge(self.challenge)] if self.challenge is not None else []
        self.csr = self.csr or csrs.build(*attributes, key=self.key, subject=csrs.subject(self.name))

    # What it sends

    def message(self, transaction: str | None = None, **changes: Any) -> Message:
        """Its request in a message made anew, under a transactionID that is new unless given.

        Args:
            changes: other fields of the :class:`~tests.rig.forge.Forge`.
        """
        return self._forge(transaction, **{"message_type": self.message_type, "csr": self.csr} | changes)

    def poll_message(self, transaction: str | None = None) -> Message:
        """A CertPoll, for the last request's transaction unless another is given."""
        assert transaction is not None or self.sent is not None, "there is nothing to poll for"
        about = issuer_and_subject(self.laboratory.ca.subject_der, csrs.subject(self.name))
        return self._forge(transaction or self.sent.transaction, message_type="20", content=about)

    def _forge(self, transaction: str | None, **fields: Any) -> Message:
        key, signer = self.identity or (self.key, own_certificate(self.key))
        transaction, nonce = transaction or os.urandom(16).hex().upper(), os.urandom(16)
        forge = Forge(
            recipient=self.laboratory.ra,
            key=key,
            signer=signer,
            transaction_id=transaction,
            sender_nonce=nonce,
            **{"content_key": os.urandom(16), "iv": os.urandom(16)} | fields,
        )
        return Message(transaction, nonce, forge.message())

    def begin(self, message: Message, *, withhold: int = 0, receive_buffer: int | None = None) -> Talk:
        """Send a message, or all but its last octets, and leave the rest to the caller; see :class:`Wire`."""
        wire = Wire(
            self.port,
            self.path + QUERY,
            message.octets,
            withhold=withhold,
            receive_buffer=receive_buffer,
            source=self.source,
        )
        self.diary.begin(wire)
        return Talk(self, message, wire)

    def send(self, message: Message) -> Answer:
        """Send a message and take in its answer; as :meth:`Talk.answer`."""
        return self.begin(message).answer()

    def enrol(self) -> Answer:
        """Ask for the certificate, in a transaction of its own."""
        self.sent = self.message()
        return self.send(self.sent)

    def retry(self, how: Retry) -> Answer:
        """Ask again."""
        assert self.sent is not None, "nothing was asked for"
        if how is not Retry.SAME_BYTES:
            self.sent = self.message(self.sent.transaction if how is Retry.SAME_TRANSACTION else None)
        return self.send(self.sent)

    def poll(self) -> Answer:
        """Ask what has become of it."""
        return self.send(self.poll_message())

    def until_done(self, deadline: float = 60.0, pause: float = 0.2) -> Answer:
        """Go on as clients do, whatever happens, until there is a SUCCESS or a FAILURE.

        Where there is no answer, or 503, it asks again in a way that is chosen at random; where it is PENDING, it polls
        or asks again. A poll for a transaction that never arrived is told so, and asked for again.

        Raises:
            AssertionError: an answer is not what an RA may answer, or none of these came in time.
        """
        end = time.monotonic() + deadline
        last: Answer | OSError | None = None
        polling = False
        while time.monotonic() < end:
            polling = polling and self._random.random() < 0.7
            try:
                if self.sent is None:
                    last = self.enrol()
                else:
                    last = self.poll() if polling else self.retry(self._random.choice(list(Retry)))
            except OSError as error:
                last = error
            else:
                lost = polling and last.fail_info is FailInfo.BAD_CERT_ID
                if last.status in (PKIStatus.SUCCESS, PKIStatus.FAILURE) and not lost:
                    return last
                assert last.status is not None or last.http == 503, last
            polling = isinstance(last, Answer) and last.status is PKIStatus.PENDING
            time.sleep(pause * self._random.uniform(0.5, 1.5))
        raise AssertionError(f"{self.name} is not done after {deadline:g} s; at last there was {last!r}")

    def renewal(self, key: rsa.RSAPrivateKey, name: str | None = None) -> Device:
        """The device that renews the certificate which this one got, for another key."""
        assert self.certificate is not None, "there is nothing to renew"
        return Device(
            name=name or self.name,
            key=key,
            laboratory=self.laboratory,
            diary=self.diary,
            port=self.port,
            path=self.path,
            profile=self.profile,
            challenge=None,
            message_type="17",
            identity=(self.key, self.certificate),
            source=self.source,
        )

    # What it believes

    def judge(self, message: Message, response: Response) -> Answer:
        """Verify an answer, and write it into the diary (I5, I6).

        Raises:
            AssertionError: no RA may answer so.
        """
        if response.status != 200:
            assert response.body == b"", "a refusal by a status has no body"
            return Answer(response.status, response.headers)
        key, signer = self.identity or (self.key, own_certificate(self.key))
        read = read_answer(response.body, self.laboratory.ra, key)
        assert read.text(oid.MESSAGE_TYPE) == "3"
        assert read.text(oid.TRANSACTION_ID) == message.transaction
        assert read.octets(oid.RECIPIENT_NONCE) == message.nonce
        nonce = read.octets(oid.SENDER_NONCE)
        assert len(nonce) == 16
        status = PKIStatus(read.text(oid.PKI_STATUS))
        certificate, fail_info, text = None, None, ""
        if status is PKIStatus.SUCCESS:
            assert recipients(response.body) == [issuer_and_serial(signer)], "sealed to somebody else"
            certificate = self.certificate = self._issued(read)
        else:
            assert read.recipients == 0 and not read.content, "an envelope that holds nothing"
        if status is PKIStatus.FAILURE:
            fail_info = FailInfo(int(read.text(oid.FAIL_INFO)))
            if oid.dotted(oid.FAIL_INFO_TEXT) in read.attributes:
                text = read.text(oid.FAIL_INFO_TEXT)
        self.diary.note(
            Entry(
                subject=self.name,
                profile=self.profile,
                message=hashlib.sha256(message.octets).hexdigest(),
                transaction=message.transaction,
                csr=hashlib.sha256(self.csr).hexdigest(),
                spki=hashlib.sha256(csrs.spki(self.key)).hexdigest(),
                status=status.name,
                certificate=certificate.fingerprint() if certificate is not None else "",
                recipients=read.recipients,
                reference=found[1] if (found := _REFERENCE.search(text)) else "",
                looks=looks(response.body, read) if fail_info is FailInfo.BAD_REQUEST else "",
            ),
            nonce,
        )
        return Answer(response.status, response.headers, status, fail_info, text, certificate)

    def _issued(self, read: ReadAnswer) -> Certificate:
        """The one certificate for our key, issued by the CA that is pinned."""
        spki = csrs.spki(self.key)
        (issued,) = (item for item in map(Certificate.parse, read.certificates()) if item.spki == spki)
        x509.load_der_x509_certificate(issued.der).verify_directly_issued_by(
            x509.load_der_x509_certificate(self.laboratory.ca.der)
        )
        assert issued.subject_der == csrs.subject(self.name), "issued to another name"
        return issued


def looks(answer: bytes, read: ReadAnswer) -> str:
    """The digest of an answer without what differs between any two: its nonces, transactionID, reference and signature;
    but with the lengths of what it echoes (I8)."""
    (info,) = asn1.ContentInfo.load(answer)["content"]["signer_infos"]
    varying = [read.octets(oid.SENDER_NONCE), read.octets(oid.RECIPIENT_NONCE), info["signature"].native]
    varying.append(read.text(oid.TRANSACTION_ID).encode("ascii"))
    if found := _REFERENCE.search(answer.decode("latin-1")):
        varying.append(found[1].encode("ascii"))
    for value in varying:
        answer = answer.replace(value, bytes(len(value)))
    return hashlib.sha256(answer).hexdigest()


def recipients(answer: bytes) -> list[bytes]:
    """Whom the envelope in an answer is sealed to, each by issuer and serial number."""
    enveloped = asn1.ContentInfo.load(answer)["content"]["encap_content_info"]["content"]
    infos = asn1.ContentInfo.load(bytes(enveloped))["content"]["recipient_infos"]
    return [info.chosen["rid"].chosen.dump() for info in infos]
