"""What a profile answers: CertReps, each sealed and signed afresh (RA-22), and its certificates."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from scepra import bag
from scepra.audit import Record
from scepra.config import model
from scepra.errors import FailInfo, Refused, ScepError
from scepra.reception import Asker
from scepra.scep import cms
from scepra.scep.algorithm import DIGEST_BY_OID, Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identities, Identity
from scepra.scep.message import Answer, PKIMessage, PKIStatus, build_cert_rep, seal_answer
from scepra.scep.rollover import build_next_ca_cert
from scepra.store.rows import Corrupt
from scepra.transaction import State, Transaction
from scepra.upstream.view import UpstreamView
from scepra.ways import Ways

_OUTCOMES = {State.ISSUED: "issued", State.REFUSED: "refused", State.HELD: "held"}


@dataclass(frozen=True, slots=True)
class Answering:
    """Writes the answers of one profile.

    ``profile`` says how, ``identities`` sign, ``ways`` lead to what is stored and to the CAs' certificates.
    """

    profile: model.Profile
    identities: Identities
    ways: Ways

    async def tell(
        self,
        message: PKIMessage,
        asker: Asker,
        transaction: Transaction,
        record: Record,
        csr: CertificationRequest | None = None,
    ) -> bytes:
        """The answer that a transaction has for whoever may ask: sealed afresh, to the key that asked (RA-22).

        Args:
            csr: the request, where it is at hand.

        Raises:
            Refused: 503, it is not decided and the client cannot poll.
            Corrupt: what is stored cannot be read.
            KeyUnavailable: it cannot be signed now.
        """
        record.enrolment = transaction.id
        record.outcome = _OUTCOMES.get(transaction.state, "pending")
        if transaction.state is State.REFUSED:
            fail_info = FailInfo.BAD_REQUEST if transaction.fail_info is None else transaction.fail_info
            return await self.refuse(message, record, (transaction.reason,), fail_info, asker)
        if transaction.state is not State.ISSUED or transaction.certificate is None:
            record.reasons = (transaction.reason or transaction.state.meaning,)
            if not self.profile.polling:
                raise self.unavailable(record, record.reasons[0])
            return await self._answer(message, Answer(PKIStatus.PENDING), asker)
        try:
            issued = Certificate.parse(transaction.certificate)
        except ScepError as error:
            raise Corrupt(transaction.id, f"its certificate: {error.reason}") from error
        record.serial, record.certificate = f"{issued.serial:x}", issued.fingerprint()
        password = None
        if not asker.signer.public_key.encrypts:
            password = (csr or self.ways.first.request(transaction)).challenge_password
        envelope = seal_answer(
            cms.degenerate(
                [
                    issued.der,
                    *(item.der for item in bag.accompanying(self.profile.reply, issued, self._views)),
                ]
            ),
            asker.signer,
            asker.algorithms,
            password,
        )
        return await self._answer(message, Answer(PKIStatus.SUCCESS, envelope), asker)

    async def deliver(self, message: PKIMessage, asker: Asker, payload: bytes, record: Record) -> bytes:
        """The answer to a query: a certs-only message, sealed to the key that asked.

        Raises:
            ScepError: badRequest; that key cannot decrypt.
        """
        envelope = seal_answer(payload, asker.signer, asker.algorithms)
        record.outcome = "answered"
        return await self._answer(message, Answer(PKIStatus.SUCCESS, envelope), asker)

    def unavailable(self, record: Record, reason: str) -> Refused:
        """A bare 503: nothing is decided, and the client may come again."""
        record.outcome, record.reasons = "unavailable", (reason,)
        # The CA may have said that it takes longer (FT-09); of several, one that is back is enough.
        pause = min(max(each.settings.retry_after, each.upstream.breaker.remaining) for each in self.ways.all)
        # Spread, so that clients that were turned away together do not come back together.
        spread = pause * random.uniform(1, 1.5)  # noqa: S311 - no secret hangs on it
        return Refused(reason, 503, retry_after=math.ceil(spread))

    async def refuse(
        self,
        message: PKIMessage,
        record: Record,
        reasons: tuple[str, ...],
        fail_info: FailInfo,
        asker: Asker | None = None,
        hint: str = "",
    ) -> bytes:
        """The one place where refusals are made; *hint* is told beside the reference."""
        record.outcome, record.reasons = "refused", reasons
        text = f"refused, ref {record.reference}{hint}"
        return await self._answer(message, Answer(PKIStatus.FAILURE, None, fail_info, text), asker)

    async def _answer(self, message: PKIMessage, answer: Answer, asker: Asker | None) -> bytes:
        """A CertRep in the client's digest, signed by the generation that the client used (CMS-46)."""
        stated = DIGEST_BY_OID.get(message.signed_data.signer_info.digest, Digest.SHA256)
        digest = stated if stated in self.profile.floor.digests else Digest.SHA256
        generation = asker.generation if asker is not None else self.identities.keyring.current
        if digest is Digest.MD5 and generation.signing.key.public.kind != "RSA":
            digest = Digest.SHA256  # nothing is signed with ECDSA and MD5
        empty = self.profile.reply.empty_content == "present"
        signing = generation.signing
        return await self.ways.first.hands.use(
            (signing.key,), build_cert_rep, message, answer, signing, digest, empty_content=empty
        )

    @property
    def _views(self) -> tuple[UpstreamView, ...]:
        """What is known of the CAs."""
        return tuple(view for each in self.ways.all if (view := each.upstream.view) is not None)

    def bag(self) -> bytes:
        """The certs-only message of GetCACert.

        Raises:
            Refused: status 502, no CA's certificates are known yet.
        """
        views = self._views
        if not views:
            names = " and ".join(self.profile.upstream_names)
            raise Refused(f"the certificates of upstream {names} are not known yet", 502, retry_after=5)
        served = bag.ca_certificates(self.profile.ca_certificates, self.identities.keyring.current, views)
        return cms.degenerate(item.der for item in served)

    @property
    def announcing(self) -> UpstreamView | None:
        """The view of a CA that tells of the CA that follows it, as far as that is believed."""
        return next((view for view in self._views if view.announcement is not None), None)

    async def next_ca_cert(self) -> bytes:
        """The answer to GetNextCACert: the CA's own where its key has signed it, else the RA's (CERT-31).

        Raises:
            Refused: status 501, there is nothing to tell.
            KeyUnavailable: it cannot be signed now.
        """
        view = self.announcing
        if view is None or view.announcement is None:
            raise Refused("no next CA certificate", 501)
        if view.announcement.message is not None:
            return view.announcement.message
        served = bag.following(view.announcement, self.identities.upcoming, view)
        signing = self.identities.keyring.current.signing
        return await self.ways.first.hands.use((signing.key,), _told, tuple(served), signing)


@lru_cache(maxsize=32)
def _told(certificates: tuple[Certificate, ...], signing: Identity) -> bytes:
    """The RA's own answer to GetNextCACert: signed once, however many ask."""
    return build_next_ca_cert(certificates, signing, Digest.SHA256)
