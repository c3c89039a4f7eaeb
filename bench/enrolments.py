"""One trial: an RA and a CA, each in a process of its own, and requests made beforehand for both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.cores import MEASURED, OTHERS, on
from bench.load import Outcome, Plan, write_requests
from bench.server import Server, free_port
from scepra.lab import LabState, build_csr, new_key
from scepra.scep.algorithm import Algorithms
from scepra.scep.certification import self_signed
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, build_request, new_nonce

# More keys than the RA remembers (scepra.scep.publickey), so that it reads one anew for each enrolment, as it would in
# earnest.
KEYS, REQUESTS = 48, 384
_CONFIG = """\
listen: {{scep: "tcp:{ra_port}:interface=127.0.0.1"}}
upstreams:
  lab:
    url: http://127.0.0.1:{ca_port}/scep
    ca-fingerprint: file:lab/ca.crt
    signer: {signer}
profiles:
  bench:
    paths: [/scep]
    upstream: lab
    ra: {{certificate: lab/ra.crt, key: lab/ra.key}}
    challenge: {{type: static, file: lab/challenge.txt}}
    policy:
      - key: {{rsa: {{min: 2048}}}}
      - subject: {{require: [CN], match: {{CN: "[a-z0-9-]+\\\\.bench\\\\.example"}}}}
      - san: {{dns: {{match: "[a-z0-9-]+\\\\.bench\\\\.example", max: 2}}}}
      - extensions: {{allow: [subjectAltName]}}
"""
_SIGNERS = {
    "ephemeral-self-signed": "{strategy: ephemeral-self-signed}",
    "ra-certificate": "{strategy: ra-certificate, certificate: lab/ra-signing.crt, key: lab/ra-signing.key}",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What came of some enrolments, and the CPU seconds that the RA's process spent on them."""

    outcome: Outcome
    ra_cpu: float


class Trial:
    """A CA, an RA before it, and the requests of a few hundred devices."""

    def __init__(self, directory: Path, strategy: str) -> None:
        self._directory = directory
        state = LabState.load_or_create(directory / "lab")
        ca_port, ra_port = free_port(), free_port()
        configuration = directory / "scepra.yaml"
        configuration.write_text(_CONFIG.format(ra_port=ra_port, ca_port=ca_port, signer=_SIGNERS[strategy]))
        write_requests(directory / "ra.requests", _requests(state, directory / "lab" / "ra.crt"))
        write_requests(directory / "ca.requests", _requests(state, directory / "lab" / "ca.crt"))
        upstream = (sys.executable, "-m", "bench.upstream", str(ca_port), str(directory / "lab"))
        self._ca = Server(ca_port, directory / "ca.log", OTHERS, *upstream)
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = (twistd, "-n", "--pidfile=", "scepra", "--config", str(configuration))
        self._ra = Server(ra_port, directory / "ra.log", MEASURED, *command)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start both, and let the CA issue for every request once: from then on it remembers."""
        with self._ca.running(), self._ra.running():
            self.direct(REQUESTS, connections=8)
            self.through_ra(REQUESTS, connections=8)
            yield

    def through_ra(self, count: int, connections: int, pace: float = 0.0) -> Run:
        """Enrol through the RA."""
        before = self._ra.cpu()
        outcome = self._load("ra", self._ra.port, count, connections, pace)
        return Run(outcome, self._ra.cpu() - before)

    def direct(self, count: int, connections: int, pace: float = 0.0) -> Run:
        """Enrol at the CA."""
        return Run(self._load("ca", self._ca.port, count, connections, pace), 0.0)

    def _load(self, name: str, port: int, count: int, connections: int, pace: float) -> Outcome:
        plan = Plan("127.0.0.1", port, "/scep", str(self._directory / f"{name}.requests"), connections, count, pace)
        command = [sys.executable, "-m", "bench.load"]
        with on(OTHERS):
            done = subprocess.run(
                command, input=json.dumps(asdict(plan)), stdout=subprocess.PIPE, text=True, check=True
            )
        outcome = Outcome(**json.loads(done.stdout))
        if outcome.failed:
            records = (self._directory / "ra.log").read_text("utf-8").splitlines()
            log = "\n".join(line for line in records if "scepra.audit" in line and "issued" not in line)[:3000]
            raise SystemExit(f"{outcome.failed} of {count} enrolments failed:\n{log}")
        return outcome


def _requests(state: LabState, recipient: Path) -> list[bytes]:
    """PKCSReqs of as many devices, encrypted to one certificate."""
    from scepra.keys.certificate import read_certificates

    (certificate,) = read_certificates(recipient)
    now = datetime.now(UTC)
    keys = [new_key() for _ in range(KEYS)]
    messages = []
    for number in range(REQUESTS):
        key = keys[number % KEYS]
        host = f"device-{number}.bench.example"
        csr = build_csr(key, host, names=[host], challenge=state.challenge)
        software = SoftwareKey(key)
        signer = Identity(self_signed(software, CertificationRequest.parse(csr).subject.der, now), software)
        messages.append(
            build_request(MessageType.PKCS_REQ, f"{number:032X}", new_nonce(), csr, signer, certificate, Algorithms())
        )
    return messages
