"""Whether a CA is well is found out by a real operation, not by what it says of itself (FT-01, FT-04, FT-09)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from scepra.errors import StoreError
from scepra.health import Checkup
from scepra.lab.behaviour import Behaviour, Fault, Forgery
from scepra.scep.message import MessageType, PKIStatus
from tests.rig.device import granted, sound
from tests.rig.durable import status, told
from tests.rig.house import run
from tests.rig.pair import Pair, pair

LOST = ResponseFailed([Failure(ConnectionLost())])
ONE = {"upstream": "first"}


@pytest.fixture
def house(lab: Path) -> Iterator[Pair]:
    """A house of which the second CA only is what the first is compared with."""
    with pair(lab) as made:
        yield made


def asked(house: Pair, name: str = "first") -> list[MessageType | None]:
    """What a CA was asked for."""
    return [each.message_type for each in house.cas[name].received if each.message]


def told_of(house: Pair) -> list[str]:
    """What the log says about health."""
    return [
        f"{event['log_level'].name} {event['upstream']}"
        for event in house.events
        if event["log_namespace"] == "scepra.health" and "upstream" in event
    ]


@pytest.mark.proves("FT-01")
def test_a_ca_is_asked_for_what_is_not_there_when_nothing_else_was(house: Pair) -> None:
    """At the start and after five quiet minutes, by a poll for nothing that the CA knows, which certifies nothing; its
    refusal is health.
    """
    house.drive(2)
    assert asked(house) == [MessageType.CERT_POLL]
    assert house.cas["first"].received[-1].status is PKIStatus.FAILURE
    assert house.cas["first"].transactions == {}
    assert {name: each.well for name, each in house.health().items()} == {"first": True, "second": True}
    house.drive(290)
    granted(house, sound(house))
    house.drive(290)
    assert asked(house) == [MessageType.CERT_POLL, MessageType.PKCS_REQ]
    house.drive(20)
    assert asked(house).count(MessageType.CERT_POLL) == 2
    assert house.health()["first"].since < house.health()["first"].checked
    assert told_of(house) == ["info first", "info second"]


@pytest.mark.proves("FT-04", "FT-01")
def test_a_ca_that_answers_get_ca_cert_and_nothing_else_is_not_well(house: Pair) -> None:
    """Its certificates load as ever, and it is not well: requests go to the equal CA, and nothing but a poll now and
    then to it, however often its certificates are fetched; it is well when one is answered.
    """
    house.drive(2)
    house.lines["first"].lose(LOST)
    house.drive(330)
    assert not house.health()["first"].well
    assert "Connection" in house.health()["first"].reason or "answer" in house.health()["first"].reason
    run(house.upstream.discover())
    assert house.upstream.breaker.trying
    for _ in range(3):
        granted(house, sound(house))
    assert MessageType.PKCS_REQ not in asked(house)
    house.lines["first"].mend()
    house.drive(60)
    assert house.health()["first"].well
    granted(house, sound(house))
    assert asked(house)[-1] is MessageType.PKCS_REQ
    assert told_of(house) == ["info first", "info second", "error first", "info first"]


@pytest.mark.proves("FT-09", "FT-10", "SEC-15")
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(fault=Fault.HTML),
        Behaviour(fault=Fault.EMPTY),
        Behaviour(forgery=Forgery.SIGNER),
        Behaviour(forgery=Forgery.NONCE),
        Behaviour(http_status=500),
        Behaviour(http_status=503, retry_after=600),
        Behaviour(http_status=401),
    ],
    ids=["html", "empty", "signer", "nonce", "500", "503", "401"],
)
def test_only_an_answer_that_is_believed_is_health(house: Pair, behaviour: Behaviour) -> None:
    """A page, nothing, a signature or a nonce of others, a status: none of them is."""
    house.cas["first"].behaviour = behaviour
    house.drive(20)
    assert {name: each.well for name, each in house.health().items()} == {"first": False, "second": True}
    granted(house, sound(house))
    assert MessageType.PKCS_REQ not in asked(house)
    assert len(asked(house)) < 8


def test_it_can_be_switched_off(lab: Path) -> None:
    """Then what is known is what real requests have shown."""
    with pair(lab, ONE, {"health": "off"}) as house:
        house.drive(400)
        assert asked(house) == []
        assert house.health() == {}
        granted(house, sound(house))
        house.drive(2)
        assert house.health()["first"].well
        house.lines["first"].cut()
        assert status(told(house, sound(house))) is PKIStatus.PENDING
        house.drive(2)
        assert not house.health()["first"].well


@pytest.mark.proves("FT-43")
def test_one_process_asks(lab: Path, house: Pair) -> None:
    """The one that drives the backlog; another looks on, and goes by its own breakers."""
    with pair(lab, like=house) as other:
        services = [Checkup(each.forwardings["first"]) for each in (house, other)]
        for service in services:
            service.startService()
        for _ in range(10):
            house.clock.advance(1)
        assert asked(house) == [MessageType.CERT_POLL]
        house.lines["first"].lose(LOST)
        for _ in range(400):
            house.clock.advance(1)
        assert house.upstream.breaker.trying
        assert not other.upstream.breaker.trying
        for service in services:
            service.stopService()


class Broken:
    """A store that does not answer."""

    async def read(self, *arguments: Any) -> None:
        """As a database whose disk is full."""
        raise StoreError("the disk is full")


def test_while_the_store_does_not_answer_nothing_is_asked(house: Pair) -> None:
    """Nobody knows then whose turn it is; that is logged."""
    run(Checkup(replace(house.forwardings["first"], database=Broken())).look())
    assert asked(house) == []
    assert any("the disk is full" in str(event.get("error")) for event in house.events)
