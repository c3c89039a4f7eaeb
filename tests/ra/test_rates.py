"""Budgets of addresses, keys and profiles, through the whole RA: what is more than they hold is a 429 that costs and
uses up nothing, and is never another's loss (DR-12, DR-15)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from scepra.admission import Admission
from scepra.config.rates import Rate, Rates
from scepra.enrolment import ChallengeAccepted, EnrolmentRequest, Verdict
from scepra.errors import Throttled
from scepra.scep.message import PKIStatus
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.source import Proxies
from tests.rig.denial import Denials
from tests.rig.device import (
    KEY,
    PEER,
    THIEF,
    ask,
    counted,
    get,
    granted,
    pki_status,
    post,
    rebuilt,
    renewal,
    request,
    sound,
)
from tests.rig.durable import begin, poll
from tests.rig.forge import Forge
from tests.rig.house import FREELY, PROFILE, House, house

ELSEWHERE = "198.51.100.7"
NETWORK = "2001:db8:1:2:"


def few(count: int, per: str = "60s") -> dict[str, Any]:
    """A budget."""
    return {"count": count, "per": per}


def wrong(built: House, **changes: Any) -> Forge:
    """A message with a wrong challenge."""
    return sound(built, csr=request(built, challenge="a guess", key=changes.get("key", KEY)), **changes)


def is_granted(built: House, message: Forge, peer: str = PEER) -> bool:
    """Whether a message is answered with a certificate."""
    return pki_status(built, post(built, message.message(), peer=peer)) is PKIStatus.SUCCESS


def statuses(built: House, *messages: Forge, peer: str = PEER) -> list[int]:
    """The HTTP statuses that messages are answered with."""
    return [post(built, message.message(), peer=peer).status for message in messages]


def turned_away(built: House) -> list[str]:
    """What the log says of those that were turned away."""
    lines = [event for event in built.events if event["log_namespace"] == "scepra.web.access"]
    return [event["reason"] for event in lines if event["status"] == 429]


def _routes(built: House) -> Routes:
    return Routes([Route(built.authority, built.authority.profile.paths)])


# --- Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-2", "DR-12", "DR-15", "I3", "FT-54")
def test_an_address_that_asks_too_often_is_told_when_to_come_again(lab: Path) -> None:
    """What exceeds the budget of an address is a bare 429 with a Retry-After, before the message is even read: no
    private key is used, nothing is recorded; what it would have got it gets later.
    """
    with house(lab, rates=FREELY | {"source": few(3)}) as plain:
        built, key = counted(plain)
        for _ in range(3):
            granted(built, sound(built))
        before = (key.signed, key.opened)
        message = sound(built)
        response = Denials(built).bare(message, 429, "more messages than may come from one address")
        assert 20 <= int(response.headers["retry-after"]) <= 31
        again = post(built, message.message())
        assert (again.status, again.body) == (429, b"")
        assert get(built, message.message()).status == 429
        assert (key.signed, key.opened) == before
        plain.clock.advance(20.1)
        granted(built, message)


@pytest.mark.proves("DR-15", "FT-26", "FT-54", "I9")
def test_what_anyone_may_ask_for_is_always_answered(lab: Path) -> None:
    """GetCACert and GetCACaps come from memory, however often an address that is turned away asks for them; and others
    are served meanwhile.
    """
    with house(lab, rates=FREELY | {"source": few(1), "failures": few(1), "key": few(1)}) as built:
        granted(built, sound(built))
        assert statuses(built, *[sound(built)] * 5) == [429] * 5
        for operation in ("GetCACert", "GetCACaps"):
            assert [ask(built, "GET", f"/scep?operation={operation}").status for _ in range(50)] == [200] * 50
        assert is_granted(built, sound(built), ELSEWHERE)


@pytest.mark.proves("AC-011", "DR-15")
def test_an_address_is_the_peer_s_own_and_of_ipv6_its_network(lab: Path) -> None:
    """A header that claims another address changes nothing unless a trusted proxy wrote it, and the addresses of one
    network share a budget.
    """
    with house(lab, rates=FREELY | {"source": few(1)}) as built:
        message = sound(built).message()
        assert post(built, message).status == 200
        for number in range(5):
            claimed = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
            assert post(built, message, claimed).status == 429
        assert post(built, message, peer=f"{NETWORK}:1").status == 200
        assert post(built, message, peer=f"{NETWORK}:2").status == 429
        assert post(built, message, peer="2001:db8:1:3::1").status == 200
        trusting = replace(built, resource=ScepResource(_routes(built), Proxies((ip_network(ELSEWHERE),))))
        through = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in (1, 2, 1)]
        assert [post(trusting, message, each, ELSEWHERE).status for each in through] == [200, 200, 429]


@pytest.mark.proves("DR-15")
def test_refusals_by_rate_are_counted_and_logged_once_in_a_minute(lab: Path) -> None:
    """A hundred refusals of one address are one line in the log, and the next minute's first says how many there were;
    there is no audit record, since nothing is decided.
    """
    with house(lab, rates=FREELY | {"source": few(1, "1h"), "key": few(1, "1h")}) as built:
        granted(built, sound(built))
        records = len(built.records)
        assert statuses(built, *[sound(built)] * 100) == [429] * 100
        assert [line.endswith("; 1 turned away so far") for line in turned_away(built)] == [True]
        statuses(built, sound(built), peer=ELSEWHERE)
        statuses(built, *[sound(built)] * 100, peer=ELSEWHERE)
        assert len(turned_away(built)) == 2
        built.clock.advance(61)
        statuses(built, sound(built))
        assert turned_away(built)[-1].endswith("; 201 turned away so far")
        assert len(built.records) == records + 1


# --- Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-2", "DR-12", "AC-058")
def test_a_key_that_signs_too_often_is_turned_away_before_anything_is_opened(lab: Path) -> None:
    """A device gone wild that polls and asks without end is bounded by its key, when its signature is verified and
    nothing else is done; another key at the same address is not.
    """
    with house(lab, rates=FREELY | {"key": few(4)}) as plain:
        built, key = counted(plain)
        message = sound(built)
        granted(built, message)
        for _ in range(3):
            assert post(built, poll(built, message).message()).status == 200
        before = (key.signed, key.opened)
        deny = Denials(built)
        deny.bare(poll(built, message), 429, "more messages than one key may sign")
        assert statuses(built, message, sound(built), poll(built, message)) == [429] * 3
        assert (key.signed, key.opened) == before
        assert is_granted(built, sound(built, key=THIEF))


@pytest.mark.proves("AC-100", "AC-035")
def test_replays_from_elsewhere_use_up_nothing_of_a_device_s(lab: Path) -> None:
    """A thief replays a message that a device has signed, ten times as often as the device may: the device is served
    at its own address, and gets what it is due."""
    with house(lab, rates=FREELY | {"key": few(3)}) as built:
        message = sound(built)
        octets = message.message()
        assert [post(built, octets, peer=ELSEWHERE).status for _ in range(30)].count(200) == 3
        granted(built, message)
        assert len(built.forwarded) == 1


def test_a_signature_that_is_wrong_counts_for_no_key(lab: Path) -> None:
    """Whoever cannot sign with a key cannot use up what it may."""
    with house(lab, rates=FREELY | {"key": few(1)}) as built:
        for _ in range(3):
            forged = bytearray(sound(built).message())
            forged[-1] ^= 1
            assert pki_status(built, post(built, bytes(forged))) is PKIStatus.FAILURE
        granted(built, sound(built))


# --- Profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-15", "I3", "AC-100")
def test_a_profile_s_budget_is_for_what_may_be_forwarded(lab: Path) -> None:
    """Strangers cannot use it up; what exceeds it is recorded nowhere, its challenge is as good as before, and what was
    recorded before is answered on.
    """
    with house(lab, rates=FREELY | {"profile": few(2)}) as built:
        assert statuses(built, *[wrong(built)] * 10) == [200] * 10
        first = sound(built)
        granted(built, first)
        granted(built, sound(built))
        late = sound(built)
        Denials(built).bare(late, 429, "more requests than the profile may have")
        granted(built, first)
        assert len(built.forwarded) == 2
        built.clock.advance(30.1)
        granted(built, late)


# --- Wrong challenges ------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-094", "AC-100", "I3", "I8")
def test_an_address_that_guesses_is_turned_away_and_no_other(lab: Path) -> None:
    """After so many wrong challenges nothing that an address sends is opened any more, so that it learns nothing from
    the right one, nor from what does not even open; a device elsewhere enrols with the same challenge meanwhile.
    """
    with house(lab, rates=FREELY | {"failures": few(5, "10m")}) as plain:
        built, key = counted(plain)
        deny = Denials(built, "a guess")
        for _ in range(5):
            deny(wrong(built))
        before = (key.signed, key.opened)
        deny.bare(sound(built), 429, "more wrong challenges than may come from one address")
        again = [wrong(built), sound(built, key=THIEF), sound(built, content=b"\0"), renewal(built)]
        assert statuses(built, *again) == [429] * 4
        assert (key.signed, key.opened) == before
        assert is_granted(built, sound(built), ELSEWHERE)
        plain.clock.advance(120.1)
        assert is_granted(built, sound(built))
        assert is_granted(built, sound(built))
        deny(wrong(built))
        assert statuses(built, sound(built)) == [429]


@pytest.mark.proves("AC-094")
def test_twenty_thousand_guesses_come_to_no_more_than_the_budget() -> None:
    """However fast an address guesses, no more than the budget of it is judged."""
    admission = Admission(Rates(), _still)
    judged = 0
    for _ in range(20000):
        try:
            with admission.opening("dev", PEER, static=True):
                admission.wrong("dev", PEER)
                judged += 1
        except Throttled:
            pass
    assert judged == 300
    assert admission.refused["failures"] == 19700


@pytest.mark.proves("AC-094")
def test_right_challenges_cost_nothing_and_give_nothing_back(lab: Path) -> None:
    """Any number of enrolments leaves the budget of failures as it is."""
    with house(lab, rates=FREELY | {"failures": few(2, "1h")}) as built:
        assert statuses(built, wrong(built)) == [200]
        for _ in range(10):
            granted(built, sound(built))
        assert statuses(built, wrong(built), wrong(built)) == [200, 429]


@pytest.mark.proves("AC-094")
def test_an_address_that_has_guessed_is_told_of_polls(lab: Path) -> None:
    """A poll opens nothing and tries no challenge: devices that wait behind the same address are answered."""
    with house(lab, rates=FREELY | {"failures": few(1, "1h")}) as built:
        message = sound(built)
        granted(built, message)
        assert statuses(built, wrong(built), sound(built)) == [200, 429]
        assert pki_status(built, post(built, poll(built, message).message())) is PKIStatus.SUCCESS


@pytest.mark.proves("AC-094", "AC-100")
def test_guesses_from_everywhere_slow_down_those_who_guess(lab: Path) -> None:
    """Two hundred addresses guess a static challenge a few times each: an alarm is logged, once in a minute; whoever
    was wrong has to wait after each guess, and whoever was not is served at once.
    """
    with house(lab, rates=FREELY | {"profile-failures": few(20, "1h"), "pause": "1m"}) as built:
        thieves = [f"203.0.113.{number}" for number in range(1, 41)]
        for thief in thieves:
            assert statuses(built, wrong(built), peer=thief) == [200]
        alarms = [event for event in built.events if "somebody guesses" in event.get("log_format", "")]
        assert len(alarms) == 1
        assert statuses(built, *[wrong(built)] * 3, peer=thieves[0]) == [429] * 3
        assert statuses(built, sound(built), peer=thieves[0]) == [429]
        assert is_granted(built, sound(built), ELSEWHERE)
        built.clock.advance(60.1)
        assert statuses(built, *[wrong(built)] * 3, peer=thieves[0]) == [200, 429, 429]
        assert is_granted(built, sound(built), thieves[1])


@pytest.mark.proves("AC-094", "AC-100")
def test_however_many_addresses_guess_none_is_slowed_down_for_them() -> None:
    """More addresses have been wrong than are remembered: one that never was is still served."""
    admission = Admission(Rates(profile_failures=Rate(count=1, per=3600.0), remembered=5), _still)
    for number in range(50):
        admission.wrong("dev", f"203.0.113.{number}")
    with admission.opening("dev", ELSEWHERE, static=True):
        pass
    with pytest.raises(Throttled), admission.opening("dev", "203.0.113.49", static=True):
        pass


@pytest.mark.proves("AC-094", "AC-100")
def test_where_nothing_can_be_guessed_nobody_is_slowed_down_for_a_profile(lab: Path) -> None:
    """Challenges of 128 bits need no such defence: guesses at one are an alarm, and no more."""
    with house(lab, {"challenge": {"type": "minted"}}, rates=FREELY | {"profile-failures": few(3, "1h")}) as built:
        assert statuses(built, *[wrong(built)] * 20) == [200] * 20
        assert any("somebody guesses" in event.get("log_format", "") for event in built.events)


# --- What is under way -----------------------------------------------------------------------------------------------


class Slow:
    """A provider that takes its time."""

    def __init__(self) -> None:
        self.gates: list[Deferred[None]] = []

    async def check(self, request: EnrolmentRequest) -> Verdict:
        """As a provider."""
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        await gate
        return ChallengeAccepted("slow")


@pytest.mark.proves("DR-12", "DR-15", "FT-54")
def test_no_more_than_so_many_requests_of_an_address_are_open_at_once(lab: Path) -> None:
    """While as many as may be are judged, the next is turned away with nothing opened, and one from elsewhere is not;
    when one has its answer, there is room for another.
    """
    with house(lab, rates=FREELY | {"under-way": 3}) as plain:
        slow = Slow()
        built, key = counted(rebuilt(plain, provider=slow))
        open_ones = [begin(built, sound(built).message()) for _ in range(3)]
        before = key.opened
        Denials(built).bare(sound(built), 429, "more requests under way than may be from one address")
        assert key.opened == before
        slow.gates.pop(0).callback(None)
        assert [answer.status for answer in open_ones[0].read()] == [200]
        begin(built, sound(built).message())
        assert key.opened == before + 1
        assert len(slow.gates) == 3


# --- Several processes -----------------------------------------------------------------------------------------------


def _still() -> float:
    return 1000.0


def test_each_of_several_processes_has_its_share() -> None:
    """Four processes let through together what one would, or one more each where it does not divide."""
    rates = Rates(source=Rate(count=10, per=60.0))
    for processes, share in ((1, 10), (4, 3), (64, 1)):
        admission = Admission(rates, _still, processes)
        for _ in range(share):
            admission.message(PEER)
        with pytest.raises(Throttled) as refused:
            admission.message(PEER)
        assert refused.value.status == 429
        period = 60.0 * processes / 10
        assert max(period, 10) <= (refused.value.retry_after or 0) <= 1.5 * max(period, 10) + 1


@pytest.mark.proves("FT-26")
def test_those_who_are_turned_away_together_are_told_to_come_back_apart() -> None:
    """Retry-After is spread, by up to half as much again."""
    admission = Admission(Rates(source=Rate(count=1, per=60.0), retry_after=100.0), _still)
    admission.message(PEER)
    told = set()
    for _ in range(200):
        with pytest.raises(Throttled) as refused:
            admission.message(PEER)
        told.add(refused.value.retry_after)
    assert min(told) >= 100
    assert max(told) <= 150
    assert len(told) > 20


# --- What waits for people -------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-061", "I3")
def test_a_flood_of_requests_to_be_approved_fills_nobody_s_queue(lab: Path) -> None:
    """An address, and all of an IPv6 network, can have so many requests held; others still can, until the profile has
    as many as may be: then it is 429 for all, with nothing recorded. What is held already is answered on.
    """
    policy = [*PROFILE["policy"], {"hold": {"approvals": 1}}]
    with house(lab, {"policy": policy, "held": {"requests": 6, "per-address": 2, "octets": 10**6}}) as built:

        def pending(peer: str) -> bool:
            response = post(built, sound(built).message(), peer=peer)
            return response.status == 200 and pki_status(built, response) is PKIStatus.PENDING

        first = sound(built)
        assert pki_status(built, post(built, first.message())) is PKIStatus.PENDING
        assert [pending(PEER) for _ in range(3)] == [True, False, False]
        assert [pending(f"{NETWORK}:{number}") for number in range(1, 4)] == [True, True, False]
        assert [pending(f"203.0.113.{number}") for number in range(1, 4)] == [True, True, False]
        assert built.stored["transactions"] == 6
        built.clock.advance(61)
        Denials(built).bare(sound(built), 429, "as many requests wait for approval as may")
        for again in (first, poll(built, first)):
            assert pki_status(built, post(built, again.message())) is PKIStatus.PENDING
        assert built.forwarded == []
