"""What ``scepra demo`` shows: a CA, an RA in front of it and a device, and each step of what they say to each other."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.client import ResponseFailed

from scepra.errors import Refused, ScepError
from scepra.lab.client import Client, Enrolment
from scepra.lab.discovery import Discovery
from scepra.lab.files import write_private
from scepra.lab.http import http_client
from scepra.lab.process import Decision, Failed, RegistrationAuthorityProcess
from scepra.lab.server import listen, url_of
from scepra.lab.service import CertificationService
from scepra.lab.state import LabState
from scepra.lab.story import Step, Story
from scepra.scep.capabilities import KEYWORDS

READY_WITHIN = 30.0
_PAUSE = 0.05
DOMAIN = "devices.example"

CONFIGURATION = """\
# Written by `scepra demo` at every start: the ports are those that were free.
workers: 1
listen: {{scep: "tcp:{port}:interface=127.0.0.1"}}
upstreams:
  lab:
    url: {upstream}
    ca-fingerprint: file:ca.crt
    authorisation: network
profiles:
  devices: &devices
    paths: [/scep]
    upstream: lab
    ra:
      signing: {{certificate: ra-signing.crt, key: ra-signing.key}}
      encryption: {{certificate: ra-encryption.crt, key: ra-encryption.key}}
    challenge: {{type: static, file: challenge.txt}}
    policy:
      - key: {{rsa: {{min: 2048}}, ec: [P-256, P-384]}}
      - subject: {{require: [CN], allow: [C, O, OU], match: {{CN: "[a-z0-9-]+\\\\.devices\\\\.example"}}}}
      - hold: {{when: {{subject: {{OU: servers}}}}, approvals: 1}}
      - san: {{dns: {{suffix: [devices.example], max: 5}}}}
      - extensions: {{allow: [subjectAltName, keyUsage, extendedKeyUsage]}}
      - eku: {{allow: [clientAuth]}}
  old-devices:                 # the same for clients that know nothing newer than single DES
    <<: *devices
    paths: [/scep/old]
    legacy: [DES-CBC]
"""


class Demonstration:
    """The CA in this process, the RA in one of its own, and a device that speaks to it over HTTP.

    ``url`` is where the RA answers, once :meth:`run` has been through.
    """

    def __init__(self, reactor: Any, directory: Path, show: Callable[[Step], None]) -> None:
        """
        Args:
            reactor: everything runs on it.
            directory: what is kept: keys, certificates, the challenge and the RA's configuration.
            show: is called with each step when it is done.
        """
        self.directory = directory
        self.url = ""
        self._reactor = reactor
        self._show = show
        self._registration_authority: RegistrationAuthorityProcess | None = None

    async def run(self) -> bool:
        """Go through all steps; whether each went as it should.

        Raises:
            Failed: something kept the rest from happening: the RA ended, or did not answer, or not with a CertRep.
            ConfigError, OSError: the directory cannot be used.
        """
        steps: list[Step] = []
        try:
            async for step in self._steps():
                steps.append(step)
                self._show(step)
        except (ConnectError, ResponseFailed, ScepError) as error:
            raise Failed(f"{error}\n{self._last_words()}") from error
        return all(step.ok for step in steps)

    async def serve(self, observer: Callable[[Decision], None]) -> None:
        """Keep serving after :meth:`run`; *observer* is called with whatever the RA decides.

        Raises:
            Failed: the RA has ended by itself.
        """
        assert self._registration_authority is not None  # noqa: S101 - `run` starts it
        self._registration_authority.observe = observer
        await self._registration_authority.unexpected_end()
        raise Failed(f"The RA has ended.\n{self._last_words()}")

    def _last_words(self) -> str:
        output = self._registration_authority.output if self._registration_authority is not None else ""
        return f"It said:\n{output}" if output else ""

    async def stop(self) -> None:
        """End the RA. The CA ends with this process."""
        if self._registration_authority is not None:
            await self._registration_authority.stop()

    async def _steps(self) -> AsyncIterator[Step]:
        begun = time.monotonic()
        lab = LabState.load_or_create(self.directory)
        service = CertificationService(lab.authority)
        port = await listen(self._reactor, "tcp:0:interface=127.0.0.1", service)
        ca_fingerprint = lab.authority.certificate.fingerprint()
        yield Step(
            "A CA starts",
            (
                f"{url_of(port)}, with {'a new key' if lab.created else 'the key of the last time'}",
                f"SHA-256 {ca_fingerprint}",
                "It issues whatever it is asked for: it relies on the RA.",
            ),
            time.monotonic() - begun,
            True,
        )
        begun = time.monotonic()
        number = _free_port()
        config = self.directory / "config.yaml"
        write_private(config, CONFIGURATION.format(port=number, upstream=url_of(port)).encode("utf-8"))
        self.url = f"http://127.0.0.1:{number}/scep"
        device = Client(self.url, http_client(self._reactor), ca_fingerprint=ca_fingerprint)
        await self._start(config, device)
        yield Step(
            "The RA starts in front of it",
            (f"twistd -n scepra --config {config}", self.url),
            time.monotonic() - begun,
            True,
        )
        begun = time.monotonic()
        found = await device.discover()
        yield Step("A device asks the RA what it is", _introduction(found), time.monotonic() - begun, True)
        story = Story(service, self, device)
        yield await story.enrol(f"laptop-1.{DOMAIN}", lab.challenge, "RSA-2048")
        yield await story.enrol(f"phone-1.{DOMAIN}", lab.challenge, "EC-P-256")
        yield await story.leave_policy("www.bank.example", lab.challenge)
        yield await story.guess_challenge(f"laptop-2.{DOMAIN}", "let me in")
        pending, step = await story.ask_for_approval(f"server-1.{DOMAIN}", lab.challenge)
        yield step
        if pending is None:
            return
        begun = time.monotonic()
        said = await self._approve(pending)
        yield await story.fetch(pending, said, begun)
        begun = time.monotonic()
        interrupted = await story.be_interrupted(f"laptop-3.{DOMAIN}", lab.challenge, self._kill)
        await self._start(config, device)
        yield await story.ask_again(interrupted, begun)

    async def decision(self, transaction_id: str) -> Decision:
        """What the RA decided about a request.

        Raises:
            Failed: there is no record, or the RA has ended.
        """
        assert self._registration_authority is not None  # noqa: S101 - the story begins when it runs
        return await self._registration_authority.decision(transaction_id)

    async def pause(self, seconds: float) -> None:
        """Wait so long."""
        await deferLater(self._reactor, seconds)

    async def _start(self, config: Path, device: Client) -> None:
        """Start the RA, and wait until it answers."""
        self._registration_authority = RegistrationAuthorityProcess(self._reactor, config)
        await self._ready(device, self._registration_authority)

    async def _kill(self) -> None:
        """End the RA as a power failure would."""
        assert self._registration_authority is not None  # noqa: S101 - the story begins when it runs
        await self._registration_authority.kill()

    async def _approve(self, pending: Enrolment) -> str:
        """Approve a request as a person would; what the command said."""
        decision = await self.decision(pending.transaction_id)
        config = ("--config", str(self.directory / "config.yaml"))
        shown = await self._command("pending", "show", decision.enrolment, *config, "--json")
        try:
            digest = json.loads(shown)["digest"]
        except (ValueError, KeyError) as error:
            raise Failed(f"scepra pending show said:\n{shown}") from error
        why = ("--why", "it is in our list", "--by", "alice", "--digest", digest)
        return await self._command("pending", "approve", decision.enrolment, *config, *why)

    async def _command(self, *arguments: str) -> str:
        """What a command of scepra prints.

        Raises:
            Failed: it did not succeed.
        """
        output, errors, code = await getProcessOutputAndValue(
            sys.executable, ("-m", "scepra", *arguments), env=os.environ, reactor=self._reactor
        )
        if code:
            raise Failed(f"scepra {' '.join(arguments)} failed:\n{errors.decode('utf-8', 'replace')}")
        text: str = output.decode("utf-8", "replace").strip()
        return text

    async def _ready(self, device: Client, process: RegistrationAuthorityProcess) -> None:
        """Wait until the RA answers: it has to start, to listen, and to fetch the CA's certificates."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                await device.discover()
                return
            except (ConnectError, Refused) as error:
                if not process.running:
                    raise Failed(f"The RA has ended.\n{self._last_words()}") from error
                if time.monotonic() > deadline:
                    raise Failed(f"The RA is not ready after {READY_WITHIN:.0f} s.\n{self._last_words()}") from error
            await deferLater(self._reactor, _PAUSE)


def _introduction(found: Discovery) -> tuple[str, ...]:
    names = ", ".join(str(item.subject) for item in found.certificates)
    used = found.algorithms
    return (
        f"GetCACaps: {' '.join(keyword for keyword in KEYWORDS if keyword in found.capabilities)}",
        f"GetCACert: {names}",
        f"All of them are the pinned CA's. It will use {used.cipher.value} and {used.digest.value}.",
    )


def _free_port() -> int:
    """A TCP port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
