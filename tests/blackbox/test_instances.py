"""Several RAs on one PostgreSQL: who sends, who takes over, and what clients notice of it (FT-43)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import LAZY, START, at_once, has_one, is_pending
from tests.rig.balancer import Balancer, balancer
from tests.rig.blackbox.device import Device, Retry
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.load import Load
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.ra import RAProcess
from tests.rig.blackbox.rig import Rig
from tests.rig.postgres import Postgres
from tests.rig.trace import Inject

__all__ = ["balancer"]

Rigs = Callable[..., Rig]
Pair = tuple[Rig, RAProcess]

NAME = "device.example"
BRIEF: dict[str, Any] = {"upstreams": {"ca": {"connect-timeout": "500ms", "timeout": "1s"}}}
"""Settings with which a lease ends after 17 seconds."""
LEASE = 60.0
"""How long the tests wait for that, in seconds."""

pytestmark = pytest.mark.slow


def pair(rigs: Rigs, postgres: Postgres, **settings: Any) -> Pair:
    """A rig with two RAs on one database, and the second of them."""
    rig = rigs(store=postgres.database(), **settings)
    second = rig.another_ra()
    second.start(START)
    return rig, second


def at(ra: RAProcess, device: Device) -> Device:
    """The device, which talks to this RA from now on."""
    device.port = ra.port
    return device


@pytest.mark.proves("FT-43", "FT-22", "I4", "MSG-25")
def test_copies_at_two_instances_are_one_transaction(rigs: Rigs, postgres: Postgres) -> None:
    """Copies of a request come in at both, at once, and so do polls: one sends it, and both tell of the one
    certificate, whatever becomes of the first answer.
    """
    rig, _ = pair(rigs, postgres, extra=LAZY)
    for number, lost in enumerate((False, True)):
        device = rig.device(f"copies-{number}.example")
        device.sent = device.message()
        with rig.upstream.hold(Event.HANDLED, device.name) as held:
            talks = [at(ra, device).begin(device.sent) for ra in rig.ras * 5]
            held.wait()
            if lost:
                held.cut()
        answers = at_once([talk.answer for talk in talks])
        assert {answer.status for answer in answers} <= {PKIStatus.SUCCESS, *([PKIStatus.PENDING] if lost else [])}
        for ra in rig.ras:
            has_one(rig, at(ra, device))
            assert at(ra, device).poll().certificate == device.certificate
        assert len(rig.upstream.requests(device.name)) == 1


@pytest.mark.proves("FT-43", "FT-17", "I4")
def test_two_instances_drive_one_backlog_once(rigs: Rigs, postgres: Postgres) -> None:
    """Both queue requests while the CA is down, and both would drive them: each request is sent once."""
    rig, second = pair(rigs, postgres)
    rig.upstream.kill()
    devices = [at(ra, rig.device(f"queued-{number}.example")) for number, ra in enumerate(rig.ras * 15)]
    assert all(map(is_pending, at_once([device.enrol for device in devices])))
    rig.upstream.start()
    rig.settle(60)
    has_one(rig, *(at(second if device.port == rig.ra.port else rig.ra, device) for device in devices))
    assert {*Counter(line["subject"] for line in rig.upstream.requests()).values()} == {1}


@pytest.mark.proves("FT-43", "FT-13", "I4", "I5", "I7")
def test_an_instance_that_is_paused_while_the_ca_works_is_overtaken(rigs: Rigs, postgres: Postgres) -> None:
    """The instance that waits for the CA's answer is stopped for longer than its lease: the other fetches the
    certificate with a poll. What the first one learns when it goes on changes nothing, and it sends nothing.
    """
    rig, second = pair(rigs, postgres, extra=BRIEF)
    device = rig.device(NAME)
    device.sent = device.message()
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.sent)
        held.wait()
        rig.ra.pause()
        assert is_pending(at(second, device).retry(Retry.SAME_BYTES))
        wait_until(lambda: rig.database.state(NAME) == "issued", "the other takes it over", LEASE)
    assert device.poll().status is PKIStatus.SUCCESS
    rig.ra.resume()
    assert talk.answer().status is PKIStatus.SUCCESS
    has_one(rig, at(rig.ra, device))
    has_one(rig, at(second, device))
    assert len(rig.upstream.requests(NAME)) == 1


@pytest.mark.proves("FT-43", "I4", "I13")
def test_an_instance_that_is_paused_before_it_sends_does_not_send(
    rigs: Rigs, postgres: Postgres, inject: Inject
) -> None:
    """An instance is stopped after it has recorded a request and before an octet of it has left, and goes on when its
    lease is over: the other one has sent by then, and the first one does not.
    """
    rig = rigs(store=postgres.database(), extra=BRIEF)
    second = rig.another_ra()
    second.start(START)
    # How often it connects to anything before it serves, and so at which connection it begins to send.
    counting = inject("connect", "signal=SIGCONT", 1)
    assert rig.ra.terminate() == 0
    rig.ra.wrapper = counting.command
    rig.ra.start()
    lines = [line.split() for line in counting.log.read_text().splitlines() if "connect(" in line]
    before = sum(line[0] == str(rig.ra.pid) for line in lines)
    assert rig.ra.terminate() == 0
    stopping = inject("connect", "signal=SIGSTOP", before + 1)
    rig.ra.wrapper = stopping.command
    rig.ra.start()
    device = rig.device(NAME)
    device.sent = device.message()
    talk = device.begin(device.sent)
    # A traced process seems to stand still at every call that it makes; strace knows better.
    wait_until(lambda: "stopped by SIGSTOP" in stopping.log.read_text(), "it stands still")
    assert rig.upstream.operations() == []
    assert rig.database.state(NAME) == "sending"
    assert is_pending(at(second, device).retry(Retry.SAME_BYTES))
    wait_until(lambda: rig.database.state(NAME) == "issued", "the other takes it over", LEASE)
    rig.ra.resume()
    assert talk.answer().status is PKIStatus.SUCCESS
    has_one(rig, at(rig.ra, device))
    assert len(rig.upstream.requests(NAME)) == 1


@pytest.mark.proves("FT-43", "FT-17", "I4", "I13")
def test_an_instance_that_is_paused_while_it_drives_is_replaced(rigs: Rigs, postgres: Postgres) -> None:
    """The instance that drives the backlog is stopped: the other drives it, polls and retries are answered there, and
    the first one finds nothing left to do when it goes on.
    """
    rig, second = pair(rigs, postgres)
    devices = [rig.device(f"driven-{number}.example") for number in range(20)]
    pending = rig.device("pending.example")
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), pending.name)
    assert is_pending(pending.enrol())
    rig.upstream.kill()
    assert all(map(is_pending, at_once([device.enrol for device in devices])))
    (driver,) = rig.database.rows("drivers", upstream="ca")
    first, other = (rig.ra, second) if int(driver["owner"].split(".")[1], 16) == rig.ra.pid else (second, rig.ra)
    first.pause()
    rig.upstream.start()
    assert all(map(is_pending, at_once([at(other, device).poll for device in devices])))
    rig.settle(LEASE)
    rig.upstream.approve(pending.name)
    has_one(rig, *(at(other, device) for device in (*devices, pending)))
    first.resume()
    has_one(rig, *(at(first, device) for device in (*devices, pending)))
    assert {*Counter(line["subject"] for line in rig.upstream.requests()).values()} == {1}


@pytest.mark.proves("FT-43", "FT-55", "I4", "I5", "I13", "RA-21")
def test_clients_behind_a_balancer_notice_nothing_of_who_answers(
    rigs: Rigs, postgres: Postgres, balancer: Balancer
) -> None:
    """Fifty clients enrol, poll and ask again through a balancer before two instances, and one after the other of
    these is killed in the middle: each device ends with one certificate, and the CA has seen one request for it.
    """
    rig, second = pair(rigs, postgres, extra=LAZY)
    port = balancer(rig.ra.port, second.port)
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING, polls=1))

    def device(name: str) -> Device:
        made = rig.device(name)
        made.port = port
        return made

    load = Load(50, device, pause=1.0)
    with ExitStack() as ending:
        load.start()
        ending.callback(load.stop)
        for ra in (second, rig.ra):
            count = len(load.done)
            wait_until(lambda count=count: len(load.done) >= count + 25, "devices have certificates", 90)
            ra.kill()
            wait_until(lambda count=count: len(load.done) >= count + 50, "the other one serves", 90)
            ra.start(START)
        load.finish()
    asked = {(line["subject"], line["transaction"]) for line in rig.upstream.requests()}
    assert len(asked) == len(rig.upstream.issued()) == len(load.done) >= 100
    # What one has begun the other has told of: either has told of certificates that were polled for.
    assert all(ra.records(outcome="issued", message_type="CERT_POLL") for ra in rig.ras)
    rig.settle()
