"""The lab's CA in its generations: by its own calendar, kept in files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from treq.testing import StubTreq

from scepra.errors import Refused
from scepra.lab import CertificationService, Client, Discovery, LabState
from scepra.lab.http import read
from scepra.lab.rollover import Plan
from scepra.scep.algorithm import Floor
from scepra.scep.capabilities import GET_NEXT_CA_CERT
from scepra.scep.certificate import Certificate
from scepra.scep.rollover import parse_next_ca_cert
from tests.rig.house import run
from tests.rig.material import DAY, NOW, key

PLAN = Plan(timedelta(days=400), timedelta(days=90), timedelta(days=100))
URL = "http://ca.example/scep"


class Lab:
    """A lab whose clock a test sets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now: datetime = NOW
        self.service = self.start()

    def start(self) -> CertificationService:
        """The CA's process, again."""
        self.state = LabState.load_or_create(self.directory, lambda: self.now, PLAN)
        self.service = self.state.serve()
        return self.service

    @property
    def client(self) -> Client:
        """One that knows nothing yet."""
        return Client(URL, StubTreq(self.service), clock=lambda: self.now)

    def discover(self) -> Discovery:
        """What the CA says of itself."""
        return run(self.client.discover())

    async def next_ca_cert(self) -> bytes:
        """What it says of the next."""
        return await read(await StubTreq(self.service).get(f"{URL}?operation=GetNextCACert"))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab that has just begun."""
    return Lab(tmp_path / "lab")


def enrolled(client: Client) -> Certificate:
    """What an enrolment brings."""
    found = run(client.enrol("dev1.example", key=key())).certificate
    assert found is not None
    return found


def test_each_ca_announces_the_next_and_gives_way_to_it(lab: Lab) -> None:
    """Announced so long before its end, in charge at the middle of that time; again and again."""
    first = lab.discover()
    assert GET_NEXT_CA_CERT not in first.capabilities
    with pytest.raises(Refused):
        run(lab.next_ca_cert())
    lab.now = NOW + 301 * DAY
    assert GET_NEXT_CA_CERT in lab.discover().capabilities
    told = parse_next_ca_cert(run(lab.next_ca_cert()), first.certificates, Floor())
    lab.now = NOW + 349 * DAY
    assert lab.discover().issuer == first.issuer
    lab.now = NOW + 351 * DAY
    second = lab.discover()
    assert (second.issuer,) == told.certificates and GET_NEXT_CA_CERT not in second.capabilities
    assert enrolled(lab.client).signed_by(second.issuer.public_key)
    lab.now = NOW + 701 * DAY
    lab.discover()
    lab.now = NOW + 702 * DAY
    assert lab.discover().issuer not in (first.issuer, second.issuer)
    assert {each.name for each in lab.directory.glob("ca*.crt")} == {"ca.crt", "ca-2.crt", "ca-3.crt"}


def test_the_generations_outlive_the_process(lab: Lab) -> None:
    """After a restart the same CA is announced, and in charge at its time; ca.crt stays what it was."""
    lab.now = NOW + 301 * DAY
    lab.discover()
    announced = lab.service.following
    assert announced is not None
    lab.start()
    assert GET_NEXT_CA_CERT in lab.discover().capabilities
    assert lab.service.following is not None
    assert lab.service.following.certificate == announced.certificate
    old, pin = lab.client, (lab.directory / "ca.crt").read_bytes()
    run(old.discover())
    lab.now = NOW + 360 * DAY
    lab.start()
    assert lab.discover().issuer == announced.certificate
    assert (lab.directory / "ca.crt").read_bytes() == pin
    # What is encrypted to the first CA is opened still; the second one issues.
    old._http = StubTreq(lab.service)
    assert enrolled(old).signed_by(announced.certificate.public_key)


def test_what_is_issued_ahead_is_good_from_the_next_ca_s_time(lab: Lab) -> None:
    """A request to the CA that follows is answered with a certificate by it, and of its time."""
    lab.now = NOW + 301 * DAY
    lab.discover()
    following = lab.service.following
    assert following is not None
    ahead = lab.client
    ahead._discovery = Discovery(lab.discover().capabilities, (following.certificate,))
    made = enrolled(ahead)
    assert made.signed_by(following.certificate.public_key)
    assert made.not_before == following.certificate.not_before == (NOW + 350 * DAY)
    assert made.not_after == NOW + 440 * DAY


def test_nobody_takes_over_who_is_not_announced(lab: Lab) -> None:
    """An operator's mistake is told."""
    with pytest.raises(ValueError, match="no CA is announced"):
        lab.service.roll_over()
