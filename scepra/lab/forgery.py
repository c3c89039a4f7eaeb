"""What a CA that lies, or is none, would answer: the material against which a client's checks are tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from cryptography import x509

from scepra.lab.authority import LIFETIME, Authority
from scepra.lab.behaviour import Forgery, Word
from scepra.lab.key import new_key
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import Validity, basic_constraints, build_certificate, name
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import PKIMessage, new_nonce
from scepra.scep.rollover import build_next_ca_cert


def impostor(identity: Identity) -> Identity:
    """Another key, in a certificate with the names and the serial number of *identity*'s."""
    key, original = SoftwareKey(new_key()), identity.certificate
    certificate = build_certificate(
        subject=original.subject_der,
        public_key=key.public.der,
        issuer=original.issuer_der,
        signer=key,
        validity=_validity(original),
        extensions=original.extensions,
        serial=original.serial,
    )
    return Identity(certificate, key)


def misdirected(request: PKIMessage, forgery: Forgery | None) -> PKIMessage:
    """The request that a forged answer pretends to be for."""
    if forgery is Forgery.NONCE:
        return replace(request, sender_nonce=new_nonce())
    if forgery is Forgery.TRANSACTION:
        return replace(request, transaction_id=request.transaction_id[::-1] + "0")
    return request


def issue(authority: Authority, csr: CertificationRequest, forgery: Forgery | None) -> Certificate:
    """The certificate for a request, or one that its client must not believe."""
    subject, public_key, no_ca = csr.subject.der, csr.public_key, (basic_constraints(ca=False),)
    if forgery is Forgery.KEY:
        return authority.certify(subject, SoftwareKey(new_key()).public, no_ca, LIFETIME)
    if forgery is Forgery.ISSUER:
        return Authority(impostor(authority.identity)).issue(csr)
    if forgery is Forgery.SUBJECT:
        return authority.certify(name("another.example"), public_key, no_ca, LIFETIME)
    if forgery is Forgery.NAMES:
        names = x509.SubjectAlternativeName([x509.DNSName("another.example")]).public_bytes()
        return authority.certify(subject, public_key, (Extension(oid.SUBJECT_ALT_NAME, False, names),), LIFETIME)
    if forgery is Forgery.CA:
        return authority.certify(subject, public_key, (basic_constraints(ca=True),), LIFETIME)
    if forgery is Forgery.EXPIRED:
        return authority.issue(csr, -timedelta(days=1))
    return authority.issue(csr)


def next_ca_cert(certificates: Sequence[Certificate], authority: Authority, ra: Identity, word: Word) -> bytes:
    """A GetNextCACert answer, or what a client must not believe to be one.

    Args:
        certificates: what is next.
        authority: the CA of today.
        ra: what signs for it.
    """
    if word is Word.UNSIGNED:
        return cms.degenerate(item.der for item in certificates)
    if word is Word.FIELD:
        return cms.sign(None, (), authority.identity, Digest.SHA256, (*certificates, authority.certificate))
    if word is Word.MESSAGE:
        attributes = (cms.attribute(oid.MESSAGE_TYPE, der.printable_string("3")),)
        inner = cms.degenerate(item.der for item in certificates)
        return cms.sign(inner, attributes, authority.identity, Digest.SHA256, (authority.certificate,))
    signers = {Word.RA: ra, Word.STRANGER: impostor(authority.identity)} if word is not Word.CA else {}
    return build_next_ca_cert(certificates, signers.get(word, authority.identity), Digest.SHA256)


def _validity(certificate: Certificate) -> Validity:
    start, end = certificate.not_before, certificate.not_after
    assert start is not None and end is not None  # noqa: S101 - one of our own
    return Validity(start, end)
