"""What clients will not like about an RA's certificates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepra.keys.lint import Remark, lint
from scepra.scep.certificate import Certificate
from tests.keys.material import NOW, ca_certificate, certificate, ec_key, generation, key

SIGNING, ENCRYPTION = ("digital_signature",), ("key_encipherment",)
DUAL = Remark(
    "both",
    "one key signs and decrypts: a decryption oracle could forge answers; two are safer (SEC-03)",
    "warning",
)


def remarks(signing: bytes, encryption: bytes | None = None, *issuers: bytes) -> list[Remark]:
    """What is said of these certificates."""
    found = [Certificate.parse(issuer) for issuer in issuers]
    return list(lint(generation(signing, encryption), found, NOW))


@pytest.mark.proves("SEC-03")
def test_one_key_for_both() -> None:
    """One certificate, or one key in two certificates, is warned about, and nothing else is said of a good one."""
    assert remarks(certificate()) == [DUAL]
    same = remarks(certificate(usages=SIGNING), certificate(usages=ENCRYPTION))
    assert same == [Remark("encryption", DUAL.sentence, "warning")]


@pytest.mark.proves("CERT-06")
def test_a_good_pair() -> None:
    """Nothing is said of two certificates that are as they should be."""
    assert remarks(certificate(usages=SIGNING), certificate(key("other"), usages=ENCRYPTION)) == []


@pytest.mark.proves("CERT-06", "RA-03")
@pytest.mark.parametrize(
    ("encoding", "sentence", "severity"),
    [
        (certificate(ca=True), "is a CA certificate: the CA's key has no place here (RA-03)", "error"),
        (certificate(ca=None), "lacks basicConstraints with CA:FALSE (CERT-06)", "warning"),
        (certificate(key("small", 1024)), "is for an RSA key of 1024 bits, fewer than 2048 (CERT-06)", "error"),
        (certificate(ec_key()), "is for a key of type EC: clients can encrypt to RSA only", "error"),
        (certificate(identifier=False), "lacks a subjectKeyIdentifier (CERT-06)", "warning"),
        (
            certificate(purposes=False),
            "lacks the purposes serverAuth and certificateRequestAgent: Windows wants one of them (CERT-06)",
            "warning",
        ),
        (
            certificate(usages=None),
            "lacks keyUsage: Apple's devices then encrypt to another certificate (CERT-06)",
            "warning",
        ),
        (certificate(critical=False), "has a keyUsage that is not critical (CERT-06)", "warning"),
        (certificate(usages=SIGNING), "has a keyUsage without keyEncipherment", "error"),
        (certificate(usages=ENCRYPTION), "has a keyUsage without digitalSignature", "error"),
        (certificate(start=NOW + timedelta(hours=1)), "is not valid before 2026-06-01 01:00 UTC", "error"),
        (certificate(end=NOW - timedelta(hours=1)), "expired on 2026-05-31 23:00 UTC", "error"),
        (certificate(end=NOW + timedelta(days=29)), "expires on 2026-06-30 00:00 UTC", "warning"),
    ],
)
def test_one_certificate(encoding: bytes, sentence: str, severity: str) -> None:
    """What no client can work with is an error, what some stumble over a warning."""
    assert remarks(encoding) == [DUAL, Remark("both", sentence, severity)]


def test_edges_of_validity() -> None:
    """The last moment of a certificate is valid, and thirty days before it is soon enough to say nothing."""
    assert "expires on" in remarks(certificate(end=NOW))[-1].sentence
    assert remarks(certificate(start=NOW)) == [DUAL]
    assert remarks(certificate(end=NOW + timedelta(days=30))) == [DUAL]


@pytest.mark.proves("CERT-06")
def test_a_pair_s_usages() -> None:
    """Of two certificates each has its own usage, and not the other's."""
    both = ("digital_signature", "key_encipherment")
    assert remarks(certificate(usages=both), certificate(key("other"), usages=both)) == [
        Remark(
            "signing",
            "has a keyUsage with keyEncipherment, which belongs to the other certificate (CERT-06)",
            "warning",
        ),
        Remark(
            "encryption",
            "has a keyUsage with digitalSignature, which belongs to the other certificate (CERT-06)",
            "warning",
        ),
    ]


def test_a_signing_key_that_few_can_verify() -> None:
    """An EC key signs, but most clients verify RSA only."""
    assert remarks(certificate(ec_key(), usages=SIGNING), certificate(usages=ENCRYPTION)) == [
        Remark("signing", "is for a key of type EC: most clients verify RSA signatures only", "warning")
    ]


@pytest.mark.proves("CERT-07")
def test_the_issuer() -> None:
    """An RA certificate that none of the known CA certificates issued is warned about: by name and by signature."""
    foreign = Remark(
        "both", "was not issued by the upstream's CA itself: clients that check it refuse it (CERT-07)", "warning"
    )
    assert remarks(certificate(), None, ca_certificate()) == [DUAL]
    assert remarks(certificate(issuer=key("stranger")), None, ca_certificate()) == [DUAL, foreign]
    assert remarks(certificate(issuer_name="Other"), None, ca_certificate()) == [DUAL, foreign]
    assert remarks(certificate(), None, ca_certificate(ca=False)) == [DUAL, foreign]
    assert remarks(certificate(issuer_name="Other"), None, ca_certificate(common_name="Other"), ca_certificate()) == [
        DUAL
    ]


def test_what_cannot_be_read() -> None:
    """A certificate with a damaged extension or validity is an error, not an exception."""
    good = certificate()
    # keyUsage: critical, and a BIT STRING of 2 octets.
    damaged = good.replace(bytes.fromhex("0603551d0f0101ff0404030205a0"), bytes.fromhex("0603551d0f0101ff0404040205a0"))
    assert damaged != good
    assert "cannot be read" in remarks(damaged)[-1].sentence
    timeless = good.replace(b"250601000000Z", b"25060100000xZ")
    assert timeless != good
    assert remarks(timeless)[-1] == Remark("both", "has a validity that cannot be read", "error")
