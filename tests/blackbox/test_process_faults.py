"""What becomes of enrolments when the RA is told to end, its workers die, or its clock is wrong (FT-45 to FT-47,
FT-55)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import LAZY, START, at_once, has_one, is_pending, is_turned_away, started
from tests.rig.blackbox.device import Retry
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import ROOT, wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.faketime import WallClock

Rigs = Callable[..., Rig]

NAME = "device.example"
STEADY = {"store": LAZY["store"]}
"""Settings with which a disk that is busy with other things is waited for."""
UNPRIVILEGED = 65534
HOUR, YEAR = 3600, 366 * 86400

pytestmark = pytest.mark.slow


# --- Told to end -----------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-45", "DR-22", "I13")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_under_way_is_answered_before_the_end(workers: int, rigs: Rigs) -> None:
    """Twenty enrolments are at the CA when the RA is told to end: it lets nobody new in, all twenty get their
    certificates, and it ends well.
    """
    rig = started(rigs, workers, extra=LAZY)
    devices = [rig.device(f"ending-{number}.example") for number in range(20)]
    with rig.upstream.hold(Event.HANDLED, count=20) as held:
        talks = [device.begin(device.message()) for device in devices]
        held.wait(20)
        rig.ra.signal(signal.SIGTERM, [rig.ra.pid])
        wait_until(lambda: rig.ra.get("GetCACaps")[0] == 0, "nobody is let in")
        assert rig.ra.running
    answers = at_once([talk.answer for talk in talks])
    assert {answer.status for answer in answers} == {PKIStatus.SUCCESS}
    wait_until(lambda: not rig.ra.running, "it ends")
    assert rig.ra.exit_code == 0
    rig.ra.start(START)
    assert len(rig.upstream.operations()) == 20
    has_one(rig, *devices[::5])


@pytest.mark.proves("FT-45", "DR-22", "I4", "I13")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_takes_longer_than_the_grace_goes_on_after_the_next_start(workers: int, rigs: Rigs) -> None:
    """The CA takes longer than the RA has to end: clients are told to come again, the RA ends well, and what it was at
    work on goes on when it starts again. The CA has issued once.
    """
    rig = started(rigs, workers, extra=LAZY | {"shutdown-grace": "1s"})
    devices = [rig.device(f"parked-{number}.example") for number in range(20)]
    with rig.upstream.hold(Event.HANDLED, count=20) as held:
        talks = [device.begin(device.message()) for device in devices]
        held.wait(20)
        assert rig.ra.terminate() == 0
    for talk in talks:
        response = talk.wire.response()
        assert response.status == 503
        assert "retry-after" in response.headers
    assert {row["state"] for row in rig.database.transactions()} <= {"sending", "unknown"}
    rig.ra.start(START)
    rig.settle(90)
    assert {row["state"] for row in rig.database.transactions()} == {"issued"}
    has_one(rig, *devices)
    assert len(rig.upstream.requests()) == 20


# --- Workers that die ------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-55", "I4", "I9", "I13")
def test_workers_that_are_killed_cost_nobody_a_certificate(rigs: Rigs) -> None:
    """Under load one worker after the other is killed: another takes its place, clients that were cut off ask again,
    and each has one certificate.
    """
    rig = started(rigs, 2, extra=LAZY)
    with rig.load(10) as load:
        for _ in range(3):
            count = len(load.done)
            wait_until(lambda count=count: len(load.done) >= count + 5, "devices have certificates", 60)
            before = set(rig.ra.workers)
            os.kill(min(before), signal.SIGKILL)
            wait_until(lambda before=before: len(set(rig.ra.workers) - before) == 1, "another worker comes")
    assert len(rig.upstream.issued()) == len(load.done)
    rig.settle()


@pytest.mark.proves("FT-55", "FT-13", "I13")
def test_what_a_killed_worker_was_at_work_on_is_taken_up_by_another(rigs: Rigs) -> None:
    """The worker that waits for the CA is killed: another fetches what the CA has issued, without waiting for a lease
    to end.
    """
    rig = started(rigs, 2, extra=LAZY)
    device = rig.device(NAME)
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.message())
        held.wait()
        victim = _at_work(rig)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(OSError):
            talk.answer()
    # A lease lasts 55 seconds with these settings.
    wait_until(lambda: rig.database.state(NAME) == "issued", "it goes on")
    has_one(rig, device)
    assert len(rig.upstream.requests(NAME)) == 1


@pytest.mark.proves("FT-55", "FT-13", "I4", "I9", "I13")
def test_a_worker_that_hangs_is_replaced(rigs: Rigs) -> None:
    """The worker that waits for the CA stands still: its client waits no longer than the worker may be silent, the
    other serves meanwhile, another takes its place, and what the CA has issued is fetched.
    """
    rig = started(rigs, 2, extra=LAZY | {"worker-deadline": "5s"})
    device, other = rig.device(NAME), rig.device("other.example")
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talk = device.begin(device.message())
        held.wait()
        victim = _at_work(rig)
        os.kill(victim, signal.SIGSTOP)
        with pytest.raises(OSError):
            talk.answer()
    assert other.until_done().status is PKIStatus.SUCCESS
    wait_until(lambda: len(rig.ra.workers) == 2 and victim not in rig.ra.workers, "another worker comes")
    assert f"process {victim}, has shown no sign of life for 5 s: it is killed" in rig.ra.output()
    wait_until(lambda: rig.database.state(NAME) == "issued", "it goes on")
    has_one(rig, device)
    assert len(rig.upstream.requests(NAME)) == 1


@pytest.mark.proves("FT-55", "FT-45")
def test_several_processes_need_no_powers(laboratory: Laboratory) -> None:
    """A user with no rights but to its own files starts the RA: all processes are that user's, a dead worker is
    replaced, and it ends well.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    drop = ("setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups")
    interpreter = _for_everybody(drop)
    # Not below the directory for tests, which is for this user alone.
    with TemporaryDirectory(prefix="scepra-") as place:
        Path(place).chmod(0o711)
        rig = Rig(Path(place), laboratory, workers=2, start=False, extra=LAZY)
        for path in (rig.ra.directory, *rig.ra.directory.iterdir()):
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        # It may be another installation of the same interpreter, which has no packages of its own.
        rig.ra.environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), *filter(None, sys.path)))
        rig.ra.wrapper = lambda words: (*drop, interpreter, *words[1:])
        with rig:
            rig.ra.start(START)
            has_one(rig, rig.device(NAME))
            before = set(rig.ra.workers)
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in rig.ra.pids()} == {UNPRIVILEGED}
            os.kill(min(before), signal.SIGKILL)
            wait_until(lambda: len(set(rig.ra.workers) - before) == 1, "another worker comes")
            has_one(rig, rig.device("other.example"))


def _for_everybody(drop: Sequence[str]) -> str:
    """The interpreter as a user can start it who may read nothing of ours, again and again."""
    again = "import subprocess, sys, twisted; subprocess.run([sys.executable, '-c', ''], check=True)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for path in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        command = [*drop, path, "-c", again]
        if not subprocess.run(command, cwd="/", env=environment, capture_output=True, check=False).returncode:
            return path
    pytest.skip("no interpreter is for everybody")


# --- Clocks that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-46", "DR-14", "I13")
def test_a_clock_that_is_set_back_stops_nothing(rigs: Rigs, wall_clock: WallClock) -> None:
    """The clock goes back by an hour: the CA is polled on, deadlines end what they should, new requests are served,
    nothing expires, and an alarm is in the log.
    """
    rig = rigs(start=False, extra=STEADY)
    rig.ra.environment |= wall_clock.environment
    rig.ra.start()
    pending, device, lost = rig.device("pending.example"), rig.device(NAME), rig.device("lost.example")
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), pending.name)
    assert is_pending(pending.enrol())
    wait_until(lambda: rig.upstream.polls(pending.name), "the CA is polled")
    wall_clock.set(-HOUR)
    count = len(rig.upstream.polls(pending.name))
    has_one(rig, device)
    # A deadline of the reactor's.
    with rig.upstream.hold(Event.HANDLED, lost.name):
        assert is_pending(lost.enrol())
    has_one(rig, lost)
    assert is_pending(pending.poll())
    # Whoever keeps house notices, about once a minute, and brings forward what was put off.
    wait_until(lambda: "behind the latest time seen" in rig.ra.output(), "the alarm is raised", 90)
    wait_until(lambda: len(rig.upstream.polls(pending.name)) > count, "the CA is polled on", 60)
    assert "nothing expires until it has caught up" in rig.ra.output()
    assert rig.upstream.approve(pending.name) == 1
    has_one(rig, pending)


@pytest.mark.proves("FT-46", "FT-43", "I13")
def test_a_clock_that_is_set_back_by_a_month_stops_nothing(rigs: Rigs, wall_clock: WallClock) -> None:
    """The RA has run with a clock that was a month ahead: what was put off until then goes on at once when the clock is
    right.
    """
    rig = rigs(start=False, extra=STEADY)
    rig.ra.environment |= wall_clock.environment
    wall_clock.set(30 * 24 * HOUR)
    rig.upstream.set_clock(30 * 24 * HOUR)
    rig.ra.start()
    pending = rig.device(NAME)
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), NAME)
    assert is_pending(pending.enrol())
    wait_until(lambda: rig.database.state(NAME) == "waiting", "the CA holds it back")
    assert rig.ra.terminate() == 0
    wall_clock.set(0)
    rig.upstream.set_clock(0)
    rig.ra.start()
    rig.upstream.approve(NAME)
    wait_until(lambda: rig.database.state(NAME) == "issued", "the CA is polled")
    has_one(rig, pending)


@pytest.mark.proves("FT-47", "I3", "I9", "I12")
def test_a_clock_that_is_years_ahead_decides_nothing(rigs: Rigs, wall_clock: WallClock) -> None:
    """Ten years ahead, the RA's certificates have long expired: it turns away new requests, tells its certificates, and
    ends and deletes nothing, whether the clock jumped or the RA starts so. With the right clock it serves.
    """
    rig = rigs(start=False, extra=STEADY)
    rig.ra.environment |= wall_clock.environment
    rig.ra.start()
    issued, pending = rig.device("issued.example"), rig.device("pending.example")
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    has_one(rig, issued)
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), pending.name)
    assert is_pending(pending.enrol())
    wait_until(lambda: rig.database.state(pending.name) == "waiting", "the CA holds it back")
    stored = _ids(rig)

    def nothing_happens() -> None:
        assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol])))
        assert is_pending(pending.poll())
        assert _ids(rig) == stored
        assert rig.upstream.operations(NAME) == []

    wall_clock.set(10 * YEAR)
    assert rig.ra.get("GetCACert")[0] == 200
    nothing_happens()
    assert issued.poll().status is PKIStatus.SUCCESS
    assert rig.ra.terminate() == 0
    rig.ra.launch()
    rig.ra.await_ready(lambda: "an RA certificate is not valid now, or the clock is wrong" in rig.ra.output())
    wait_until(lambda: rig.ra.get("GetCACaps")[0] == 200, "it serves")
    nothing_happens()
    wall_clock.set(0)
    has_one(rig, device, impatient, issued)
    assert rig.upstream.approve(pending.name) == 1
    has_one(rig, pending)


@pytest.mark.proves("FT-47", "I3", "I9", "I12")
def test_an_ra_that_starts_in_1970_waits_for_the_right_time(rigs: Rigs, wall_clock: WallClock) -> None:
    """A machine without a clock starts in 1970: nothing is begun and nothing is deleted until the time is right; then
    the RA serves without a restart.
    """
    rig = rigs(start=False, extra=STEADY)
    rig.ra.environment |= wall_clock.environment
    rig.ra.start()
    issued, device, impatient = rig.device("issued.example"), rig.device(NAME), rig.device("x.example", "impatient")
    has_one(rig, issued)
    stored = _ids(rig)
    assert rig.ra.terminate() == 0
    wall_clock.set(-56 * YEAR)
    rig.ra.launch()
    rig.ra.await_ready(lambda: rig.ra.get("GetCACaps")[0] == 200)
    process = rig.ra.pid
    assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol])))
    assert issued.retry(Retry.SAME_BYTES).status is PKIStatus.SUCCESS
    assert _ids(rig) == stored
    wall_clock.set(0)
    has_one(rig, device, impatient, issued)
    assert rig.ra.pid == process


def _at_work(rig: Rig) -> int:
    """The worker that is at work on the device's request."""
    (row,) = rig.database.transactions(NAME)
    worker = int(row["owner"].split(".")[1], 16)
    assert worker in rig.ra.workers
    return worker


def _ids(rig: Rig) -> list[object]:
    """Everything that housekeeping could take away."""
    keys = {"transactions": "id", "certificates": "fingerprint", "audit": "sequence"}
    return [row[key] for table, key in keys.items() for row in rig.database.rows(table)]
