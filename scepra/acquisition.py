"""How the RA gets certificates of its own: by SCEP from the CA, or by the hands of somebody (CERT-06, CERT-07; FT-49).

One step at a time, each of which stands on the disk before the next: whoever goes on, this process or another one,
asks about the same requests by the same keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import Logger

from scepra.config.model import GenerationDirectory, NewKeys
from scepra.conversation import Conversation
from scepra.errors import FailInfo, KeyUnavailable, ScepError
from scepra.generation import Installed
from scepra.issuance import IssuanceRules
from scepra.keys.directory import Draft, GenerationStore, Order, UnderWay
from scepra.keys.lint import lint, suitability
from scepra.keys.token import TokenKey
from scepra.scep import hresult, oid
from scepra.scep.certificate import Certificate
from scepra.scep.certification import build_csr, extended_key_usage, key_usage, self_signed
from scepra.scep.certrep import CertRep, choose_issued
from scepra.scep.identity import Identity, RAKey, SoftwareKey
from scepra.scep.message import MessageType, PKIStatus
from scepra.upstream.view import UpstreamView

log = Logger()

USAGES = {
    "signing": ("digitalSignature",),
    "encryption": ("keyEncipherment",),
    "dual": ("digitalSignature", "keyEncipherment"),
}
"""The keyUsage of each role (CERT-06); NDES chooses the template by it."""
# Windows wants this purpose or certificateRequestAgent, which in a domain is the power to enrol for others.
_SERVER_AUTH = oid.encode("1.3.6.1.5.5.7.3.1")


class NotAcquired(Exception):
    """There is no new generation, and asking on does not help: its text says why, and names no secret."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The CA holds back the certificates of these roles."""

    number: int
    roles: tuple[str, ...]


class Acquisition:
    """The next generation of one directory. Whoever calls it holds the directory (``store.changing``).

    Args:
        settings: the section ``ra``.
        store: the directory.
        conversation: with the CA.
        now: UTC.
        slowly: calls a function where it may take its time.
    """

    def __init__(
        self,
        settings: GenerationDirectory,
        store: GenerationStore,
        conversation: Conversation,
        now: Callable[[], datetime],
        slowly: Callable[..., Awaitable[Any]],
    ) -> None:
        self.store = store
        self._settings = settings
        self._conversation = conversation
        self._upstream = conversation.upstream
        self._at = conversation.settings
        self._hands = conversation.hands
        self._now = now
        self._slowly = slowly

    async def prepare(self, *, by_hand: bool = False) -> UnderWay:
        """The generation under way; its keys and requests are made if there is none.

        Raises:
            NotAcquired: the CA asks for a challenge, and there is none.
            KeyUnavailable: a token makes no key now.
            ConfigError: the directory cannot be used.
        """
        found = self.store.under_way()
        if found is not None:
            return found if found.by_hand == by_hand else self.store.to_hand(found, by_hand)
        newest = self.store.newest()
        now = self._now()
        usable = newest is not None and newest.valid_at(now) and not by_hand
        signed_by = newest.number if newest is not None and usable and self._at.renewal != "none" else None
        secret = self._settings.challenge
        if self._at.authorisation == "challenge" and secret is None and signed_by is None and not by_hand:
            raise NotAcquired("the CA asks for a challenge, and there is no challenge-file")
        challenge = secret.reveal().decode() if secret is not None and signed_by is None else None
        draft: Draft = await self._slowly(self.store.draft)
        requests = {}
        try:
            for role, settings in self._settings.new_keys.items():
                key = await self._key(draft, role, settings)
                requests[role] = await self._hands.use((key,), self._request, role, key, challenge)
        except KeyUnavailable:
            await self._slowly(self.store.drop, draft)
            raise
        return self.store.begin(draft, requests, now, by_hand=by_hand, signed_by=signed_by)

    async def advance(self) -> Installed | Waiting:
        """Send what was not sent, poll for what the CA holds back, and install the generation when it is whole.

        Raises:
            NotAcquired: the CA refuses, or what it issues cannot be used; what was under way is given up.
            UpstreamError: there is no answer that can be believed; it goes on where it was.
            KeyUnavailable: a token is not there; it goes on where it was.
            ConfigError: the directory cannot be used.
        """
        under_way = await self.prepare()
        waiting = []
        for role in tuple(under_way.orders):
            if under_way.orders[role].certificate is None:
                under_way = await self._ask(under_way, role)
            if under_way.orders[role].certificate is None:
                waiting.append(role)
        if waiting:
            return Waiting(under_way.number, tuple(waiting))
        return await self._install(under_way)

    async def install(self, certificates: Sequence[Certificate]) -> Installed | Waiting:
        """Put in certificates that somebody has fetched; certificates for other keys are passed over.

        Raises:
            NotAcquired: nothing is under way, or none of them can be used.
            UpstreamError: the CA's own certificates are not known, so that nothing can be judged.
            ConfigError: the directory cannot be used.
        """
        under_way = self.store.under_way()
        if under_way is None:
            raise NotAcquired("no request is under way: scepra enroll-ra --csr-only makes one")
        view = self._ahead(await self._upstream.current())
        for role, order in tuple(under_way.orders.items()):
            fitting = [item for item in certificates if item.public_key.same_key(order.key.public)]
            if not fitting:
                continue
            if complaints := self._complaints(role, order, fitting[0], view):
                raise NotAcquired(f"the {role} certificate is not used: " + "; ".join(complaints))
            under_way = self.store.keep(under_way, role, fitting[0])
        waiting = tuple(role for role, order in under_way.orders.items() if order.certificate is None)
        if len(waiting) == len(under_way.orders):
            raise NotAcquired("none of these certificates is for a key that is under way")
        return Waiting(under_way.number, waiting) if waiting else await self._install(under_way)

    # One request

    async def _key(self, draft: Draft, role: str, settings: NewKeys) -> RAKey:
        """A new key, which the draft holds or names."""
        if settings.token is not None:
            made: TokenKey = await self._slowly(self.store.make_key, draft, role, settings.token, settings.bits)
            return made
        key = await self._slowly(make_key, settings.bits)
        self.store.add_key(draft, role, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return SoftwareKey(key)

    def _request(self, role: str, key: RAKey, challenge: str | None) -> bytes:
        extensions = (key_usage(USAGES[role]), extended_key_usage(_SERVER_AUTH))
        return build_csr(key, self._settings.subject_der, extensions, challenge)

    async def _ask(self, under_way: UnderWay, role: str) -> UnderWay:
        """Ask the CA about one request: as :meth:`~scepra.forwarding.Forwarding.advance` does about a client's."""
        order = under_way.orders[role]
        kind = MessageType.CERT_POLL
        if order.state != "new":
            rep, view = await self._exchange(under_way, order, kind)
        lost = order.state != "new" and rep.status is PKIStatus.FAILURE
        forgotten = order.state == "sent" or (lost and rep.fail_info is FailInfo.BAD_CERT_ID)
        if order.state == "new" or (lost and forgotten):
            under_way = self.store.note(under_way, role, "sent")
            by_certificate = under_way.signed_by is not None and self._at.renewal == "renewal-req"
            kind = MessageType.RENEWAL_REQ if by_certificate else MessageType.PKCS_REQ
            rep, view = await self._exchange(under_way, under_way.orders[role], kind)
        if rep.status is PKIStatus.PENDING:
            return self.store.note(under_way, role, "waiting")
        if rep.status is PKIStatus.FAILURE:
            said = FailInfo.BAD_REQUEST if rep.fail_info is None else rep.fail_info  # badAlg is 0
            detail = f", {hresult.describe(rep.ndes_error)}" if rep.ndes_error is not None else ""
            raise await self._given_up(under_way, f"the CA refuses the {role} certificate: {said.name}{detail}")
        try:
            issued = choose_issued(rep.certificates, order.csr.spki)
        except ScepError as error:
            raise await self._given_up(under_way, f"the {role} certificate: {error.reason}") from error
        view = await self._conversation.abreast(issued, view, self._ahead(view).current.authority)
        if complaints := self._complaints(role, order, issued, self._ahead(view)):
            raise await self._given_up(under_way, f"the {role} certificate is not used: " + "; ".join(complaints))
        return self.store.keep(under_way, role, issued)

    async def _exchange(self, under_way: UnderWay, order: Order, kind: MessageType) -> tuple[CertRep, UpstreamView]:
        view = await self._upstream.current()
        # The CA that will issue when the certificates are needed (CERT-35).
        asked = self._ahead(view).current
        signer = await self._signer(under_way, order)
        challenge = order.csr.challenge_password
        password = challenge.encode() if challenge else None
        content = order.csr.der
        if kind is MessageType.CERT_POLL:
            content = self._conversation.poll_content(asked.issuers[0], order.csr.subject.der)
        try:
            message, expected = await self._conversation.compose(
                kind, order.transaction, content, signer, view, password, asked.authority
            )
        except ScepError as error:
            raise NotAcquired(f"nothing can be sent to this CA: {error.reason}") from error
        return await self._conversation.converse(message, expected, view, asked.authority)

    def _ahead(self, view: UpstreamView) -> UpstreamView:
        """The view by which the next generation is asked for: of the CA that will issue when it is needed (CERT-35)."""
        newest = self.store.newest()
        return view.ahead(newest.ends if newest is not None else None)

    async def _signer(self, under_way: UnderWay, order: Order) -> Identity:
        """What signs: the certificate that is renewed, or the request's own key (RFC 8894, 2.3)."""
        if under_way.signed_by is None:
            key, subject = order.key, order.csr.subject.der
            return Identity(await self._hands.use((key,), self_signed, key, subject, self._now()), key)
        renewed = self.store.generation(under_way.signed_by)
        if renewed is None:
            raise await self._given_up(under_way, f"generation {under_way.signed_by}, which was to be renewed, is gone")
        return renewed.generation.signing

    def _complaints(self, role: str, order: Order, issued: Certificate, view: UpstreamView) -> list[str]:
        """Why a certificate cannot be used (CERT-06, CERT-07); one that is valid only later can."""
        now = self._now()
        rules = IssuanceRules(frozenset(self._at.tolerate) | {"validity"})
        complaints = [
            f"its {violation.path} {violation.sentence}"
            for violation in rules.violations(issued, order.csr, view.issuers, now)
        ]
        if issued.not_before is None or issued.not_after is None or issued.not_after <= now:
            complaints.append("it has expired, or its validity cannot be read")
        if issued.key_usage is None:
            complaints.append("it has no keyUsage (CERT-06)")
        side = "both" if role == "dual" else role
        complaints += [f"it {sentence}" for sentence, severity in suitability(side, issued) if severity == "error"]
        if issued.key_usage is None or not set(USAGES[role]) <= issued.key_usage:
            complaints.append(f"the CA's template must give the keyUsage {' and '.join(USAGES[role])}")
        return complaints

    async def _install(self, under_way: UnderWay) -> Installed:
        view = self._ahead(await self._upstream.current())
        installed = self.store.install(under_way, self._now())
        for remark in lint(installed.generation, view.issuers, self._now()):
            log.warn(
                "generation {number}, {role}: {said}", number=installed.number, role=remark.role, said=remark.sentence
            )
        return installed

    async def _given_up(self, under_way: UnderWay, reason: str) -> NotAcquired:
        await self._slowly(self.store.discard, under_way)
        return NotAcquired(reason)


def make_key(bits: int) -> rsa.RSAPrivateKey:
    """A new key; it takes its time."""
    return rsa.generate_private_key(65537, bits)
