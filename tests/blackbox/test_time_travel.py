"""Three years of an RA that nobody looks after: it renews its certificates, and its CA is followed by another."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from scepra.generation import Installed
from scepra.keys.directory import GenerationStore
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from tests.blackbox.procedure import LAZY, START
from tests.rig.blackbox.administration import command
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import PATIENCE, ROOT, Process, free_port, wait_until
from tests.rig.blackbox.ra import PATHS, RAProcess
from tests.rig.faketime import WallClock
from tests.rig.house import PROFILE

DAY = 24 * 3600
STEPS = (*range(0, 3 * 365, 30), 3 * 365)
"""The days on which something is looked at."""
REBOOT = 900
"""The RA's machine loses its power; the CA that is pinned has not been the CA for some weeks."""
LIFETIME = 365
CA_LIFETIME, ANNOUNCED = 1200, 740
"""The CA hands over in the middle of the time that it announces the next one in: so early that what it issues on its
last day ends before it does itself."""
RENEW = 30
DEADLINE = 150.0
"""The RA looks after its certificates once a minute: how long that may take, in seconds that pass."""
UNATTENDED: dict[str, Any] = {
    **LAZY,
    "upstreams": {"ca": {**LAZY["upstreams"]["ca"], "refresh": "1s"}},
    "profiles": {
        **dict.fromkeys(PATHS),
        "fleet": {
            **PROFILE,
            "paths": ["/scep"],
            "polling": True,
            "ra": {"directory": "own", "subject": "CN=scepra RA", "renew": f"{RENEW}d", "overlap": "60d"},
            # Some devices renew each time.
            "renewal": {"trust": "ca.crt", "window": "360d"},
        },
    },
}

pytestmark = pytest.mark.slow


class Years:
    """A CA, an RA before it and its devices, each a process, in a time that goes by in steps.

    Attributes:
        ra: the RA.
        done: what the devices did, each time with the day.
    """

    def __init__(self, directory: Path, clock: WallClock) -> None:
        self._lab = directory / "lab"
        self._clock = clock
        self._day = 0
        port = free_port()
        words = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--state", str(self._lab))
        plan = ("--ca-lifetime", CA_LIFETIME, "--certificate-lifetime", LIFETIME, "--rollover-before", ANNOUNCED)
        line = [sys.executable, "-m", "scepra", "lab-ca", *words, *map(str, plan)]
        self.ca = Process("ca", line, directory, clock.unhurried)
        self._url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._processes: list[Process] = [self.ca]
        self._fleet: subprocess.Popen[str] | None = None
        self.done: list[tuple[int, dict[str, Any]]] = []

    def begin(self) -> None:
        """What somebody does once: install a CA and an RA."""
        self.ca.launch()
        self.ca.await_ready(lambda: b"The lab's CA is ready" in self.ca.log.read_bytes())
        self._challenge = (self._lab / "challenge.txt").read_text("ascii").strip()
        (authority,) = self.authorities
        laboratory = Laboratory(self._lab, self._challenge, authority, authority, ())
        self.ra = RAProcess(laboratory, self._directory / "ra", free_port(), self._url, extra=UNATTENDED)
        self.ra.environment |= self._clock.unhurried
        self._processes.append(self.ra)
        command(self.ra, "enroll-ra", "--profile", "fleet")
        self.ra.start(START)
        words = (f"http://127.0.0.1:{self.ra.port}/scep", self._challenge, str(self.ra.directory / "ca.crt"))
        self._fleet = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.fleet", *words],
            cwd=ROOT,
            env=os.environ | self._clock.unhurried,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> None:
        """Whatever state they are in: end them all."""
        for process in self._processes:
            print(f"--- {process.name}\n{process.tail(100)}")
            process.end()
        if self._fleet is not None:
            self._fleet.kill()
            self._fleet.communicate()

    def step(self, day: int) -> None:
        """Go on to a day, on which the devices do what is due."""
        self._day = day
        self._clock.set(day * DAY)
        now = self.now
        for url in (self._url, f"http://127.0.0.1:{self.ra.port}/scep"):
            wait_until(partial(has_come, now - timedelta(minutes=1), url), f"it is day {day} at {url}")
        assert self._fleet is not None
        assert self._fleet.stdin is not None
        assert self._fleet.stdout is not None
        print(now.isoformat(), file=self._fleet.stdin, flush=True)
        self.done += [(day, each) for each in json.loads(self._fleet.stdout.readline())]

    @property
    def now(self) -> datetime:
        """The time of all of them."""
        return datetime.now(UTC) + timedelta(days=self._day)

    @property
    def authorities(self) -> list[Certificate]:
        """The CA's certificates so far."""
        found = [self._lab / "ca.crt", *sorted(self._lab.glob("ca-*.crt"))]
        return [Certificate.parse(ssl.PEM_cert_to_DER_cert(file.read_text("ascii"))) for file in found]

    @property
    def generations(self) -> tuple[Installed, ...]:
        """The RA's certificates so far."""
        return GenerationStore(self.ra.directory / "own").installed()

    def issuer(self, certificate: Certificate) -> str:
        """Which of the CAs issued a certificate, by its fingerprint."""
        return next(each.fingerprint() for each in self.authorities if certificate.signed_by(each.public_key))

    def looked_after(self) -> bool:
        """Whether the RA has nothing left to do for its certificates."""
        newest, last = self.generations[-1], self.authorities[-1]
        begins = last.not_before
        assert begins is not None
        if newest.ends - self.now <= timedelta(days=RENEW):
            return False
        if newest.number > 1 and f"generation {newest.number} opens requests" not in self.ra.output():
            return False
        return begins >= newest.ends or newest.certificates[0].signed_by(last.public_key)


def has_come(moment: datetime, url: str) -> bool:
    """Whether a server says that it is so late, in its header."""
    with urlopen(f"{url}?operation=GetCACaps", timeout=PATIENCE) as response:  # noqa: S310 - our own URL
        return parsedate_to_datetime(response.headers["date"]) >= moment


@pytest.fixture
def years(tmp_path: Path, wall_clock: WallClock) -> Iterator[Years]:
    """All of them; they have begun."""
    made = Years(tmp_path, wall_clock)
    try:
        made.begin()
        yield made
    finally:
        made.end()


@pytest.mark.proves("FT-49", "FT-50", "RA-31", "CERT-12", "CERT-31")
def test_three_years_without_an_operator(years: Years) -> None:
    """Every month a device comes and others renew, and all of that works, however the RA's own certificates and its CA
    have changed; nobody touches anything.
    """
    before = years.ra.config.read_bytes()
    for day in STEPS:
        years.step(day)
        if day == REBOOT:
            years.ra.restart()
        wait_until(years.looked_after, f"the RA has looked after itself on day {day}", DEADLINE)
    assert [(day, each) for day, each in years.done if each["wrong"]] == []
    first, second = (each.fingerprint() for each in years.authorities)
    # Two renewals at the first CA, one at the next.
    issuers = [years.issuer(each.certificates[0]) for each in years.generations]
    assert issuers == [first, first, first, second]
    done = Counter((each["what"], each["by"], each["fresh"]) for _, each in years.done)
    assert sum(done["enrolled", by, True] for by in (first, second)) == len(STEPS)
    assert all(done["renewed", by, fresh] for by in (first, second) for fresh in (True, False))
    shown = parse_ca_certificates(years.ra.get("GetCACert")[1])
    assert [each.fingerprint() for each in shown if each.is_ca] == [second]
    assert years.ra.config.read_bytes() == before
