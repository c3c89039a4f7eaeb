"""What becomes of enrolments when memory is short, the processor busy, somebody reads for long, or all goes on for a
while (FT-37, FT-53, FT-54, FT-62)."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import sqlite3
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from scepra.scep.message import PKIStatus
from tests import csrs
from tests.blackbox.procedure import LAZY, at_once, has_one, is_pending
from tests.rig.blackbox.device import Retry
from tests.rig.blackbox.process import ROOT, wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.blackbox.wire import Wire

Rigs = Callable[..., Rig]

NAME = "device.example"
TARGET = "/scep?operation=PKIOperation"
MEGABYTE = 1024 * 1024
CHECKPOINT = 1000 * 4096
"""How long SQLite's log becomes before it is written into the database."""

pytestmark = pytest.mark.slow


def status_of(pid: int, name: str) -> int:
    """A number in what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# --- Memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-53", "I9", "DR-13")
def test_bodies_that_do_not_fit_into_memory_end_nobody(rigs: Rigs) -> None:
    """Two hundred bodies of the greatest length, held back at their last octet, in a process that may not have so much
    memory: it takes in as many as it may, tells the others to come again, and serves who comes meanwhile and after.
    """
    body, bodies, count = 262144, 8 * MEGABYTE, 200
    rig = rigs(extra=LAZY | {"limits": {"body": body, "bodies": bodies, "request-deadline": "2m"}})
    before, meanwhile, after = (rig.device(f"{when}.example") for when in ("before", "meanwhile", "after"))
    has_one(rig, before)
    process = rig.ra.pid
    limit = status_of(process, "VmSize") * 1024 + 3 * bodies
    unlimited = resource.prlimit(process, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    wires = [
        Wire(rig.ra.port, TARGET, bytes(body), withhold=1, source=f"127.0.1.{1 + number // 50}")
        for number in range(count)
    ]
    assert rig.ra.get("GetCACert")[0] == 200
    has_one(rig, meanwhile)
    for wire in wires:
        # Whoever was turned away long ago has been hung up on, and the answer is there.
        with suppress(OSError):
            wire.finish()
    answers = Counter(wire.response().status for wire in wires)
    assert set(answers) == {400, 503}, answers
    assert answers[400] <= bodies // (body - 16384) < count - answers[400], answers
    assert Wire(rig.ra.port, TARGET, bytes(body + 1), withhold=body).response().status == 413
    has_one(rig, after)
    resource.prlimit(process, resource.RLIMIT_AS, unlimited)
    assert rig.ra.pid == process


# --- The processor ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-54", "I9", "DR-15")
def test_slow_keys_hold_up_nobody_for_long(rigs: Rigs) -> None:
    """Sixteen clients send messages signed with the longest keys that are allowed, as fast as they are refused: what
    each costs is bounded, so GetCACert waits for no more than those that came before, and a good client enrols
    meanwhile.
    """
    rig = rigs(extra=LAZY)
    slow = rig.device("slow.example", key=csrs.rsa_key(8192), challenge="wrong")
    message = slow.message().octets
    ending = threading.Event()
    refused: list[int] = []

    def insist(number: int) -> None:
        while not ending.is_set():
            refused.append(Wire(rig.ra.port, TARGET, message, source=f"127.0.2.{number}").response().status)

    threads = [threading.Thread(target=insist, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(refused) >= 100, "they are refused")
        count, begun, took = len(refused), time.monotonic(), []
        for _ in range(100):
            asked = time.monotonic()
            assert rig.ra.get("GetCACert")[0] == 200
            took.append(time.monotonic() - asked)
        rate = (len(refused) - count) / (time.monotonic() - begun)
        has_one(rig, rig.device(NAME))
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert set(refused) == {200}
    print(f"{rate:.0f} a second; GetCACert: median {median(took) * 1000:.1f} ms, worst {max(took) * 1000:.1f} ms")
    # It waits for as many as came before it, however fast this machine is now.
    assert median(took) < 3 * len(threads) / rate


# --- A long reader ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-37", "I9")
def test_a_command_whose_output_nobody_reads_holds_nothing_up(rigs: Rigs) -> None:
    """The lists of transactions and of what is held go into pipes that nobody reads, for as long as hundreds of
    enrolments take: SQLite's log is written anew from its beginning all the while, so it stays as short as without.
    Somebody who keeps a snapshot of the database open lets it grow, which shows that this can be seen.
    """
    rig = rigs(extra=LAZY)
    assert rig.database.file is not None
    log = rig.database.file.with_name(f"{rig.database.file.name}-wal")
    enrol(rig, "before", 20)
    held = [rig.device(f"held-{number}.example", "approval") for number in range(20)]
    assert all(map(is_pending, at_once([device.enrol for device in held])))
    lists = [["transactions", "list", "--limit", "10000"], ["pending", "list"]]
    commands = [_unread(rig, *words) for words in lists]
    try:
        enrol(rig, "meanwhile", 150)
        assert log.stat().st_size < 2 * CHECKPOINT, log.stat().st_size
        for command in commands:
            assert command.poll() is None, "it was read"
            output, _ = command.communicate(timeout=60)
            assert command.returncode == 0
            assert len(json.loads(output)) >= 20
    finally:
        for command in commands:
            command.kill()
            command.communicate()
    with sqlite3.connect(rig.database.file, isolation_level=None) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM transactions").fetchone()
        enrol(rig, "snapshot", 150)
        assert log.stat().st_size > 2 * CHECKPOINT, log.stat().st_size
        reader.execute("ROLLBACK")
    reader.close()


def _unread(rig: Rig, *words: str) -> subprocess.Popen[bytes]:
    """A command that waits because nobody reads what it writes."""
    command = [sys.executable, "-m", "scepra", *words, "--json", "--config", str(rig.ra.config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=rig.directory, env=environment)
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    size = fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)

    def waits() -> bool:
        waiting = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
        return int.from_bytes(waiting, sys.byteorder) >= size

    wait_until(lambda: waits() or process.poll() is not None, f"{words} fills its pipe")
    return process


# --- A long run ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-62", "I9")
def test_a_long_run_leaves_nothing_behind(rigs: Rigs) -> None:
    """Two thousand enrolments, and hundreds that are repeated, polled for, refused or cut off: memory, descriptors and
    threads are at the end what they were after the first few hundred, and the tables have a row where one is due.
    """
    rig = rigs(extra=LAZY)
    enrol(rig, "warm", 500)
    process = rig.ra.pid
    before = _taken(process)
    enrol(rig, "run", 1500)
    wait_until(lambda: _taken(process)[1] <= before[1], "connections are closed")
    memory, descriptors, threads = _taken(process)
    print(f"memory {before[0]} kB and {memory} kB, {descriptors} descriptors, {threads} threads")
    assert memory - before[0] < 8 * 1024
    assert (descriptors, threads) <= before[1:]
    expected = {"transactions": 2000, "certificates": 2000, "audit": 4000, "signer_keys": 1}
    assert {table: len(rig.database.rows(table)) for table in expected} == expected


def _taken(pid: int) -> tuple[int, int, int]:
    """Memory in kB, descriptors and threads of a process."""
    return status_of(pid, "VmRSS"), len(list(Path(f"/proc/{pid}/fd").iterdir())), status_of(pid, "Threads")


def enrol(rig: Rig, name: str, count: int, clients: int = 8) -> None:
    """So many devices enrol; of twenty, one asks again, one polls, one is refused first and one hangs up first."""

    def one(number: int) -> None:
        device = rig.device(f"{name}-{number}.example", source=f"127.0.3.{number % 100 + 1}")
        match number % 20:
            case 5:
                assert rig.device(device.name, challenge="wrong").enrol().status is PKIStatus.FAILURE
            case 6:
                device.begin(device.message(), withhold=1).reset()
        device.sent = device.message()
        # To read each answer would take longer than to give it.
        assert device.begin(device.sent).wire.response().status == 200
        match number % 20:
            case 7:
                assert device.retry(Retry.NEW_TRANSACTION).status is PKIStatus.SUCCESS
            case 8:
                assert device.poll().status is PKIStatus.SUCCESS

    at_once([lambda first=first: [one(number) for number in range(first, count, clients)] for first in range(clients)])
