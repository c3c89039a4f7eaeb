"""strace, which makes one system call of a process fail, or kills the process at it: a fault at any place that the
product touches the system, and no hook in the product.

Each thread counts for itself, and each name of a call too. A killing call is not carried out.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.rig.programs import DEADLINE, absent, require, wait_until

KILL = "signal=SIGKILL"
NO_SPACE = "error=ENOSPC"
IO_ERROR = "error=EIO"

# The result of a call that was made to fail, and of one that did not return because its process was killed at it.
_STRUCK = re.compile(r"\(INJECTED\)$|= \?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault for one run of a command.

    Attributes:
        calls: system calls as strace names them, separated by commas: ``fdatasync``, ``pwrite64,sendto``.
        fault: :data:`KILL`, :data:`NO_SPACE`, :data:`IO_ERROR`.
        when: ``3``: at a thread's third call of the name; ``3+``: at that and every later one.
        path: if given, only calls that use this file count.
        log: the file that gets the calls.
        program: the words that run strace.
    """

    calls: str
    fault: str
    when: str
    path: Path | None
    log: Path
    program: tuple[str, ...]

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """The words that run a command with the fault in it: its process has the pid, the output and the exit status
        that it would have without. It must begin with the interpreter or a script of a virtual environment, not with a
        shell that starts those.
        """
        # strace may have been told where its own libraries are, which is nothing for the command.
        libraries = ["-E", "LD_LIBRARY_PATH"] if self.program[0] == "env" else []
        return [*self.program, "-D", *libraries, *self._options(), "--", *map(str, words)]

    def attach(self, pid: int) -> subprocess.Popen[bytes]:
        """Put the fault into a process that stands still; calls before that do not count.

        Returns:
            strace, which ends when the process has.
        """
        tracer = subprocess.Popen([*self.program, *self._options(), "-p", str(pid)])
        status = Path(f"/proc/{pid}/status")
        wait_until(lambda: "\nTracerPid:\t0\n" not in status.read_text("utf-8"), "strace is there")
        return tracer

    def _options(self) -> list[str]:
        only = [] if self.path is None else ["-P", str(self.path)]
        fault = f"inject={self.calls}:{self.fault}:when={self.when}"
        return ["-f", "-q", *only, "-e", f"trace={self.calls}", "-e", fault, "-o", str(self.log)]

    def struck(self) -> list[str]:
        """The calls that met the fault so far, as strace writes them."""
        return [line for line in self._lines() if _STRUCK.search(line)]

    def fired(self, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> bool:
        """Whether any call met the fault, now that the command has ended."""
        assert process.poll() is not None, "it still runs"
        # strace learns of the end first and writes of it after.
        ended = re.compile(rf"^{process.pid} +\+\+\+ (exited with|killed by) ")
        wait_until(lambda: any(map(ended.match, self._lines())), "strace tells of the end")
        return bool(self.struck())

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


Inject = Callable[..., Injection]
"""``inject("fdatasync", KILL, 3)``, and ``path=`` if wanted; every one has a log of its own."""


@pytest.fixture
def inject(tmp_path: Path) -> Inject:
    """Makes injections."""
    program = tuple(require("strace"))
    if reason := _unable(program):
        absent(f"strace cannot trace here: {reason}")
    number = itertools.count()

    def make(calls: str, fault: str, when: int | str, path: Path | None = None) -> Injection:
        return Injection(calls, fault, str(when), path, tmp_path / f"strace-{next(number)}.log", program)

    return make


@cache
def _unable(program: tuple[str, ...]) -> str:
    """Why this machine does not let us trace (ptrace may be forbidden in a container), or nothing."""
    options = ["-f", "-q", "-o", os.devnull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"]
    done = subprocess.run([*program, *options, "true"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    return done.stderr.strip() if done.returncode else ""
