"""Revoked certificates renew nothing, and neither do those of which nothing is known (AC-049, FT-57)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.web.resource import Resource
from twisted.web.server import Request

from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from tests.rig.crls import crl, distribution_points, pem
from tests.rig.denial import denials
from tests.rig.device import OLD, STRANGER, ca_key, days, device_certificate, granted, post, renewal
from tests.rig.durable import bare
from tests.rig.forge import ca_extensions, certificate
from tests.rig.house import Day, House, house

URL = "http://pki.example/ca.crl"
RENEWAL = {"trust": "ca.crt", "window": "3650d", "outside": "allow", "same-key": "allow"}
HOUR = timedelta(hours=1)


class Place(Resource):
    """Where lists are: the body, or the status, that each path has now."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.has: dict[bytes, bytes | int] = {}
        self.asked = 0

    def render_GET(self, request: Request) -> bytes:
        self.asked += 1
        found = self.has.get(request.uri, 404)
        if isinstance(found, bytes):
            return found
        request.setResponseCode(found)
        request.setHeader(b"location", b"/elsewhere.crl")
        return b"no list"


@dataclass
class Scene:
    """A house, the day, and the place where its CA's lists are."""

    house: House
    day: Day
    place: Place

    def list(self, *revoked: Certificate, **settings: Any) -> bytes:
        """A list of the CA's that is good for a day."""
        now = self.day.now()
        usual: dict[str, Any] = {"this_update": now - HOUR, "next_update": now + 24 * HOUR}
        serials = [each.serial for each in revoked]
        return crl(ca_key(self.house), self.house.state.authority.certificate, serials, **usual | settings)

    def publish(self, *revoked: Certificate, **settings: Any) -> None:
        """Put one where the house looks."""
        self.place.has[b"/ca.crl"] = self.list(*revoked, **settings)

    def pass_time(self, seconds: float) -> None:
        self.day.advance(seconds)


@contextmanager
def scene(lab: Path, **settings: Any) -> Iterator[Scene]:
    """A house that asks for lists; settings are of its crl section."""
    day, place = Day(), Place()
    section = {"urls": URL} | settings
    if section["urls"] is None:
        del section["urls"]
    profile = {"renewal": {**RENEWAL, "crl": section}}
    with house(lab, profile, now=day.now, clock=day, web=StubTreq(place)) as built:
        yield Scene(built, day, place)


@pytest.mark.proves("AC-049", "MSG-31", "I1")
def test_revoked_certificates(lab: Path) -> None:
    """A certificate on its CA's list is refused; others renew, and the list is fetched once for all."""
    with scene(lab) as there, denials(there.house) as deny:
        good, revoked = device_certificate(there.house), device_certificate(there.house)
        there.publish(revoked)
        for _ in range(3):
            deny(renewal(there.house, revoked), because="is revoked")
            granted(there.house, renewal(there.house, good), OLD)
        assert there.place.asked == 1


@pytest.mark.proves("AC-049", "FT-57", "I12")
@pytest.mark.parametrize(
    "damage",
    [
        404,
        500,
        302,
        b"",
        b"<html>",
        "another's",
        "its name only",
        "not yet",
        "over",
        "too large",
        "SHA-1",
    ],
)
def test_no_list_that_is_good(lab: Path, damage: str | bytes | int) -> None:
    """Where there is no good list nothing is known, and what is not known is refused: whatever is wrong with it."""
    with scene(lab, size=2000) as there, denials(there.house) as deny:
        now, ca = there.day.now(), there.house.state.authority.certificate
        if isinstance(damage, bytes | int):
            there.place.has[b"/ca.crl"] = damage
            there.place.has[b"/elsewhere.crl"] = there.list()
        elif damage == "another's":
            there.place.has[b"/ca.crl"] = crl(STRANGER, certificate(STRANGER, "Other CA", extensions=ca_extensions()))
        elif damage == "its name only":
            there.place.has[b"/ca.crl"] = crl(STRANGER, ca)
        elif damage == "not yet":
            there.publish(this_update=now + HOUR)
        elif damage == "over":
            there.publish(next_update=now - timedelta(seconds=1))
        elif damage == "too large":
            there.publish(*(device_certificate(there.house) for _ in range(100)))
        else:
            there.publish(digest=Digest.SHA1)
        deny(renewal(there.house), because="may be revoked")
        # One look for all who come in this half minute.
        for _ in range(5):
            deny(renewal(there.house), because="may be revoked")
        assert there.place.asked == 1
        there.pass_time(31)
        there.publish()
        granted(there.house, renewal(there.house), OLD)


@pytest.mark.proves("FT-57", "AC-049")
def test_a_source_that_is_down(lab: Path) -> None:
    """While its source is down a list serves until its end, and then nothing is known; when it is back, all is well."""
    with scene(lab) as there, denials(there.house) as deny:
        there.publish()
        granted(there.house, renewal(there.house), OLD)
        there.place.has.clear()
        there.pass_time(23 * 3600)
        granted(there.house, renewal(there.house), OLD)
        there.pass_time(2 * 3600)
        deny(renewal(there.house), because="may be revoked")
        there.publish()
        there.pass_time(31)
        granted(there.house, renewal(there.house), OLD)


@pytest.mark.proves("AC-049", "FT-57", "I3")
def test_clients_that_are_told_to_come_again(lab: Path) -> None:
    """Where the profile wants it a renewal of which nothing is known is 503, and takes nothing; revoked is refused."""
    with scene(lab, unknown="retry") as there, denials(there.house) as deny:
        forge = renewal(there.house)
        stored = there.house.stored
        bare(post(there.house, forge.message()), there.house)
        assert there.house.stored == stored
        assert there.house.records[-1]["outcome"] == "unavailable"
        assert any("no list" in reason for reason in there.house.records[-1]["reasons"])
        assert there.house.forwarded == []
        there.pass_time(31)
        revoked = device_certificate(there.house)
        there.publish(revoked)
        granted(there.house, forge, OLD)
        deny(renewal(there.house, revoked), because="is revoked")


def test_profiles_that_do_not_mind(lab: Path) -> None:
    """Where the profile says so in as many words what is not known is let through, with a warning; revoked is not."""
    with scene(lab, unknown="allow") as there, denials(there.house) as deny:
        granted(there.house, renewal(there.house), OLD)
        assert any("is not known" in str(event.get("log_format")) for event in there.house.events)
        revoked = device_certificate(there.house)
        there.publish(revoked)
        there.pass_time(31)
        deny(renewal(there.house, revoked), because="is revoked")
        # Neither when the list is over: who was on it stays on it.
        there.place.has.clear()
        there.pass_time(25 * 3600)
        granted(there.house, renewal(there.house), OLD)
        deny(renewal(there.house, revoked), because="is revoked")


@pytest.mark.proves("AC-049")
def test_an_older_list_takes_nothing_off(lab: Path) -> None:
    """Who plays an older list again, which is still good by its dates, makes nobody less revoked."""
    with scene(lab) as there, denials(there.house) as deny:
        revoked = device_certificate(there.house)
        older = there.list(this_update=there.day.now() - 2 * HOUR)
        there.publish(revoked, next_update=there.day.now() + 2 * HOUR)
        deny(renewal(there.house, revoked), because="is revoked")
        there.place.has[b"/ca.crl"] = older
        there.pass_time(2 * 3600 + 1)
        deny(renewal(there.house, revoked), because="is revoked")
        deny(renewal(there.house), because="may be revoked")
        assert any("older" in str(event.get("log_format")) for event in there.house.events)


@pytest.mark.proves("AC-049")
def test_files_are_read_again_when_they_change(lab: Path) -> None:
    """A list in a file, PEM or DER, counts from the moment that the file is replaced; a broken one replaces nothing."""
    file = lab / "ca.crl"
    file.unlink(missing_ok=True)
    with scene(lab, urls=None, files="ca.crl") as there, denials(there.house) as deny:
        signer = device_certificate(there.house)
        deny(renewal(there.house, signer), because="may be revoked")
        file.write_bytes(there.list())
        granted(there.house, renewal(there.house), OLD)
        file.write_bytes(pem(there.list(signer, this_update=there.day.now())))
        deny(renewal(there.house, signer), because="is revoked")
        file.write_bytes(b"nothing")
        deny(renewal(there.house, signer), because="is revoked")
        file.unlink()
        deny(renewal(there.house, signer), because="is revoked")


@pytest.mark.proves("AC-049", "MSG-32")
def test_lists_of_several_cas(lab: Path) -> None:
    """Each CA has its own list: one says nothing about what the other has issued, not even of the same number."""
    other = certificate(STRANGER, "Other CA", extensions=ca_extensions())
    (lab / "other.der").write_bytes(other.der)
    (lab / "other.crl").unlink(missing_ok=True)
    day, place = Day(), Place()
    section = {"urls": URL, "files": "other.crl"}
    profile = {"renewal": {**RENEWAL, "trust": ["ca.crt", "other.der"], "crl": section}}
    with house(lab, profile, now=day.now, clock=day, web=StubTreq(place)) as built, denials(built) as deny:
        there = Scene(built, day, place)
        ours, number = device_certificate(built), device_certificate(built).serial_der
        twin = device_certificate(built, serial=number)
        theirs = certificate(OLD, "device.example", by=(STRANGER, other), serial=number, validity=(days(-1), days(9)))
        there.publish(twin)
        granted(built, renewal(built, ours), OLD)
        deny(renewal(built, twin), because="is revoked")
        deny(renewal(built, theirs), because="may be revoked")
        (lab / "other.crl").write_bytes(crl(STRANGER, other, [7], next_update=datetime.now(UTC) + 48 * HOUR))
        granted(built, renewal(built, theirs), OLD)


@pytest.mark.proves("AC-062", "I11", "DR-20")
def test_nothing_in_a_certificate_is_fetched(lab: Path, outside: list[str]) -> None:
    """The addresses in a certificate are of no interest, whether its own list is at hand or not."""
    with scene(lab) as there, denials(there.house) as deny:
        asked: list[bytes] = []
        place = there.place
        place.getChildWithDefault = lambda path, request: asked.append(path) or place  # type: ignore[assignment]
        pointing = device_certificate(
            there.house, extensions=(distribution_points("http://127.0.0.9:9/evil.crl", "http://pki.example/evil.crl"),)
        )
        deny(renewal(there.house, pointing), because="may be revoked")
        there.publish()
        there.pass_time(31)
        granted(there.house, renewal(there.house, pointing), OLD)
        assert outside == []
        assert place.asked == 2
        assert b"evil.crl" not in asked
