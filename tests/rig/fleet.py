"""``python -m tests.rig.fleet URL CHALLENGE CA``: devices that enrol once and renew ever after, by their own clock.

Each line of its standard input is a moment; when it has come, a new device enrols, and whoever is due renews. It is
answered by a line of JSON: what was done, and what was wrong with it.

They know one CA at first, by the file CA, and believe another only by the word of one that they know (RFC 8894, 4.7).
Every other of them asks each time what the RA is; the others keep what it said for some weeks.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from scepra.errors import Refused
from scepra.lab.authority import utc_now
from scepra.lab.client import Client, Enrolment
from scepra.lab.discovery import Discovery
from scepra.lab.http import http_client
from scepra.scep.algorithm import Floor
from scepra.scep.capabilities import GET_NEXT_CA_CERT
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from scepra.scep.rollover import parse_next_ca_cert
from scepra.scep.transport import OperationKind

EARLY = timedelta(days=30)
"""How long before its end a certificate is renewed."""
EAGER = 2
"""So many of the devices renew every time: one of those that ask what the RA is, and one of those that know."""
KEPT = timedelta(days=45)
"""How long a device keeps what the RA has said of itself, unless it ends before."""
PATIENCE, PAUSE = 60.0, 0.2
"""How long a device polls, and how often, in seconds that pass."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Device:
    """One device: the number that it came as, its client, what it was given last; what it knows of the RA, and when it
    asked."""

    number: int
    client: Client
    last: Enrolment | None = None
    known: Discovery | None = None
    asked: datetime = _NEVER

    @property
    def name(self) -> str:
        """Its common name."""
        return f"device-{self.number}.example"

    def due(self, now: datetime) -> bool:
        """Whether it is to ask for a certificate."""
        end = self.last.certificate.not_after if self.last is not None and self.last.certificate is not None else None
        return end is None or self.number < EAGER or end - now <= EARLY


class Fleet:
    """All devices, and the CAs that they believe."""

    def __init__(self, reactor: Any, url: str, challenge: str, authority: Certificate) -> None:
        self._reactor = reactor
        self._url = url
        self._challenge = challenge
        self._devices: list[Device] = []
        self._authorities = [authority]

    async def live(self) -> list[dict[str, Any]]:
        """One day: what was done."""
        await self._learn()
        now = utc_now()
        due = [each for each in self._devices if each.due(now)]
        new = Device(len(self._devices), self._client())
        self._devices.append(new)
        return [await self._act(each) for each in (*due, new)]

    def _client(self) -> Client:
        return Client(self._url, http_client(self._reactor), floor=Floor())

    async def _learn(self) -> None:
        """Hear of the next CA, from one that is known."""
        client = self._client()
        if GET_NEXT_CA_CERT not in (await client.discover()).capabilities:
            return
        try:
            told = parse_next_ca_cert(await client._fetch(OperationKind.GET_NEXT_CA_CERT), self._authorities, Floor())
        except Refused:
            # It has taken over just now.
            return
        assert told.signed
        self._authorities += [each for each in told.certificates if each.is_ca and each not in self._authorities]

    async def _act(self, device: Device) -> dict[str, Any]:
        """Enrol or renew."""
        what, wrong, before = "renewed" if device.last is not None else "enrolled", list[str](), device.last
        fresh = await self._look(device, wrong)
        try:
            if before is None:
                outcome = await device.client.enrol(device.name, challenge=self._challenge)
            else:
                outcome = await device.client.renew(before)
            end = self._reactor.seconds() + PATIENCE
            while outcome.status is PKIStatus.PENDING and self._reactor.seconds() < end:
                await deferLater(self._reactor, PAUSE)
                outcome = await device.client.poll(outcome)
        except Exception as error:
            return {"what": what, "name": device.name, "fresh": fresh, "wrong": [*wrong, f"{error!r}"]}
        said: dict[str, Any] = {"what": what, "name": device.name, "fresh": fresh}
        if outcome.certificate is None:
            return said | {"wrong": [*wrong, f"{outcome.status.name}: {outcome.fail_info_text}"]}
        device.last = outcome
        wrong += self._wrong("its certificate", outcome.certificate)
        if before is not None and before.certificate == outcome.certificate:
            wrong.append("its certificate is the old one")
        issuer = self._issuer(outcome.certificate)
        return said | {"wrong": wrong, "by": issuer.fingerprint() if issuer is not None else ""}

    async def _look(self, device: Device, wrong: list[str]) -> bool:
        """Have the device know the RA; whether it asked just now."""
        now, known = utc_now(), device.known
        old = device.number % 2 == 0 or now - device.asked > KEPT
        fresh = known is None or old or not all(each.valid_at(now) for each in known.certificates)
        if known is None or fresh:
            device.known, device.asked = known, _ = await device.client.discover(), now
        for each in known.certificates:
            wrong += self._wrong("what the RA shows", each)
        return fresh

    def _wrong(self, what: str, certificate: Certificate) -> Iterator[str]:
        """What is wrong with a certificate now: itself, or the CA that issued it."""
        now, issuer = utc_now(), self._issuer(certificate)
        if not certificate.valid_at(now):
            yield f"{what}, {certificate.subject}, is good from {certificate.not_before} to {certificate.not_after}"
        if issuer is None:
            yield f"{what}, {certificate.subject}, is by an unknown CA"
        elif not issuer.valid_at(now):
            yield f"{what}, {certificate.subject}, is by a CA that has ended"

    def _issuer(self, certificate: Certificate) -> Certificate | None:
        return next((each for each in self._authorities if certificate.signed_by(each.public_key)), None)


async def serve(reactor: Any, url: str, challenge: str, file: str) -> None:
    """Live for each line that comes."""
    reactor.seconds = time.monotonic  # As the RA has it: nothing that waits is over because the clock was moved.
    authority = Certificate.parse(ssl.PEM_cert_to_DER_cert(Path(file).read_text("ascii")))
    fleet = Fleet(reactor, url, challenge, authority)
    while line := await deferToThread(sys.stdin.readline):
        while utc_now() < datetime.fromisoformat(line.strip()):
            await deferLater(reactor, PAUSE)
        print(json.dumps(await fleet.live()), flush=True)


if __name__ == "__main__":
    arguments = (sys.argv[1], sys.argv[2], sys.argv[3])
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor, *arguments)))
