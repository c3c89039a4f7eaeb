"""The lab's client: what it chooses, and what it believes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from treq.testing import StubTreq
from twisted.web.http import Request
from twisted.web.resource import Resource

from scepra.errors import Refused, ScepError
from scepra.lab import Behaviour, CertificationService, Client, Discovery, Faces
from scepra.lab.http import MAXIMUM
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest
from scepra.scep.capabilities import Capabilities
from scepra.scep.cms import degenerate, parse_ca_certificates

from .conftest import CHALLENGE, NOW, URL, run

Connect = Callable[..., Client]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (b"SCEPStandard", Algorithms(Digest.SHA256, ContentCipher.AES128_CBC)),
        (b"AES\nSHA-512", Algorithms(Digest.SHA512, ContentCipher.AES128_CBC)),
        (b"SHA-256\nDES3", Algorithms(Digest.SHA256, ContentCipher.DES_EDE3_CBC)),
        (b"", Algorithms(Digest.SHA1, ContentCipher.DES_EDE3_CBC)),
    ],
)
def test_algorithms_follow_the_capabilities(listed: bytes, expected: Algorithms) -> None:
    """The strongest algorithms that are listed are used, and triple DES with SHA-1 where none are."""
    assert Discovery(Capabilities.parse(listed), ()).algorithms == expected


def test_discovery_happens_once(client: Client, service: CertificationService) -> None:
    """A client asks for capabilities and certificates before its first request, and not again."""
    for name in ("dev1", "dev2"):
        run(client.enrol(name, challenge=CHALLENGE, key="EC-P-256"))
    assert [item.kind.value for item in service.received] == [
        "GetCACaps",
        "GetCACert",
        "PKIOperation",
        "PKIOperation",
    ]


def test_duration_is_measured_on_the_clock_that_is_given(connect: Connect) -> None:
    """An enrolment tells how long it took, making its key not included."""
    ticks = iter([10.0, 10.25])
    assert run(connect(monotonic=lambda: next(ticks)).enrol("dev1", challenge=CHALLENGE)).seconds == 0.25


@pytest.mark.proves("CERT-14")
@pytest.mark.parametrize("faces", [Faces.CA, Faces.RA])
def test_certificates_are_read_whatever_they_are_labelled(faces: Faces, service: CertificationService) -> None:
    """A bare certificate and a certs-only message are told apart by what they are, not by their label."""
    ca, other = service.authority.certificate, service.authority.issue_ra("RA").certificate
    assert parse_ca_certificates(ca.der) == (ca,)
    assert parse_ca_certificates(degenerate([other.der, ca.der])) == (other, ca)


@pytest.mark.parametrize("body", [b"", b"<html></html>", degenerate()])
def test_answers_without_certificates_are_refused(body: bytes) -> None:
    """What holds no certificate is no GetCACert answer."""
    with pytest.raises(ScepError):
        parse_ca_certificates(body)


def test_pin_of_another_ca(connect: Connect) -> None:
    """A client with a fingerprint talks to no other CA; upper case does not matter."""
    with pytest.raises(ScepError, match="another CA than the pinned one"):
        run(connect(ca_fingerprint="00" * 32).discover())


def test_pin_in_upper_case(connect: Connect, service: CertificationService) -> None:
    """Upper and lower case of a fingerprint are the same."""
    pin = service.authority.certificate.fingerprint().upper()
    assert len(run(connect(ca_fingerprint=pin).discover()).certificates) == 1


def test_issuer_without_a_ca_certificate(service: CertificationService) -> None:
    """Where GetCACert has no CA's certificate, a poll names the one that it is encrypted to."""
    certificate = service.authority.issue_ra("RA").certificate
    assert Discovery(Capabilities(), (certificate,)).issuer == certificate


class Endless(Resource):
    """Answers with more than anybody wants."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"x" * (MAXIMUM + 1)


def test_answers_are_bounded() -> None:
    """An answer of more than a megabyte is not read to its end."""
    with pytest.raises(Refused, match="too many octets"):
        run(Client(URL, StubTreq(Endless())).discover())


def test_redirects_are_not_followed() -> None:
    """A server that points elsewhere is not followed there."""

    class Elsewhere(Resource):
        isLeaf = True

        def render_GET(self, request: Request) -> bytes:
            request.redirect(b"http://elsewhere.example/")
            return b""

    with pytest.raises(Refused) as refusal:
        run(Client(URL, StubTreq(Elsewhere())).discover())
    assert refusal.value.status == 302


def test_ca_identifier_is_sent(connect: Connect, service: CertificationService) -> None:
    """What a client is told to name is in both of its questions."""
    run(connect(ca_identifier="wifi & co").discover())
    assert [item.ca_identifier for item in service.received] == ["wifi & co", "wifi & co"]


def test_certificates_are_kept_until_discovered_again(client: Client, service: CertificationService) -> None:
    """After the CA changed its certificates, a client gets through once it has asked for them again."""
    run(client.discover())
    service.behaviour = Behaviour(faces=Faces.SPLIT)
    with pytest.raises(ScepError):
        run(client.enrol("dev1", challenge=CHALLENGE))
    run(client.discover())
    assert run(client.enrol("dev1", challenge=CHALLENGE)).certificate is not None


def test_clock_dates_the_signer(connect: Connect, service: CertificationService) -> None:
    """What a device signs with is valid around its own time of day."""
    result = run(connect().enrol("dev1", challenge=CHALLENGE))
    assert result.signer.certificate.valid_at(NOW)
