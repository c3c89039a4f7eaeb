"""Keys, and which of an RA's generations a message is for."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import der
from scepra.scep.algorithm import Digest, KeyTransport
from scepra.scep.identity import CertificateName, Generation, Identity, Keyring, SoftwareKey
from scepra.scep.publickey import PublicKeyInfo
from tests import csrs
from tests.rig.forge import certificate, key_identifier, oaep


def generation(which: int, name: str = "RA", serial: int | None = None) -> Generation:
    key = csrs.rsa_key(which=which)
    extensions = (key_identifier(bytes((which,)) * 20),)
    made = certificate(key, name, serial=der.integer(serial or which + 1), extensions=extensions)
    identity = Identity(made, SoftwareKey(key))
    return Generation(identity, identity)


OLD, NEW = generation(1), generation(2)
KEYRING = Keyring((NEW, OLD))


def named(of: Generation) -> CertificateName:
    return CertificateName(of.encryption.certificate.issuer_der, of.encryption.certificate.serial)


def test_a_software_key_signs_and_opens() -> None:
    """RSA keys sign PKCS #1 v1.5 and open all three transports; EC keys sign ECDSA and open nothing."""
    private = csrs.rsa_key()
    key = SoftwareKey(private)
    public = private.public_key()
    public.verify(key.sign(b"data", Digest.SHA512), b"data", padding.PKCS1v15(), hashes.SHA512())
    for transport, scheme in (
        (KeyTransport.RSA_V15, padding.PKCS1v15()),
        (KeyTransport.OAEP_SHA1, oaep(Digest.SHA1.hash)),
        (KeyTransport.OAEP_SHA256, oaep(Digest.SHA256.hash)),
    ):
        assert key.decrypt(public.encrypt(b"content key", scheme), transport) == b"content key"
    curve = SoftwareKey(csrs.ec_key())
    csrs.ec_key().public_key().verify(curve.sign(b"data", Digest.SHA384), b"data", ec.ECDSA(hashes.SHA384()))
    with pytest.raises(ValueError, match="cannot decrypt"):
        curve.decrypt(b"", KeyTransport.RSA_V15)
    assert curve.public.same_key(PublicKeyInfo.parse(csrs.spki(csrs.ec_key())))


@pytest.mark.proves("CMS-13", "CMS-21", "AC-035")
def test_a_certificate_is_named_by_issuer_and_serial_or_by_key_identifier() -> None:
    """Issuers match by encoding or by RFC 5280's rules, serials as integers; nothing else names a certificate."""
    own = certificate(csrs.rsa_key(), csrs.subject("Some  RA"), extensions=(key_identifier(),))
    assert CertificateName(own.issuer_der, 42).names(own)
    assert CertificateName(csrs.subject("some ra", der.PRINTABLE_STRING), 42).names(own)
    assert not CertificateName(csrs.subject("some other RA"), 42).names(own)
    assert not CertificateName(own.issuer_der, 43).names(own)
    assert not CertificateName(own.issuer_der, None).names(own)
    assert CertificateName(key_identifier=b"\x01" * 20).names(own)
    assert not CertificateName(key_identifier=b"\x02" * 20).names(own)
    assert not CertificateName(key_identifier=b"\x01" * 20).names(certificate())
    assert not CertificateName().names(certificate())
    with pytest.raises(Malformed):
        CertificateName(b"not a name", 42).names(own)


@pytest.mark.proves("CMS-21", "CERT-35")
def test_the_recipient_chooses_the_generation() -> None:
    """Every live generation is served, whichever recipient of a message it is."""
    stranger = CertificateName(csrs.subject("CA"), 7)
    assert KEYRING.current is NEW
    assert KEYRING.generation_for([named(NEW)]) == (0, NEW)
    assert KEYRING.generation_for([named(OLD)]) == (0, OLD)
    assert KEYRING.generation_for([stranger, None, named(OLD)]) == (2, OLD)
    assert KEYRING.generation_for([CertificateName(key_identifier=b"\x01" * 20)]) == (0, OLD)


@pytest.mark.proves("CMS-21", "AC-035")
@pytest.mark.parametrize(
    "recipients",
    [
        [],
        [None],
        [CertificateName(csrs.subject("CA"), 7)],
        [named(NEW), named(NEW)],
        [named(NEW), named(OLD)],
        [named(NEW), CertificateName(key_identifier=b"\x02" * 20)],
    ],
)
def test_none_or_several_recipients_of_ours_are_refused(recipients: list[CertificateName | None]) -> None:
    """A message for nobody here, or for us twice, is a badRequest."""
    with pytest.raises(ScepError) as refusal:
        KEYRING.generation_for(recipients)
    assert refusal.value.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("CERT-35")
def test_generations_may_share_an_encryption_certificate() -> None:
    """An RA that renews only its signing certificate is still one recipient, and answers as the newest."""
    renewed = Generation(generation(3, "RA signer").signing, OLD.encryption)
    assert Keyring((renewed, OLD)).generation_for([named(OLD)]) == (0, renewed)


def test_a_keyring_is_not_empty() -> None:
    """An RA without keys is a mistake of its maker."""
    with pytest.raises(ValueError, match="without a generation"):
        Keyring(())
