"""What becomes of enrolments when the CA is down, stands still, drips, lies, forgets, or comes back (FT-01 to
FT-17)."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from scepra.lab import Behaviour, Duplicates, Fault
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import LAZY, Company, at_once, has_one, is_pending, is_turned_away, issued_for, sent_for
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.journal import LEDGER, read_lines
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.faketime import WallClock

Rigs = Callable[..., Rig]

NAME = "device.example"
DAY = 86400

pytestmark = pytest.mark.slow


# --- It cannot be reached --------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-01", "RA-24", "I3", "I4")
def test_a_ca_that_is_down_costs_nobody_anything(rigs: Rigs, store: str | None) -> None:
    """Twenty devices ask while no CA listens: they are told to poll, who cannot is told to come again and consumes
    nothing, and capabilities are told as ever. When the CA is back, each ends with one certificate.
    """
    rig = rigs(store=store)
    rig.upstream.kill()
    devices = [rig.device(f"down-{number}.example") for number in range(20)]
    impatient = rig.device("impatient.example", "impatient")
    with rig.probing() as prober:
        assert all(map(is_pending, at_once([device.enrol for device in devices])))
        for _ in range(3):
            assert is_turned_away(impatient.enrol())
        assert rig.ra.get("GetCACert")[0] == 200
        assert prober.failures == 0
    assert {row["state"] for row in rig.database.transactions()} <= {"queued", "sending"}
    assert rig.database.transactions(impatient.name) == []
    assert rig.upstream.operations() == []
    rig.upstream.start()
    has_one(rig, *devices, impatient)
    assert all(len(sent_for(rig, device)) == 1 for device in devices)


@pytest.mark.proves("FT-01", "FT-13", "RA-24", "I4")
def test_a_ca_that_goes_down_in_the_middle_is_asked_again(rigs: Rigs) -> None:
    """Killed while it has twenty requests, half of them carried out, and started again, the CA has issued each of them
    once when all have their certificates.
    """
    rig = rigs(extra=LAZY)
    devices = [rig.device(f"middle-{number}.example") for number in range(20)]
    with (
        rig.upstream.hold(Event.REQUEST_COMPLETE, count=10) as taken_in,
        rig.upstream.hold(Event.HANDLED, count=10) as carried_out,
    ):
        talks = [device.begin(device.message()) for device in devices]
        taken_in.wait(10)
        carried_out.wait(10)
        rig.upstream.kill()
    assert all(is_pending(talk.answer()) for talk in talks)
    rig.upstream.start()
    has_one(rig, *devices)


@pytest.mark.proves("FT-03", "RA-24", "I4", "I9")
@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_ca_that_stands_still_is_left_when_its_time_is_over(moment: str, rigs: Rigs) -> None:
    """A CA that accepts and reads nothing, or stops reading while it has requests, holds up nobody for longer than an
    exchange may take; it has issued once when it goes on.
    """
    rig = rigs()
    company = Company(rig)
    if moment == "before":
        rig.upstream.pause()
        with rig.probing() as prober:
            company.meet()
            assert prober.failures == 0
        rig.upstream.resume()
    else:
        with rig.upstream.hold(Event.REQUEST_COMPLETE, count=3) as held:
            talk = company.first.begin(company.first.message())
            held.wait()
            rig.upstream.pause()
            assert is_pending(talk.answer())
            company.meet()
    company.heal()


# --- It answers, but not so that anybody could use it ----------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behaviour(fault=Fault.SILENCE), marks=pytest.mark.proves("FT-04"), id="silence"),
        pytest.param(Behaviour(fault=Fault.DRIP), marks=pytest.mark.proves("FT-05"), id="drip"),
        pytest.param(Behaviour(fault=Fault.CUT), marks=pytest.mark.proves("FT-06"), id="reset-mid-body"),
        pytest.param(Behaviour(fault=Fault.TRUNCATED), marks=pytest.mark.proves("FT-07"), id="truncated"),
        pytest.param(Behaviour(fault=Fault.SHORT), marks=pytest.mark.proves("FT-07"), id="short"),
        pytest.param(Behaviour(http_status=401), marks=pytest.mark.proves("FT-09"), id="401"),
        pytest.param(Behaviour(http_status=503, retry_after=1), marks=pytest.mark.proves("FT-09"), id="503"),
    ],
)
@pytest.mark.proves("RA-24", "I4")
def test_an_answer_that_is_none_decides_nothing(behaviour: Behaviour, rigs: Rigs) -> None:
    """The CA carries out what it is asked for and spoils its answer: an enrolment, a renewal and what it held back
    before are told to wait, who cannot poll is told to come again; and each gets the one certificate that was issued.
    """
    rig = rigs()
    company = Company(rig)
    company.behave(behaviour)
    company.meet()
    states = {rig.database.state(device.name) for device in (company.first, company.renewal, company.pending)}
    assert states <= {"queued", "sending", "unknown", "waiting"}
    company.heal()


# --- It issued, and the answer was lost: the key case ----------------------------------------------------------------


def knows_no_polls(rig: Rig) -> None:
    """Let the CA forget who asked for what it has issued, so that it knows nothing of it when it is polled."""
    rig.upstream.kill()
    ledger = rig.upstream.journal.with_name(LEDGER)
    lines = [line | {"requester": rig.laboratory.ca.der.hex()} for line in read_lines(ledger)]
    ledger.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rig.upstream.start()


@pytest.mark.proves("FT-13", "FT-23", "RA-16", "I4")
def test_an_answer_that_was_lost_is_fetched_with_a_poll(rigs: Rigs) -> None:
    """The CA issued and was cut off: it is polled under the same transactionID, and the device gets that certificate,
    also under a new transactionID of its own.
    """
    rig = rigs(extra=LAZY)
    device = rig.device(NAME)
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.message())
        held.wait()
        held.cut()
        assert is_pending(talk.answer())
    has_one(rig, device)
    assert len(rig.upstream.requests(NAME)) == 1
    (polled,) = {line["transaction"] for line in rig.upstream.polls(NAME)}
    assert sent_for(rig, device) == [polled]


@pytest.mark.proves("FT-13", "RA-24", "I2", "I4")
def test_a_ca_that_refuses_what_it_has_issued_is_shown_to_somebody(rigs: Rigs) -> None:
    """The password has been used, says a CA that knows no polls and has issued: the device is told to wait, somebody is
    told to look, and no other transaction is begun for the device, whatever it tries.
    """
    rig = rigs(extra=LAZY)
    rig.upstream.behave(Behaviour(duplicates=Duplicates.REFUSED))
    device = rig.device(NAME)
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.message())
        held.wait()
        knows_no_polls(rig)
    assert is_pending(talk.answer())
    wait_until(lambda: len(rig.upstream.requests(NAME)) > 1, "the request is repeated")
    wait_until(lambda: "needs somebody: it may have been issued already" in rig.ra.output(), "somebody is told to look")
    device.sent = None
    assert is_pending(device.enrol())
    assert is_pending(device.poll())
    (row,) = rig.database.transactions(NAME)
    assert row["state"] == "unknown"
    assert row["attention"].startswith("it may have been issued already")
    assert len(issued_for(rig, device)) == 1
    assert len(set(sent_for(rig, device))) == 1
    # The CA learns to tell what it has issued: so does the device.
    rig.upstream.behave(Behaviour())
    has_one(rig, device)


@pytest.mark.proves("FT-13", "I4", "I5")
def test_a_ca_that_issues_again_is_believed_once(rigs: Rigs) -> None:
    """A CA that knows no polls issues a second certificate for the repeated request, the first answer being lost: the
    device gets the first one that came through, each time that it asks.
    """
    rig = rigs(extra=LAZY)
    rig.upstream.behave(Behaviour(duplicates=Duplicates.ISSUED))
    device = rig.device(NAME)
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.message())
        held.wait()
        knows_no_polls(rig)
    assert is_pending(talk.answer())
    first = device.until_done().certificate
    assert first is not None
    assert len(issued_for(rig, device)) == 2
    assert first.fingerprint() in issued_for(rig, device)
    assert {device.until_done().certificate for _ in range(3)} == {first}
    assert len(set(sent_for(rig, device))) == 1
    (kept,) = rig.database.rows("certificates")
    assert kept["fingerprint"].hex() == first.fingerprint()


# --- It takes its time -----------------------------------------------------------------------------------------------


def patient(first: str, longest: str, give_up: str = "7d") -> dict[str, Any]:
    """Settings for polls of the CA."""
    return {"upstreams": {"ca": {"queue": {"first-poll": first, "longest-poll": longest, "give-up-after": give_up}}}}


@pytest.mark.proves("FT-15", "RA-20", "RA-21", "MSG-42")
def test_the_ca_is_polled_ever_less_often_however_often_clients_poll(rigs: Rigs) -> None:
    """While the CA holds it back, the RA polls after pauses that grow up to the longest; a hundred polls of the client
    are answered from what is stored. The poll after the approval brings the certificate.
    """
    rig = rigs(extra=patient("200ms", "3s"))
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    device = rig.device(NAME)
    assert is_pending(device.enrol())
    wait_until(lambda: len(rig.upstream.polls(NAME)) >= 2, "the CA is polled")
    assert all(is_pending(device.poll()) for _ in range(100))
    wait_until(lambda: len(rig.upstream.polls(NAME)) >= 7, "the CA is polled on", 60)
    moments = [line["monotonic"] for line in rig.upstream.polls(NAME)]
    # Each is twice the last, give or take a fifth.
    for number, (earlier, later) in enumerate(pairwise(moments), 1):
        assert later - earlier >= 0.8 * min(0.2 * 2**number, 3), f"poll {number + 1} came too early"
    rig.upstream.approve(NAME)
    has_one(rig, device)


@pytest.mark.proves("FT-15", "RA-20", "I13")
def test_what_the_ca_does_not_decide_ends_after_days(rigs: Rigs, wall_clock: WallClock) -> None:
    """Polls go on for days, over restarts too; after half of the time somebody is told, and when it is over the device
    is refused: not before, and not without a last poll.
    """
    rig = rigs(start=False, extra=patient("10m", "10m"))
    rig.ra.environment |= wall_clock.environment
    rig.ra.start()
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    device = rig.device(NAME)
    assert is_pending(device.enrol())
    wall_clock.set(4 * DAY)
    wait_until(lambda: "the CA has not decided for 4 days" in rig.ra.output(), "somebody is told")
    assert rig.database.transactions(NAME)[0]["attention"] == "the CA has not decided for 4 days"
    for polls, day in enumerate((6, 8), 1):
        assert is_pending(device.poll())
        assert len(rig.upstream.polls(NAME)) == polls
        assert rig.ra.terminate() == 0
        wall_clock.set(day * DAY)
        rig.ra.start()
        wait_until(lambda: f"the CA has not decided for {day} days" in rig.ra.output(), "the CA is polled")  # noqa: B023 - called before the loop goes on
    assert rig.ra.terminate() == 0
    wall_clock.set(8 * DAY + 300)
    rig.ra.start()
    wait_until(lambda: "took longer than is configured" in rig.ra.output(), "it has ended")
    assert rig.database.state(NAME) == "refused"
    assert device.poll().status is PKIStatus.FAILURE


@pytest.mark.proves("FT-15", "RA-24")
def test_a_ca_that_forgets_refuses_nothing(rigs: Rigs) -> None:
    """What the CA held back it knows no more: the device is not refused for that, and somebody is told to look."""
    rig = rigs(extra=patient("200ms", "1s"))
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    device = rig.device(NAME)
    assert is_pending(device.enrol())
    wait_until(lambda: rig.upstream.polls(NAME), "the CA is polled")
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING, forgets=True))
    wait_until(lambda: "the CA does not know it any more" in rig.ra.output(), "somebody is told to look")
    assert is_pending(device.poll())
    # It remembers.
    rig.upstream.behave(Behaviour())
    assert rig.upstream.approve(NAME) == 1
    has_one(rig, device)


# --- It comes back ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-17", "FT-01", "RA-24")
def test_a_ca_that_comes_back_is_not_overrun(rigs: Rigs) -> None:
    """Of two hundred requests that were queued while the CA was down, it gets no more in any second than is configured;
    those who come anew meanwhile need not wait for them.
    """
    backlog, rate = 200, 50
    rig = rigs(extra=LAZY)
    rig.upstream.kill()
    queued = [rig.device(f"queued-{number}.example") for number in range(backlog)]
    at_once([lambda part=queued[start::10]: [device.enrol() for device in part] for start in range(10)])
    assert {row["state"] for row in rig.database.transactions()} == {"queued"}
    rig.upstream.start()
    wait_until(lambda: len(rig.upstream.requests()) >= 10, "the backlog is driven")
    fresh = [rig.device(f"fresh-{number}.example") for number in range(5)]
    left = []
    for device in fresh:
        assert device.enrol().status is PKIStatus.SUCCESS
        left.append(sum(row["state"] == "queued" for row in rig.database.transactions()))
    assert left[0] > 0, "the backlog was gone before"
    rig.settle(120)
    moments = [line["monotonic"] for line in rig.upstream.requests() if line["subject"].startswith("queued-")]
    assert len(moments) == backlog
    # What is under way when the second begins comes on top: as many as there may be at once.
    busiest = max(bisect_left(moments, moment + 1.0) - index for index, moment in enumerate(moments))
    assert busiest <= rate * 1.1 + 8, f"{busiest} in a second"
    has_one(rig, *queued[::20], *fresh)
    assert len(rig.upstream.issued()) == backlog + len(fresh)
    assert all(len(each) == 1 for each in (sent_for(rig, device) for device in queued[::20]))
