"""A program in a process of its own: started, looked at, stopped, continued and ended, by its number, never by name."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PATIENCE = 90.0
"""How long anything may take, in seconds, that should not take long."""

_PAUSE = 0.01


class TooLate(AssertionError):
    """Something did not happen in time; the text says what."""


def wait_until(happened: Callable[[], object], what: str, deadline: float = PATIENCE) -> None:
    """Look again and again, until it has happened.

    Raises:
        TooLate: it has not within *deadline* seconds.
    """
    end = time.monotonic() + deadline
    while not happened():
        if time.monotonic() > end:
            raise TooLate(f"{what}: not within {deadline:g} s")
        time.sleep(_PAUSE)


def free_port(*hosts: str) -> int:
    """A TCP port that is free at 127.0.0.1, and at other addresses.

    It is none that the kernel gives to outgoing connections: so it is still free when its server comes back.
    """
    first = random.randrange(15000, 32000)
    for port in (*range(first, 32000), *range(15000, first)):
        with suppress(OSError):
            for host in ("127.0.0.1", *hosts):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
            return port
    raise AssertionError("no port is free")


def children(pid: int) -> list[int]:
    """The numbers of a process's children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text("ascii").split())
    return found


class Process:
    """A program that can be started any number of times; all that it prints is appended to one file.

    It ends with the thread that started it: start it from the test's own.

    ``environment`` may be changed before it is started, and so may ``wrapper``, which makes of the words that run it
    others that run it as the same process (:meth:`tests.rig.trace.Injection.command`). ``popen`` is the last start's;
    ``killed`` counts how often :meth:`kill` found it running.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] = {},
    ) -> None:
        """
        Args:
            name: what it is called in messages; its output goes to ``NAME.log``.
            command: what is run, in *directory*.
            environment: in addition to ours.
        """
        self.name = name
        self.log = directory / f"{name}.log"
        self.wrapper: Callable[[Sequence[str]], Sequence[str]] = tuple
        self.spawn: Callable[..., Any] = subprocess.Popen
        self.environment = dict(environment)
        self._command = tuple(command)
        self._directory = directory
        self.killed = 0
        self.popen: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, and do not wait for anything."""
        assert not self.running, f"{self.name} runs already"
        # Nothing outlives us, however we end.
        leash = ("setpriv", "--pdeathsig", "KILL")
        with self.log.open("ab") as output:
            self.popen = self.spawn(
                [*leash, *self.wrapper(self._command)],
                cwd=self._directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def await_ready(self, ready: Callable[[], object], deadline: float = PATIENCE) -> None:
        """Return when it is ready.

        Raises:
            AssertionError: it has ended instead, or is not ready in time; with the end of what it printed.
        """
        try:
            wait_until(lambda: not self.running or ready(), f"{self.name} is ready", deadline)
        except TooLate as late:
            raise TooLate(f"{late}; it said:\n{self.tail()}") from None
        if not self.running:
            raise AssertionError(f"{self.name} has ended with {self.exit_code}; it said:\n{self.tail()}")

    @property
    def running(self) -> bool:
        """Whether it has been started, and has not ended."""
        return self.popen is not None and self.popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with: negative if by a signal; None as long as it runs."""
        return self.popen.poll() if self.popen is not None else None

    @property
    def pid(self) -> int:
        """Its number."""
        assert self.popen is not None, f"{self.name} was never started"
        return self.popen.pid

    def pids(self) -> list[int]:
        """Its number, and those of its children."""
        return [self.pid, *children(self.pid)] if self.running else []

    def signal(self, number: signal.Signals, pids: Sequence[int] | None = None) -> None:
        """Send a signal to it and all of its children, or to some of them."""
        for pid in self.pids() if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it and its children at once (SIGKILL), and wait until they are gone."""
        pids = self.pids()
        self.killed += bool(pids)
        self.signal(signal.SIGKILL, pids)
        if self.popen is not None:
            self.popen.wait(PATIENCE)
        wait_until(lambda: not any(map(_alive, pids)), f"{self.name} and its children are gone")

    def terminate(self, deadline: float = PATIENCE) -> int:
        """Ask it to end (SIGTERM), as an operator does.

        Returns:
            Its exit code.

        Raises:
            TooLate: it has not ended in time, nor have its children.
        """
        assert self.popen is not None, f"{self.name} was never started"
        pids = self.pids()
        self.signal(signal.SIGTERM, pids[:1])
        try:
            code = self.popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TooLate(f"{self.name} has not ended {deadline:g} s after SIGTERM") from None
        wait_until(lambda: not any(map(_alive, pids)), f"{self.name}'s children are gone")
        return code

    def pause(self) -> None:
        """Stop it and its children, so that they do nothing and notice nothing (SIGSTOP)."""
        pids = self.pids()
        self.signal(signal.SIGSTOP, pids)
        wait_until(lambda: all(_state(pid) in "TX" for pid in pids), f"{self.name} stands still")

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def end(self) -> None:
        """Whatever state it is in: end it."""
        if self.running:
            self.kill()

    def output(self) -> str:
        """All that it has printed, since its first start."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        """The last lines of it."""
        return "\n".join(self.output().splitlines()[-lines:])


def _state(pid: int) -> str:
    """The letter that the kernel has for what a process does; X if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (OSError, UnicodeDecodeError):
        return "X"


def _alive(pid: int) -> bool:
    return _state(pid) not in "XZ"
