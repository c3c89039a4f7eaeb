"""One message to a CA and its answer, whoever has to ask it: composed, sent once, believed late (MSG-60, RA-18)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scepra.config import model
from scepra.config.kind import KINDS
from scepra.errors import FailInfo, KeyUnavailable, ScepError, UpstreamError
from scepra.keys.hands import Hands
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import CertRep, Expectation, read_cert_rep
from scepra.scep.identity import Identity
from scepra.scep.message import MessageType, build_request, issuer_and_subject, new_nonce
from scepra.upstream.client import Answer, Upstream
from scepra.upstream.view import UpstreamView


@dataclass(frozen=True, slots=True)
class Conversation:
    """How messages are exchanged with one CA.

    ``settings`` is its section of the configuration, ``upstream`` the way there; ``hands`` use the keys that sign to
    it.
    """

    settings: model.Upstream
    upstream: Upstream
    hands: Hands

    async def compose(
        self,
        kind: MessageType,
        transaction: str,
        content: bytes,
        identity: Identity,
        view: UpstreamView,
        password: bytes | None = None,
        authority: bytes | None = None,
    ) -> tuple[bytes, Expectation]:
        """A message to the CA, and what its answer must match.

        Args:
            transaction: its transactionID.
            content: what is in its envelope.
            identity: what signs it.
            password: what encrypts it where the CA's key cannot.
            authority: the CA that is asked, where that is not the present one; see :meth:`UpstreamView.toward`.

        Raises:
            UpstreamError: not sent; the key is not to be had now.
            ScepError: it cannot be encrypted to this CA.
        """
        settings, nonce = self.settings, new_nonce()
        try:
            encoding = await self.hands.use(
                (identity.key,),
                build_request,
                kind,
                transaction,
                nonce,
                content,
                identity,
                view.toward(authority).encryption,
                settings.algorithms,
                password=password,
            )
        except KeyUnavailable as error:
            raise UpstreamError(self.upstream.name, f"not asked: {error}", sent=False) from error
        signers = view.signers_for(authority)
        return encoding, Expectation(transaction, nonce, signers, identity.key, settings.floor, password)

    async def converse(
        self, encoding: bytes, expected: Expectation, view: UpstreamView, authority: bytes | None = None
    ) -> tuple[CertRep, UpstreamView]:
        """Send a message, and read its answer; with the view that it was believed under.

        Args:
            authority: as for :meth:`compose`.

        Raises:
            UpstreamError: no answer, or none that can be believed.
        """
        return await self._read(await self.upstream.operate(encoding), expected, view, authority)

    async def abreast(self, issued: Certificate, view: UpstreamView, authority: bytes | None) -> UpstreamView:
        """The view by which a certificate is judged: another one than its answer was believed under, if the CA that is
        to follow has issued it to a request for the one before. Then it has taken over, as GetCACert must show.

        Args:
            view: under which the answer was believed.
            authority: as for :meth:`compose`.

        Raises:
            UpstreamError: the CA cannot be looked at now; whoever polls later is told the same.
        """
        if not view.overtaken(issued, authority):
            return view
        try:
            return await self.upstream.discover()
        except UpstreamError as error:
            reason = f"the next CA has issued, and whether it has taken over is not known: {error.reason}"
            raise UpstreamError(self.upstream.name, reason, sent=True) from error

    def poll_content(self, authority: Certificate, subject_der: bytes) -> bytes:
        """What a CertPoll holds that asks a CA for a subject."""
        by_issuer = self.settings.poll_issuer == "ca-issuer"
        return issuer_and_subject(authority.issuer_der if by_issuer else authority.subject_der, subject_der)

    async def _read(
        self, answer: Answer, expected: Expectation, view: UpstreamView, authority: bytes | None = None
    ) -> tuple[CertRep, UpstreamView]:
        """An answer, with the view that it was believed under.

        Args:
            authority: the CA that was asked, where that is not the present one; see :meth:`UpstreamView.toward`.

        Raises:
            UpstreamError: it cannot be believed.
        """
        own = (expected.key,)
        try:
            rep = await self.hands.use(own, read_cert_rep, answer.message, expected)
        except KeyUnavailable as error:
            raise UpstreamError(self.upstream.name, f"an answer that cannot be read: {error}", sent=True) from error
        except ScepError as error:
            # Certificates of a CA's RA change: look again once, and read the same answer again. Nothing is sent twice
            # (MSG-60).
            try:
                view = await self.upstream.refresh()
                expected = replace(expected, signers=view.signers_for(authority))
                rep = await self.hands.use(own, read_cert_rep, answer.message, expected)
            except (ScepError, UpstreamError, KeyUnavailable):
                reason = f"an answer not believed: {error.reason}"
                raise self.upstream.disbelieved(answer, reason, self._remedy(error)) from error
        self.upstream.believed()
        return rep, view

    def _remedy(self, error: ScepError) -> str:
        """What somebody has to decide about a CA whose answers are refused for their algorithms (RA-18)."""
        if error.fail_info is not FailInfo.BAD_ALG:
            return ""
        kind = self.settings.kind
        usual = " and ".join(KINDS[kind].answers)
        said = f"{kind} answers in {usual}: it" if usual else "if it can do no better, that"
        return f"{error.reason}; {said} is read only where legacy names it"
