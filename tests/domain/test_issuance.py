"""Issuance rules: what an upstream may issue for a request."""

from __future__ import annotations

import pytest
from cryptography import x509

from scepra.issuance import ANY_PURPOSE, IssuanceRules
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import (
    Validity,
    basic_constraints,
    build_certificate,
    extended_key_usage,
    key_usage,
    name,
)
from scepra.scep.identity import SoftwareKey
from tests.rig.material import DAY, NOW, authority, issued, key, request

ISSUERS = (authority().certificate,)


def judged(certificate: Certificate, *tolerated: str, csr=None) -> list[str]:
    """The paths that the rules object to."""
    rules = IssuanceRules(frozenset(tolerated))
    return [found.path for found in rules.violations(certificate, csr or request(names=["a.example"]), ISSUERS, NOW)]


def certificate(*extensions: Extension, digest: Digest = Digest.SHA256, **changes) -> Certificate:
    """A certificate for the device's key with something unusual about it."""
    settings = {
        "subject": request().subject.der,
        "public_key": SoftwareKey(key()).public.der,
        "issuer": authority().certificate.subject_der,
        "signer": authority().identity.key,
        "validity": Validity.of(NOW, 10 * DAY),
    }
    return build_certificate(**settings | changes, extensions=extensions, digest=digest)


def names(*dns: str) -> Extension:
    """A subjectAltName."""
    return Extension(
        oid.SUBJECT_ALT_NAME, False, x509.SubjectAlternativeName([x509.DNSName(n) for n in dns]).public_bytes()
    )


@pytest.mark.proves("MSG-61", "I5")
def test_what_was_asked_for():
    """A certificate for the request's names from the pinned CA is believed, with as many names or fewer."""
    assert judged(issued(request(names=["a.example"]))) == []
    assert judged(certificate()) == []


@pytest.mark.proves("AC-110", "MSG-61")
@pytest.mark.parametrize(
    ("wrong", "path", "tolerated"),
    [
        (lambda: certificate(signer=authority("other CA").identity.key), "issuer", None),
        (lambda: issued(request(), by="other CA"), "issuer", None),
        (lambda: certificate(subject=name("another.example")), "subject", "subject"),
        (lambda: certificate(names("a.example", "evil.example")), "subjectAltName", "names"),
        (lambda: certificate(basic_constraints(ca=True)), "basicConstraints", None),
        (lambda: certificate(key_usage(["keyCertSign"])), "basicConstraints", None),
        (lambda: certificate(key_usage(["cRLSign", "digitalSignature"])), "basicConstraints", None),
        (lambda: certificate(extended_key_usage(oid.encode(ANY_PURPOSE))), "extendedKeyUsage", None),
        (lambda: certificate(validity=Validity(NOW - 3 * DAY, NOW - DAY)), "validity", "validity"),
        (lambda: certificate(validity=Validity(NOW + DAY, NOW + 3 * DAY)), "validity", "validity"),
        (lambda: certificate(digest=Digest.SHA1), "signature", "sha1"),
        (lambda: certificate(Extension(oid.KEY_USAGE, True, b"\x01")), "certificate", None),
    ],
)
def test_what_was_not(wrong, path, tolerated):
    """Each deviation is found, and passes only where this CA is expected to make it."""
    assert judged(wrong()) == [path]
    if tolerated is None:
        assert judged(wrong(), "subject", "names", "validity", "sha1") == [path]
    else:
        assert judged(wrong(), tolerated) == []


@pytest.mark.proves("FT-18")
def test_clock_skew():
    """A certificate that begins a few minutes from now is believed: clocks differ."""
    early = certificate(validity=Validity(NOW + DAY / 288, NOW + DAY))
    assert judged(early) == []


def test_any_purpose_that_was_asked_for():
    """A certificate for any purpose is believed where the request, and so the policy, had it."""
    purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier(ANY_PURPOSE)])
    csr = request(extensions=[(purpose, False)])
    assert judged(certificate(extended_key_usage(oid.encode(ANY_PURPOSE))), csr=csr) == []
