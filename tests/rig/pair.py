"""A house in front of two CAs, ``first`` and ``second``: each has a way of its own, which can be cut; time passes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from twisted.logger import LogEvent, globalLogPublisher

from scepra.config.load import load
from scepra.construction import Built, build
from scepra.forwarding import Forwarding
from scepra.ground import Ground
from scepra.health import Checkup
from scepra.lab import CertificationService
from scepra.ra import RegistrationAuthority
from scepra.reconciler import Reconciler
from scepra.scep.message import MessageType
from scepra.signing import StoredKeys
from scepra.store import health
from scepra.store.database import Database
from scepra.upstream.client import Upstream
from scepra.upstream.signer import EphemeralSelfSigned
from scepra.ways import Ways
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from tests import csrs
from tests.rig.durable import Way, transactions
from tests.rig.house import FREELY, PROFILE, VAULT, Day, House, at_once, in_memory, lab_state, run

NAMES = ("first", "second")


@dataclass(slots=True)
class Pair(House):
    """A house whose ``ca`` and ``upstream`` are the first's.

    ``cas``, ``lines`` and ``forwardings`` are both's, by their names; ``built`` is what the configuration became.
    """

    cas: Mapping[str, CertificationService] = field(kw_only=True)
    lines: Mapping[str, Way] = field(kw_only=True)
    forwardings: Mapping[str, Forwarding] = field(kw_only=True)
    built: Built = field(kw_only=True)

    def now(self) -> datetime:
        """The time of day."""
        assert isinstance(self.clock, Day)
        return self.clock.now()

    def drive(self, seconds: float, step: float = 0.5) -> None:
        """Let so much time pass, with both backlogs driven and both CAs looked after."""
        services = [
            service
            for name, forwarding in self.forwardings.items()
            for service in (Reconciler(forwarding, self.built.equal(name)), Checkup(forwarding))
        ]
        for service in services:
            service.startService()
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
        for service in services:
            service.stopService()

    def kinds(self, name: str) -> list[MessageType | None]:
        """What the CA of a name was asked for by PKIOperation, but for what asked only whether it is well."""
        known = {each.upstream_transaction for each in transactions(self)}
        return [each.message_type for each in self.cas[name].received if each.transaction_id in known]

    def health(self) -> dict[str, health.Health]:
        """What is written of the CAs."""
        return {each.upstream: each for each in self.database.call(health.listing)}


@contextmanager
def pair(
    directory: Path,
    profile: Mapping[str, Any] = {},
    upstream: Mapping[str, Any] = {},
    *,
    like: Pair | None = None,
    look: bool = True,
) -> Iterator[Pair]:
    """Build such a house.

    Args:
        directory: the first CA's lab; the second's is below it.
        profile: keys of the profile that differ; it goes to both unless told otherwise.
        upstream: keys of both upstreams that differ.
        like: another process over the same store, in the same time, in front of the same CAs.
        look: whether both are looked at in advance, as the running RA does.
    """
    states = {"first": lab_state(directory), "second": lab_state(directory / "second")}
    shutil.copyfile(directory / "second" / "ca.crt", directory / "second.crt")
    pins = {"first": "file:ca.crt", "second": "file:second.crt"}
    wanted = PROFILE | {"upstream": list(NAMES)} | dict(profile)
    data = {
        "upstreams": {
            name: {"url": f"http://{name}.example/scep", "ca-fingerprint": pins[name], **upstream} for name in NAMES
        },
        "rates": dict(FREELY),
        "profiles": {"dev": {key: value for key, value in wanted.items() if value is not None}},
    }
    file = directory / "pair.yaml"
    file.write_text(yaml.safe_dump(data))
    config = load(file)
    day = like.clock if like is not None else Day()
    assert isinstance(day, Day)
    cas = like.cas if like is not None else {name: CertificationService(states[name].authority) for name in NAMES}
    lines = {name: Way(cas[name], day) for name in NAMES}
    upstreams = {name: Upstream(name, config.upstreams[name], day, day.now, client=lines[name]) for name in NAMES}
    database = like.database if like is not None else Database(in_memory())
    made = build(config, upstreams, Ground(database, VAULT, day, day.now, at_once))
    forwardings = {name: replace(each, signer=_signer(name, database, day)) for name, each in made.forwardings.items()}
    ways = {name: Ways.of(each, forwardings) for name, each in config.profiles.items()}
    resolved = made.routes.resolve(("scep",))
    assert isinstance(resolved, RegistrationAuthority)
    authority = replace(resolved, ways=ways["dev"])
    made = replace(made, ways=ways, forwardings=forwardings)
    built = Pair(
        config,
        states["first"],
        cas["first"],
        upstreams["first"],
        ScepResource(Routes([Route(authority, authority.profile.paths)])),
        authority,
        day,
        database,
        cas=cas,
        lines=lines,
        forwardings=forwardings,
        built=made,
    )
    events: list[LogEvent] = built.events
    globalLogPublisher.addObserver(events.append)
    try:
        for each in upstreams.values() if look else ():
            run(each.discover())
        yield built
    finally:
        globalLogPublisher.removeObserver(events.append)
        if like is None:
            database.close()


def _signer(name: str, database: Database, day: Day) -> EphemeralSelfSigned:
    """Keys take their time to make."""

    async def ready(which: int) -> Any:
        return csrs.rsa_key(which=which)

    keys = StoredKeys(name, partial(ready, 20 + NAMES.index(name)), database, VAULT, day.now)
    return EphemeralSelfSigned(keys, timedelta(days=1), timedelta(days=30))
