"""``scepra check-config`` and ``scepra config``."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from scepra.cli import main
from scepra.cli.online import Seen, look
from scepra.config.load import read
from scepra.config.model import Fingerprint
from scepra.config.model import Upstream as Settings
from scepra.lab.authority import Authority
from scepra.lab.service import CertificationService
from scepra.lab.state import LabState
from scepra.upstream.client import Upstream
from tests.config.reference import ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example beside a lab."""
    path = tmp_path_factory.mktemp("example")
    (path / "c.yaml").write_text((ROOT / "config.example.yaml").read_text("utf-8"), "utf-8")
    LabState.load_or_create(path / "lab")
    return path


@pytest.fixture
def directory(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, as the working directory; what a test does to the configuration is undone."""
    monkeypatch.chdir(made)
    before = (made / "c.yaml").read_text("utf-8")
    yield made
    (made / "c.yaml").write_text(before, "utf-8")


def scepra(*arguments: str) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def alter(directory: Path, old: str, new: str) -> None:
    """Change the configuration."""
    text = (directory / "c.yaml").read_text("utf-8")
    assert old in text
    (directory / "c.yaml").write_text(text.replace(old, new), "utf-8")


@pytest.mark.proves("CERT-10")
def test_a_right_configuration(directory: Path) -> None:
    """It exits with 0 and prints the three fingerprints of every RA certificate."""
    result = scepra("check-config", "c.yaml")
    assert result.exit_code == 0
    assert result.output.endswith("c.yaml: 0 errors, 0 warnings\n")
    for name in ("ra-signing", "ra-encryption"):
        encoding = ssl.PEM_cert_to_DER_cert((directory / "lab" / f"{name}.crt").read_text())
        for digest in ("sha256", "sha1", "md5"):
            assert f"    {digest:6} {hashlib.new(digest, encoding).hexdigest()}\n" in result.output


def test_errors(directory: Path) -> None:
    """It exits with 1 and prints every mistake in the order of the file, those in key files among them."""
    alter(directory, "lab/ra-signing.key", "lab/ra.key")
    alter(directory, "idle: 30s", "idle: 30")
    alter(directory, "refresh: 1h", "refresh: no")
    result = scepra("check-config", "c.yaml")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.partition(": ")[2] for line in lines[:3]] == [
        "limits.idle: expected a duration such as 500ms, 30s, 5m, 1h or 30d",
        "upstreams.lab.refresh: expected a duration such as 500ms, 30s, 5m, 1h or 30d",
        "profiles.lab.ra.signing.certificate: lab/ra-signing.crt holds a certificate that is not for the key in"
        " lab/ra.key",
    ]
    assert lines[-1] == "c.yaml: 3 errors, 0 warnings"


@pytest.mark.proves("CERT-06", "CERT-07", "SEC-03")
def test_certificates_are_linted(directory: Path) -> None:
    """It says what clients will not like about the RA's certificates; a warning alone is no failure."""
    alter(directory, "signing: {certificate: lab/ra-signing.crt, key: lab/ra-signing.key}", "certificate: lab/ra.crt")
    alter(directory, "encryption: {certificate: lab/ra-encryption.crt, key: lab/ra-encryption.key}", "key: lab/ra.key")
    result = scepra("check-config", "c.yaml")
    assert result.exit_code == 0
    assert "profiles.lab.ra.certificate: warning: one key signs and decrypts" in result.output
    assert result.output.endswith("c.yaml: 0 errors, 1 warning\n")
    alter(directory, "key: lab/ra.key", "key: lab/ra-signing.key")
    result = scepra("check-config", "c.yaml")
    assert result.exit_code == 1
    assert "lab/ra.crt holds a certificate that is not for the key in lab/ra-signing.key" in result.output


@pytest.mark.proves("AC-130")
def test_a_key_that_others_can_read(directory: Path) -> None:
    """A key file with the wrong permissions is an error."""
    (directory / "lab" / "ra-signing.key").chmod(0o640)
    try:
        result = scepra("check-config", "c.yaml")
    finally:
        (directory / "lab" / "ra-signing.key").chmod(0o600)
    assert result.exit_code == 1
    assert (
        "profiles.lab.ra.signing.key: lab/ra-signing.key is open to others (mode 0640): chmod 600 it" in result.output
    )


def test_json(directory: Path) -> None:
    """For scripts it writes one object with all of that."""
    report = json.loads(scepra("check-config", "--json", "c.yaml").output)
    assert report["ok"] is True
    assert report["problems"] == []
    assert [row["role"] for row in report["profiles"]["lab"]] == ["signing", "encryption"]
    assert report["upstreams"] == {}
    alter(directory, "idle: 30s", "idle: 30")
    before = (directory / "c.yaml").read_text("utf-8").partition("  idle:")[0]
    result = scepra("check-config", "--json", "c.yaml")
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["ok"] is False
    assert report["problems"] == [
        {
            "file": "c.yaml",
            "line": before.count("\n") + 1,
            "column": 3,
            "path": "limits.idle",
            "sentence": "expected a duration such as 500ms, 30s, 5m, 1h or 30d",
            "severity": "error",
        }
    ]


def test_no_file(directory: Path) -> None:
    """A file that is not there is an error like any other."""
    result = scepra("check-config", "absent.yaml")
    assert result.exit_code == 1
    assert result.output == "absent.yaml: cannot be read: No such file or directory\nabsent.yaml: 1 error, 0 warnings\n"


def test_schema() -> None:
    """`config schema` prints the JSON Schema."""
    result = scepra("config", "schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["properties"]["profiles"]


def seen(directory: Path, resource: Resource, **changes: Any) -> Seen:
    """What asking the lab's upstream says, in memory."""
    settings = read(directory / "c.yaml").sections.upstreams["lab"].model_copy(update=changes)

    def make(name: str, settings: Settings, reactor: Any) -> Upstream:
        return Upstream(name, settings, reactor, client=StubTreq(resource))

    results: list[Any] = []
    Deferred.fromCoroutine(look({"lab": settings}, Clock(), make)).addBoth(results.append)
    assert isinstance(results[0], Seen), results
    return results[0]


@pytest.fixture
def service(made: Path) -> CertificationService:
    """The lab's CA."""
    return CertificationService(LabState.load_or_create(made / "lab").authority)


def test_online(directory: Path, service: CertificationService) -> None:
    """An upstream that offers what is expected of it is believed, and nothing is said."""
    found = seen(directory, service)
    assert found.findings == ()
    assert [str(certificate.subject) for certificate in found.views["lab"].issuers] == ["CN=scepra lab CA"]


@pytest.mark.proves("CERT-12")
def test_online_with_another_ca(directory: Path) -> None:
    """An upstream that is not the pinned CA is an error at its place."""
    (finding,) = seen(directory, CertificationService(Authority.create("Other"))).findings
    assert (finding.path, finding.severity) == (("upstreams", "lab"), "error")
    assert finding.sentence.startswith("cannot be used: ")


def test_online_with_a_weaker_ca(directory: Path, service: CertificationService) -> None:
    """What an upstream does not list is warned about at the key that wants it."""

    class Weaker(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> Any:
            return b"SHA-1\n" if b"GetCACaps" in request.uri else service.render(request)

    found = seen(directory, Weaker(), expect_capabilities=("SCEPStandard",), transport="post")
    assert [(finding.path[2], finding.sentence, finding.severity) for finding in found.findings] == [
        ("expect-capabilities", "the CA does not list SCEPStandard", "warning"),
        ("digest", "the CA does not list SHA-256", "warning"),
        ("cipher", "the CA does not list AES-128-CBC", "warning"),
        ("transport", "the CA does not list POSTPKIOperation", "warning"),
    ]


@pytest.mark.proves("CERT-12")
def test_online_with_a_ca_that_is_to_be_followed(directory: Path, service: CertificationService) -> None:
    """A next CA that nobody has pinned yet is warned about, with its fingerprint and by when to pin it."""
    following = Authority.create("scepra lab CA")
    service.announce(following)
    (finding,) = seen(directory, service).findings
    fingerprint, end = following.certificate.fingerprint(), service.authority.certificate.not_after
    assert (finding.path[2], finding.severity) == ("ca-fingerprint", "warning")
    assert f"sha256:{fingerprint}" in finding.sentence and finding.sentence.endswith(f" by {end:%Y-%m-%d}")
    pins = tuple(Fingerprint(bytes.fromhex(each.certificate.fingerprint())) for each in (service.authority, following))
    assert seen(directory, service, ca_fingerprint=pins).findings == ()


def test_online_with_a_ca_that_cannot_be_encrypted_to(directory: Path) -> None:
    """A CA with an EC key alone can be sent requests with a challenge only."""
    service = CertificationService(Authority.create("EC", ec.generate_private_key(ec.SECP256R1())))
    pin = Fingerprint(hashlib.sha256(service.authority.certificate.der).digest())
    (finding,) = seen(directory, service, ca_fingerprint=(pin,)).findings
    assert (finding.path[2], finding.severity) == ("authorisation", "warning")
    assert seen(directory, service, ca_fingerprint=(pin,), authorisation="challenge").findings == ()


@pytest.mark.slow
def test_online_over_a_network(directory: Path) -> None:
    """The command asks a CA on a port, and says so when there is none."""
    alter(directory, "url: http://127.0.0.1:8089/scep", "url: http://127.0.0.1:1/scep")
    command = [sys.executable, "-m", "scepra", "check-config", "--online"]
    environment = {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([*command, "c.yaml"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 1
    assert "upstreams.lab: cannot be used: no connection" in result.stdout
    lab = subprocess.Popen(
        [sys.executable, "-m", "scepra", "lab-ca", "--listen", "tcp:0:interface=127.0.0.1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert lab.stdout is not None
        url = next(line.split()[1] for line in lab.stdout if line.strip().startswith("URL"))
        alter(directory, "http://127.0.0.1:1/scep", url)
        result = subprocess.run([*command, "c.yaml"], capture_output=True, text=True, env=environment, check=False)
    finally:
        lab.kill()
        lab.communicate()
    assert (result.returncode, result.stderr) == (0, "")
    assert "upstream lab lists AES" in result.stdout
    assert "  believed: CN=scepra lab CA" in result.stdout
