"""The RA's process, as far as it can be told without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from scepra.lab.process import PATIENCE, Decision, Failed, RegistrationAuthorityProcess

from .conftest import run

RECORD = {"transaction": "T1", "outcome": "refused", "reference": "ab12", "subject": "CN=x", "reasons": ["a: b", "c"]}
DECISION = Decision("T1", "refused", "ab12", "CN=x", ("a: b", "c"))


class Spawner(Clock):
    """A reactor whose processes are only remembered, with the signals that they were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.command: list[str] = []
        self.signals: list[str] = []

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], env: Mapping[str, str] | None) -> Spawner:  # noqa: N802 - Twisted's name
        assert env is None
        self.command = args
        return self

    def signalProcess(self, name: str) -> None:  # noqa: N802 - Twisted's name
        self.signals.append(name)


@pytest.fixture
def reactor() -> Spawner:
    return Spawner()


@pytest.fixture
def process(reactor: Spawner) -> RegistrationAuthorityProcess:
    return RegistrationAuthorityProcess(reactor, Path("some/config.yaml"))


def line(record: Mapping[str, object]) -> bytes:
    return b"2026-06-01T12:00:00+0000 [scepra.audit#warn] " + json.dumps(record).encode() + b"\n"


def end(process: RegistrationAuthorityProcess) -> None:
    process.processEnded(Failure(ProcessDone(0)))


def test_it_is_twistd_with_the_configuration(process: RegistrationAuthorityProcess, reactor: Spawner) -> None:
    """What is started is twistd, in the foreground, without a file for its process id."""
    assert reactor.command[3:] == ["-n", "--pidfile=", "scepra", "--config", "some/config.yaml"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(RECORD).decode(), DECISION),
        ('{"transaction": "T", "outcome": "issued", "reference": "r"}', Decision("T", "issued", "r", "", ())),
        ('{"transaction": "T", "outcome": "issued"}', None),
        ("Log opened. {}", None),
        ("{not JSON}", None),
        ("[]", None),
        ("", None),
    ],
)
def test_decisions_are_found_in_the_log(text: str, expected: Decision | None) -> None:
    """A line with an audit record is a decision, any other is none."""
    assert Decision.parse(text) == expected


def test_decision_is_awaited(process: RegistrationAuthorityProcess) -> None:
    """A record is told to whoever waits for it and whoever observes, though it comes in pieces; then it is at hand."""
    observed: list[Decision] = []
    results: list[object] = []
    process.observe = observed.append
    Deferred.fromCoroutine(process.decision("T1")).addBoth(results.append)
    record = line(RECORD)
    process.outReceived(b"Log opened.\n" + record[:60])
    assert results == observed == []
    process.outReceived(record[60:])
    assert results == observed == [DECISION]
    assert run(process.decision("T1")) == DECISION


def test_decision_that_does_not_come(process: RegistrationAuthorityProcess, reactor: Spawner) -> None:
    """A record that does not come is given up, and so is one of a process that has ended."""
    results: list[Failure] = []
    Deferred.fromCoroutine(process.decision("T1")).addErrback(results.append)
    reactor.advance(PATIENCE)
    assert results[0].check(Failed)
    Deferred.fromCoroutine(process.decision("T2")).addErrback(results.append)
    end(process)
    assert "the RA has ended" in results[1].getErrorMessage()


def test_what_it_prints_last_is_kept(process: RegistrationAuthorityProcess) -> None:
    """The last lines are kept, standard error among them, and an unfinished one as well."""
    process.outReceived(b"".join(b"line %d\n" % number for number in range(100)))
    process.errReceived(b"Oh")
    assert process.output.startswith("line 60\nline 61\n")
    assert process.output.endswith("line 99\nOh")


def test_it_is_told_to_end(process: RegistrationAuthorityProcess, reactor: Spawner) -> None:
    """A process that is stopped gets TERM, and nothing more when it ends; stopping it again does nothing."""
    stopped: list[object] = []
    Deferred.fromCoroutine(process.stop()).addBoth(stopped.append)
    assert (stopped, reactor.signals) == ([], ["TERM"])
    end(process)
    reactor.advance(PATIENCE)
    run(process.stop())
    assert (stopped, reactor.signals, process.running) == ([None], ["TERM"], False)


def test_it_is_killed_if_it_does_not_end(process: RegistrationAuthorityProcess, reactor: Spawner) -> None:
    """A process that does not heed TERM is killed."""
    stopped: list[object] = []
    Deferred.fromCoroutine(process.stop()).addBoth(stopped.append)
    reactor.advance(PATIENCE)
    assert reactor.signals == ["TERM", "KILL"]
    end(process)
    assert stopped == [None]


@pytest.mark.parametrize("told", [True, False])
def test_unexpected_end(told: bool, process: RegistrationAuthorityProcess) -> None:
    """An end is unexpected unless the process was told to end."""
    unexpected: list[object] = []
    Deferred.fromCoroutine(process.unexpected_end()).addBoth(unexpected.append)
    if told:
        Deferred.fromCoroutine(process.stop())
    assert unexpected == []
    end(process)
    assert unexpected == ([] if told else [None])
