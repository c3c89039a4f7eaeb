"""SIGKILL at each point of an enrolment at which it makes a difference (CP1 to CP15), found from outside; then the RA
comes back, the devices ask again, and everything is as if nothing had been.

Challenges cannot be minted yet (CP14). Kills at random moments (CP16) are in ``test_kills.py``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.rig.blackbox.device import Answer, Device, Retry, Talk
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.nursery import Child, Nursery
from tests.rig.blackbox.process import PATIENCE, ROOT, Process, children, wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.trace import KILL, Inject, Injection

SAME, NEW = "same.example", "new.example"
PATIENT = {
    # What stands still here does so until it is killed, however slow the machine.
    "store": {"timeout": "20s"},
    "upstreams": {"ca": {"timeout": "20s", "connect-timeout": "20s"}},
}

Crash = Callable[[Rig, Sequence[Device]], list[Talk]]
"""Lets devices begin, and kills the RA at some point; the connections, which are to be closed."""

pytestmark = pytest.mark.slow


# --- The points ------------------------------------------------------------------------------------------------------


def begin(device: Device, **how: int) -> Talk:
    """Send its request, and wait for nothing."""
    device.sent = device.message()
    return device.begin(device.sent, **how)


def stands_still(process: Process) -> None:
    """Return when all of its threads have slept for twenty looks: it waits for something that does not come."""
    looks = 0

    def still() -> bool:
        nonlocal looks
        looks = looks + 1 if _sleeps(process.pid) else 0
        return looks == 20

    wait_until(still, f"{process.name} waits")


def _sleeps(pid: int) -> bool:
    states = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError):
            states.append(task.read_text("ascii").rpartition(")")[2].split()[0])
    return set(states) == {"S"}


def body_withheld(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP1: the RA has all of the requests but their last octets."""
    talks = [begin(device, withhold=1) for device in devices]
    stands_still(rig.ra)
    rig.ra.kill()
    return talks


def body_sent(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP1: the last octets have come, and it has not looked at them."""
    talks = [begin(device, withhold=1) for device in devices]
    stands_still(rig.ra)
    rig.ra.pause()
    for talk in talks:
        talk.finish()
    rig.ra.kill()
    return talks


def decided(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP2: what it wants to record cannot be committed."""
    with rig.database.locked():
        talks = [begin(device) for device in devices]
        stands_still(rig.ra)
        rig.ra.kill()
    return talks


def recorded(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP4: it tries to connect, and the CA's queue of connections is full."""
    rig.upstream.pause()
    with full(rig.upstream.port):
        talks = [begin(device) for device in devices]
        are(rig, devices, "sending")
        rig.ra.kill()
    rig.upstream.resume()
    return talks


@contextmanager
def full(port: int) -> Iterator[None]:
    """Nobody else can connect to a port whose process stands still, for the duration of the block."""
    connections: list[socket.socket] = []
    try:
        for _ in range(5000):
            connections.append(socket.socket())
            connections[-1].settimeout(0.5)
            connections[-1].connect(("127.0.0.1", port))
        raise AssertionError("the queue of connections never fills")
    except TimeoutError:
        yield
    finally:
        for connection in connections:
            connection.close()


def are(rig: Rig, devices: Sequence[Device], state: str) -> None:
    """Return when all of their transactions are in a state."""
    wait_until(lambda: all(rig.database.state(device.name) == state for device in devices), f"all are {state}")


def at_event(event: Event) -> Crash:
    """CP5 to CP7: the exchanges with the CA have come to an event, and never go on."""

    def crash(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
        with rig.upstream.hold(event, count=len(devices)) as held:
            talks = [begin(device) for device in devices]
            held.wait(len(devices))
            rig.ra.kill()
            held.cut()
        return talks

    return crash


def answered(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP8: the CA's answers are there, and cannot be committed."""
    with rig.upstream.hold(Event.HANDLED, count=len(devices)) as held:
        talks = [begin(device) for device in devices]
        held.wait(len(devices))
        with rig.database.locked():
            held.release()
            for device in devices:
                wait_until(lambda name=device.name: rig.upstream.events(Event.ANSWER_SENT, subject=name), "an answer")
            stands_still(rig.ra)
            rig.ra.kill()
    return talks


def issued(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP9: the certificates are committed, and the devices read nothing."""
    talks = [begin(device, receive_buffer=1) for device in devices]
    are(rig, devices, "issued")
    rig.ra.kill()
    return talks


def half_told(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP10: the devices have read the beginning of the answers."""
    talks = [begin(device, receive_buffer=1) for device in devices]
    for talk in talks:
        assert talk.read(12) == b"HTTP/1.1 200"
    rig.ra.kill()
    return talks


def told(rig: Rig, devices: Sequence[Device]) -> list[Talk]:
    """CP11: the devices have their certificates."""
    talks = [begin(device) for device in devices]
    for talk in talks:
        assert talk.answer().status is PKIStatus.SUCCESS
    rig.ra.kill()
    return talks


@dataclass(frozen=True, slots=True)
class Point:
    """Where the RA is killed; what is stored then of each enrolment, a state or nothing; how often the CA is sent each
    request in all, and whether it is polled."""

    crash: Crash
    stored: str
    sent: int = 1
    polled: bool = False


POINTS = {
    "CP1: the last octet is missing": Point(body_withheld, ""),
    "CP1: the last octet has come": Point(body_sent, ""),
    "CP2: decided": Point(decided, ""),
    "CP4: committed": Point(recorded, "sending", polled=True),
    "CP5: connected": Point(at_event(Event.ACCEPTED), "sending", polled=True),
    "CP6: half of the request is sent": Point(at_event(Event.HALF_REQUEST), "sending", polled=True),
    "CP7: sent, not carried out": Point(at_event(Event.REQUEST_COMPLETE), "sending", sent=2, polled=True),
    "CP7: sent, carried out": Point(at_event(Event.HANDLED), "sending", polled=True),
    "CP7: half of the answer is written": Point(at_event(Event.ANSWER_HALF), "sending", polled=True),
    "CP8: answered": Point(answered, "sending", polled=True),
    "CP9: certificate committed": Point(issued, "issued"),
    "CP10: half of the reply is read": Point(half_told, "issued"),
    "CP11: the reply is read": Point(told, "issued"),
}
ONLY_SQLITE = ("CP1:", "CP11:")
PLACES = [
    (name, store)
    for name in POINTS
    for store in ("sqlite", "postgresql")
    if store == "sqlite" or not name.startswith(ONLY_SQLITE)
]


# --- What holds afterwards -------------------------------------------------------------------------------------------


def fetch(device: Device, how: Retry) -> Answer:
    """Ask again, once, and then poll until there is a certificate."""
    answer, end = device.retry(how), time.monotonic() + 60
    while answer.status is PKIStatus.PENDING:
        assert time.monotonic() < end, f"{device.name} is still pending"
        answer = device.poll()
    assert answer.status is PKIStatus.SUCCESS, answer
    return answer


def has_one(rig: Rig, device: Device) -> None:
    """One certificate, one transaction, one request at the CA; whoever asks once more gets the same."""
    assert device.certificate is not None
    assert rig.upstream.issued(device.name) == [device.certificate.fingerprint()]
    assert len({(line["transaction"], line["csr"]) for line in rig.upstream.requests(device.name)}) == 1
    assert [row["state"] for row in rig.database.transactions(device.name)] == ["issued"]
    first = device.certificate
    asked = len(rig.upstream.operations(device.name))
    assert [fetch(device, how).certificate for how in Retry] == [first] * len(Retry)
    assert len(rig.upstream.operations(device.name)) == asked


@pytest.mark.proves("I4", "I5", "I7", "I13", "DR-9", "DR-10", "FT-13", "FT-21", "FT-23", "MSG-25", "RA-16", "RA-25")
@pytest.mark.parametrize(("name", "store"), PLACES, indirect=["store"], ids=[f"{one} ({two})" for one, two in PLACES])
def test_an_enrolment_survives_a_kill(rigs: Callable[..., Rig], store: str | None, name: str) -> None:
    """Wherever the RA is killed, it comes to one transaction at the CA and one certificate, which the device gets that
    asks again, with the same octets or under a new transactionID.
    """
    point = POINTS[name]
    rig = rigs(store=store, extra=PATIENT)
    devices = rig.device(SAME), rig.device(NEW)
    for talk in point.crash(rig, devices):
        talk.close()
    assert [rig.database.state(device.name) for device in devices] == [point.stored] * 2
    before = {device.name: rig.upstream.operations(device.name) for device in devices}
    rig.ra.start()
    for device, how in zip(devices, (Retry.SAME_BYTES, Retry.NEW_TRANSACTION), strict=True):
        fetch(device, how)
        has_one(rig, device)
        assert len(rig.upstream.requests(device.name)) == point.sent
        (row,) = rig.database.transactions(device.name)
        polls = [line for line in rig.upstream.polls() if line["transaction"] == row["upstream_transaction"]]
        assert bool(polls) == point.polled
        if point.stored == "issued":
            assert rig.upstream.operations(device.name) == before[device.name]


# --- CP3: within a commit, and at every other call -------------------------------------------------------------------


CALLS = [
    ("sqlite", "fdatasync"),
    ("sqlite", "pwrite64"),
    ("sqlite", "connect"),
    ("sqlite", "sendto"),
    ("postgresql", "sendto"),
    ("postgresql", "recvfrom"),
]


@pytest.mark.proves("I4", "I5", "I7", "I13", "DR-7", "DR-9", "FT-13", "FT-23", "RA-16", "RA-25")
@pytest.mark.parametrize(("store", "call"), CALLS, indirect=["store"])
def test_an_enrolment_survives_a_kill_at_every_call(
    rigs: Callable[..., Rig], inject: Inject, nursery: Nursery, store: str | None, call: str
) -> None:
    """Killed at the first call, the second, and so on until none is left (CP3 among them): what is stored is whole, and
    the device that asks again gets its only certificate.
    """
    rig = rigs(store=store, extra=PATIENT, start=False)
    rig.ra.spawn = nursery.spawn
    rig.ra.start()
    kills = 0
    for number in itertools.count(1):
        rig.ra.end()
        device = rig.device(f"{call}-{number}.example")
        if not run_once(rig, device, nursery, inject(call, KILL, number)):
            break
        kills += 1
        rig.ra.start()
        fetch(device, Retry.NEW_TRANSACTION if number % 2 else Retry.SAME_BYTES)
        has_one(rig, device)
    print(f"{kills} kills at {call}")
    assert kills > 1


def run_once(rig: Rig, device: Device, nursery: Nursery, fault: Injection) -> bool:
    """Start with a fault, enrol and end, as far as it comes; whether it was killed."""
    tracers = []

    def spawn(words: Sequence[str], **settings: Any) -> Child:
        child = nursery.spawn(words, stopped=True, **settings)
        tracers.append(fault.attach(child.pid))
        os.kill(child.pid, signal.SIGCONT)
        return child

    device.sent = device.message()
    rig.ra.spawn = spawn
    rig.ra.launch()
    rig.ra.spawn = nursery.spawn
    wait_until(lambda: not rig.ra.running or rig.ra.get("GetCACert")[0] == 200, "it is ready, or killed", 60)
    with suppress(OSError):
        device.send(device.sent)
    code = rig.ra.terminate()
    assert code in (0, -9)
    tracers.pop().wait(PATIENCE)
    assert fault.fired(rig.ra.popen) == (code == -9)
    return code == -9


# --- CP12: between two polls of the CA -------------------------------------------------------------------------------


@pytest.mark.proves("I13", "FT-15", "RA-16", "RA-20")
def test_polling_goes_on_after_a_kill(rigs: Callable[..., Rig]) -> None:
    """What the CA holds back is polled on after a kill, by the same key and under the same transactionID (CP12)."""
    rig = rigs(extra=PATIENT)
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    devices = rig.device(SAME), rig.device(NEW)
    for device in devices:
        assert device.enrol().status is PKIStatus.PENDING
        wait_until(lambda name=device.name: rig.upstream.polls(name), "the CA is polled")
    rig.ra.kill()
    before = {device.name: len(rig.upstream.polls(device.name)) for device in devices}
    rig.ra.start()
    for device, how in zip(devices, (Retry.SAME_BYTES, Retry.NEW_TRANSACTION), strict=True):
        assert device.retry(how).status is PKIStatus.PENDING
        wait_until(lambda name=device.name: len(rig.upstream.polls(name)) > before[name], "the CA is polled again")
        assert rig.upstream.approve(device.name) == 1
        fetch(device, how)
        has_one(rig, device)
        assert len(rig.upstream.requests(device.name)) == 1
        told = {(line["transaction"], line["signer_key"]) for line in rig.upstream.operations(device.name)}
        assert len(told) == 1, told


# --- CP13: within an approval ----------------------------------------------------------------------------------------


class Approval(Process):
    """``scepra pending approve`` for a device's transaction."""

    def __init__(self, rig: Rig, device: Device) -> None:
        (row,) = rig.database.transactions(device.name)
        command = [sys.executable, "-m", "scepra", "pending"]
        about = [row["id"], "--config", str(rig.ra.config)]
        shown = subprocess.run([*command, "show", *about, "--json"], cwd=ROOT, capture_output=True, check=True)
        said = ["--why", "it is ours", "--by", "alice", "--digest", json.loads(shown.stdout)["digest"]]
        super().__init__(f"approve-{device.name}", [*command, "approve", *about, *said], rig.directory)

    def run(self) -> int:
        """Run it; what it ends with."""
        self.launch()
        return self.popen.wait(60)


@pytest.mark.proves("I7", "I13")
def test_an_approval_that_is_killed_was_not_given(rigs: Callable[..., Rig]) -> None:
    """Approvals that are killed before they are committed, and the RA with them, leave what they were for held: given
    anew, they lead to one transaction at the CA (CP13).
    """
    rig = rigs(extra=PATIENT)
    devices = rig.device(SAME, "approval"), rig.device(NEW, "approval")
    for device in devices:
        assert device.enrol().status is PKIStatus.PENDING
    approvals = [Approval(rig, device) for device in devices]
    with rig.database.locked():
        for approval in approvals:
            approval.launch()
        for approval in approvals:
            wait_until(lambda pid=approval.pid: _has_open(pid, rig.database.file), "it has opened the database")
            stands_still(approval)
            approval.kill()
        rig.ra.kill()
    assert [rig.database.state(device.name) for device in devices] == ["held"] * 2
    rig.ra.start()
    for device, how, approval in zip(devices, (Retry.SAME_BYTES, Retry.NEW_TRANSACTION), approvals, strict=True):
        assert device.retry(how).status is PKIStatus.PENDING
        assert rig.upstream.operations(device.name) == []
        assert approval.run() == 0, approval.output()
        fetch(device, how)
        has_one(rig, device)
        assert len(rig.upstream.requests(device.name)) == 1


def _has_open(pid: int, file: Path | None) -> bool:
    return str(file) in {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}


@pytest.mark.proves("I7", "I13")
def test_an_approval_is_given_or_not(rigs: Callable[..., Rig], inject: Inject) -> None:
    """An approval that is killed within its commit has been given or has not: given again it is taken, or refused
    because it is there, and the CA gets the request once (CP13).
    """
    rig = rigs(extra=PATIENT)
    given = []
    for number in itertools.count(1):
        device = rig.device(f"fdatasync-{number}.example", "approval")
        assert device.enrol().status is PKIStatus.PENDING
        approval = Approval(rig, device)
        fault = inject("fdatasync", KILL, number)
        approval.wrapper = fault.command
        if approval.run() == 0:
            assert not fault.fired(approval.popen)
            break
        assert fault.fired(approval.popen), approval.output()
        rig.ra.restart()
        approval.wrapper = tuple
        given.append(approval.run() != 0)
        fetch(device, Retry.NEW_TRANSACTION if number % 2 else Retry.SAME_BYTES)
        has_one(rig, device)
        assert len(rig.upstream.requests(device.name)) == 1
    assert given == sorted(given), "what was given stays given"
    assert given


# --- CP15: within the first start ------------------------------------------------------------------------------------


MADE = ("scepra.key", "scepra.db", "scepra.db-wal")


@pytest.mark.proves("I13", "FT-38")
def test_a_first_start_that_is_killed_is_made_again(rigs: Callable[..., Rig], nursery: Nursery) -> None:
    """Killed at any moment of its first start, when the key, the database or its tables have just been made or have
    not, the RA starts the next time, and serves (CP15).
    """
    rig = rigs(extra=PATIENT, start=False)
    rig.ra.spawn = nursery.spawn
    made = [rig.ra.directory / name for name in MADE]
    moments: list[Callable[[], object]] = [path.exists for path in made]
    moments.append(lambda: _has_tables(made[1]))
    moments += [iter([*[False] * looks, True]).__next__ for looks in range(0, 40, 3)]
    for moment in moments:
        rig.ra.end()
        for path in rig.ra.directory.glob("scepra.db*"):
            path.unlink()
        made[0].unlink(missing_ok=True)
        rig.ra.launch()
        wait_until(lambda moment=moment: moment() or not rig.ra.running, "the start has come so far")
        assert rig.ra.running, rig.ra.tail()
        rig.ra.restart()
    assert children(rig.ra.pid) == []
    device = rig.device(SAME)
    device.enrol()
    has_one(rig, device)


def _has_tables(file: Path) -> bool:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'transactions'").fetchall())
    return False
