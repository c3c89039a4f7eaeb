"""One trial: a CA and an RA before it, each in a process of its own, and the load that is put upon them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.cores import OTHERS, on
from bench.devices import Devices
from bench.load import PENDING, SUCCESS, Outcome, Plan
from bench.server import Server, free_port
from bench.upstream import ISSUES
from scepra.config.load import load as load_configuration
from scepra.store.vault import read_vault

_CONFIG = """\
listen: {{scep: "tcp:{ra_port}:interface=127.0.0.1"}}
workers: {workers}
store: {{url: "{store}"}}
rates: {{source: unlimited, key: unlimited, profile: unlimited}}
upstreams:
  lab:
    url: http://127.0.0.1:{ca_port}/scep
    ca-fingerprint: file:{lab}/ca.crt
    signer: {signer}
    queue: {{rate: {rate}, concurrency: 8}}
profiles:
  bench:
    paths: [/scep]
    upstream: lab
    ra: {{certificate: {lab}/ra.crt, key: {key}}}
    challenge: {{type: static, file: {lab}/challenge.txt}}
    policy:
      - key: {{rsa: {{min: 2048}}}}
      - subject: {{require: [CN], match: {{CN: "[a-z0-9-]+\\\\.bench\\\\.example"}}}}
      - san: {{dns: {{match: "[a-z0-9-]+\\\\.bench\\\\.example", max: 2}}}}
      - extensions: {{allow: [subjectAltName]}}
"""
SIGNERS = {
    "ra-certificate": "{{strategy: ra-certificate, certificate: {lab}/ra-signing.crt, key: {lab}/ra-signing.key}}",
    "ephemeral-self-signed": "{{strategy: ephemeral-self-signed}}",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What an RA is made like.

    ``strategy`` is one of :data:`SIGNERS`; ``store`` a URL as the configuration has it, relative to the trial's
    directory; ``workers`` how many processes serve; ``rate`` how many exchanges per second the backlog may cause;
    ``token`` the section of a token that has the RA's key, labelled "ra"; None: the key is a file.
    """

    strategy: str = "ra-certificate"
    store: str = "sqlite:scepra.db"
    workers: int = 1
    rate: int = 20
    token: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What came of some enrolments, and the CPU seconds that the RA's processes spent on them."""

    outcome: Outcome
    ra_cpu: float


class Authority:
    """The CA.

    Attributes:
        journal: the file to which it writes when it was asked, see :mod:`bench.upstream`.
    """

    def __init__(self, directory: Path, devices: Devices, manner: str = ISSUES, cores: Set[int] = OTHERS) -> None:
        """
        Args:
            directory: for its files.
            manner: how it behaves, see :mod:`bench.upstream`.
            cores: where it runs.
        """
        self._devices = devices
        self.journal = directory / "ca.journal"
        port = free_port()
        command = ("-m", "bench.upstream", str(port), str(devices.lab), str(self.journal), manner)
        self.server = Server(port, directory / "ca.log", cores, sys.executable, *command)

    def enrol(self, count: int, connections: int, pace: float = 0.0) -> Outcome:
        """Enrol here, without an RA."""
        outcome = load(Plan(self.server.port, str(self._devices.direct), connections, count, pace))
        if outcome.failed:
            raise SystemExit(f"{outcome.failed} of {count} enrolments at the CA failed")
        return outcome


class Relay:
    """An RA with a store of its own, which has seen no request yet.

    Attributes:
        store: its store, as the configuration has it.
    """

    def __init__(self, directory: Path, devices: Devices, authority: Authority, kind: Kind, cores: Set[int]) -> None:
        """
        Args:
            directory: for its files; made.
            authority: its CA.
            cores: where it runs.
        """
        directory.mkdir()
        self._devices = devices
        self._log = directory / "ra.log"
        self._sent = 0
        lab, port = devices.lab.absolute(), free_port()
        configuration = directory / "scepra.yaml"
        tokens = "" if kind.token is None else f"tokens: {json.dumps({'hsm': dict(kind.token)})}\n"
        configuration.write_text(
            tokens
            + _CONFIG.format(
                ra_port=port,
                ca_port=authority.server.port,
                lab=lab,
                key=f"{lab}/ra.key" if kind.token is None else "{token: hsm, label: ra}",
                signer=SIGNERS[kind.strategy].format(lab=lab),
                store=kind.store,
                workers=kind.workers,
                rate=kind.rate,
            )
        )
        self.store = load_configuration(configuration).store
        # On PostgreSQL an RA makes no key of its own: another one would have it already.
        read_vault(self.store.key_file, create=True)
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = (twistd, "-n", "--pidfile=", "scepra", "--config", str(configuration))
        self.server = Server(port, self._log, cores, *command)

    def enrol(
        self,
        count: int,
        connections: int,
        pace: float = 0.0,
        status: str = SUCCESS,
        cores: Set[int] = OTHERS,
    ) -> Run:
        """Send requests that it has not seen, and wait until each is answered.

        Args:
            pace, status: see :class:`~bench.load.Plan`.
            cores: where the clients run.

        Raises:
            SystemExit: one was not answered with that status.
        """
        first, self._sent = self._sent, self._sent + count
        if self._sent > self._devices.count:
            raise SystemExit(f"there are only {self._devices.count} requests")
        requests = str(self._devices.requests)
        return self._run(Plan(self.server.port, requests, connections, count, pace, first, status), cores)

    def poll(self, count: int, connections: int) -> Run:
        """Poll for the first request, again and again, while it is pending."""
        return self._run(Plan(self.server.port, str(self._devices.poll), connections, count, status=PENDING), OTHERS)

    def _run(self, plan: Plan, cores: Set[int]) -> Run:
        before = self.server.cpu()
        outcome = load(plan, cores)
        if outcome.failed:
            records = self._log.read_text("utf-8").splitlines()
            log = "\n".join(line for line in records if "scepra.audit" in line and "issued" not in line)[:3000]
            raise SystemExit(f"{outcome.failed} of {plan.count} requests were not answered with {plan.status}:\n{log}")
        return Run(outcome, self.server.cpu() - before)


@contextmanager
def trial(directory: Path, devices: Devices, kind: Kind, cores: Set[int]) -> Iterator[tuple[Relay, Authority]]:
    """An RA and its CA, both running; the directory is made."""
    directory.mkdir()
    authority = Authority(directory, devices)
    relay = Relay(directory / "ra", devices, authority, kind, cores)
    with authority.server.running(), relay.server.running():
        yield relay, authority


def load(plan: Plan, cores: Set[int] = OTHERS) -> Outcome:
    """Let a process of its own carry a plan out."""
    command = [sys.executable, "-m", "bench.load"]
    with on(cores):
        done = subprocess.run(command, input=json.dumps(asdict(plan)), stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(done.stdout))
