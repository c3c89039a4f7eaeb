"""The processes that are measured: started, waited for, asked for their CPU time, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from bench.cores import on

PATIENCE = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process that listens on a loopback port.

    Args:
        port: where it will listen.
        log: takes its output.
        cores: where it runs.
        arguments: the command.
    """

    def __init__(self, port: int, log: Path, cores: Set[int], *arguments: str) -> None:
        self.port = port
        self._log = log
        self._cores = cores
        self._arguments = arguments
        self._pid = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it in any case.

        Raises:
            SystemExit: it does not listen in time.
        """
        with self._log.open("wb") as output, on(self._cores):
            process = subprocess.Popen(self._arguments, stdout=output, stderr=output)
        self._pid = process.pid
        try:
            self._wait(process)
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"a server did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)
            else:
                return

    def cpu(self) -> float:
        """CPU seconds so far, user and system, of the process and those that it has started."""
        return sum(map(_cpu, _family(self._pid)))


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants. A thread has only the children that it has started itself."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text("ascii").split():
            yield from _family(int(child))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
