"""The administration's listener: nothing for whoever shows no token, and no more than its roles for the others
(security 4.7; DR-18)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from twisted.logger import globalLogPublisher

from scepra.binding import Binding
from scepra.store import challenges, tables, tokens
from scepra.store.tokens import Role
from scepra.web.admin.route import AdminRoute, Answer, Call, Registry
from tests.rig.denial import forms
from tests.web.office import MINTED, NOW, Office, basic, profiles

PROFILES = profiles(wifi=MINTED, vpn=MINTED, old="{type: static, environment: CHALLENGE}")


async def shown(call: Call) -> Answer:
    """What a route of the tests answers."""
    return Answer.json(200, {"query": call.query.decode(), "by": call.token.name})


PAGE = AdminRoute("GET", ("page", ""), frozenset((Role.UNBOUND_MINTER,)), shown, basic=True, open_query=True)


@pytest.fixture
def office() -> Iterator[Office]:
    """An administration whose log is read."""
    made = Office(PROFILES, more=[PAGE])
    globalLogPublisher.addObserver(made.events.append)
    yield made
    globalLogPublisher.removeObserver(made.events.append)
    made.database.close()


ROUTES = Office(PROFILES, more=[PAGE]).registry.routes


def path(route: AdminRoute) -> str:
    """A path that a route serves."""
    return "/" + "/".join("0123456789abcdef" if part.startswith("{") else part for part in route.path)


@pytest.mark.proves("AC-119", "DR-18")
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_route_without_a_token_that_is_good(office: Office, route: AdminRoute) -> None:
    """None, nonsense, expired, revoked, twice, the wrong scheme: one and the same answer on every route, as on a path
    that there is none of."""
    every = list(Role)
    expired, revoked = office.token(*every, lifetime=timedelta(hours=1)), office.token(*every, name="gone")
    office.database.call(tokens.revoke, "gone", "ann", NOW)
    good = office.token(*every, name="good")
    office.now += timedelta(hours=1)
    nowhere = office.ask("GET", "/nowhere")
    for said in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer null",
        f"Bearer {expired}",
        f"Bearer {revoked}",
        f"Token {good}",
        f"Bearer {good} {good}",
        [f"Bearer {good}", f"Bearer {good}"],
        good,
        f"Bearer {'x' * 100_00}",
        basic("another name", good),
        "Basic nonsense",
        basic("good", revoked),
        "Negotiate TlRMTVNTUAAB",
    ):
        told = office.ask(route.method, path(route), authorization=said)
        assert (told.status, told.body) == (nowhere.status, nowhere.body) == (401, nowhere.body), said
        assert told.headers["www-authenticate"][0] == 'Bearer realm="scepra"'
        assert not any("NTLM" in each or "Negotiate" in each for each in told.headers["www-authenticate"])
    assert office.database.call(challenges.listing, None, None, 10) == []


@pytest.mark.proves("AC-119", "AC-124")
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_route_for_another_role(office: Office, route: AdminRoute) -> None:
    """A token does what its roles name and nothing else; a role is never implied by another."""
    others = office.token(*(set(Role) - route.roles))
    told = office.ask(route.method, path(route), others, {"profile": "wifi"})
    assert told.status == 403
    if route.forbidden is not None:
        assert told.body == route.forbidden.body
    else:
        assert told.json == {"error": f"this needs the role {' or '.join(sorted(role.value for role in route.roles))}"}
    for role in route.roles:
        assert office.ask(route.method, path(route), office.token(role)).status not in (401, 403)


def test_two_routes_cannot_be_one() -> None:
    """A route that another one hides is a mistake that shows when the program starts."""
    with pytest.raises(ValueError, match="one method and path"):
        Registry([PAGE, PAGE])


@pytest.mark.proves("AC-014", "AC-008", "DR-18")
@pytest.mark.parametrize(
    "target",
    ["/scep?operation=GetCACaps", "/", "/api", "/api/challenges/", "/api//challenges", "/api/challenges/%2e%2e/x",
     "/API/challenges", "/api/challenges/a%2fb", "/api/challenges/\u00e4", "/metrics", "/" + "a/" * 100],
)  # fmt: skip
def test_what_is_not_a_route_is_not_served(office: Office, target: str) -> None:
    """No path but those of the registry, spelt as they are there; and no SCEP on this port."""
    assert office.ask("GET", target, office.token(*Role)).status in (404, 405)


@pytest.mark.proves("AC-010", "AC-124")
def test_methods_and_queries(office: Office) -> None:
    """A method that a path does not have is 405; a query is refused where none belongs: no key may end there."""
    every = office.token(*Role)
    assert office.ask("PUT", "/api/challenges", every).status == 405
    assert office.ask("GET", f"/api/challenges?token={every}", every).status == 400
    assert office.ask("GET", f"/api/challenges?token={every}").status == 401
    told = office.ask("GET", "/page/?profile=wifi", every)
    assert (told.status, told.json["query"]) == (200, "profile=wifi")


def test_basic_authentication_only_where_a_route_takes_it(office: Office) -> None:
    """The user is the token's name, the password the token; elsewhere Basic counts for nothing."""
    text = office.token(*Role, name="mdm: no")
    told = office.ask("GET", "/page/", authorization=basic("mdm: no", text))
    assert told.status == 401, "a colon ends the user's name"
    text = office.token(*Role, name="mdm")
    told = office.ask("GET", "/page/", authorization=basic("mdm", text))
    assert (told.status, told.json["by"]) == (200, "mdm")
    assert office.ask("GET", "/api/challenges", authorization=basic("mdm", text)).status == 401
    assert len(office.ask("GET", "/page/").headers["www-authenticate"]) == 2
    assert len(office.ask("GET", "/api/challenges").headers["www-authenticate"]) == 1


@pytest.mark.proves("AC-104", "SEC-05", "DR-17")
def test_a_challenge_is_made_for_somebody(office: Office) -> None:
    """The answer holds the challenge, 128 bits of upper-case hexadecimal, and what it is good for."""
    minter = office.token(Role.MINTER, name="mdm")
    wanted = {"profile": "wifi", "binding": {"common_name": "a", "dns": ["a.example"]}, "lifetime": 60, "uses": 2}
    told = office.ask("POST", "/api/challenges", minter, wanted)
    assert told.status == 201
    assert len(told.json["challenge"]) == 32
    assert set(told.json["challenge"]) <= set("0123456789ABCDEF")
    (kept,) = office.database.call(challenges.listing, None, NOW, 10)
    assert Binding.from_json(kept.binding) == Binding(common_name="a", dns=("a.example",))
    assert (kept.profile, kept.minter, kept.uses, kept.expires) == ("wifi", "mdm", 2, NOW + timedelta(seconds=60))
    assert told.headers["cache-control"] == ["no-store"]
    assert told.headers["x-content-type-options"] == ["nosniff"]
    other = office.ask("POST", "/api/challenges", minter, wanted)
    assert other.json["challenge"] != told.json["challenge"]


@pytest.mark.proves("AC-104")
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"profile": "wifi"}, "say whom it is for"),
        ({"profile": "wifi", "binding": {"device": "d"}}, "say whom it is for"),
        ({"profile": "wifi", "binding": {"cn": "a"}}, "binding: 'cn': there is no such key"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "lifetime": 86401}, "longest"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "lifetime": 0}, "lifetime"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "lifetime": -1}, "lifetime"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "lifetime": True}, "expected seconds"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "lifetime": "1h"}, "expected seconds"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "uses": 3}, "at most 2 uses"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "uses": 0}, "uses"),
        ({"profile": "wifi", "binding": {"common_name": "a"}, "uses": 1.5}, "expected a number"),
        ({"profile": "old", "binding": {"common_name": "a"}}, "no challenges of the type minted"),
        ({"profile": "none", "binding": {"common_name": "a"}}, "there is no profile none"),
        ({"profile": "x\n", "binding": {}}, "expected the name of a profile"),
        ({"profile": ["wifi"]}, "expected the name of a profile"),
        ({"profile": "wifi", "binding": []}, "expected an object"),
        ({"profile": "wifi", "challenge": "mine"}, "there is no key 'challenge'"),
        ([], "expected a JSON object"),
        (b"{", "expected a JSON object"),
        (b"[" * 100_000, "expected a JSON object"),
        (b"\xff", "expected a JSON object"),
    ],
)
def test_orders_that_are_refused(office: Office, wanted: object, said: str) -> None:
    """Wider, longer or other than the profile lets anybody have: refused with the reason, and nothing is kept."""
    told = office.ask("POST", "/api/challenges", office.token(Role.MINTER), wanted)
    assert told.status == 400
    assert said in told.json["error"]
    assert office.database.call(challenges.listing, None, None, 10) == []


@pytest.mark.proves("AC-104")
def test_a_challenge_that_names_nobody_needs_its_own_role(office: Office) -> None:
    """Whoever may mint for somebody may not mint for anybody."""
    assert office.ask("POST", "/api/challenges", office.token(Role.MINTER), {"profile": "wifi"}).status == 400
    told = office.ask("POST", "/api/challenges", office.token(Role.UNBOUND_MINTER), {"profile": "wifi"})
    assert (told.status, told.json["binding"]) == (201, {})


@pytest.mark.proves("AC-104")
def test_there_is_a_quota(office: Office) -> None:
    """A profile has only so many challenges outstanding; what expires or is revoked makes room, in that profile."""
    every = office.token(*Role)
    wanted = {"profile": "wifi", "binding": {"common_name": "a"}}
    made = [office.ask("POST", "/api/challenges", every, wanted) for _ in range(4)]
    assert [each.status for each in made] == [201, 201, 201, 429]
    assert office.ask("POST", "/api/challenges", every, wanted | {"profile": "vpn"}).status == 201
    assert office.ask("DELETE", f"/api/challenges/{made[0].json['id']}", every).status == 204
    assert [office.ask("POST", "/api/challenges", every, wanted).status for _ in range(2)] == [201, 429]
    office.now += timedelta(hours=1)
    assert office.ask("POST", "/api/challenges", every, wanted).status == 201


@pytest.mark.proves("AC-125", "AC-124")
def test_another_profile_s_challenges_do_not_exist(office: Office) -> None:
    """A token for one profile mints, lists and revokes there alone; what is elsewhere looks like what is nowhere."""
    every, vpn = office.token(*Role), office.token(*Role, only=["vpn"])
    made = office.ask("POST", "/api/challenges", every, {"profile": "wifi", "binding": {"common_name": "a"}}).json
    assert office.ask("GET", "/api/challenges", vpn).json == {"challenges": []}
    foreign = office.ask("DELETE", f"/api/challenges/{made['id']}", vpn)
    missing = office.ask("DELETE", "/api/challenges/0123456789abcdef", vpn)
    assert (foreign.status, foreign.body) == (missing.status, missing.body) == (404, missing.body)
    foreign = office.ask("POST", "/api/challenges", vpn, {"profile": "wifi", "binding": {"common_name": "a"}})
    missing = office.ask("POST", "/api/challenges", vpn, {"profile": "none", "binding": {"common_name": "a"}})
    assert (foreign.status, foreign.body.replace(b"wifi", b"none")) == (missing.status, missing.body)
    (listed,) = office.ask("GET", "/api/challenges", every).json["challenges"]
    assert listed == {key: value for key, value in made.items() if key != "challenge"}


@pytest.mark.proves("I10", "DR-17", "AC-124", "I7")
def test_neither_challenges_nor_tokens_are_written_anywhere(office: Office) -> None:
    """Not in the store, not in the log, not in the list; who minted, listed and revoked is."""
    every = office.token(*Role, name="mdm")
    made = office.ask("POST", "/api/challenges", every, {"profile": "wifi", "binding": {"common_name": "a"}}).json
    listed = office.ask("GET", "/api/challenges", every)
    office.ask("DELETE", f"/api/challenges/{made['id']}", every)

    def everything(connection: object) -> str:
        return repr([connection.execute(table.select()).all() for table in tables.metadata.sorted_tables])  # type: ignore[attr-defined]

    kept = office.database.call(everything)
    logged = json.dumps([{key: str(value) for key, value in event.items()} for event in office.events])
    for secret in (made["challenge"], every):
        for form in forms(secret):
            assert form not in kept + logged + listed.body.decode()
    routes = [event["route"] for event in office.events if event["log_namespace"] == "scepra.web.admin.access"]
    assert routes == ["POST /api/challenges", "GET /api/challenges", "DELETE /api/challenges/{id}"]
    assert all(event["caller"] == "mdm" for event in office.events if "caller" in event)
    assert "'minter': 'mdm'" in kept
    assert "'person': 'mdm'" in kept


def test_a_database_that_does_not_answer(office: Office) -> None:
    """503, and nothing about why; what goes wrong otherwise is 500, with the place in the log and no text."""
    every = office.token(*Role)
    office.database.call(lambda connection: connection.exec_driver_sql("DROP TABLE challenges") and None)
    told = office.ask("GET", "/api/challenges", every)
    assert (told.status, told.json) == (503, {"error": "the database does not answer"})

    async def broken(call: Call) -> Answer:
        raise ZeroDivisionError("secret")

    route = AdminRoute("GET", ("broken",), frozenset((Role.READER,)), broken)
    another = Office(PROFILES, office.database, [route])
    told = another.ask("GET", "/broken", every)
    assert told.status == 500
    assert b"secret" not in told.body
    assert any("ZeroDivisionError" in event.get("kind", "") for event in office.events)
    assert "secret" not in str(office.events)
