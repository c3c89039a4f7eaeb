"""The RA between a real CA and real clients, all in memory: the real configuration, the real resources, no port and no
wait."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import yaml
from cryptography.fernet import Fernet
from treq.client import HTTPClient
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from scepra.challenge.protocol import Notified
from scepra.config.load import load
from scepra.config.model import Config
from scepra.construction import build
from scepra.ground import Ground
from scepra.lab import CertificationService, Client, LabState
from scepra.notifier import Notifier
from scepra.ra import RegistrationAuthority
from scepra.reconciler import Reconciler
from scepra.store import intents, tables
from scepra.store.database import Database
from scepra.store.vault import Vault
from scepra.succession import StoredSuccessions
from scepra.transaction import Transaction
from scepra.upstream.client import Upstream, utc_now
from scepra.web.resource import ScepResource
from tests.rig.softhsm import SoftToken, new_token

T = TypeVar("T")
KEYS = os.environ.get("SCEPRA_KEYS", "")
"""Where the RA keys of houses are: in files, or ("hsm") in a token of SoftHSM, for the same tests once more."""
VAULT = Vault((Fernet.generate_key(),))
RA_URL = "http://ra.example/scep"
PROFILE: dict[str, Any] = {
    "paths": ["/scep"],
    "upstream": "ca",
    "ra": {"certificate": "ra.crt", "key": "ra.key"},
    "challenge": {"type": "static", "file": "challenge.txt"},
    "renewal": {"trust": "ca.crt", "window": "3650d", "same-key": "allow", "outside": "allow"},
    "policy": [
        {"key": {"rsa": {"min": 2048}, "ec": ["P-256", "P-384"]}},
        {"subject": {"require": ["CN"], "match": {"CN": "[a-z0-9-]+\\.example"}}},
        {"san": {"dns": {"match": "[a-z0-9-]+\\.example", "max": 4}}},
        {"extensions": {"allow": ["subjectAltName"]}},
    ],
}
FREELY = dict.fromkeys(("source", "key", "profile", "failures", "profile-failures"), "unlimited")
"""Rates with which anybody may ask as often as a test likes, on a clock that stands still."""


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


class Day(Clock):
    """A clock, and a time of day that goes along with it from now on; ``shift`` is how wrong that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = datetime.now(UTC)
        self.shift = timedelta(0)

    def now(self) -> datetime:
        """The time of day, UTC."""
        return self.begun + timedelta(seconds=self.seconds()) + self.shift


@dataclass(slots=True)
class House:
    """One RA with one profile ``dev``, in front of one CA.

    ``ca`` is the CA's face: what it received, and how it behaves. ``clock`` is what the RA waits by; ``database`` its
    store, in memory. ``records`` are the audit records in the log, ``events`` all log events. ``annexes`` are the
    stores of houses that are made of this one, and end with it. ``notified`` are the providers that want notices.
    """

    config: Config
    state: LabState
    ca: CertificationService
    upstream: Upstream
    resource: ScepResource
    authority: RegistrationAuthority
    clock: Clock
    database: Database
    events: list[LogEvent] = field(default_factory=list)
    annexes: list[Database] = field(default_factory=list)
    notified: Mapping[tuple[str, str], Notified] = field(default_factory=dict)
    _reconciler: Reconciler | None = field(init=False, default=None)

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

    @property
    def stored(self) -> dict[str, int]:
        """How many rows each table of the store has."""

        def count(connection: sa.Connection) -> dict[str, int]:
            every = tables.metadata.tables.items()
            counted = {name: sa.select(sa.func.count()).select_from(table) for name, table in every}
            return {name: connection.execute(statement).scalar_one() for name, statement in counted.items()}

        return self.database.call(count)

    def transaction(self, enrolment: str) -> Transaction:
        """What is stored of an enrolment, by the name that audit records have for it."""
        found = self.database.call(intents.get, enrolment)
        assert found is not None
        return found

    def client(self, **settings: Any) -> Client:
        """A client of the RA."""
        return Client(RA_URL, StubTreq(self.resource), **settings)

    def get(self, target: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        return run(self._answer(StubTreq(self.resource).get(f"http://ra.example{target}")))

    def post(self, message: bytes, target: str = "/scep?operation=PKIOperation", **settings: Any) -> tuple[int, bytes]:
        """Status and body of a POST."""
        return run(self._answer(StubTreq(self.resource).post(f"http://ra.example{target}", data=message, **settings)))

    def rows(self, table: sa.Table) -> list[Any]:
        """Everything in a table of the store."""
        return self.database.call(lambda connection: list(connection.execute(sa.select(table))))

    def tell(self) -> None:
        """Deliver the notices that are due now."""
        forwarding = self.authority.forwarding
        arguments = (forwarding.owner, forwarding.now, self.clock)
        run(Notifier(self.database, VAULT, self.notified, *arguments).deliver())

    def reconcile(self, seconds: float, step: float = 0.5) -> None:
        """Let so much time pass, in such steps, with the reconciler at work from the first time on."""
        if self._reconciler is None:
            self._reconciler = Reconciler(self.authority.forwarding)
            self._reconciler.startService()
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    async def _answer(self, waiting: Any) -> tuple[int, bytes]:
        response = await waiting
        return response.code, await response.content()


@cache
def lab_state(directory: Path) -> LabState:
    """The lab in a directory, read once: OpenSSL takes its time to check each RSA key."""
    return LabState.load_or_create(directory)


def kept_in_token(directory: Path, profile: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sections for tokens, and the keys of a profile, whose RA has its key in a token."""
    token = _token(directory / "ra.key")
    ra = {"certificate": "ra.crt", "key": {"token": "hsm", "label": "ra"}}
    return {"hsm": token.settings(directory / "hsm.pin")}, {**profile, "ra": ra}


@cache
def _token(key: Path) -> SoftToken:
    """A token with the lab's RA key, made once."""
    return new_token([(key, "ra", "01")])


@contextmanager
def house(
    directory: Path,
    profile: Mapping[str, Any] = {},
    upstream: Mapping[str, Any] = {},
    *,
    rates: Mapping[str, Any] = FREELY,
    now: Callable[[], datetime] = utc_now,
    ca: CertificationService | None = None,
    client: HTTPClient | None = None,
    clock: Clock | None = None,
    database: Database | None = None,
    tokens: Mapping[str, Any] = {},
    slowly: Callable[..., Awaitable[Any]] = at_once,
    web: HTTPClient | None = None,
    asked: Callable[..., HTTPClient] | None = None,
) -> Iterator[House]:
    """Build a house.

    Args:
        directory: a lab's state; its keys and certificates are used and made if missing.
        profile: keys of the profile that differ from :data:`PROFILE`; None takes one out.
        upstream: keys of the upstream that differ.
        rates: how often may be asked.
        now: the RA's time of day.
        ca: takes the place of the lab's.
        client: the way to it.
        clock: what the RA waits by; it stands still unless the test turns it.
        database: another house's, which stays open.
        tokens: sections of the configuration for tokens with keys.
        slowly: calls what may take its time.
        web: the way to whatever else the configuration names by a URL.
        asked: makes the clients for those who are asked about challenges.
    """
    state = lab_state(directory)
    if KEYS == "hsm" and not tokens and "ra" not in profile:
        tokens, profile = kept_in_token(directory, dict(profile))
    data = {
        "upstreams": {"ca": {"url": "http://ca.example/scep", "ca-fingerprint": "file:ca.crt", **upstream}},
        "rates": dict(rates),
        "tokens": dict(tokens),
        "profiles": {"dev": {key: value for key, value in (PROFILE | dict(profile)).items() if value is not None}},
    }
    file = directory / "scepra.yaml"
    file.write_text(yaml.safe_dump(copy.deepcopy(data)))
    config = load(file)
    ca = ca or CertificationService(state.authority)
    clock = clock or Clock()
    store = database or Database(in_memory())
    successions = StoredSuccessions("ca", store)
    known = Upstream("ca", config.upstreams["ca"], clock, now, client=client or StubTreq(ca), successions=successions)
    outside = asked if asked is not None else (lambda url, limits: web) if web is not None else None
    ground = Ground(store, VAULT, clock, now, slowly, outside=outside)
    made = build(config, {"ca": known}, ground)
    routes = made.routes
    authority = routes.resolve(("scep",))
    assert isinstance(authority, RegistrationAuthority)
    built = House(config, state, ca, known, ScepResource(routes), authority, clock, store, notified=made.notified)
    globalLogPublisher.addObserver(built.events.append)
    try:
        run(known.discover())
        yield built
    finally:
        globalLogPublisher.removeObserver(built.events.append)
        made.tokens.leave()
        for each in built.annexes if database else (*built.annexes, store):
            each.close()


def in_memory() -> sa.Engine:
    """An empty store that ends with its only connection."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    tables.metadata.create_all(engine)
    return engine
