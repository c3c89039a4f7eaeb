"""A private network and the processes in it.

Some peers listen on every address and some have paths compiled in. So each test session makes one network namespace,
which has a loopback device and nothing else, and one mount namespace in which the unpacked peers appear below
``/usr/lib``. A small holder process keeps both alive; everything else joins them with ``nsenter``. All ends with the
session, even if that is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE = 120.0
RUN_DEADLINE = 120.0
_LISTEN = "0A"
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")

# Runs in the new namespaces: raises the loopback device, mounts the peers' libraries, waits until its input is closed.
_HOLDER = """
import fcntl, socket, struct, subprocess, sys
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
with socket.socket() as any_socket:
    name, flags = struct.unpack("16sh", fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))[:18])
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
if sys.argv[1:]:
    layers = f"lowerdir={sys.argv[1]}:/usr/lib"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, "/usr/lib"], check=True)
print("ready", flush=True)
sys.stdin.read()
"""


class SandboxUnavailable(Exception):
    """This machine does not let us make the namespaces."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a process that has ended left behind."""

    code: int
    text: str


class Server:
    """A process that serves a port of the sandbox until it is stopped."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


class Sandbox:
    """One private network, and the peers' libraries where they expect themselves to be."""

    def __init__(self, libraries: Path | None = None) -> None:
        for tool in ("unshare", "nsenter", "setpriv", "mount"):
            if shutil.which(tool) is None:
                raise SandboxUnavailable(f"{tool} (util-linux) is not installed")
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        self._holder = subprocess.Popen(
            [
                "unshare",
                *user,
                "--net",
                "--mount",
                sys.executable,
                "-c",
                _HOLDER,
                *([str(libraries)] if libraries else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, reason = self._holder.communicate()
            raise SandboxUnavailable(f"no private network: {reason.strip().splitlines()[-1:]}")
        self._join = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount"]
        if user:
            self._join += ["--user", "--preserve-credentials"]
        self._servers: list[Server] = []
        self._next_port = 8000

    def free_port(self) -> int:
        """Nobody else is in this network, so counting is enough."""
        self._next_port += 1
        return self._next_port

    def run(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        deadline: float = RUN_DEADLINE,
    ) -> Finished:
        """Runs a command to its end; one that outlives its deadline is killed and its exit code reads 124."""
        try:
            done = subprocess.run(
                self._command(command, directory),
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=deadline,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return Finished(124, (late.stdout or b"").decode(errors="replace") + f"\nkilled after {deadline} s")
        return Finished(done.returncode, done.stdout.decode(errors="replace"))

    def serve(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path,
        ready: Callable[[], bool] | int,
        environment: Mapping[str, str] | None = None,
        name: str = "server",
    ) -> Server:
        """Starts a command and returns when it listens on port ``ready``, or when the function ``ready`` says so."""
        log = directory / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(command, directory),
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, log)
        self._servers.append(server)

        def is_ready() -> bool:
            return self.listening(ready) if isinstance(ready, int) else ready()

        if not wait_until(lambda: server.ended or is_ready(), START_DEADLINE) or server.ended:
            server.stop()
            raise RuntimeError(f"{name} did not start:\n{server.output()}")
        return server

    def listening(self, port: int) -> bool:
        """Whether something in the sandbox listens on this TCP port: its socket table is visible from outside."""
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self._holder.pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    return True
        return False

    def close(self) -> None:
        for server in reversed(self._servers):
            server.stop()
        self._holder.communicate()

    def _command(self, command: Sequence[str | Path], directory: Path) -> list[str]:
        # Entering a mount namespace resets the working directory. No process may outlive the session that started it.
        return [*self._join, "setpriv", "--pdeathsig", "KILL", "env", f"--chdir={directory}", *map(str, command)]

    @staticmethod
    def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
        # What coverage sets makes it measure the processes that tests start.
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("COVERAGE_")}
        return kept | dict(extra or {})


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Asks until the answer is yes or the time is up, and says which."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
