"""``scepra enroll-ra`` and ``scepra install``, as processes before a real CA."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scepra.cli import main
from scepra.config.private import read_private
from scepra.lab.files import write_pem
from scepra.lab.state import LabState
from scepra.scep.cms import degenerate
from scepra.scep.csr import CertificationRequest
from tests.rig.softhsm import SoftToken, new_token

pytestmark = pytest.mark.slow


class Desk:
    """A configuration whose RA keeps its own certificates, and the commands on it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.lab = LabState.load_or_create(directory)
        self.file = directory / "scepra.yaml"
        self.url = url
        self.configure()

    def configure(self, tokens: dict[str, Any] | None = None, **ra: Any) -> None:
        """Write the configuration; *ra* are more keys of that section."""
        data = {
            "tokens": tokens or {},
            "upstreams": {"ca": {"url": self.url, "ca-fingerprint": "file:ca.crt"}},
            "profiles": {
                "dev": {
                    "paths": "/scep",
                    "upstream": "ca",
                    "ra": {"directory": "own", "subject": "CN=scepra RA", **ra},
                    "challenge": {"type": "static", "file": "challenge.txt"},
                    "policy": [{"key": {"rsa": {}}}],
                }
            },
        }
        self.file.write_text(json.dumps(data))

    def run(self, *words: str, profile: str = "dev") -> subprocess.CompletedProcess[str]:
        """A command, in a process of its own: each has a reactor."""
        arguments = ("--config", str(self.file), "--profile", profile)
        return subprocess.run(
            [sys.executable, "-m", "scepra", *words, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """With a CA in a process."""
    state = tmp_path / "lab"
    process = subprocess.Popen(
        [sys.executable, "-m", "scepra", "lab-ca", "--state", str(state), "--listen", "tcp:0:interface=127.0.0.1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    try:
        for line in process.stdout:
            if line.strip().startswith("URL"):
                break
        reader.start()
        yield Desk(state, line.split()[1])
    finally:
        process.terminate()
        reader.join()
        process.stdout.close()
        process.wait()


def test_from_nothing(desk: Desk) -> None:
    """A configuration without a generation says what to call; after that it is right, and called again it
    changes nothing."""
    before = CliRunner().invoke(main, ["check-config", str(desk.file)])
    assert before.exit_code == 1
    assert "holds no generation yet: scepra enroll-ra --config FILE --profile dev enrols the first" in before.output
    done = desk.run("enroll-ra")
    assert done.returncode == 0, done.stderr
    assert "Generation 1 is installed" in done.stdout
    assert "making keys" in done.stderr
    after = CliRunner().invoke(main, ["check-config", str(desk.file)])
    assert after.exit_code == 0, after.output
    again = json.loads(desk.run("enroll-ra", "--json").stdout)
    assert (again["state"], again["generation"]) == ("installed", 1)
    renewed = json.loads(desk.run("enroll-ra", "--renew", "--json").stdout)
    assert [each["role"] for each in renewed["certificates"]] == ["signing", "encryption"]
    assert renewed["generation"] == 2


def test_by_hand(desk: Desk) -> None:
    """Requests are written, and certificates installed from PEM and PKCS#7, one after the other."""
    written = json.loads(desk.run("enroll-ra", "--csr-only", "--json").stdout)
    assert written["state"] == "requests"
    requests = {role: CertificationRequest.parse(_der(Path(path))) for role, path in written["requests"].items()}
    certificates = {role: desk.lab.authority.issue(csr) for role, csr in requests.items()}
    (desk.directory / "signing.crt").write_bytes(write_pem(certificates["signing"]))
    bag = degenerate([desk.lab.authority.certificate.der, certificates["encryption"].der])
    (desk.directory / "encryption.p7b").write_bytes(bag)
    first = desk.run("install", str(desk.directory / "signing.crt"))
    assert (first.returncode, first.stdout) == (
        3,
        "There is no encryption certificate yet: call this again to go on.\n",
    )
    second = desk.run("install", str(desk.directory / "encryption.p7b"))
    assert second.returncode == 0, second.stderr
    nothing = desk.run("install", str(desk.directory / "signing.crt"))
    assert nothing.returncode == 1
    assert "no request is under way" in nothing.stderr


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    """A token without keys."""
    made = new_token()
    yield made
    made.remove()


def test_in_a_token(desk: Desk, soft: SoftToken) -> None:
    """Keys are made in the token that the configuration names, and found there when the configuration is checked and
    when certificates are brought by hand. While the token is away that is said, at the key of the configuration."""
    desk.configure({"hsm": soft.settings(desk.directory / "hsm.pin")}, **{"signing-key": {"token": "hsm"}})
    soft.unplug()
    away = desk.run("enroll-ra")
    assert away.returncode == 1
    assert away.stderr.endswith("Error: profiles.dev.ra: token hsm: is not there (NoSuchToken)\n")
    soft.plug()
    done = desk.run("enroll-ra")
    assert done.returncode == 0, done.stderr
    assert b"PRIVATE KEY" not in (desk.directory / "own" / "0001" / "signing.key").read_bytes()
    checked = CliRunner().invoke(main, ["check-config", str(desk.file)])
    assert checked.exit_code == 0, checked.output
    written = json.loads(desk.run("enroll-ra", "--renew", "--csr-only", "--json").stdout)
    requests = [CertificationRequest.parse(_der(Path(path))) for path in written["requests"].values()]
    bag = degenerate([desk.lab.authority.issue(csr).der for csr in requests])
    (desk.directory / "both.p7b").write_bytes(bag)
    second = desk.run("install", str(desk.directory / "both.p7b"))
    assert second.returncode == 0, second.stderr
    soft.unplug()
    gone = desk.run("enroll-ra", "--renew")
    soft.plug()
    assert gone.returncode == 1
    assert "own/0001/signing.key: names a key in token hsm, which is not there (NoSuchToken)" in gone.stderr


def test_mistakes(desk: Desk) -> None:
    """What cannot work is told without a traceback."""
    assert desk.run("enroll-ra", profile="none").returncode == 2
    unreadable = desk.run("install", str(desk.directory / "absent.crt"))
    assert (unreadable.returncode, "cannot be read" in unreadable.stderr) == (1, True)
    for result in (desk.run("enroll-ra", profile="none"), unreadable):
        assert "Traceback" not in result.stderr


def _der(path: Path) -> bytes:
    return read_private(path.with_suffix(""), 65536)
