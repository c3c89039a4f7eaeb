"""The Registration Authority of one profile: the only place that combines what the floors below offer.

Every request runs the same straight line: parse, verify, open, bind, challenge, decide, forward, believe, answer. What
is refused on the way is refused in one place, with one record.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from scepra.audit import RECORDED, RECORDED_NAMES, Record
from scepra.challenge.protocol import ChallengeProvider
from scepra.config import model
from scepra.enrolment import (
    ChallengeAccepted,
    ChallengeRefused,
    Credential,
    EnrolmentRequest,
    Reject,
    Verdict,
    Violation,
)
from scepra.errors import FailInfo, Refused, ScepError, UpstreamError
from scepra.issuance import IssuanceRules
from scepra.policy import Rule, decide
from scepra.reception import Reception, receive
from scepra.renewal import RenewalRules
from scepra.scep import capabilities, cms, transport
from scepra.scep.algorithm import DIGEST_BY_OID, ContentCipher, Digest
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import CertRep, Expectation, choose_issued, read_cert_rep
from scepra.scep.identity import Keyring
from scepra.scep.message import (
    Answer,
    MessageType,
    PKIMessage,
    PKIStatus,
    build_cert_rep,
    build_request,
    new_nonce,
    seal_answer,
)
from scepra.upstream.client import Upstream
from scepra.upstream.signer import UpstreamSigner
from scepra.upstream.view import UpstreamView

# What an upstream's failInfo means to the client; badMessageCheck and badTime are about our message, not about its
# (RA-23).
_RELAYED = {FailInfo.BAD_ALG, FailInfo.BAD_REQUEST, FailInfo.BAD_CERT_ID}


@dataclass(frozen=True, slots=True)
class RegistrationAuthority:
    """One profile at work.

    ``profile`` and ``upstream_settings`` are its configuration; ``keyring`` its identities; ``provider``, ``rules`` and
    ``renewal`` who may have what; ``upstream``, ``signer`` and ``issuance`` how the CA is asked and believed; ``now``
    the time in UTC.
    """

    name: str
    profile: model.Profile
    upstream_settings: model.Upstream
    keyring: Keyring
    provider: ChallengeProvider
    rules: tuple[Rule, ...]
    renewal: RenewalRules | None
    upstream: Upstream
    signer: UpstreamSigner
    issuance: IssuanceRules
    now: Callable[[], datetime]

    def ca_caps(self) -> bytes:
        """The body of a GetCACaps answer: this side's abilities, not the upstream's (CAPS-04)."""
        floor = self.profile.floor
        return capabilities.offered(
            floor.digests,
            floor.ciphers - {ContentCipher.DES_CBC},
            post=self.profile.capabilities.post,
            renewal=self.renewal is not None,
            rollover=False,
        ).encode()

    def ca_cert(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACert answer (CERT-02, CERT-05).

        Raises:
            Refused: status 502, the upstream's certificates are not known yet.
        """
        return transport.CONTENT_TYPE_CA_RA_CERT, self._bag()

    def ca_cert_chain(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACertChain answer (CERT-22)."""
        return transport.CONTENT_TYPE_CA_RA_CERT_CHAIN, self._bag()

    def next_ca_cert(self) -> tuple[str, bytes]:
        """GetNextCACert: there is no rollover to tell of (CERT-34).

        Raises:
            Refused: status 501.
        """
        raise Refused("no next CA certificate", 501)

    async def pki_operation(self, message: bytes, source: str) -> bytes:
        """Answer a pkiMessage.

        Args:
            message: as received.
            source: the peer's IP address.

        Returns:
            A CertRep: SUCCESS, or FAILURE with its failInfo.

        Raises:
            Refused: 400 for what cannot be answered, 503 while the upstream gives no answer that can be believed.
        """
        request = PKIMessage.parse(message)
        record = Record(self.name, source, transaction=request.transaction_id)
        try:
            return await self._serve(request, record)
        except ScepError as error:
            return self._refuse(request, record, (error.reason,), error.fail_info)
        except UpstreamError as error:
            record.outcome, record.reasons = "unavailable", (str(error),)
            # Spread, so that clients that were turned away together do not come back together.
            pause = self.upstream_settings.retry_after * random.uniform(1, 1.5)  # noqa: S311 - no secret hangs on it
            raise Refused(str(error), 503, retry_after=round(pause)) from error
        finally:
            record.write()

    async def _serve(self, message: PKIMessage, record: Record) -> bytes:
        signer, digest = message.verify(self.profile.floor)
        record.signer_key = signer.public_key.sha256.hex()
        record.message_type = message.message_type.name
        if message.message_type is MessageType.CERT_POLL:
            raise ScepError("a poll for a transaction that is not known", FailInfo.BAD_CERT_ID)
        if message.message_type not in (MessageType.PKCS_REQ, MessageType.RENEWAL_REQ):
            raise ScepError("queries are not served by this profile")
        reception = receive(
            message, signer, digest, keyring=self.keyring, floor=self.profile.floor, renewal=self.renewal
        )
        csr = reception.csr
        record.request = hashlib.sha256(csr.der).hexdigest()
        record.subject = str(csr.subject)[:RECORDED]
        record.names = tuple(str(name)[:RECORDED] for name in csr.alternative_names[:RECORDED_NAMES])
        record.credential = reception.credential.value
        record.algorithms = str(reception.algorithms)
        verdict, violations = await self._judge(message, reception, record.source)
        if isinstance(verdict, ChallengeAccepted):
            record.challenge = verdict.credential_id
        if isinstance(verdict, ChallengeRefused) or violations:
            return self._refuse_request(message, reception, record, verdict, violations)
        issued, view = await self._forward(message, reception, record)
        record.outcome = "issued"
        record.serial, record.certificate = f"{issued.serial:x}", issued.fingerprint()
        envelope = seal_answer(
            cms.degenerate([issued.der, *(item.der for item in self._accompanying(issued, view))]),
            signer,
            reception.algorithms,
            csr.challenge_password,
        )
        return self._answer(message, Answer(PKIStatus.SUCCESS, envelope), reception)

    async def _judge(
        self, message: PKIMessage, reception: Reception, source: str
    ) -> tuple[Verdict, tuple[Violation, ...]]:
        """The credential's verdict, and every violation of renewal rules and policy."""
        csr, signer = reception.csr, reception.signer
        request = EnrolmentRequest(
            self.name,
            reception.credential,
            reception.message_type,
            message.transaction_id,
            csr,
            signer,
            source,
            self.now(),
        )
        violations: list[Violation] = []
        if reception.credential is Credential.INITIAL or csr.challenge_password:
            # A challenge that is there is never ignored, even where a certificate would do (MSG-23).
            verdict = await self.provider.check(request)
        else:
            verdict = ChallengeAccepted("certificate")
        if reception.credential is Credential.RENEWAL:
            assert self.renewal is not None  # noqa: S101 - nothing is received as a renewal without rules for it
            violations += self.renewal.violations(signer, csr, reception.digest, request.received)
            if self.upstream_settings.authorisation == "challenge" and not csr.challenge_password:
                violations.append(Violation("renewal", "challengePassword", "is what the upstream asks for (RA-30)"))
        if not signer.public_key.encrypts and not csr.challenge_password:
            violations.append(Violation("answer", "challengePassword", "is needed to encrypt to a key that only signs"))
        decision = decide(self.rules, request)
        if isinstance(decision, Reject):
            violations += decision.violations
        return verdict, tuple(violations)

    async def _forward(
        self, message: PKIMessage, reception: Reception, record: Record
    ) -> tuple[Certificate, UpstreamView]:
        """Have the upstream issue; return what it issued, believed, and the view it was believed under.

        Raises:
            UpstreamError: no answer, or none that can be believed.
            ScepError: the upstream refused, or issued something else than what was asked for.
        """
        csr, settings = reception.csr, self.upstream_settings
        record.upstream = self.profile.upstream
        record.upstream_transaction = transaction = self._upstream_transaction(csr.der, message.transaction_id)
        view = await self.upstream.current()
        identity = await self.signer.identity(csr.subject.der, self.now())
        password = csr.challenge_password.encode("utf-8") if csr.challenge_password else None
        if password is None and not view.encryption.public_key.encrypts:
            raise ScepError("the upstream's key only signs, and there is no challenge to encrypt with (RA-19)")
        nonce = new_nonce()
        encoding = build_request(
            MessageType.PKCS_REQ,
            transaction,
            nonce,
            csr.der,
            identity,
            view.encryption,
            settings.algorithms,
            password=password,
        )
        answer = await self.upstream.operate(encoding)
        expected = Expectation(transaction, nonce, view.signers, identity.key, settings.floor, password)
        try:
            rep = read_cert_rep(answer, expected)
        except ScepError as error:
            # Certificates of a CA's RA change: look again once, and read the same answer again. Nothing is sent twice
            # (MSG-60).
            try:
                view = await self.upstream.refresh()
                rep = read_cert_rep(answer, replace(expected, signers=view.signers))
            except (ScepError, UpstreamError):
                reason = f"an answer not believed: {error.reason}"
                raise UpstreamError(self.profile.upstream, reason, sent=True) from error
        record.upstream_status = rep.status.name
        return self._believe(rep, reception, view), view

    def _believe(self, rep: CertRep, reception: Reception, view: UpstreamView) -> Certificate:
        """The certificate of an authentic answer, judged (MSG-61)."""
        if rep.status is PKIStatus.PENDING:
            raise UpstreamError(self.profile.upstream, "the request is pending there", sent=True)
        if rep.status is PKIStatus.FAILURE:
            said = FailInfo.BAD_REQUEST if rep.fail_info is None else rep.fail_info  # badAlg is 0
            detail = f", HRESULT {rep.ndes_error:#010x}" if rep.ndes_error is not None else ""
            reason = f"refused by upstream {self.profile.upstream}: {said.name}{detail}"
            raise ScepError(reason, said if said in _RELAYED else FailInfo.BAD_REQUEST)
        issued = choose_issued(rep.certificates, reception.csr.spki)
        violations = self.issuance.violations(issued, reception.csr, view.issuers, self.now())
        if violations:
            raise ScepError("a certificate from upstream that is not delivered: " + "; ".join(map(str, violations)))
        return issued

    def _refuse_request(
        self,
        message: PKIMessage,
        reception: Reception,
        record: Record,
        verdict: Verdict,
        violations: tuple[Violation, ...],
    ) -> bytes:
        """Refuse a readable request; only who showed a good credential learns that an algorithm was the reason (I8)."""
        reasons = tuple(map(str, violations))
        fail_info = FailInfo.BAD_REQUEST
        if isinstance(verdict, ChallengeRefused):
            reasons = (f"challenge: {verdict.reason}", *reasons)
        elif any(violation.fail_info is FailInfo.BAD_ALG for violation in violations):
            fail_info = FailInfo.BAD_ALG
        return self._refuse(message, record, reasons, fail_info, reception)

    def _refuse(
        self,
        message: PKIMessage,
        record: Record,
        reasons: tuple[str, ...],
        fail_info: FailInfo,
        reception: Reception | None = None,
    ) -> bytes:
        """The one place where refusals are made."""
        record.outcome, record.reasons = "refused", reasons
        text = f"refused, ref {record.reference}"
        return self._answer(message, Answer(PKIStatus.FAILURE, None, fail_info, text), reception)

    def _answer(self, message: PKIMessage, answer: Answer, reception: Reception | None) -> bytes:
        """A CertRep in the client's digest, signed by the generation that the client used (CMS-46)."""
        stated = DIGEST_BY_OID.get(message.signed_data.signer_info.digest, Digest.SHA256)
        digest = stated if stated in self.profile.floor.digests else Digest.SHA256
        generation = reception.generation if reception is not None else self.keyring.current
        if digest is Digest.MD5 and generation.signing.key.public.kind != "RSA":
            digest = Digest.SHA256  # nothing is signed with ECDSA and MD5
        empty = self.profile.reply.empty_content == "present"
        return build_cert_rep(message, answer, generation.signing, digest, empty_content=empty)

    def _upstream_transaction(self, csr: bytes, transaction_id: str) -> str:
        """Ours, and the same for the same request (RA-16): 32 upper-case hex digits."""
        seed = b"\0".join((self.name.encode("utf-8"), hashlib.sha256(csr).digest(), transaction_id.encode("ascii")))
        return hashlib.sha256(seed).hexdigest()[:32].upper()

    def _bag(self) -> bytes:
        """The certs-only message of GetCACert: what clients encrypt to first, the issuing CA after the RA's
        (CERT-05)."""
        view = self.upstream.view
        if view is None:
            raise Refused(f"the certificates of upstream {self.profile.upstream} are not known yet", 502, retry_after=5)
        generation = self.keyring.current
        served = [generation.encryption.certificate]
        if generation.signing.certificate not in served:
            served.append(generation.signing.certificate)
        wanted = self.profile.ca_certificates
        issuing, *above = self._chain(served[0], view)
        served.append(issuing)
        served += [item for item in above if (wanted.root if item.is_self_signed else wanted.intermediates)]
        return cms.degenerate(item.der for item in served)

    def _chain(self, certificate: Certificate, view: UpstreamView) -> list[Certificate]:
        """The CA certificates above one, nearest first; the first known issuer where its own is not among them."""
        chain: list[Certificate] = []
        while issuer := next(
            (item for item in view.issuers if item.subject_der == certificate.issuer_der and item not in chain), None
        ):
            chain.append(issuer)
            certificate = issuer
        return chain or [view.issuers[0]]

    def _accompanying(self, issued: Certificate, view: UpstreamView) -> list[Certificate]:
        """What goes along with an issued certificate (CMS-48)."""
        if self.profile.reply.certificates == "none":
            return []
        chain = self._chain(issued, view)
        return chain[:1] if self.profile.reply.certificates == "issuer" else chain
