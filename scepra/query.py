"""GetCert and GetCRL: who may ask, what the RA knows, what it asks the CA (RFC 8894, 3.3.4, 3.3.5; MSG-50 to MSG-52).

Whoever asks has a certificate that was issued through the profile; to all others every query is refused alike, before
anything is opened or looked up for them. Those who may ask learn about their own key, and what their CA has published
for everybody: another's certificate and one that does not exist are the same to them (AC-059).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from dataclasses import dataclass

from scepra.audit import Record
from scepra.config import model
from scepra.errors import RevocationError, ScepError, UpstreamError
from scepra.forwarding import Forwarding
from scepra.provenance import Revocation, issuer_of, issuers_asked, powers, weaknesses
from scepra.reception import Query
from scepra.renewal import RenewalRules
from scepra.revocation import RevocationLists
from scepra.scep import der
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import CertRep
from scepra.scep.cms import degenerate
from scepra.scep.crl import crl_der, parse_crl
from scepra.scep.message import MessageType, PKIStatus
from scepra.store import inventory
from scepra.upstream.view import UpstreamView

KINDS = (MessageType.GET_CERT, MessageType.GET_CRL)


@dataclass(frozen=True, slots=True)
class Queries:
    """What one profile answers.

    ``revocation`` tells of a certificate whether it is revoked, where lists are kept for that; ``lists`` are those that
    are handed on.
    ``infrastructure`` are certificates that ask for nothing: the RA's own.
    """

    profile: str
    settings: model.Queries
    revocation: Callable[[Certificate], Awaitable[Revocation]] | None = None
    lists: RevocationLists | None = None
    infrastructure: Container[Certificate] = frozenset()

    def answers(self, kind: MessageType) -> bool:
        """Whether queries of a kind are answered at all."""
        return self.settings.certificates if kind is MessageType.GET_CERT else self.settings.lists

    def location(self, kind: MessageType) -> str | None:
        """Where the asker is to look instead."""
        return self.settings.location if kind is MessageType.GET_CRL else None

    # Who asks

    async def admit(
        self, signer: Certificate, digest: Digest, rules: RenewalRules | None, forwarding: Forwarding
    ) -> tuple[Certificate, ...]:
        """The certificates of a signer's key that were issued here and are kept, the newest first.

        Args:
            digest: of the signature that it made.
            rules: for renewals, if the profile has any: whoever may renew may ask.

        Raises:
            ScepError: badRequest; it may not ask.
            RevocationError: whether it may cannot be told now.
        """
        profiles = frozenset((self.profile,)) | (rules.profiles if rules is not None else frozenset())
        encodings = await forwarding.database.read(inventory.kept, profiles, signer.public_key.sha256)
        kept = []
        for encoding in encodings:
            with suppress(ScepError):
                certificate = Certificate.parse(encoding)
                if certificate.public_key.same_key(signer.public_key):
                    kept.append(certificate)
        # A key that was certified here may ask by a certificate that it has made itself.
        entitling = kept
        if not signer.is_self_signed:
            issued = await forwarding.database.read(inventory.profile_of, bytes.fromhex(signer.fingerprint()))
            ours = issued in profiles if issued is not None else _renews(signer, digest, rules)
            entitling = [signer] if ours else []
        for certificate in entitling:
            if await self._stands(certificate, forwarding):
                return tuple(kept)
        raise ScepError("a query by somebody who has no certificate here that is good now")

    async def _stands(self, certificate: Certificate, forwarding: Forwarding) -> bool:
        """Whether it is a device's, valid and not revoked."""
        if any(powers(certificate, self.infrastructure)) or not certificate.valid_at(forwarding.now()):
            return False
        return self.revocation is None or await self.revocation(certificate) is Revocation.GOOD

    # What is known here

    async def find(self, query: Query, kept: tuple[Certificate, ...], record: Record) -> bytes | None:
        """The certs-only message that answers a query; None where nothing is known here.

        Args:
            kept: what :meth:`admit` returned for its signer.

        Raises:
            RevocationError: there is no list now that is good, and the CA is not to be asked for one.
        """
        if query.message_type is MessageType.GET_CRL:
            if self.lists is None:
                return None
            try:
                found = await self.lists.serve(query.issuer, query.serial, query.signer)
            except RevocationError:
                if not self.settings.forward:
                    raise
                return None
            return None if found is None else degenerate(crls=[found])
        for certificate in (query.signer, *kept):
            if not certificate.is_self_signed and query.name.names(certificate):
                record.certificate = certificate.fingerprint()
                return degenerate([certificate.der])
        return None

    # What the CA knows

    def concerns(self, query: Query, view: UpstreamView) -> bool:
        """Whether a query goes to the CA at all: not if it is about another's certificates, or the CA's key only
        signs, for there is no challenge to encrypt with."""
        known = issuers_asked(query.issuer, query.serial, view.issuers)
        return bool(known) and view.encryption.public_key.encrypts

    async def forward(self, query: Query, forwarding: Forwarding, record: Record) -> bytes | None:
        """The certs-only message that the CA answers a query with; None where it has nothing for the asker.

        Nothing of it is stored. What comes back is believed only if it is what was asked for, and the CA's.

        Raises:
            UpstreamError: there is no answer that can be believed.
        """
        view = await forwarding.upstream.current()
        transaction, name = os.urandom(16).hex().upper(), forwarding.upstream.name
        record.upstream, record.upstream_transaction = name, transaction
        signing = await forwarding.signer.identity(query.signer.subject_der, forwarding.now())
        content = der.sequence(query.issuer, der.integer(query.serial))
        ask = forwarding.conversation
        encoding, expected = await ask.compose(query.message_type, transaction, content, signing.identity, view)
        rep, view = await ask.converse(encoding, expected, view)
        record.upstream_status = rep.status.name
        if rep.status is PKIStatus.FAILURE:
            return None
        if rep.status is PKIStatus.PENDING:
            raise UpstreamError(name, "PENDING, which no query can be", sent=True)
        if query.message_type is MessageType.GET_CRL:
            return degenerate(crls=[self._list(rep, query, view, forwarding)])
        certificate = _certificate(rep, query, view, name)
        if not certificate.public_key.same_key(query.signer.public_key):
            return None
        record.certificate = certificate.fingerprint()
        return degenerate([certificate.der])

    def _list(self, rep: CertRep, query: Query, view: UpstreamView, forwarding: Forwarding) -> bytes:
        """The list in an answer that is one of the CA's that was asked about, and good now."""
        digests = self.settings.crl.digests if self.settings.crl is not None else _DIGESTS
        wanted = issuers_asked(query.issuer, query.serial, view.issuers)
        for encoding in rep.crls:
            with suppress(ScepError):
                found = parse_crl(encoding, wanted, digests)
                if found.valid_at(forwarding.now()) and (found.points is None or found.covers(query.signer)):
                    return crl_der(encoding)
        raise UpstreamError(forwarding.upstream.name, "no list that was asked for, or none that is good", sent=True)


def _renews(signer: Certificate, digest: Digest, rules: RenewalRules | None) -> bool:
    """Whether a certificate that the RA has not issued would renew all the same."""
    if rules is None or not rules.outside or not rules.issued(signer):
        return False
    return rules.sha1 or not any(weaknesses(signer, digest))


def _certificate(rep: CertRep, query: Query, view: UpstreamView, upstream: str) -> Certificate:
    """The certificate in an answer that has the name that was asked for, and is the CA's."""
    for encoding in rep.certificates:
        with suppress(ScepError):
            certificate = Certificate.parse(encoding)
            if query.name.names(certificate) and issuer_of(certificate, view.issuers) is not None:
                return certificate
    raise UpstreamError(upstream, "no certificate that was asked for", sent=True)


_DIGESTS = frozenset(Digest) - {Digest.MD5, Digest.SHA1}
