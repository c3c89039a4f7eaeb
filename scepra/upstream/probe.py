"""Finding out how a CA behaves, by asking for nothing (CAPS-08 to CAPS-12).

Polls for a transaction that nobody has begun are sent by POST and by GET, in one algorithm after the other, each once.
What comes tells what was read. Nothing is believed, and nothing is kept.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from scepra.config.legacy import floor_with
from scepra.config.upstream import Upstream
from scepra.errors import FailInfo, ScepError, UpstreamError
from scepra.http.request import Reply
from scepra.scep import hresult
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, KeyTransport
from scepra.scep.capabilities import GET_NEXT_CA_CERT, SCEP_STANDARD
from scepra.scep.certificate import Certificate, choose_encryption
from scepra.scep.certification import key_usage, name, self_signed
from scepra.scep.certrep import CertRep, Expectation, choose_issued, read_cert_rep
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, RAKey
from scepra.scep.message import MessageType, PKIStatus, build_request, issuer_and_subject, new_nonce
from scepra.scep.transport import OperationKind, trim_message
from scepra.upstream.belief import is_ra
from scepra.upstream.client import is_signed_data
from scepra.upstream.exchange import Exchange
from scepra.upstream.likeness import Trait, Verdict, judge
from scepra.upstream.offer import Offer, ask, role_of

Method = Literal["POST", "GET"]

# Whatever it answers in is read: what is looked at is no certificate that anybody uses.
_ANY = floor_with(("DES-CBC", "MD5", "RSA-1024"))
SUBJECT = name("scepra probe")


class Reading(enum.Enum):
    """What an answer tells about whether a message was read."""

    READ = "accepted"
    REFUSED = "refused"
    UNTOLD = "cannot be told without enrolling"
    UNANSWERED = "not answered"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came to one message: ``rep`` where it was a CertRep that some offered certificate signs, else an HTTP
    ``reply``, else neither; ``said`` in words."""

    said: str
    rep: CertRep | None = None
    reply: Reply | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What is the same where two answers say the same."""
        if self.rep is not None:
            return (self.rep.status, self.rep.fail_info, self.rep.ndes_error)
        return (self.reply.status, bool(self.reply.body)) if self.reply is not None else ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out.

    ``methods`` is what came to a poll by each method; ``readings`` says of each algorithm, by its name in the
    configuration, whether it is read, and is empty where no method gets an answer of SCEP; ``trial`` is what came to a
    request, ``issued`` the certificate, where one was asked for.
    """

    offer: Offer
    methods: dict[Method, Heard]
    readings: dict[str, Reading]
    traits: frozenset[Trait]
    trial: Heard | None = None
    issued: Certificate | None = None

    @property
    def verdict(self) -> Verdict:
        """What it is like."""
        return judge(self.traits)


@dataclass(slots=True)
class Prober:
    """Asks one CA.

    Args:
        exchange: the way to it.
        key: signs what is asked, and is thrown away.
        now: UTC.
        told: hears what is done next, one sentence each.
    """

    exchange: Exchange
    url: str
    key: RAKey
    now: datetime
    told: Callable[[str], None] = field(default=lambda sentence: None)

    async def look(self) -> Probe:
        """Find out what can be found out without asking for anything.

        Raises:
            UpstreamError: it offers no certificates, or none that anything can be encrypted to.
        """
        self.told("capabilities and certificates")
        offer = await ask(self.exchange, self.url)
        first = self._best(offer)
        methods: dict[Method, Heard] = {}
        for method in ("POST", "GET"):
            self.told(f"a poll for nothing by {method}")
            methods[method] = await self._poll(offer, method, first)
        best: Method = "POST" if methods["POST"].rep is not None else "GET"
        readings: dict[str, Reading] = {}
        traits = set(_seen(offer, methods))
        if methods[best].rep is not None:
            readings = await self._readings(offer, best, first)
            self.told("a transactionID of other letters")
            other = await self._poll(offer, best, first, "scepra probe")
            if other.key != methods[best].key:
                traits.add(Trait.HEXADECIMAL)
        if readings.get("AES-128-CBC") is Reading.READ and readings.get("AES-256-CBC") is Reading.REFUSED:
            traits.add(Trait.NO_AES_256)
        return Probe(offer, methods, readings, frozenset(traits))

    async def enrol(self, probe: Probe, csr: CertificationRequest, settings: Upstream) -> Probe:
        """Ask for a certificate, as the RA would: signed by another key than the request's, once.

        Args:
            probe: what is known.
            csr: the request.
            settings: what the configuration would say of the CA.
        """
        posts = settings.transport == "post" or (settings.transport == "auto" and probe.offer.capabilities.post)
        method: Method = "POST" if posts and Trait.POST_EMPTY not in probe.traits else "GET"
        self.told(f"a request by {method}")
        transaction_id = os.urandom(16).hex().upper()
        content, subject = csr.der, csr.subject.der
        heard = await self._send(
            probe.offer, method, settings.algorithms, MessageType.PKCS_REQ, content, transaction_id, subject
        )
        issued = None
        if heard.rep is not None and heard.rep.status is PKIStatus.SUCCESS:
            try:
                issued = choose_issued(heard.rep.certificates, csr.spki)
            except ScepError as error:
                heard = replace(heard, said=f"SUCCESS, with {error.reason}")
        return replace(probe, trial=heard, issued=issued)

    def _best(self, offer: Offer) -> Algorithms:
        """What is listed; the floor of every CA where nothing is (RFC 8894, 7.5)."""
        digest = Digest.SHA256 if offer.capabilities.digest(Digest.SHA256) else Digest.SHA1
        aes = offer.capabilities.cipher(ContentCipher.AES128_CBC)
        return Algorithms(digest, ContentCipher.AES128_CBC if aes else ContentCipher.DES_EDE3_CBC)

    async def _readings(self, offer: Offer, method: Method, first: Algorithms) -> dict[str, Reading]:
        self.told("a message that nobody can open, to compare with")
        control = await self._poll(offer, method, first, sealed_to=self._stranger())
        readings = {}
        for label, algorithms in _trials(first):
            self.told(f"a poll in {label}")
            heard = await self._poll(offer, method, algorithms)
            readings[label] = _read(heard, control)
        return readings

    def _stranger(self) -> Certificate:
        return self._signer(SUBJECT).certificate

    def _signer(self, subject: bytes) -> Identity:
        usage = (key_usage(("digitalSignature", "keyEncipherment")),)
        return Identity(self_signed(self.key, subject, self.now, usage), self.key)

    async def _poll(
        self,
        offer: Offer,
        method: Method,
        algorithms: Algorithms,
        transaction_id: str | None = None,
        *,
        sealed_to: Certificate | None = None,
    ) -> Heard:
        authority = offer.authority or offer.certificates[0]
        content = issuer_and_subject(authority.subject_der, SUBJECT)
        transaction_id = transaction_id or os.urandom(16).hex().upper()
        return await self._send(
            offer, method, algorithms, MessageType.CERT_POLL, content, transaction_id, SUBJECT, sealed_to
        )

    async def _send(
        self,
        offer: Offer,
        method: Method,
        algorithms: Algorithms,
        kind: MessageType,
        content: bytes,
        transaction_id: str,
        subject: bytes,
        sealed_to: Certificate | None = None,
    ) -> Heard:
        signer, nonce = self._signer(subject), new_nonce()
        message = build_request(kind, transaction_id, nonce, content, signer, sealed_to or recipient(offer), algorithms)
        post = method == "POST"
        try:
            asked = self.exchange.post(message) if post else self.exchange.get(OperationKind.PKI_OPERATION, message)
            reply = await asked
        except UpstreamError as error:
            return Heard(error.reason)
        expected = Expectation(transaction_id, nonce, offer.certificates, signer.key, _ANY)
        return _hear(reply, expected)


def recipient(offer: Offer) -> Certificate:
    """What messages are encrypted to, believed or not (CERT-11).

    Raises:
        UpstreamError: nothing can be encrypted to.
    """
    chosen = choose_encryption(offer.certificates)
    authority = offer.authority
    if chosen is None and authority is not None and authority.public_key.encrypts:
        chosen = authority
    if chosen is None:
        raise UpstreamError(offer.url, "it offers no RSA certificate that a message could be encrypted to", sent=False)
    return chosen


def _trials(first: Algorithms) -> Iterable[tuple[str, Algorithms]]:
    """Each algorithm of the configuration, beside what is read for certain."""
    for cipher in (ContentCipher.AES128_CBC, ContentCipher.AES256_CBC, ContentCipher.DES_EDE3_CBC):
        yield cipher.value, Algorithms(first.digest, cipher)
    for digest in (Digest.SHA512, Digest.SHA256, Digest.SHA1):
        yield digest.value, Algorithms(digest, first.cipher)
    for transport in (KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256):
        yield transport.value, Algorithms(first.digest, first.cipher, transport)


def _read(heard: Heard, control: Heard) -> Reading:
    if heard.rep is None:
        return Reading.UNANSWERED
    if heard.rep.fail_info is FailInfo.BAD_ALG:
        return Reading.REFUSED
    return Reading.UNTOLD if heard.key == control.key else Reading.READ


def _hear(reply: Reply, expected: Expectation) -> Heard:
    if is_signed_data(reply.body):
        try:
            rep = read_cert_rep(trim_message(reply.body), expected)
        except ScepError as error:
            return Heard(f"{reply}, which is not believed: {error.reason}", None, reply)
        said = rep.status.name if rep.fail_info is None else f"{rep.status.name}, {rep.fail_info.name}"
        number = f", {hresult.describe(rep.ndes_error)}" if rep.ndes_error is not None else ""
        return Heard(f"a signed answer: {said}{number}", rep, reply)
    if reply.status == 200 and not reply.body:
        return Heard("status 200 and nothing", None, reply)
    return Heard(str(reply), None, reply)


def _seen(offer: Offer, methods: dict[Method, Heard]) -> Iterable[Trait]:
    """What the first answers tell."""
    post, get = methods["POST"], methods["GET"]
    replies = [reply for reply in (offer.caps, offer.bag, post.reply, get.reply) if reply is not None]
    if any(reply.server.startswith("Microsoft-IIS") for reply in replies):
        yield Trait.IIS
    if any(heard.rep is not None and heard.rep.ndes_error is not None for heard in (post, get)):
        yield Trait.NUMBER
    roles = {role_of(item) for item in offer.certificates if is_ra(item)}
    if {"RA, for signing", "RA, for encryption"} <= roles:
        yield Trait.TWO_AGENTS
    listed = offer.caps.body if offer.caps is not None and offer.caps.status == 200 else b""
    if not offer.capabilities.keywords:
        yield Trait.NO_LIST
    if listed.count(b"\r\n") and not listed.endswith(b"\n"):
        yield Trait.CRLF
    if SCEP_STANDARD in offer.capabilities:
        yield Trait.ALL_LISTED
    if GET_NEXT_CA_CERT in offer.capabilities:
        yield Trait.ROLLOVER
    if len(offer.certificates) == 1 and offer.bag is not None:
        yield Trait.ALONE_IN_BAG if offer.bag.media_type == "application/x-x509-ca-ra-cert" else Trait.BARE
    statuses = [heard.reply.status for heard in (post, get) if heard.reply is not None and heard.rep is None]
    if post.reply is not None and post.reply.status == 200 and not post.reply.body:
        yield Trait.POST_EMPTY
    elif post.rep is None and get.rep is not None:
        yield Trait.POST_REFUSED
    if get.rep is None and post.rep is not None:
        yield Trait.GET_REFUSED
    if statuses == [500, 500]:
        yield Trait.NO_POLLS
    if 400 in statuses:
        yield Trait.BAD_REQUESTS
