"""One-time passwords of a CA: nobody's and sealed until they are somebody's, and then never to be read again."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from scepra.enrolment import Reservation
from scepra.store import brokered, challenges, housekeeping, intents
from scepra.store.brokered import Stock, Wanted
from scepra.store.challenges import Challenge
from tests.store.sample import DAY, HOUR, MINUTE, NOW, Bench, digest, intent, together

BROKER = "ndes ca.example"


def opened(sealed: bytes) -> tuple[str, bytes]:
    """In place of a vault: what is sealed here is only marked."""
    text = sealed.removeprefix(b"sealed ").decode()
    return text, digest(text)


def draw(bench: Bench, text: str, expires: datetime = NOW + HOUR, **changes: Any) -> bool:
    """Keep a password."""
    settings = {"id": f"id of {text}"[:16], "profile": "wifi", "origin": BROKER} | changes
    kept = Challenge(
        binding={}, uses=1, minter="", made=NOW, expires=expires, revoked=None, misuses=0, suspended=None, **settings
    )
    return bench(brokered.keep, kept, f"sealed {text}".encode(), digest(text), lambda sealed: opened(sealed)[1])


def hand_out(bench: Bench, now: datetime = NOW, name: str = "a", **changes: Any) -> str | None:
    """A password for somebody."""
    settings: dict[str, Any] = {"broker": BROKER, "profile": "wifi", "lasting": 20 * MINUTE} | changes
    wanted = Wanted(binding={"common_name": name}, minter="mdm", **settings)
    found = bench(brokered.hand_out, wanted, now, opened)
    return None if found is None else found[0]


def stock(bench: Bench, now: datetime = NOW) -> Stock:
    """What there is."""
    return bench(brokered.stock, BROKER, "wifi", now, 20 * MINUTE, 3 * MINUTE)


@pytest.mark.proves("RA-11", "DR-17", "I10")
def test_a_password_is_sealed_until_it_is_handed_out(bench: Bench) -> None:
    """Before, it has no digest and is in no list; after, it has no sealed text, is bound, and is found."""
    assert draw(bench, "one")
    (before,) = bench.rows("challenges")
    assert (before["digest"], before["sealed"], before["minter"]) == (None, b"sealed one", "")
    assert bench(challenges.listing, None, None, 10) == []
    assert bench(challenges.find, digest("one")) is None
    assert hand_out(bench) == "one"
    (after,) = bench.rows("challenges")
    assert (after["digest"], after["sealed"]) == (digest("one"), None)
    found = bench(challenges.find, digest("one"))
    assert found is not None
    assert (found.binding, found.minter, found.origin, found.uses) == ({"common_name": "a"}, "mdm", BROKER, 1)
    assert [each.id for each in bench(challenges.listing, None, None, 10)] == [found.id]
    assert [row["event"] for row in bench.rows("audit")] == ["drawn", "minted"]
    assert "one" not in str([row["record"] for row in bench.rows("audit")]).replace("id of one", "")


@pytest.mark.proves("RA-11", "I2")
def test_each_password_has_one_owner(bench: Bench) -> None:
    """Eight ask for three at the same moment: three get one each, no two the same."""
    for text in ("one", "two", "three"):
        draw(bench, text)
    found = together(*(partial(hand_out, bench, name=f"device {number}") for number in range(8)))
    given = [each for each in found if each is not None]
    # On PostgreSQL, whoever meets locked rows only may find none; nobody gets what another has.
    while (last := hand_out(bench)) is not None:
        given.append(last)
    assert sorted(map(str, given)) == ["one", "three", "two"]


@pytest.mark.proves("RA-11")
def test_which_password_is_handed_out(bench: Bench) -> None:
    """That which ends first of those that are good for long enough, of this broker and profile, and not revoked."""
    draw(bench, "late", NOW + HOUR)
    draw(bench, "early", NOW + 30 * MINUTE)
    draw(bench, "too early", NOW + 20 * MINUTE)
    draw(bench, "other ca", NOW + 25 * MINUTE, origin="ndes other.example")
    draw(bench, "other profile", NOW + 25 * MINUTE, profile="vpn")
    draw(bench, "revoked", NOW + 25 * MINUTE)
    assert bench(challenges.revoke, "id of revoked", None, "ann", "why not", NOW)
    assert stock(bench) == Stock(2, 5)
    assert [hand_out(bench), hand_out(bench), hand_out(bench)] == ["early", "late", None]
    assert hand_out(bench, NOW + 6 * MINUTE, profile="vpn") is None


@pytest.mark.proves("RA-11")
def test_the_same_password_twice_is_none_of_one_use(bench: Bench) -> None:
    """It is kept once, whether the first is still nobody's or somebody's: the server has one for everybody."""
    assert draw(bench, "same")
    assert not draw(bench, "same", id="another")
    assert hand_out(bench) == "same"
    assert not draw(bench, "same", id="another")
    assert len(bench.rows("challenges")) == 1


@pytest.mark.proves("RA-11")
def test_what_counts_as_outstanding_at_the_ca(bench: Bench) -> None:
    """All that was drawn and not used, handed out or not, until the CA has forgotten it, whatever the profile."""
    draw(bench, "one", NOW + 10 * MINUTE)
    draw(bench, "two")
    draw(bench, "three", profile="vpn")
    assert stock(bench) == Stock(1, 3)
    assert hand_out(bench) == "two"
    assert stock(bench) == Stock(0, 3)
    bench.record(intent(reserve=(Reservation(f"{BROKER} id of two", 1, "id of two"),)))
    assert stock(bench) == Stock(0, 2)
    assert stock(bench, NOW + 12 * MINUTE) == Stock(0, 2)
    assert stock(bench, NOW + 13 * MINUTE) == Stock(0, 1)


@pytest.mark.proves("RA-11", "SEC-06")
def test_a_brokered_challenge_is_good_for_one_key_until_it_expires(bench: Bench) -> None:
    """Once it is somebody's, it is reserved like any other."""
    draw(bench, "one")
    assert hand_out(bench) == "one"
    reserve = (Reservation(f"{BROKER} id of one", 1, "id of one"),)
    late = bench(intents.record, intent("late", key="late", reserve=reserve, at=NOW + HOUR), NOW + HOUR)
    assert late.reason == "expired"
    bench.record(intent(reserve=reserve))
    assert bench(intents.record, intent("two", key="two", reserve=reserve), NOW).reason == "used by another key before"


@pytest.mark.proves("RA-11", "SEC-07")
def test_passwords_that_nobody_wanted_are_swept(bench: Bench) -> None:
    """An hour after their end they go; what was handed out is remembered for as long as challenges are."""
    draw(bench, "unwanted", NOW + MINUTE)
    draw(bench, "wanted", NOW + HOUR)
    assert hand_out(bench) == "wanted"
    retention = bench.settings.retention
    assert bench(housekeeping.sweep, retention, NOW + HOUR).counts["challenges"] == 0
    assert bench(housekeeping.sweep, retention, NOW + HOUR + 2 * MINUTE).counts["challenges"] == 1
    assert [row["id"] for row in bench.rows("challenges")] == ["id of wanted"]
    after = NOW + HOUR + timedelta(seconds=retention.challenges)
    assert bench(housekeeping.sweep, retention, after).counts["challenges"] == 0
    assert bench(housekeeping.sweep, retention, after + DAY).counts["challenges"] == 1


@pytest.mark.proves("AC-104")
def test_what_is_nobodys_does_not_count_as_outstanding(bench: Bench) -> None:
    """A profile that mints too may have as many challenges of its own as it may."""
    draw(bench, "one")
    own = Challenge("own", "wifi", {}, 1, "minted", "ann", NOW, NOW + HOUR, None, 0, None)
    assert bench(challenges.add, digest("own"), own, 1)
