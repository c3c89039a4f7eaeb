"""A PostgreSQL server of the tests' own: a directory below /tmp, a port of the loopback interface, and a way to end,
freeze and cut it off.

It refuses to run as root, so root's tests run it as ``nobody``. Every process of pytest-xdist has one, started when the
first test asks for it; it ends with the session, even if that is killed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.rig.programs import DEADLINE, TOOLS, free_port, require, wait_until

USER = "scepra"
"""The role that owns every database and may do nothing else; it needs no password."""
GUARDED = "guarded"
"""A role that may do what :data:`USER` may, and needs :data:`PASSWORD` on the port."""
PASSWORD = "kQ3vN8xT1mZ6"
ADMINISTRATOR = "postgres"


class Postgres:
    """One server; it runs until :meth:`close`, except between :meth:`stop` and :meth:`start`.

    Attributes:
        port: on 127.0.0.1; the same after a restart.
        directory: where its socket is.
        log: the file that it writes its messages to.
    """

    def __init__(self) -> None:
        unpacked = require("initdb")[0] == "env"
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="scepra-postgres-", dir="/tmp"))
        self.log = self.directory / "log"
        self._data = self.directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._within = ["setpriv", "--pdeathsig=KILL"]
        tools = TOOLS
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
                self._within += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
                if unpacked:
                    # They may be below root's home directory, into which nobody else can look.
                    tools = self.directory / "tools"
                    shutil.copytree(TOOLS, tools, symlinks=True, ignore=shutil.ignore_patterns("doc", "man", "locale"))
            initdb, self._program = require("initdb", tools), require("postgres", tools)
            options = ["-U", ADMINISTRATOR, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            made = subprocess.run(
                [*self._within, *initdb, "-D", self._data, *options],
                cwd=self.directory,
                capture_output=True,
                text=True,
                timeout=2 * DEADLINE,
                check=False,
            )
            if made.returncode:
                raise RuntimeError(f"no database cluster: {made.stdout}{made.stderr}")
            rules = self._data / "pg_hba.conf"
            rules.write_text(f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
            self.start()
            self.execute("postgres", f"CREATE ROLE {USER} LOGIN")
            self.execute("postgres", f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}' IN ROLE {USER}")
        except BaseException:
            self.close()
            raise

    def database(self) -> str:
        """The URL of a new, empty database of :data:`USER`'s; a server that a test has stopped or frozen runs again."""
        self.start()
        self._databases += 1
        name = f"scepra_{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name} OWNER {USER}")
        return self.url(name)

    def url(self, database: str, user: str = USER) -> str:
        """A URL as scepra's ``store.url`` takes it, and libpq."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """What a statement returns, run by the administrator outside any transaction; ``database`` is a name or URL."""
        name = database.rpartition("/")[2]
        with psycopg.connect(self.url(name, ADMINISTRATOR), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def kill_backends(self, database: str) -> int:
        """Cut off every connection to a database (a name or URL); returns how many there were, all of them ended."""
        name = database.rpartition("/")[2]
        connections = self.execute("postgres", "SELECT datname, pid FROM pg_stat_activity WHERE datname IS NOT NULL")
        pids = [pid for of, pid in connections if of == name]
        for pid in pids:
            self.execute("postgres", f"SELECT pg_terminate_backend({pid}, 5000)")
        return len(pids)

    def start(self) -> None:
        """Run, and accept connections; nothing happens if it does."""
        if self._process is not None:
            self.resume()
            return
        settings = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.directory), "-c", "jit=off"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, *self._program, "-D", self._data, *settings],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, "PostgreSQL accepts connections")

    def stop(self) -> None:
        """End in order: every connection is cut off, what is open is rolled back."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End at once, as in a loss of power: what is committed is recovered by the next :meth:`start`."""
        self._end(signal.SIGQUIT)

    def pause(self) -> None:
        """Freeze the server and all its connections: their sockets stay open, and nothing answers."""
        assert self._process is not None, "it is stopped"
        # Only this one starts others, so nothing is added once it stands still.
        _freeze([self._process.pid])
        _freeze(_children(self._process.pid))

    def resume(self) -> None:
        """Go on after :meth:`pause`; nothing happens otherwise."""
        assert self._process is not None, "it is stopped"
        if _status(self._process.pid)[0] == "T":
            for pid in [*_children(self._process.pid), self._process.pid]:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End, and leave nothing behind."""
        try:
            self.crash()
        finally:
            shutil.rmtree(self.directory)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self.resume()
            self._process.send_signal(how)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text(errors='replace')}")
        try:
            self.execute("postgres", "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; each test asks it for a database of its own."""
    server = Postgres()
    yield server
    server.close()


def _freeze(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(_status(pid)[0] in ("T", "") for pid in pids), "they stand still")


def _children(parent: int) -> list[int]:
    """The processes that a process has started, less those that have ended."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _status(pid)[1] == parent]


def _status(pid: int) -> tuple[str, int]:
    """The state of a process, a letter, and its parent; of one that is gone or has ended there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return ("", 0) if state == "Z" else (state, int(parent))
