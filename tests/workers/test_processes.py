"""Several processes as their operator sees them: told to end, killed, and asked all the while."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from scepra.scep.message import PKIStatus
from scepra.store.owner import process_of
from tests.rig.blackbox.administration import command
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.process import children, wait_until
from tests.rig.blackbox.ra import TWISTD
from tests.rig.blackbox.rig import Rig
from tests.workers import watch

pytestmark = pytest.mark.slow

Rigs = Callable[..., Rig]

# A machine that has much else to do must not end what a test holds up.
PATIENT = {"shutdown-grace": "25s", "upstreams": {"ca": {"connect-timeout": "10s", "timeout": "20s"}}}


def refused(port: int) -> bool:
    """Whether nobody is let in any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def knocking(port: int) -> Iterator[list[BaseException]]:
    """Somebody who connects and asks, again and again, for the duration of the block; what went wrong."""
    failures: list[BaseException] = []
    ending = threading.Event()

    def knock() -> None:
        while not ending.is_set():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=20).close()
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=knock) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_all_workers_serve_and_log(rigs: Rigs) -> None:
    """Connections are dealt out among the workers; what they log is printed once, as if by a single process."""
    rig = rigs(workers=2, extra=PATIENT, start=False)
    rig.ra.wrapper = watch.observed
    rig.ra.start()
    paths = [f"/nowhere-{number}" for number in range(60)]
    assert {rig.ra.get("GetCACaps", path)[0] for path in paths} == {404}
    device = rig.device()
    assert device.enrol().status is PKIStatus.SUCCESS
    assert rig.ra.terminate() == 0
    output = rig.ra.output()
    asked = [event for event in watch.events(output) if event["log_namespace"] == "scepra.web.access"]
    asked = [event for event in asked if event["path"] in paths]
    assert sorted(event["path"] for event in asked) == sorted(paths)
    assert {event["worker"] for event in asked} == {1, 2}
    for path in paths:
        assert output.count(f"[scepra.web.access#info] 127.0.0.1 {path} ") == 1
    [record] = rig.ra.records(subject="CN=device.example")
    [event] = [event for event in watch.events(output) if event["log_namespace"] == "scepra.audit"]
    assert (json.loads(event["record"]), record["outcome"]) == (record, "issued")
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.proves("FT-55")
def test_a_worker_that_is_killed_is_replaced(rigs: Rigs) -> None:
    """While one of two is killed nobody is refused; what the other is working on is answered; soon there are two."""
    rig = rigs(workers=2, extra=PATIENT)
    victim, survivor = rig.ra.workers
    devices = [rig.device(f"dev{number}.example") for number in range(8)]
    with rig.upstream.hold(Event.REQUEST_COMPLETE, count=8) as held, knocking(rig.ra.port) as failures:
        talks = [device.begin(device.message()) for device in devices]
        held.wait(8)
        ports = [talk.wire._socket.getsockname()[1] for talk in talks]
        owners = [watch.owner(port, rig.ra.port, [victim, survivor]) for port in ports]
        assert set(owners) == {victim, survivor}
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in rig.ra.workers, "it is gone")
        held.release()
        for talk, pid in zip(talks, owners, strict=True):
            if pid == survivor:
                assert talk.answer().status is PKIStatus.SUCCESS
            else:
                with pytest.raises(ConnectionError):
                    talk.answer()
        wait_until(lambda: len(rig.ra.workers) == 2, "there is another one")
        assert {rig.ra.get("GetCACaps", patience=20)[0] for _ in range(40)} == {200}
    assert failures == []
    assert survivor in rig.ra.workers
    assert "has ended with signal 9: another one comes in 0.1 s" in rig.ra.output()
    assert {device.until_done().status for device in devices} == {PKIStatus.SUCCESS}


@pytest.mark.proves("FT-55")
def test_the_port_stays_open_while_there_is_no_worker(rigs: Rigs) -> None:
    """Connections that come while all workers are dead wait for the next ones, whatever the file says meanwhile."""
    rig = rigs(workers=2, extra=PATIENT)
    dead = rig.ra.workers
    rig.ra.config.write_text("nothing: that can be used\n")
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    assert rig.ra.get("GetCACaps", patience=20)[0] == 200
    wait_until(lambda: len(rig.ra.workers) == 2 and not set(dead) & set(rig.ra.workers), "there are two others")


@pytest.mark.proves("FT-55")
def test_a_worker_that_cannot_begin_is_tried_again(rigs: Rigs) -> None:
    """A worker that ends at once says why, in the log; others are tried ever later, and the rest goes on."""
    rig = rigs(workers=2, extra=PATIENT)
    victim, survivor = rig.ra.workers
    secret = rig.ra.directory / "challenge.txt"
    hidden = secret.rename(secret.with_suffix(".away"))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: "another one comes in 0.2 s" in rig.ra.output(), "one was tried")
    assert "challenge.txt" in rig.ra.output()
    assert rig.laboratory.challenge not in rig.ra.output()
    hidden.rename(secret)
    wait_until(lambda: len(rig.ra.workers) == 2, "there are two again")
    assert survivor in rig.ra.workers


@pytest.mark.proves("FT-45")
@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_being_served_gets_an_answer_at_the_end(workers: int, rigs: Rigs) -> None:
    """Told to end, the RA lets nobody in, closes idle connections, answers what is under way, and ends with 0."""
    rig = rigs(workers=workers, extra=PATIENT)
    pids = rig.ra.pids()
    idle = http.client.HTTPConnection("127.0.0.1", rig.ra.port, timeout=20)
    idle.request("GET", "/scep?operation=GetCACaps")
    assert idle.getresponse().read()
    devices = [rig.device(f"dev{number}.example") for number in range(6)]
    with rig.upstream.hold(Event.REQUEST_COMPLETE, count=6) as held:
        talks = [device.begin(device.message()) for device in devices]
        held.wait(6)
        rig.ra.signal(signal.SIGTERM, [rig.ra.pid])
        wait_until(lambda: refused(rig.ra.port), "nobody is let in")
        assert idle.sock.recv(1) == b""
        idle.close()
        assert rig.ra.running
        held.release()
        answers = [talk.answer() for talk in talks]
    assert {answer.status for answer in answers} == {PKIStatus.SUCCESS}
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    wait_until(lambda: not rig.ra.running, "it has ended")
    assert rig.ra.exit_code == 0
    assert all(map(gone, pids))


@pytest.mark.slow
@pytest.mark.proves("FT-45")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_comes_when_the_grace_ends(workers: int, rigs: Rigs) -> None:
    """What takes longer than the grace is told to come back, and the RA ends with 0."""
    rig = rigs(workers=workers, extra={**PATIENT, "shutdown-grace": "500ms"})
    device = rig.device()
    with rig.upstream.hold(Event.REQUEST_COMPLETE) as held:
        talk = device.begin(device.message())
        held.wait()
        begun = time.monotonic()
        rig.ra.signal(signal.SIGTERM, [rig.ra.pid])
        answer = talk.answer()
        assert (answer.http, answer.headers["connection"]) == (503, "close")
        assert answer.retry_after is not None
        wait_until(lambda: not rig.ra.running, "it has ended")
        assert 0.5 <= time.monotonic() - begun < 20
    assert rig.ra.exit_code == 0
    rig.ra.start()
    assert device.until_done().status is PKIStatus.SUCCESS


@pytest.mark.slow
@pytest.mark.proves("FT-45")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_at_once_is_one_to_the_master(number: signal.Signals, rigs: Rigs) -> None:
    """Ctrl-C reaches every process, and so does a supervisor's signal: all end, none is replaced, the code is 0."""
    rig = rigs(workers=2, extra=PATIENT)
    device = rig.device()
    with rig.upstream.hold(Event.REQUEST_COMPLETE) as held:
        talk = device.begin(device.message())
        held.wait()
        rig.ra.signal(number)
        wait_until(lambda: refused(rig.ra.port), "nobody is let in")
        rig.ra.signal(number)
        held.release()
        assert talk.answer().status is PKIStatus.SUCCESS
    wait_until(lambda: not rig.ra.running, "it has ended")
    assert rig.ra.exit_code == 0
    assert "another one comes" not in rig.ra.output()


@pytest.mark.slow
@pytest.mark.proves("FT-45", "FT-55")
def test_workers_follow_their_master(rigs: Rigs) -> None:
    """When the master is killed, its workers answer what is under way and end; then the RA can be started again."""
    rig = rigs(workers=2, extra=PATIENT)
    workers = rig.ra.workers
    device = rig.device()
    with rig.upstream.hold(Event.REQUEST_COMPLETE) as held:
        talk = device.begin(device.message())
        held.wait()
        rig.ra.signal(signal.SIGKILL, [rig.ra.pid])
        wait_until(lambda: refused(rig.ra.port), "nobody is let in")
        held.release()
        assert talk.answer().status is PKIStatus.SUCCESS
    try:
        wait_until(lambda: all(map(gone, workers)), "no worker is left")
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    rig.ra.start()


@pytest.mark.slow
def test_a_port_that_is_taken_ends_it(rigs: Rigs) -> None:
    """Another RA at the same port does not start, whether it has workers or not, and says why."""
    rig = rigs(workers=2, extra=PATIENT)
    for workers in (1, 2):
        other = rig.another_ra(extra={"listen": {"scep": f"tcp:{rig.ra.port}:interface=127.0.0.1"}, "workers": workers})
        other.launch()
        assert other.popen is not None
        other.popen.wait(20)
        assert other.exit_code == 1
        assert "Address already in use" in other.output()
        assert "Traceback" not in other.output()
    assert rig.ra.get("GetCACaps")[0] == 200


@pytest.mark.proves("FT-43", "I13")
def test_what_twistd_leaves_in_the_background(rigs: Rigs) -> None:
    """Without -n twistd forks after it has made everything: leases and the process table name who serves then."""
    rig = rigs(extra=PATIENT, start=False)
    pidfile, log = rig.directory / "twistd.pid", rig.directory / "twistd.log"
    start = [sys.executable, "-c", TWISTD, f"--pidfile={pidfile}", f"--logfile={log}", "scepra"]
    subprocess.run([*start, "--config", str(rig.ra.config)], cwd=rig.directory, check=True, timeout=90)
    pids = [pid := int(pidfile.read_text()), *children(pid)]
    try:
        wait_until(lambda: rig.ra.get("GetCACert")[0] == 200, "it serves")
        pids = [pid, *children(pid)]
        device = rig.device()
        with rig.upstream.hold(Event.REQUEST_COMPLETE) as held:
            talk = device.begin(device.message())
            held.wait()
            (row,) = rig.database.transactions()
            assert process_of(row["owner"]) in pids
            held.release()
            assert talk.answer().status is PKIStatus.SUCCESS
        (known,) = json.loads(command(rig.ra, "reload", "--json"))["processes"]
        assert known["process"] in pids
        assert "has ended: what it was at work on" not in log.read_text()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: all(map(gone, pids)), "it has ended")
    finally:
        for each in pids:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
    rig.ra.start()
