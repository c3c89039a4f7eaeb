"""Requests as devices make them, written by one library and read by ours."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from scepra.lab import build_csr, new_key
from scepra.lab.key import PrivateKey
from scepra.scep.algorithm import Digest
from scepra.scep.csr import CertificationRequest


@pytest.mark.proves("P10-02")
@pytest.mark.parametrize("digest", [Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512])
def test_everything_asked_for_is_in_the_request(digest: Digest, keys: list[PrivateKey]) -> None:
    """Subject, names, challenge, extensions and digest come out as they went in, and possession is proven."""
    encoding = build_csr(
        keys[1],
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ex"), x509.NameAttribute(NameOID.COMMON_NAME, "d")]),
        names=["d.example.org", x509.UniformResourceIdentifier("urn:x")],
        challenge="Pä$$",
        extensions=[(x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]), True)],
        digest=digest,
    )
    csr = CertificationRequest.parse(encoding)
    csr.verify()
    assert str(csr.subject) == "CN=d,O=Ex"
    assert [str(item) for item in csr.alternative_names] == ["dns:d.example.org", "uri:urn:x"]
    assert csr.challenge_password == "Pä$$"
    assert csr.extended_key_usage is not None
    assert csr.signature_digest is digest


def test_nothing_is_added(keys: list[PrivateKey]) -> None:
    """A request for a common name has neither challenge nor extensions."""
    csr = CertificationRequest.parse(build_csr(keys[1], "dev1"))
    assert (str(csr.subject), csr.challenge_password, csr.carrier) == ("CN=dev1", None, None)


def test_ec_request() -> None:
    """A request for an EC key is signed by it."""
    csr = CertificationRequest.parse(build_csr(new_key("EC-P-384"), "dev1"))
    csr.verify()
    assert csr.public_key.curve == "P-384"
