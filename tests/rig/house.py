"""The RA between a real CA and real clients, all in memory: the real configuration, the real resources, no port and no
wait."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from scepra.app import build_routes
from scepra.config.load import load
from scepra.config.model import Config
from scepra.lab import CertificationService, Client, LabState
from scepra.ra import RegistrationAuthority
from scepra.upstream.client import Upstream, utc_now
from scepra.web.resource import ScepResource

T = TypeVar("T")
RA_URL = "http://ra.example/scep"
PROFILE: dict[str, Any] = {
    "paths": ["/scep"],
    "upstream": "ca",
    "ra": {"certificate": "ra.crt", "key": "ra.key"},
    "challenge": {"type": "static", "file": "challenge.txt"},
    "renewal": {"trust": "ca.crt", "window": "3650d", "same-key": "allow"},
    "policy": [
        {"key": {"rsa": {"min": 2048}, "ec": ["P-256", "P-384"]}},
        {"subject": {"require": ["CN"], "match": {"CN": "[a-z0-9-]+\\.example"}}},
        {"san": {"dns": {"match": "[a-z0-9-]+\\.example", "max": 4}}},
        {"extensions": {"allow": ["subjectAltName"]}},
    ],
}


def run(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    """The result of a coroutine that waits for nothing outside this process."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result


async def at_once(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function, without a thread."""
    return function(*arguments)


@dataclass(slots=True)
class House:
    """One RA with one profile ``dev``, in front of one CA.

    ``ca`` is the CA's face: what it received, and how it behaves. ``records`` are the audit records, ``events`` all log
    events.
    """

    config: Config
    state: LabState
    ca: CertificationService
    upstream: Upstream
    resource: ScepResource
    authority: RegistrationAuthority
    events: list[LogEvent] = field(default_factory=list)

    @property
    def challenge(self) -> str:
        """The right challenge."""
        return self.state.challenge

    @property
    def records(self) -> list[dict[str, Any]]:
        """The audit records written so far."""
        return [json.loads(event["record"]) for event in self.events if event["log_namespace"] == "scepra.audit"]

    @property
    def forwarded(self) -> list[bytes]:
        """The pkiMessages that the CA received."""
        return [item.message for item in self.ca.received if item.message]

    def client(self, **settings: Any) -> Client:
        """A client of the RA."""
        return Client(RA_URL, StubTreq(self.resource), **settings)

    def get(self, target: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        return run(self._answer(StubTreq(self.resource).get(f"http://ra.example{target}")))

    def post(self, message: bytes, target: str = "/scep?operation=PKIOperation", **settings: Any) -> tuple[int, bytes]:
        """Status and body of a POST."""
        return run(self._answer(StubTreq(self.resource).post(f"http://ra.example{target}", data=message, **settings)))

    async def _answer(self, waiting: Any) -> tuple[int, bytes]:
        response = await waiting
        return response.code, await response.content()


@cache
def lab_state(directory: Path) -> LabState:
    """The lab in a directory, read once: OpenSSL takes its time to check each RSA key."""
    return LabState.load_or_create(directory)


@contextmanager
def house(
    directory: Path,
    profile: Mapping[str, Any] = {},
    upstream: Mapping[str, Any] = {},
    *,
    now: Callable[[], datetime] = utc_now,
    ca: CertificationService | None = None,
) -> Iterator[House]:
    """Build a house.

    Args:
        directory: a lab's state; its keys and certificates are used and made if missing.
        profile: keys of the profile that differ from :data:`PROFILE`; None takes one out.
        upstream: keys of the upstream that differ.
        now: the RA's time of day.
        ca: takes the place of the lab's.
    """
    state = lab_state(directory)
    data = {
        "upstreams": {"ca": {"url": "http://ca.example/scep", "ca-fingerprint": "file:ca.crt", **upstream}},
        "profiles": {"dev": {key: value for key, value in (PROFILE | dict(profile)).items() if value is not None}},
    }
    file = directory / "scepra.yaml"
    file.write_text(yaml.safe_dump(copy.deepcopy(data)))
    config = load(file)
    ca = ca or CertificationService(state.authority)
    asked = Upstream("ca", config.upstreams["ca"], Clock(), now, client=StubTreq(ca))
    routes = build_routes(config, {"ca": asked}, now, at_once)
    authority = routes.resolve(("scep",))
    assert isinstance(authority, RegistrationAuthority)
    built = House(config, state, ca, asked, ScepResource(routes), authority)
    globalLogPublisher.addObserver(built.events.append)
    try:
        run(asked.discover())
        yield built
    finally:
        globalLogPublisher.removeObserver(built.events.append)
