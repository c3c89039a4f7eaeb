"""What else the rig runs beside scepra: a balancer, faults in system calls, and a clock that is moved."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.balancer import Balancer
from tests.rig.faketime import WallClock
from tests.rig.trace import IO_ERROR, KILL, NO_SPACE, Inject

pytestmark = pytest.mark.slow

# Writes and syncs two files, each three times, in a thread that does nothing else.
_WRITER = """
import os, pathlib, sys, threading

def work():
    for name in sys.argv[1:]:
        with open(name, "wb", buffering=0) as file:
            for _ in range(3):
                try:
                    file.write(b"x")
                    os.fdatasync(file)
                    print("synced", pathlib.Path(name).name, flush=True)
                except OSError as error:
                    print(error.strerror, pathlib.Path(name).name, flush=True)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

# Tells, for each line it reads, the time of day and the monotonic time, in the reactor's loop and in a thread of it.
_TELLER = """
import sys, time
from twisted.internet import reactor, stdio, threads
from twisted.protocols.basic import LineOnlyReceiver

class Teller(LineOnlyReceiver):
    delimiter = b"\\n"

    def lineReceived(self, line):
        reactor.callLater(0.05, lambda: threads.deferToThread(time.time).addCallback(self.tell))

    def tell(self, told):
        self.sendLine(f"{time.time()} {told} {time.monotonic()}".encode())

    def connectionLost(self, reason):
        reactor.stop()

reactor.seconds = time.monotonic
stdio.StandardIO(Teller())
reactor.run()
"""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """What a command did."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def serve(listener: socket.socket, name: bytes) -> bytes:
    """Answer the next connection that is more than a look whether anybody listens, and return what it said."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            try:
                heard = connection.recv(64)
            except ConnectionResetError:
                continue
            if heard:
                connection.sendall(name)
                return heard


def test_a_balancer_takes_turns_and_leaves_out_what_is_down(balancer: Balancer) -> None:
    """Two connections reach two backends; when one of them does not listen, every connection reaches the other."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        for listener in (one, two):
            listener.settimeout(30)
        port = balancer(one.getsockname()[1], two.getsockname()[1])
        for listener, name in ((one, b"one"), (two, b"two")):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"hello")
                assert serve(listener, name) == b"hello"
                assert client.recv(64) == name
        one.close()
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"again")
                assert serve(two, b"two") == b"again"
                assert client.recv(64) == b"two"


def test_a_process_is_killed_at_a_system_call(inject: Inject, tmp_path: Path) -> None:
    """It dies at the n-th one, under its own pid; the loop over all places ends when none is left."""
    synced = []
    for number in range(1, 9):
        fault = inject("fdatasync", KILL, number)
        command = fault.command([sys.executable, "-c", _WRITER, tmp_path / "a", tmp_path / "b"])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        output, _ = process.communicate(timeout=60)
        synced.append(output.count("synced"))
        assert process.returncode == (-9 if number <= 6 else 0)
        if not fault.fired(process):
            break
    assert synced == [0, 1, 2, 3, 4, 5, 6]


def test_a_system_call_fails_on_one_file(inject: Inject, tmp_path: Path) -> None:
    """An error meets only calls on the file that is named, once or from a place on."""
    words: list[str | Path] = [sys.executable, "-c", _WRITER, tmp_path / "a", tmp_path / "b"]
    fault = inject("write,fdatasync", NO_SPACE, "2+", path=tmp_path / "b")
    assert run(fault.command(words)).stdout.splitlines() == [
        *["synced a"] * 3,
        "synced b",
        *["No space left on device b"] * 2,
    ]
    assert len(fault.struck()) == 2
    fault = inject("fdatasync", IO_ERROR, 2)
    assert run(fault.command(words)).stdout.splitlines().count("Input/output error a") == 1
    assert len(fault.struck()) == 1


def test_a_clock_is_moved_under_a_running_reactor(wall_clock: WallClock) -> None:
    """The time of day jumps for the reactor's thread and for others; monotonic time goes on, and so do timers."""
    process = subprocess.Popen(
        [sys.executable, "-c", _TELLER],
        env=wall_clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for ahead in (0, -3600, 10 * 365 * 86400, -int(time.time()) + 86400, 0):
            wall_clock.set(ahead)
            process.stdin.write("tell\n")
            process.stdin.flush()
            in_loop, in_thread, monotonic = map(float, process.stdout.readline().split())
            assert in_loop - time.time() == pytest.approx(ahead, abs=5)
            assert in_thread - time.time() == pytest.approx(ahead, abs=5)
            assert time.monotonic() - monotonic == pytest.approx(0, abs=5)
    finally:
        process.communicate(timeout=30)
    assert process.returncode == 0
