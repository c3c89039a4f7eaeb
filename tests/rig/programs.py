"""Where the programs are that the tests run beside scepra, and what becomes of a test whose program is missing."""

from __future__ import annotations

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.interop.peers import PEERS

TOOLS = PEERS / "tools"
"""Where .ci/install-peers unpacks those that the machine lacks."""
DEADLINE = 30.0
"""Seconds that a server may take to start and to end."""


def find(name: str, tools: Path = TOOLS) -> list[str] | None:
    """The words that run a program, or None: one of the machine's, else one that is unpacked below ``tools``.

    Debian keeps PostgreSQL's in a directory of their own. What is unpacked needs to be told where its libraries are.
    """
    places = [
        *os.get_exec_path(),
        "/usr/sbin",
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
    ]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return [os.path.realpath(found)]
    unpacked = [tools / "usr" / "bin", tools / "usr" / "sbin", *tools.glob("usr/lib/postgresql/*/bin")]
    if found := shutil.which(name, path=os.pathsep.join(map(str, unpacked))):
        libraries = os.pathsep.join(map(str, [*tools.glob("usr/lib/*-linux-*"), *tools.glob("lib/*-linux-*")]))
        return ["env", f"LD_LIBRARY_PATH={libraries}", os.path.realpath(found)]
    return None


def require(name: str, tools: Path = TOOLS) -> list[str]:
    """The words that run a program; without it the test is skipped, or fails."""
    return find(name, tools) or absent(f"{name} is not installed: run .ci/install-peers")


def absent(what: str) -> NoReturn:
    """Skip the test on a developer's machine; where the peers are required, as in CI, fail it."""
    if os.environ.get("SCEPRA_REQUIRE_PEERS", "") not in ("", "0"):
        pytest.fail(f"{what}, and SCEPRA_REQUIRE_PEERS is set", pytrace=False)
    pytest.skip(what)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask until the answer is yes; after :data:`DEADLINE` it is an error that says ``what`` was waited for."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {DEADLINE} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that outgoing connections do not take: it is still free when the server starts again."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(ephemeral // 2, ephemeral)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
