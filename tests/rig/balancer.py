"""HAProxy before several RAs, as operators put it there: it passes on connections and does not look into them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.programs import DEADLINE, require

Balancer = Callable[..., int]
"""``balancer(8001, 8002)`` is a port of 127.0.0.1 whose connections go to these ports of it, one after the other."""

# A backend that refuses a connection gets none until it accepts one again; until that is noticed, another is tried.
_CONFIGURATION = """
defaults
    mode tcp
    balance roundrobin
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    timeout check 2s
    retries 3
    option redispatch 1
listen ra
    bind fd@{listener}
    {servers}
"""


@contextlib.contextmanager
def balancing(directory: Path, *backends: int) -> Iterator[int]:
    """The port of a balancer that runs meanwhile; its files go to a directory."""
    program = require("haproxy")
    # The socket is made here and handed on: no other process can take its port, and nobody comes too early.
    with socket.create_server(("127.0.0.1", 0)) as listener, (directory / "haproxy.log").open("ab") as log:
        port: int = listener.getsockname()[1]
        servers = "\n    ".join(
            f"server ra-{backend} 127.0.0.1:{backend} check inter 200ms fall 1 rise 1" for backend in backends
        )
        configuration = directory / f"haproxy-{port}.cfg"
        configuration.write_text(_CONFIGURATION.format(listener=listener.fileno(), servers=servers))
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", *program, "-db", "-f", configuration],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        yield port
        assert process.poll() is None, (directory / "haproxy.log").read_text()
    finally:
        process.kill()
        process.wait(DEADLINE)


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    """Starts balancers that end with the test."""
    with contextlib.ExitStack() as running:
        yield lambda *backends: running.enter_context(balancing(tmp_path, *backends))
