"""``scepra fingerprint``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from scepra.cli import main
from scepra.cli.fingerprint import describe
from scepra.config.upstream import Upstream as Settings
from scepra.errors import UpstreamError
from scepra.lab import Behaviour, CertificationService, Faces, Fault
from scepra.scep.capabilities import Capabilities
from scepra.scep.cms import degenerate
from scepra.scep.identity import Identity
from scepra.scep.transport import OperationKind
from scepra.upstream.exchange import Exchange
from scepra.upstream.offer import Offer, ask, role_of
from tests.rig.material import authority
from tests.upstream.material import URL, made, run

ROOT = Path(__file__).parents[2]
CA = made("CA", ca=True, usage=("keyCertSign",))
RA = made("RA", CA, usage=("digitalSignature", "keyEncipherment"))
SIGNING, ENCRYPTION = made("RA", CA, usage=("digitalSignature",)), made("RA", CA, usage=("keyEncipherment",))
ROOT_CA = made("root", ca=True)
INTERMEDIATE = made("intermediate", ROOT_CA, ca=True)


def asked(resource: Resource) -> Offer:
    """What is found at a CA."""
    return run(ask(Exchange("ca", URL, StubTreq(resource), Clock(), 1_000_000), URL))


def offer(*identities: Identity) -> Offer:
    return Offer(URL, Capabilities(), tuple(identity.certificate for identity in identities))


@pytest.mark.proves("CERT-10", "CERT-12")
def test_report() -> None:
    """The report has all fingerprints as OpenSSL makes them, and a line that the configuration takes."""
    service = CertificationService(authority(), behaviour=Behaviour(faces=Faces.SPLIT))
    report = asked(service).report()
    text = "\n".join(describe(report))
    assert len(report["certificates"]) == 3
    for received, row in zip(asked(service).certificates, report["certificates"], strict=True):
        certificate = x509.load_der_x509_certificate(received.der)
        for name, algorithm in (("sha256", hashes.SHA256()), ("sha1", hashes.SHA1()), ("md5", hashes.MD5())):  # noqa: S303 - what is shown to people, not trusted
            digest = certificate.fingerprint(algorithm)
            assert row[name] == digest.hex()
            assert digest.hex(":").upper() in text
        assert row["expires"] == certificate.not_valid_after_utc.isoformat()
        assert row["subject"] in text
    assert [row["role"] for row in report["certificates"]] == ["RA, for encryption", "RA, for signing", "CA"]
    assert f"{URL} lists AES DES3 POSTPKIOperation" in text
    assert "Compare the SHA-256" in text
    line = next(line for line in text.splitlines() if "ca-fingerprint" in line)
    assert line == f'    ca-fingerprint: "sha256:{authority().certificate.fingerprint()}"'
    [pin] = Settings.model_validate({"url": URL, "ca-fingerprint": report["ca-fingerprint"]}).ca_fingerprint
    assert pin.matches(authority().certificate)
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("identity", "role"),
    [
        (CA, "CA"),
        (made("old", ca=None), "CA"),
        (RA, "RA, for signing and encryption"),
        (made("RA", CA), "RA, for signing and encryption"),
        (SIGNING, "RA, for signing"),
        (ENCRYPTION, "RA, for encryption"),
        (made("RA", CA, usage=("dataEncipherment",)), "RA, for encryption"),
        (made("RA", CA, usage=("cRLSign",)), "RA, for neither signing nor encryption"),
    ],
)
def test_roles(identity: Identity, role: str) -> None:
    """A certificate's role is what its basicConstraints and keyUsage say."""
    assert role_of(identity.certificate) == role


@pytest.mark.parametrize(
    ("identities", "pinned"),
    [
        ((CA,), CA),
        ((RA, CA), CA),
        ((ROOT_CA, INTERMEDIATE), INTERMEDIATE),
        ((INTERMEDIATE, ROOT_CA), INTERMEDIATE),
        ((ROOT_CA, CA, RA), CA),
        ((CA, ROOT_CA, made("RA", ROOT_CA)), ROOT_CA),
        ((RA,), None),
    ],
)
def test_which_is_to_be_pinned(identities: tuple[Identity, ...], pinned: Identity | None) -> None:
    """The certificate to pin is the CA's that issued the RA's, or else the lowest CA's."""
    assert offer(*identities).authority == (pinned.certificate if pinned is not None else None)


def test_nothing_to_pin() -> None:
    """Where there is no CA certificate, there is no line to paste."""
    report = offer(RA).report()
    assert report["ca-fingerprint"] is None
    text = "\n".join(describe(report))
    assert "nothing to pin" in text
    assert "lists no capabilities" in text
    assert "ca-fingerprint" not in text


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.HTML, Fault.EMPTY])
def test_no_capabilities(fault: Fault) -> None:
    """A CA that does not answer GetCACaps is shown all the same."""
    faulty = frozenset((OperationKind.GET_CA_CAPS,))
    service = CertificationService(authority(), behaviour=Behaviour(fault=fault, faulty=faulty))
    assert asked(service).report()["capabilities"] == []


class Answering(Resource):
    """Answers everything with one body."""

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body

    def render(self, request: Request) -> bytes:
        request.setHeader(b"content-type", b"text/html")
        return self.body


# Its basicConstraints are no SEQUENCE.
BROKEN = CA.certificate.der.replace(b"\x30\x03\x01\x01\xff", b"\x04\x03\x01\x01\xff")


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", degenerate(), BROKEN])
def test_no_certificates(body: bytes) -> None:
    """What is no certificate is named by its status, size and media type."""
    with pytest.raises(UpstreamError, match=f"status 200 with {len(body)} octets of text/html"):
        asked(Answering(body))


def test_http_error() -> None:
    """An HTTP error is told as what it is."""
    service = CertificationService(authority(), behaviour=Behaviour(http_status=404, faulty=frozenset(OperationKind)))
    with pytest.raises(UpstreamError, match="no CA certificates but status 404"):
        asked(service)


@pytest.mark.parametrize("url", ["ca.example", "ftp://ca.example/", "http://ca.example/scep?operation=GetCACert"])
def test_urls_that_a_configuration_would_refuse(url: str) -> None:
    """What is no URL of a SCEP CA is refused with the configuration's sentence, before anything is connected to."""
    result = CliRunner().invoke(main, ["fingerprint", url])
    assert result.exit_code == 2
    assert "Invalid value for URL: expected" in result.output or "a URL here ends with its path" in result.output


class CommandTests(TestCase):
    """The command, as people start it."""

    timeout = 60

    async def run_command(self, *arguments: str) -> tuple[str, str, int]:
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "scepra", "fingerprint", *arguments],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(ROOT),
        )
        return out.decode(), err.decode(), code

    def serve(self, make: Callable[[], Any]) -> int:
        port = reactor.listenTCP(0, make(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    @pytest.mark.proves("CERT-10")
    async def test_command(self) -> None:
        """The command asks a CA over the network, prints what it offers, and writes JSON when asked to."""
        number = self.serve(lambda: Site(CertificationService(authority(), behaviour=Behaviour(faces=Faces.RA))))
        url = f"http://127.0.0.1:{number}/scep"
        out, err, code = await self.run_command(url)
        assert (code, err) == (0, "")
        assert f'ca-fingerprint: "sha256:{authority().certificate.fingerprint()}"' in out
        out, err, code = await self.run_command(url, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["ca-fingerprint"] == f"sha256:{authority().certificate.fingerprint()}"

    @pytest.mark.proves("FT-01")
    async def test_nobody_listens(self) -> None:
        """A CA that cannot be reached is one sentence and exit code 1, without a traceback."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}/scep"
        await port.stopListening()
        out, err, code = await self.run_command(url)
        assert (out, code) == ("", 1)
        assert err == f"Error: {url}: no connection: Connection was refused by other side\n"
