"""A process that has imported what the RA imports, and forks into one at a word: a start takes a fraction of the time,
so that a test can afford hundreds. What comes of it is as whole a process as any other, and ends as one; only what the
loader reads of the environment (libfaketime) has no effect.

``python -m tests.rig.blackbox.nursery`` reads one call a line from its standard input, and answers each with a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.rig.blackbox.process import PATIENCE, ROOT

_PAUSE = 0.002
_PR_SET_PDEATHSIG, _PR_SET_PTRACER = 1, 0x59616D61
_ANYBODY = ctypes.c_ulong(-1)
# None of them installs a reactor: a process that is forked makes one of its own.
_MODULES = (
    "alembic.command",
    "psycopg",
    "scepra.app",
    "scepra.tap",
    "scepra.workers.master",
    "scepra.workers.signals",
    "scepra.config.source",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "twisted.scripts._twistd_unix",
    "twisted.scripts.twistd",
)


class Child:
    """What :meth:`Nursery.spawn` has started; as much of :class:`subprocess.Popen` as the rig uses."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """What it ended with: negative if by a signal; None as long as it runs."""
        if self._code is None:
            self._code = self._nursery.call("wait", self.pid)
        return self._code

    def wait(self, timeout: float) -> int:
        """As :meth:`poll`, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, after so many seconds.
        """
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_PAUSE)
        return code


class Nursery:
    """The process, started; its children end with it."""

    def __init__(self) -> None:
        # What is killed leaves no figures, so nothing of it is measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.rig.blackbox.nursery"],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def spawn(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[bytes],
        stopped: bool = False,
        **_: Any,
    ) -> Child:
        """Start a Python program that is given by ``-c``; arguments are those of :class:`subprocess.Popen`.

        Args:
            stopped: it stands still until it is sent SIGCONT: for :meth:`tests.rig.trace.Injection.attach`.
        """
        program, *arguments = words[words.index("-c") + 1 :]
        output = str(Path(stdout.name).absolute())
        return Child(self, self.call("fork", program, arguments, str(cwd), dict(env), output, stopped))

    def call(self, name: str, *arguments: Any) -> Any:
        """Have the process carry out something; callers in other threads wait."""
        with self._lock:
            self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and its children."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts RAs fast."""
    made = Nursery()
    yield made
    made.close()


def _fork(
    program: str, arguments: list[str], directory: str, environment: dict[str, str], output: str, stopped: bool
) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _become(directory, environment, output)
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            sys.argv = ["-c", *arguments]
            exec(program, {"__name__": "__main__"})  # noqa: S102 - a test's
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    if stopped:
        os.waitpid(pid, os.WUNTRACED)
    return pid


def _become(directory: str, environment: dict[str, str], output: str) -> None:
    """What :class:`subprocess.Popen` does between fork and exec."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(_PR_SET_PTRACER, _ANYBODY)
    os.setpgid(0, 0)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _wait(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def serve() -> None:
    """Answer calls until there are no more."""
    for name in _MODULES:
        importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "there is a reactor already"
    gc.freeze()
    for line in sys.stdin.buffer:
        name, *arguments = json.loads(line)
        result = {"fork": _fork, "wait": _wait}[name](*arguments)
        os.write(1, json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    serve()
