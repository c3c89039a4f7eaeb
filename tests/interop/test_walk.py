"""docs/upstreams.rst and docs/ra-certificates.rst, walked by somebody who has nothing but the pages and the URL of an
NDES: every command as it stands there, in a network in which the names of the pages lead to the lab's NDES and the RA.
"""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from scepra.cli.lab_ca import ACCOUNT, USER
from scepra.lab.state import LabState
from tests.upstream.test_endpoint import certificate

from .clients import StrongSwan
from .conftest import absent, require
from .peers import DEBIAN
from .sandbox import Finished, Sandbox, SandboxUnavailable

ROOT = Path(__file__).parents[2]
PAGES = [(ROOT / "docs" / name).read_text("utf-8") for name in ("upstreams.rst", "ra-certificates.rst")]
MOST = 10
PATIENCE = 90.0
HOSTS = "127.0.0.1 localhost ndes.corp.example ra.corp.example\n"
# All that there are would tell of the libraries that they miss.
PLUGINS = "pki { load = random nonce x509 pubkey pkcs1 pkcs7 pkcs8 pem openssl curl }\n"
# What the pages call things, where the lab's differ.
FINGERPRINT = "197c79576a203e166ac977e47700c8526485188dc2fd9c6cfde8932b62ab5ed7"
PASSWORD = "F5D81DDD8332D9AC"
NAMES = {"CN=Corp Issuing CA": "CN=scepra lab CA", "CORP\\scepra": USER}

# The TLS in front of NDES's page, which the lab's speaks without.
TLS = """
import asyncio, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
async def pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    its_reader, its_writer = await asyncio.open_connection("127.0.0.1", 80)
    await asyncio.gather(pipe(reader, its_writer), pipe(its_reader, writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", 443, ssl=context)).serve_forever()
asyncio.run(main())
"""
# What somebody does in a browser: shows the account, and reads the password.
BROWSER = """
import base64, ssl, sys, urllib.request
from pathlib import Path
from scepra.ndes.page import read
url, root, user, account = sys.argv[1:]
shown = base64.b64encode(f"{user}:{Path(account).read_text().strip()}".encode()).decode()
request = urllib.request.Request(url, headers={"Authorization": f"Basic {shown}"})
context = ssl.create_default_context(cafile=root)
print(read(urllib.request.urlopen(request, timeout=30, context=context).read()).text)
"""


def colons(fingerprint: str) -> str:
    """A fingerprint as strongSwan writes it."""
    return ":".join(textwrap.wrap(fingerprint, 2))


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the pages: its number, itself, and what it prints."""

    number: int
    command: str
    printed: str


def steps() -> list[Step]:
    """The commands of the pages, in their order."""
    found = []
    for page in PAGES:
        for block in re.finditer(r"^\.\. code-block:: console\n\n((?: +.*\n|\n)+)", page, re.MULTILINE):
            number = re.findall(r"^\*\*(\d+)\.\*\*", page[: block.start()], re.MULTILINE)[-1]
            text = textwrap.dedent(block[1]).strip()
            match = re.fullmatch(r"\$ ((?:.*\\\n)*.*)\n?((?:.*\n?)*)", text)
            assert match is not None, text
            found.append(Step(int(number), match[1], match[2]))
    return found


def looks_like(printed: str, output: str) -> bool:
    """Whether an output is what a page says: ``...`` stands for anything in a line, alone for any lines."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r" *\n"
        for line in printed.splitlines()
    ]
    return re.fullmatch("".join(lines), output.rstrip() + "\n" if output.strip() else "") is not None


@pytest.mark.parametrize(
    ("printed", "output", "expected"),
    [
        ("", "", True),
        ("", "words\n", False),
        ("...", "", True),
        ("a\n...\nz", "a\nb\nc\nz\n", True),
        ("a\n...\nz", "a\nz", True),
        ("a ... z", "a b z\n", True),
        ("a ... z", "a b\nz\n", False),
        ("a", "a\nb\n", False),
    ],
)
def test_what_it_looks_like(printed: str, output: str, expected: bool) -> None:
    """Nothing is left out of what a page shows but where it says so."""
    assert looks_like(printed, output) is expected


def test_the_commands() -> None:
    """They are ten at most, numbered through both pages, and there are no others."""
    assert [step.number for step in steps()] == list(range(1, len(steps()) + 1))
    assert len(steps()) <= MOST
    for page in PAGES:
        shown = [line for line in page.splitlines() if re.match(r" +(\$ |(scepra|twistd|pki|pip|sudo)( |$))", line)]
        ours = [
            line
            for line in shown
            if line.strip().removeprefix("$ ") in {each.command.split("\n")[0] for each in steps()}
        ]
        assert shown == ours
        assert page.count("$ ") == len(shown)


class Walk:
    """The machines: NDES, the RA's and the laptop, all at one address."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.sandbox, self.lab = sandbox, directory / "lab"
        self.ra, self.laptop = directory / "ra", directory / "laptop"
        for each in (self.ra, self.laptop):
            each.mkdir(mode=0o700)
        (self.laptop / "strongswan.conf").write_text(PLUGINS)
        (directory / "hosts").write_text(HOSTS)
        mounted = sandbox.run(["mount", "--bind", directory / "hosts", "/etc/hosts"], directory=directory)
        assert mounted.code == 0, mounted.text
        words = ("lab-ca", "--ndes", "--kind", "ndes", "--state", self.lab, "--listen", "tcp:80:interface=127.0.0.1")
        self._serve(directory, "ndes", 80, sys.executable, "-m", "scepra", *words)
        made, key = certificate("ndes.corp.example")
        (self.ra / "corp-root.crt").write_bytes(made.public_bytes(Encoding.PEM))
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / "tls.pem").write_bytes(made.public_bytes(Encoding.PEM) + secret)
        self._serve(directory, "tls", 443, sys.executable, "-c", TLS, directory / "tls.pem")
        real = LabState.load_or_create(self.lab).authority.certificate.fingerprint()
        self.values = {**NAMES, FINGERPRINT: real, colons(FINGERPRINT): colons(real)}

    def here(self, text: str) -> str:
        """A text of the pages with what is different here."""
        for told, real in self.values.items():
            text = text.replace(told, real)
        return text

    def run(self, step: Step) -> Finished:
        """Run a command to its end."""
        directory = self.laptop if "pki --" in step.command else self.ra
        command = ["sh", "-c", self.here(step.command)]
        return self.sandbox.run(command, directory=directory, environment=self._environment)

    def start(self, step: Step) -> None:
        """Run a command until it has printed what the page says."""
        log = self.ra / "terminal.log"
        self.sandbox.serve(
            ["sh", "-c", f"exec {self.here(step.command)}"],
            directory=self.ra,
            ready=lambda: looks_like(self.here(step.printed), log.read_text()),
            environment=self._environment,
            name="terminal",
        )

    def browse(self) -> str:
        """The password on NDES's page."""
        url = "https://ndes.corp.example/certsrv/mscep_admin/"
        command = [sys.executable, "-c", BROWSER, url, self.ra / "corp-root.crt", USER, self.lab / ACCOUNT]
        shown = self.sandbox.run(command, directory=self.ra, environment=self._environment)
        assert shown.code == 0, shown.text
        return shown.text

    def _serve(self, directory: Path, name: str, port: int, *words: str | Path) -> None:
        self.sandbox.serve(words, directory=directory, ready=port, environment=self._environment, name=name)

    @property
    def _environment(self) -> Mapping[str, str]:
        programs = f"{Path(sys.executable).parent}:{DEBIAN / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": programs, "PYTHONPATH": str(ROOT), "STRONGSWAN_CONF": str(self.laptop / "strongswan.conf")}


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A network of its own, whose names are those of the pages."""
    require(StrongSwan)
    try:
        made = Sandbox(DEBIAN / "lib")
    except SandboxUnavailable as reason:
        absent(f"the names of the pages need a private network: {reason}")
    try:
        yield Walk(made, tmp_path)
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.proves("UP-01", "CAPS-10", "CERT-06", "RA-11")
def test_from_the_url_of_an_ndes_to_a_first_certificate(walk: Walk) -> None:
    """Each command of the pages prints what they say, and in the end the laptop has a certificate of the CA."""
    (configuration, *_) = re.findall(r"^\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGES[0], re.MULTILINE)
    end = time.monotonic() + PATIENCE
    for step in steps():
        if step.command.startswith("twistd"):
            walk.start(step)
            continue
        done = walk.run(step)
        while "no password of its NDES at hand" in done.text and time.monotonic() < end:
            done = walk.run(step)
        assert done.code == 0, done.text
        if "challenge mint" in step.command:
            walk.values[PASSWORD] = done.text.split()[0]
        assert looks_like(walk.here(step.printed), done.text), f"{walk.here(step.printed)}\n---\n{done.text}"
        if step.number == 1:
            found = yaml.safe_load(done.text.partition("For the configuration:\n")[2].partition("\nWhoever")[0])
            (section,) = yaml.safe_load(walk.here(configuration))["upstreams"].values()
            assert section == {**found["upstreams"]["found"], "authorisation": "challenge"}
        if step.number == 2:
            (walk.ra / "ndes.pass").write_text((walk.lab / ACCOUNT).read_text())
            (walk.ra / "ra.password").write_text(walk.browse())
            (walk.ra / "scepra.yaml").write_text(textwrap.dedent(walk.here(configuration)))
    issued = x509.load_pem_x509_certificate((walk.laptop / "laptop.crt").read_bytes())
    key = load_pem_private_key((walk.laptop / "laptop.key").read_bytes(), None)
    assert issued.public_key() == key.public_key()
    assert issued.subject.rfc4514_string() == "CN=laptop-1.corp.example"
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate((walk.lab / "ca.crt").read_bytes()))
