"""The processes that are measured: started, waited for, asked for their CPU time, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

PATIENCE = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process that listens on a loopback port."""

    def __init__(self, port: int, log: Path, *arguments: str) -> None:
        """
        Args:
            port: where it will listen.
            log: takes its output.
            arguments: the command.
        """
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(arguments, stdout=output, stderr=output)

    def __enter__(self) -> Server:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"a server did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK
