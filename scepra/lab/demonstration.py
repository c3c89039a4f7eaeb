"""What ``scepra demo`` shows: a CA, an RA in front of it and a device, and each step of what they say to each other."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.web.client import ResponseFailed

from scepra.errors import FailInfo, Refused, ScepError
from scepra.lab.client import Client, Enrolment
from scepra.lab.discovery import Discovery
from scepra.lab.http import http_client
from scepra.lab.process import Decision, Failed, RegistrationAuthorityProcess
from scepra.lab.server import listen, url_of
from scepra.lab.service import CertificationService
from scepra.lab.state import LabState, write_private
from scepra.scep.capabilities import KEYWORDS
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from scepra.scep.transport import OperationKind

READY_WITHIN = 30.0
_PAUSE = 0.05
DOMAIN = "devices.example"

CONFIGURATION = """\
# Written by `scepra demo` at every start: the ports are those that were free.
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
      - san: {{dns: {{suffix: [devices.example], max: 5}}}}
      - extensions: {{allow: [subjectAltName, keyUsage, extendedKeyUsage]}}
      - eku: {{allow: [clientAuth]}}
  old-devices:                 # the same for clients that know nothing newer than single DES
    <<: *devices
    paths: [/scep/old]
    legacy: [DES-CBC]
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: what, how it went in a few lines, how long it took, and whether it went as it should."""

    title: str
    details: tuple[str, ...]
    seconds: float
    ok: bool


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
        registration_authority = self._registration_authority = RegistrationAuthorityProcess(self._reactor, config)
        self.url = f"http://127.0.0.1:{number}/scep"
        device = Client(self.url, http_client(self._reactor), ca_fingerprint=ca_fingerprint)
        await self._ready(device, registration_authority)
        yield Step(
            "The RA starts in front of it",
            (f"twistd -n scepra --config {config}", self.url),
            time.monotonic() - begun,
            True,
        )
        begun = time.monotonic()
        found = await device.discover()
        yield Step("A device asks the RA what it is", _introduction(found), time.monotonic() - begun, True)
        story = Story(service, registration_authority, device)
        yield await story.enrol(f"laptop-1.{DOMAIN}", lab.challenge, "RSA-2048")
        yield await story.enrol(f"phone-1.{DOMAIN}", lab.challenge, "EC-P-256")
        yield await story.leave_policy("www.bank.example", lab.challenge)
        yield await story.guess_challenge(f"laptop-2.{DOMAIN}", "let me in")

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


class Records(Protocol):
    """Where the RA's decisions are read."""

    async def decision(self, transaction_id: str) -> Decision:
        """What it decided about a request."""


@dataclass(frozen=True, slots=True)
class Story:
    """What the device does, as it, the RA and the CA saw it."""

    service: CertificationService
    records: Records
    device: Client

    async def enrol(self, name: str, challenge: str, key: str) -> Step:
        """Everything is as it should be: a certificate comes."""
        asked = self._asked
        result = await self.device.enrol(name, names=[name], challenge=challenge, key=key)
        decision = await self.records.decision(result.transaction_id)
        title = f"A device enrols as {name}, with a key of {key}"
        if result.certificate is None or self._asked == asked:
            return Step(title, _refusal(result, decision), result.seconds, False)
        received = self.service.received[-1]
        unchanged = received.csr is not None and received.csr.der == result.csr
        sealed_anew = received.signer is not None and received.signer != result.signer.certificate
        encrypts = result.signer.key.public.encrypts
        details = (
            "The RA opened the request, found challenge and policy satisfied, and sealed it anew.",
            f"The CA got {'exactly the CSR that the device signed' if unchanged else 'another CSR'}.",
            *(() if encrypts else ("This key cannot decrypt: the RA sealed its answer with the challenge.",)),
            _description(result.certificate),
        )
        ok = unchanged and sealed_anew and self.service.authority.has_issued(result.certificate)
        return Step(title, details, result.seconds, ok)

    async def leave_policy(self, name: str, challenge: str) -> Step:
        """The challenge is right, the name is not."""
        return await self._refused(f"One asks for the name {name}", name, challenge, "subject")

    async def guess_challenge(self, name: str, challenge: str) -> Step:
        """The name is right, the challenge is not."""
        return await self._refused("One asks with a wrong challenge", name, challenge, "challenge")

    async def _refused(self, title: str, name: str, challenge: str, rule: str) -> Step:
        asked = self._asked
        result = await self.device.enrol(name, challenge=challenge)
        decision = await self.records.decision(result.transaction_id)
        unheard = self._asked == asked
        details = (*_refusal(result, decision), *(("The CA was not asked.",) if unheard else ("The CA was asked!",)))
        ok = (
            unheard
            and result.status is PKIStatus.FAILURE
            and result.fail_info is FailInfo.BAD_REQUEST
            and decision.outcome == "refused"
            and [reason.partition(":")[0] for reason in decision.reasons] == [rule]
        )
        return Step(title, details, result.seconds, ok)

    @property
    def _asked(self) -> int:
        """How often the CA was asked for anything."""
        return sum(item.kind is OperationKind.PKI_OPERATION for item in self.service.received)


def _introduction(found: Discovery) -> tuple[str, ...]:
    names = ", ".join(str(item.subject) for item in found.certificates)
    used = found.algorithms
    return (
        f"GetCACaps: {' '.join(keyword for keyword in KEYWORDS if keyword in found.capabilities)}",
        f"GetCACert: {names}",
        f"All of them are the pinned CA's. It will use {used.cipher.value} and {used.digest.value}.",
    )


def _description(certificate: Certificate) -> str:
    ends = f"{certificate.not_after:%Y-%m-%d}" if certificate.not_after is not None else "whenever"
    return f"Certificate {certificate.serial:x} by {certificate.issuer}, good until {ends}."


def _refusal(result: Enrolment, decision: Decision) -> tuple[str, ...]:
    fail_info = result.fail_info.name.title().replace("_", "") if result.fail_info is not None else "no failInfo"
    return (
        f'The device is told: {result.status.name}, {fail_info[0].lower() + fail_info[1:]}, "{result.fail_info_text}".',
        *(f"The RA's record says: {reason}." for reason in decision.reasons),
    )


def _free_port() -> int:
    """A TCP port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
