"""NDES's administration page as the RA serves it: what an MDM that knows NDES is given, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from scepra.minting import digest
from scepra.ndes.page import Obstacle, Password, read
from scepra.store import challenges
from scepra.store.tokens import Role
from tests.ndes.test_broker import Desk
from tests.ndes.test_page import OTHERS
from tests.rig.house import VAULT, run
from tests.web.office import NOW, Office, basic, profiles

MINTED = "{type: minted, lifetime: 90m, outstanding: 2}"
PROFILES = profiles(wifi=MINTED, vpn=MINTED, old="{type: static, environment: CHALLENGE}")
PAGE = "/certsrv/mscep_admin/"


@pytest.fixture
def office() -> Iterator[Office]:
    """An administration of two profiles that give out challenges, and one that does not."""
    made = Office(PROFILES)
    yield made
    made.database.close()


def mdm(office: Office, *roles: Role, only: str | None = None) -> str:
    """What an MDM's Authorization says."""
    name = f"mdm of {only}"
    token = office.token(*(roles or (Role.UNBOUND_MINTER,)), name=name, only=None if only is None else [only])
    return basic(name, token)


@pytest.mark.proves("RA-11", "AC-104")
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.__name__)
def test_programs_that_know_ndes(office: Office, other: object) -> None:
    """With the URL of the page, a user and a password they get a challenge that is good, once, for an hour and a half,
    without knowing that this is no NDES; what it is bound to is nobody."""
    assert callable(other)
    told = office.ask("GET", PAGE, authorization=mdm(office, only="wifi"))
    assert (told.status, told.headers["content-type"], told.headers["cache-control"]) == (
        200,
        ["text/html"],
        ["no-store"],
    )
    text = other(told.body)
    assert read(told.body) == Password(text, 90, reusable=False)
    kept = office.database.call(challenges.find, digest(VAULT, text))
    assert kept is not None
    assert (kept.profile, kept.binding, kept.minter, kept.uses) == ("wifi", {}, "mdm of wifi", 1)
    assert kept.expires == NOW + timedelta(minutes=90)


@pytest.mark.proves("RA-11")
def test_where_the_page_is(office: Office) -> None:
    """Each profile has its own; at NDES's path is that of the only one that a token reaches; without the final slash it
    is elsewhere, as NDES's is."""
    everywhere, wifi = mdm(office), mdm(office, only="wifi")
    assert isinstance(read(office.ask("GET", "/certsrv/vpn/mscep_admin/", authorization=everywhere).body), Password)
    (kept,) = office.database.call(challenges.listing, None, None, 10)
    assert kept.profile == "vpn"
    told = office.ask("GET", PAGE, authorization=everywhere)
    assert told.status == 404
    assert "several profiles" in told.json["error"]
    for path in ("/certsrv/mscep_admin", "/certsrv/wifi/mscep_admin"):
        moved = office.ask("GET", path, authorization=wifi)
        assert (moved.status, moved.headers["location"]) == (301, [f"{path}/"])
    for path in ("/certsrv/vpn/mscep_admin/", "/certsrv/vpn/mscep_admin", "/certsrv/x/mscep_admin/"):
        assert office.ask("GET", path, authorization=wifi).status == 404
    old = mdm(office, only="old")
    for path in ("/certsrv/old/mscep_admin/", "/certsrv/old/mscep_admin", PAGE):
        assert office.ask("GET", path, authorization=old).status == 404


@pytest.mark.proves("AC-119", "AC-104", "AC-014")
def test_who_may_not_have_it(office: Office) -> None:
    """Who may not have challenges that name nobody reads what NDES says to them; who shows no token is asked for one,
    and never by NTLM or Negotiate."""
    told = office.ask("GET", PAGE, authorization=mdm(office, Role.MINTER, Role.READER, Role.REVOKER))
    assert (told.status, read(told.body)) == (403, Obstacle.NO_PERMISSION)
    told = office.ask("GET", PAGE)
    assert told.status == 401
    assert [each.split()[0] for each in told.headers["www-authenticate"]] == ["Bearer", "Basic"]
    assert office.database.call(challenges.listing, None, None, 10) == []


@pytest.mark.proves("AC-104")
def test_as_many_as_there_may_be(office: Office) -> None:
    """When a profile has as many outstanding as it may have, the page says what NDES says when its cache is full."""
    asking = mdm(office, only="wifi")
    found = [read(office.ask("GET", PAGE, authorization=asking).body) for _ in range(3)]
    assert [isinstance(each, Password) for each in found] == [True, True, False]
    assert found[2] is Obstacle.CACHE_FULL


def test_profiles_that_want_to_know_for_whom(office: Office) -> None:
    """Where challenges have to be bound there is no page that could give any."""
    bound = Office(profiles(wifi="{type: minted, bind: [common-name]}"), office.database)
    told = bound.ask("GET", PAGE, authorization=mdm(bound))
    assert (told.status, told.json) == (400, {"error": "profile wifi wants challenges bound: say the common-name"})


@pytest.mark.proves("RA-11")
def test_passwords_of_ndes_behind_it() -> None:
    """Where a broker draws them, whoever asks waits until there is one; where NDES has no more, the page says so."""
    desk = Desk()
    office = Office(desk.profile(), desk.database, now=desk.day.now())
    asking = mdm(office)

    async def meanwhile() -> None:
        desk.day.advance(0.5)

    office.meanwhile.append(meanwhile)
    assert read(office.ask("GET", PAGE, authorization=asking).body) is Obstacle.CACHE_FULL
    assert office.now - desk.day.now() < timedelta(seconds=1)
    desk.broker.startService()
    given = []
    for _ in range(5):
        found = read(office.ask("GET", PAGE, authorization=asking).body)
        assert isinstance(found, Password)
        assert found.minutes in (55, 56)
        given.append(found.text)
    assert read(office.ask("GET", PAGE, authorization=asking).body) is Obstacle.CACHE_FULL
    assert all(desk.ndes.passwords.take(text) for text in given)
    run(desk.broker.refill())
    desk.broker.stopService()
    desk.database.close()


@pytest.mark.proves("RA-11")
def test_the_api_over_a_broker() -> None:
    """The API gives them bound to somebody, and says 429 where there are none."""
    desk = Desk()
    office = Office(desk.profile(), desk.database, now=desk.day.now())
    token = office.token(Role.MINTER)
    order = {"profile": "wifi", "binding": {"common_name": "a.example"}}
    told = office.ask("POST", "/api/challenges", token, order)
    assert (told.status, told.json) == (429, {"error": "profile wifi has no password of its NDES at hand now"})
    run(desk.broker.refill())
    told = office.ask("POST", "/api/challenges", token, order)
    assert told.status == 201
    assert (told.json["origin"], told.json["binding"]) == ("ndes ndes.example", {"common_name": "a.example"})
    assert desk.ndes.passwords.take(told.json["challenge"])
    desk.database.close()
