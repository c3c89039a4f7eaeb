"""What the lab's CA issues, read by another library."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scepra.lab import Authority, RAUsage, build_csr, new_key
from scepra.lab import authority as module
from scepra.lab.key import PrivateKey
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.certification import name
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import SoftwareKey

from .conftest import NOW


def loaded(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def request(key: PrivateKey, **said: object) -> CertificationRequest:
    return CertificationRequest.parse(build_csr(key, "dev1", **said))  # type: ignore[arg-type]


def test_root_is_a_ca(authority: Authority) -> None:
    """The CA's own certificate is self-signed, says that it is a CA, and may sign, decrypt, certify and revoke."""
    root = loaded(authority.certificate)
    root.verify_directly_issued_by(root)
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.certificate.key_usage == {"digitalSignature", "keyEncipherment", "keyCertSign", "cRLSign"}
    assert authority.certificate.valid_at(NOW + timedelta(days=3000))


def test_key_of_a_ca_may_be_of_another_kind() -> None:
    """A CA with an EC key does not claim that it can decrypt."""
    authority = Authority.create(key=new_key("EC-P-384"), clock=lambda: NOW)
    assert authority.certificate.key_usage == {"digitalSignature", "keyCertSign", "cRLSign"}
    issued = authority.issue(request(new_key("EC-P-256")))
    loaded(issued).verify_directly_issued_by(loaded(authority.certificate))
    assert issued.key_usage == {"digitalSignature"}


def test_keys_are_made_where_none_are_given() -> None:
    """A CA and an RA without keys get new ones of RSA-2048, and different ones."""
    authority = Authority.create(clock=lambda: NOW)
    identity = authority.issue_ra("RA")
    assert authority.certificate.public_key.bits == identity.key.public.bits == 2048
    assert not authority.certificate.public_key.same_key(identity.key.public)


def test_request_is_copied_into_the_certificate(authority: Authority, keys: list[PrivateKey]) -> None:
    """Subject, names, purposes and unknown extensions are those of the request, criticality included."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2"), b"\x04\x01x")
    csr = request(
        keys[1],
        names=["dev1.example.org", x509.RFC822Name("dev1@example.org")],
        extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True), (unknown, False)],
    )
    issued = authority.issue(csr)
    read = loaded(issued)
    read.verify_directly_issued_by(loaded(authority.certificate))
    assert issued.subject_der == csr.subject.der
    assert issued.spki == csr.spki
    assert issued.key_usage == {"digitalSignature", "keyEncipherment"}
    copied = {extension.oid: extension for extension in issued.extensions}
    assert [copied[extension.oid] for extension in csr.extensions] == list(csr.extensions)
    identifier = read.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(keys[1].public_key())
    of_issuer = read.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert of_issuer == authority.certificate.subject_key_identifier
    assert authority.issued[issued.serial] == issued


def test_powers_of_a_ca_are_not_copied(authority: Authority, keys: list[PrivateKey]) -> None:
    """Who asks to be a CA gets a certificate that is none."""
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    csr = request(
        keys[1],
        extensions=[
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (
                x509.KeyUsage(
                    digital_signature=True, key_encipherment=False, key_cert_sign=True, crl_sign=True, **usage
                ),
                True,
            ),
            (x509.NameConstraints([x509.DNSName("example.org")], None), True),
            (x509.SubjectKeyIdentifier(b"chosen"), False),
        ],
    )
    issued = authority.issue(csr)
    assert not issued.is_ca
    assert issued.key_usage == {"digitalSignature"}
    assert issued.extension(oid.encode("2.5.29.30")) is None
    assert issued.subject_key_identifier != b"chosen"


def test_request_that_a_library_refuses_is_certified(authority: Authority, keys: list[PrivateKey]) -> None:
    """A subject with an illegal PrintableString and a request of version 2 stop other readers, but not this CA."""
    key = SoftwareKey(keys[1])
    odd_name = der.sequence(
        der.tlv(der.SET, der.sequence(der.oid(oid.encode("2.5.4.3")), der.tlv(der.PRINTABLE_STRING, b"dev_1@x*")))
    )
    signed = der.sequence(der.integer(1), odd_name, key.public.der, der.tlv(0xA0))
    algorithm = der.sequence(der.oid(oid.SHA256_RSA), der.NULL)
    encoding = der.sequence(signed, algorithm, der.bit_string(key.sign(signed, Digest.SHA256)))
    with pytest.raises(ValueError):
        x509.load_der_x509_csr(encoding)
    csr = CertificationRequest.parse(encoding)
    csr.verify()
    assert authority.issue(csr).subject_der == odd_name


@pytest.mark.parametrize("usage", RAUsage)
def test_ra_certificates_have_the_profile_that_clients_expect(
    usage: RAUsage, authority: Authority, keys: list[PrivateKey]
) -> None:
    """An RA certificate is no CA's, has a critical keyUsage, a key identifier and the purpose of a request agent."""
    identity = authority.issue_ra("RA", usage, keys[2])
    read = loaded(identity.certificate)
    read.verify_directly_issued_by(loaded(authority.certificate))
    assert read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "RA"
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert read.extensions.get_extension_for_class(x509.KeyUsage).critical
    assert identity.certificate.key_usage == set(usage.value)
    assert identity.certificate.extended_key_usage == {"1.3.6.1.4.1.311.20.2.1"}
    assert identity.certificate.subject_key_identifier is not None
    assert identity.key.public.same_key(identity.certificate.public_key)


def test_expired_certificate(authority: Authority, keys: list[PrivateKey]) -> None:
    """A negative lifetime makes a certificate whose time is over, and had been before."""
    issued = authority.issue(request(keys[1]), -timedelta(days=1))
    assert not issued.valid_at(NOW)
    assert issued.valid_at(NOW - timedelta(days=1, hours=1))


def test_own_certificates_are_known_again(authority: Authority, keys: list[PrivateKey]) -> None:
    """A CA knows what it issued by its signature, also after a restart, and neither its root nor what others issued."""
    issued = authority.issue(request(keys[1]))
    restarted = Authority(authority.identity)
    assert restarted.has_issued(issued)
    assert not restarted.has_issued(authority.certificate)
    namesake = Authority.create("Test CA", keys[2], clock=lambda: NOW)
    assert not restarted.has_issued(namesake.issue(request(keys[1])))


def test_memory_is_bounded() -> None:
    """Of what a CA remembers the oldest goes first, and what is put in again counts as new."""
    memory = dict.fromkeys(range(module.REMEMBERED), "x")
    module.remember(memory, 0, "again")
    module.remember(memory, -1, "new")
    assert len(memory) == module.REMEMBERED
    assert 1 not in memory
    assert memory[0] == "again"


def test_name_without_organisation() -> None:
    """A name may be a common name alone."""
    assert x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]).public_bytes() == name("x")
