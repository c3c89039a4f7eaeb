"""``scepra probe``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from scepra.cli import main
from scepra.cli.probe import PENDING, REFUSED, describe, exit_code, find_out, lines
from scepra.config.kind import KINDS, KindName
from scepra.errors import UpstreamError
from scepra.lab import BEHAVIOURS, Authority, CertificationService, Payload, build_csr, new_key
from scepra.lab.behaviour import Behaviour, Faces
from scepra.lab.files import write_private
from scepra.scep.cms import degenerate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import SoftwareKey
from scepra.upstream import proposal
from scepra.upstream.exchange import Exchange
from scepra.upstream.probe import Probe, Prober
from tests.rig.material import NOW, authority, key
from tests.upstream.material import URL, made, run

ROOT = Path(__file__).parents[2]


def probed(service: Any, challenge: str | None = None, *, enrol: bool = True) -> Probe:
    """What is found at a CA, with a trial."""
    csr = CertificationRequest.parse(build_csr(key(), "trial.example", challenge=challenge)) if enrol else None
    prober = Prober(Exchange("ca", URL, StubTreq(service), Clock(), 1_000_000), URL, SoftwareKey(key("probe")), NOW)
    return run(find_out(prober, csr))


@pytest.mark.proves("CAPS-10", "RA-13", "RA-18")
@pytest.mark.parametrize("kind", KINDS)
def test_a_trial(kind: KindName) -> None:
    """A trial gets a certificate from each kind, in what is proposed for it; where somebody has to grant it, it says
    so; and the report is for scripts and for people."""
    service = CertificationService(authority(), "s3cret", BEHAVIOURS[kind])
    found = probed(service, "s3cret")
    report = describe(found)
    text = "\n".join(lines(report, found.offer))
    assert json.loads(json.dumps(report)) == report
    assert report["kind"] == kind
    assert "s3cret" not in text + json.dumps(report)
    assert "PRIVATE KEY" not in text
    assert yaml.safe_load(report["configuration"])["upstreams"]["found"]["kind"] == kind
    assert report["configuration"] in text
    assert "compare it out of band" in report["configuration"]
    assert f"It looks like {KINDS[kind].title}" in text
    asked = service.received[-1]
    assert not asked.signer.public_key.same_key(asked.csr.public_key)
    if kind == "cisco-ios":
        assert report["trial"] == {"answer": "a signed answer: PENDING", "certificate": None}
        assert exit_code(found) == PENDING
    else:
        serial = f"{found.issued.serial:x}"
        assert report["trial"] == {"answer": "a signed answer: SUCCESS", "certificate": serial}
        assert serial in text
        assert exit_code(found) == 0


def test_a_trial_that_is_refused() -> None:
    """What the CA says is told in words, and the exit code tells that there is no certificate."""
    found = probed(CertificationService(authority(), "s3cret", BEHAVIOURS["ndes"]), "wrong")
    assert describe(found)["trial"] == {
        "answer": "a signed answer: FAILURE, BAD_REQUEST, 0x80070057, E_INVALIDARG: invalid argument",
        "certificate": None,
    }
    assert exit_code(found) == REFUSED


def test_a_certificate_for_somebody_else() -> None:
    """A SUCCESS without the certificate that was asked for is none."""
    found = probed(CertificationService(authority(), behaviour=Behaviour(payload=Payload.NOTHING)))
    assert found.issued is None
    assert "SUCCESS, with an answer without exactly one certificate" in found.trial.said
    assert exit_code(found) == REFUSED


def test_without_a_trial_nothing_is_asked_for() -> None:
    """The CA gets polls, and no request; the exit code is 0 whatever it answers."""
    service = CertificationService(authority(), "s3cret", BEHAVIOURS["step-ca"])
    found = probed(service, enrol=False)
    assert not any(item.csr for item in service.received)
    assert exit_code(found) == 0
    text = "\n".join(lines(describe(found), found.offer))
    assert "Its algorithms cannot be told by polls." in text
    assert "The trial" not in text


def test_a_generic_ca() -> None:
    """Where nothing speaks for another kind that is said, with what each algorithm came to."""
    found = probed(CertificationService(authority(), behaviour=Behaviour(faces=Faces.RA)), enrol=False)
    text = "\n".join(lines(describe(found), found.offer))
    assert "nothing speaks for another kind" in text
    assert "  AES-128-CBC       accepted" in text
    assert "legacy" not in text


def test_nothing_to_pin() -> None:
    """Where there is no CA certificate there is nothing to configure, and no trial."""
    root = made("CA", ca=True)
    alone = made("RA", root, usage=("digitalSignature", "keyEncipherment"))

    class Lonely(CertificationService):
        def _ca_cert(self, wanted: str | None) -> tuple[str, bytes]:
            return "application/x-x509-ca-ra-cert", degenerate([alone.certificate.der])

    found = probed(Lonely(authority()), enrol=False)
    report = describe(found)
    assert report["configuration"] is None
    assert "nothing to pin" in "\n".join(lines(report, found.offer))
    with pytest.raises(UpstreamError, match="there is no CA certificate to pin"):
        probed(Lonely(authority()))


def test_a_ca_that_cannot_be_encrypted_to() -> None:
    """Without an RSA key there is nothing to send: one sentence."""
    elliptic = Authority.create("EC", new_key("EC-P-256"))
    with pytest.raises(UpstreamError, match="no RSA certificate"):
        probed(CertificationService(elliptic), enrol=False)


@pytest.mark.proves("CAPS-09")
def test_a_name_is_no_configuration() -> None:
    """What the CA calls itself cannot add a line to what is pasted."""
    hostile = Authority.create("x\n  evil: {url: http://evil.example}\r#", key("CA"))
    found = probed(CertificationService(hostile), enrol=False)
    written = yaml.safe_load(describe(found)["configuration"])
    assert set(written) == {"upstreams"}
    assert set(written["upstreams"]) == {"found"}
    assert proposal.read(written["upstreams"]["found"]).kind == "generic"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://ca.example/"], "expected an http or https URL"),
        (["http://ca.example/", "--enrol"], "--enrol and --subject go together"),
        (["http://ca.example/", "--subject", "x"], "--enrol and --subject go together"),
        (["http://ca.example/", "--challenge-file", "FULL"], "--challenge-file is for --enrol"),
        (["http://ca.example/", "--enrol", "--subject", "x", "--challenge-file", "EMPTY"], "the file is empty"),
    ],
)
def test_what_is_not_asked_right(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Mistakes on the command line are sentences, before anything is connected to."""
    files = {"FULL": tmp_path / "full", "EMPTY": tmp_path / "empty"}
    write_private(files["FULL"], b"s3cret\n")
    write_private(files["EMPTY"], b"\n")
    result = CliRunner().invoke(main, ["probe", *(str(files.get(each, each)) for each in arguments)])
    assert result.exit_code == 2
    assert said in result.output


class CommandTests(TestCase):
    """The command, as people start it."""

    timeout = 120

    async def run_command(self, *arguments: str) -> tuple[str, str, int]:
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "scepra", "probe", *arguments],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            path=str(ROOT),
        )
        return out.decode(), err.decode(), code

    def serve(self, factory: Any) -> str:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/scep"

    @pytest.mark.proves("CAPS-08", "CAPS-10", "UP-01")
    async def test_command(self) -> None:
        """Over the network too an NDES is told, its progress on standard error; a trial has its own exit code."""
        service = CertificationService(authority(), "s3cret", BEHAVIOURS["ndes"])
        url = self.serve(Site(service))
        out, err, code = await self.run_command(url)
        assert code == 0, err
        assert "It looks like Microsoft NDES, Windows Server 2016 and later (kind: ndes):" in out
        assert "asking: a poll for nothing by POST\n" in err
        out, err, code = await self.run_command(url, "--json", "--enrol", "--subject", "trial.example")
        assert (code, err) == (REFUSED, "")
        assert json.loads(out)["trial"]["certificate"] is None

    @pytest.mark.proves("UP-02", "CAPS-08")
    async def test_a_ca_that_hangs_up(self) -> None:
        """An NDES 2008 that closes the connection is told by that."""
        url = self.serve(Site(CertificationService(authority(), behaviour=BEHAVIOURS["ndes-2008"])))
        out, _, code = await self.run_command(url, "--json")
        assert code == 0
        assert json.loads(out)["kind"] == "ndes-2008"

    @pytest.mark.proves("FT-01")
    async def test_nobody_listens(self) -> None:
        """A CA that cannot be reached is one sentence and exit code 1, without a traceback."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}/scep"
        await port.stopListening()
        out, err, code = await self.run_command(url)
        assert (out, code) == ("", 1)
        assert err.endswith(f"Error: {url}: no connection: Connection was refused by other side\n")
        assert "Traceback" not in err
