from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from scepra.app import InTurn, _limits
from scepra.config.model import Limits
from scepra.config.source import Source
from scepra.workers.order import Prepare


def start(master: int, instructions: bytes) -> tuple[int, str]:
    """Exit status and error output of a worker."""
    command = [sys.executable, "-P", "-m", "scepra.workers", "1", str(master)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, input=instructions, capture_output=True, env=environment, timeout=60, check=False)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.proves("FT-55")
def test_a_worker_without_its_master_ends() -> None:
    """A worker ends if its parent is not the master any more, or the master has ended before it had said all."""
    assert start(1, b"") == (1, "the master has ended\n")
    assert start(os.getpid(), b'{"file": ') == (1, "the master has ended\n")


def test_a_worker_that_cannot_use_the_configuration_says_why(tmp_path: Path) -> None:
    """Every mistake is told, as an event of the log, and the exit status is 1."""
    source = Source("bad.yaml", str(tmp_path), b"listen: {scep: 1}\nunknown: 2\n", 0o600)
    status, output = start(os.getpid(), Prepare(0, source).encode())
    assert status == 1
    assert "bad.yaml:1:" in output
    assert "bad.yaml:2:" in output


@pytest.mark.proves("AC-007")
def test_workers_share_the_connections() -> None:
    """Each worker has its share of all connections, rounded up."""
    limits = Limits(connections=1000)
    assert [_limits(limits, count).connections for count in (1, 3, 1000, 2000)] == [1000, 334, 1, 1]


class Slow(Service):
    """A service that ends when the test says so."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.setName(name)
        self.log = log
        self.ended: Deferred[None] = Deferred()

    def startService(self) -> None:
        self.log.append(f"{self.name} starts")

    def stopService(self) -> Deferred[None]:
        self.log.append(f"{self.name} ends")
        return self.ended


class InTurnTests(SynchronousTestCase):
    """Services that end one by one."""

    @pytest.mark.proves("FT-45")
    def test_services_end_after_those_that_need_them(self) -> None:
        """They start in order, and each ends when those after it have ended, be it with an error."""
        log: list[str] = []
        service = InTurn()
        store, reconciler, front = (Slow(name, log) for name in ("store", "reconciler", "front"))
        for each in (store, reconciler, front):
            each.setServiceParent(service)
        service.startService()
        stopped: list[object] = []
        service.stopService().addBoth(stopped.append)
        assert log == ["store starts", "reconciler starts", "front starts", "front ends"]
        front.ended.callback(None)
        reconciler.ended.errback(ValueError("stuck"))
        assert log[4:] == ["reconciler ends", "store ends"]
        assert stopped == []
        store.ended.callback(None)
        assert stopped == [None]
        assert len(self.flushLoggedErrors(ValueError)) == 1
