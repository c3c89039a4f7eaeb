"""What ends without which nothing goes on is said in good time, once (FT-49, CERT-12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scepra.errors import StoreError
from scepra.lab.authority import Authority
from scepra.lab.behaviour import Behaviour, Faces
from scepra.scep.identity import FixedIdentities, Generation, Identities, Identity, Keyring
from scepra.store import watching
from scepra.store.watching import Watched
from scepra.upstream.signer import RACertificate
from scepra.watch import Watch, remaining, threshold
from tests.rig.house import run
from tests.rig.pair import Pair, pair

DAYS = timedelta(days=1)


@pytest.fixture
def house(lab: Path) -> Iterator[Pair]:
    """A house with two CAs."""
    with pair(lab) as made:
        yield made


def watch(house: Pair, identities: dict[str, Identities] | None = None, owner: str = "one", **changes: Any) -> Watch:
    """A process that watches."""
    known = {"dev": house.authority.identities} if identities is None else identities
    settings = {"forwardings": house.forwardings, "database": house.database} | changes
    return Watch(settings["database"], known, settings["forwardings"], owner, house.now, house.clock)


def look(house: Pair, at: datetime, **settings: Any) -> None:
    """Have it look at a moment, as a process that has just started."""
    house.clock.shift += at - house.now()
    looking = watch(house, **settings)
    run(looking.look())
    run(looking.end())


def rows(house: Pair) -> list[Watched]:
    """What is written down."""
    return house.database.call(watching.listing)


def places(house: Pair) -> set[tuple[str, str, str]]:
    """What is watched."""
    return {(each.kind, each.name, each.role) for each in rows(house)}


def said(house: Pair, name: str) -> list[tuple[str, str]]:
    """How loudly what was said of whatever has a name."""
    return [
        (event["log_level"].name, event["ends"])
        for event in house.events
        if event["log_namespace"] == "scepra.watch" and event.get("name") == name
    ]


@pytest.mark.proves("FT-49", "CERT-12")
def test_every_certificate_is_watched_that_is_needed(lab: Path, house: Pair) -> None:
    """The RA's own, the CA's, those of the CA's own RA, and those that the RA is known by to a CA."""
    for ca in house.cas.values():
        ca.behaviour = Behaviour(faces=Faces.RA)
    run(house.forwardings["first"].upstream.discover())
    look(house, house.now())
    assert places(house) == {
        ("profile", "dev", "both"),
        ("upstream", "first", "ca"),
        ("upstream", "first", "ra"),
        ("upstream", "second", "ca"),
    }
    split = {
        "signing": {"certificate": "ra-signing.crt", "key": "ra-signing.key"},
        "encryption": {"certificate": "ra-encryption.crt", "key": "ra-encryption.key"},
    }
    with pair(lab, {"ra": split}, look=False) as other:
        forwarding = other.forwardings["first"]
        run(forwarding.upstream.discover())
        own = RACertificate(other.authority.keyring.current.encryption)
        look(other, other.now(), forwardings={"first": replace(forwarding, signer=own)})
        assert places(other) == {
            ("profile", "dev", "signing"),
            ("profile", "dev", "encryption"),
            ("upstream", "first", "ca"),
            ("upstream", "first", "signer"),
        }


@pytest.mark.proves("FT-49", "CERT-12")
def test_the_ca_that_is_to_follow_is_watched_too(house: Pair) -> None:
    """With the RA certificates of the next CA, from when it is announced; what has taken over is a CA like others."""
    ca, upstream = house.cas["first"], house.forwardings["first"].upstream
    ca.behaviour = Behaviour(faces=Faces.RA)
    ca.announce(Authority.create("scepra lab CA", clock=house.now, begins=house.now() + 30 * DAYS))

    def watched() -> list[tuple[str, bool]]:
        run(upstream.discover())
        look(house, house.now())
        found = [(each.role, each.begins > house.now()) for each in rows(house) if each.name == "first"]
        return sorted(found)

    assert watched() == [("ca", False), ("next ca", True), ("next ra", True), ("ra", False)]
    house.clock.shift += 31 * DAYS
    ca.roll_over()
    assert watched() == [("ca", False), ("ra", False)]


@pytest.mark.proves("FT-49")
def test_it_is_said_once_at_each_threshold(house: Pair) -> None:
    """A month, a week and a day before, and when it has ended: louder each time, once over all processes and starts."""
    end = house.authority.keyring.current.signing.certificate.not_after
    assert end is not None
    steps = [
        (31 * DAYS, []),
        (30 * DAYS, [("warn", "ends in 30 days")]),
        (8 * DAYS, []),
        (7 * DAYS, [("error", "ends in 7 days")]),
        (1 * DAYS, [("error", "ends in 24 hours")]),
        (timedelta(0), [("critical", "has expired")]),
        (-9 * DAYS, []),
    ]
    expected: list[tuple[str, str]] = []
    for left, told in steps:
        expected += told
        for number in range(3):
            look(house, end - left, owner=f"process {number}")
        assert said(house, "dev") == expected


@pytest.mark.proves("FT-49")
def test_what_was_not_said_in_time_is_said_at_once(house: Pair) -> None:
    """A process that starts three days before says so once, not what would have been said a month before."""
    end = house.authority.keyring.current.signing.certificate.not_after
    assert end is not None
    look(house, end - 3 * DAYS)
    look(house, end - 3 * DAYS)
    assert said(house, "dev") == [("error", "ends in 3 days")]


@pytest.mark.proves("FT-43")
def test_one_process_watches(house: Pair) -> None:
    """Another one looks on until it has stopped."""
    first, second = watch(house), watch(house, {}, "two")
    run(first.look())
    before = rows(house)
    run(second.look())
    assert rows(house) == before
    run(first.end())
    run(second.look())
    assert not any(each.kind == "profile" for each in rows(house))


def test_what_is_no_more_in_use_is_taken_out(house: Pair) -> None:
    """A profile that is gone, an identity that was replaced, a CA's RA that is another; what a CA has that was not seen
    since the start is left, and what was said of it is said no second time.
    """
    look(house, house.now())
    assert {name for _, name, _ in places(house)} == {"dev", "first", "second"}
    current = house.authority.keyring.current
    other = Identity(house.cas["second"].authority.certificate, current.signing.key)
    look(house, house.now(), identities={"dev": FixedIdentities(Keyring([Generation(other, other)]))})
    (row,) = [each for each in rows(house) if each.kind == "profile"]
    assert row.fingerprint.hex() == other.certificate.fingerprint()
    end = max(each.ends for each in rows(house))
    look(house, end - DAYS)
    warned = {each.name: each.warned for each in rows(house)}
    assert warned["second"] == 1
    house.forwardings["second"].upstream.view = None
    look(house, end - DAYS, identities={})
    assert {each.name: each.warned for each in rows(house)} == {name: warned[name] for name in ("first", "second")}
    look(house, end - DAYS, identities={}, forwardings={"first": house.forwardings["first"]})
    assert {name for _, name, _ in places(house)} == {"first"}


class Broken:
    """A store that does not answer."""

    async def read(self, *arguments: Any) -> None:
        """As a database whose disk is full."""
        raise StoreError("the disk is full")


def test_while_the_store_does_not_answer_it_waits(house: Pair) -> None:
    """That is logged."""
    run(watch(house, database=Broken()).look())
    assert any("the disk is full" in str(event.get("error")) for event in house.events)


@pytest.mark.parametrize(
    ("left", "days", "text"),
    [
        (31 * DAYS, None, "ends in 31 days"),
        (30 * DAYS, 30, "ends in 30 days"),
        (2 * DAYS, 7, "ends in 2 days"),
        (timedelta(hours=47), 7, "ends in 47 hours"),
        (1 * DAYS, 1, "ends in 24 hours"),
        (timedelta(minutes=3), 1, "ends in 0 hours"),
        (timedelta(0), 0, "has expired"),
        (-DAYS, 0, "has expired"),
    ],
)
def test_how_much_is_left(left: timedelta, days: int | None, text: str) -> None:
    """The thresholds, and what people read."""
    assert (threshold(left), remaining(left)) == (days, text)
