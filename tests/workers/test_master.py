from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from scepra.app import LOST
from scepra.config.model import Config
from scepra.config.source import Source
from scepra.errors import ConfigError, Problem
from scepra.workers.endpoint import TCPEndpoint
from scepra.workers.master import Master
from scepra.workers.order import Answer, Order, Prepare, Refuse, Take, decode
from scepra.workers.place import PREPARING, TAKING
from scepra.workers.relay import WorkerProcess
from scepra.workers.signals import Signals

GRACE, DEADLINE = 25.0, 30.0
FIRST, SECOND, THIRD = (Source("scepra.yaml", "/", content, 0o600) for content in (b"first", b"second", b"third"))
PROBLEM = Problem("scepra.yaml", 3, 1, "ra.key", "no such key")


def settings(workers: int) -> Any:
    """What a master looks at of a configuration."""
    return Config.model_construct(workers=workers, shutdown_grace=GRACE, worker_deadline=DEADLINE)


class Process:
    """A process that is only remembered, and the signals that it was sent."""

    def __init__(self, pid: int, protocol: WorkerProcess, command: list[str], sockets: Mapping[int, int]) -> None:
        self.pid = pid
        self.protocol = protocol
        self.command = command
        self.sockets = sockets
        self.signals: list[str] = []
        self.written = b""
        self.running = True
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.written += data

    def signalProcess(self, name: str) -> None:  # noqa: N802 - Twisted's name
        if not self.running:
            raise ProcessExitedAlready
        self.signals.append(name)

    @property
    def orders(self) -> list[Order]:
        """What it was told."""
        return [decode(line) for line in self.written.splitlines()]

    def answer(self, number: int, *problems: Problem) -> None:
        self.protocol.childDataReceived(1, Answer(number, problems).encode())

    def beat(self) -> None:
        self.protocol.childDataReceived(1, b"\n")

    def end(self, reason: Exception = ProcessTerminated(None, 9)) -> None:  # noqa: B008 - never changed
        self.running = False
        self.protocol.processEnded(Failure(reason))


class Reactor(Clock):
    """A clock with processes, that can be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.obstacle: OSError | None = None
        self.stopped = 0
        self.triggers: list[tuple[Any, ...]] = []

    def callWhenRunning(self, function: Callable[[], object]) -> None:  # noqa: N802 - Twisted's name
        self.callLater(0, function)

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: N802 - Twisted's name
        self.callLater(0, function, *arguments)

    def addSystemEventTrigger(self, *trigger: Any) -> None:  # noqa: N802 - Twisted's name
        self.triggers.append(trigger)

    def stop(self) -> None:
        self.stopped += 1

    def spawnProcess(  # noqa: N802 - Twisted's name
        self,
        protocol: WorkerProcess,
        executable: str,
        args: list[str],
        env: Mapping[str, str],
        childFDs: Mapping[int, Any],  # noqa: N803 - Twisted's name
    ) -> Process:
        if self.obstacle is not None:
            raise self.obstacle
        assert executable == args[0] == sys.executable
        assert env["HOME"] == os.environ["HOME"]
        assert {number: kind for number, kind in childFDs.items() if number < 3} == {0: "w", 1: "r", 2: "r"}
        sockets = {number: kind for number, kind in childFDs.items() if number >= 3}
        self.processes.append(Process(1000 + len(self.processes), protocol, args, sockets))
        return self.processes[-1]


class House:
    """A master and what it did."""

    def __init__(self, workers: int = 2, endpoints: int = 1) -> None:
        self.reactor: Any = Reactor()
        self.endpoints = [TCPEndpoint(0, "127.0.0.1")] * endpoints
        self.master = Master(self.endpoints, FIRST, settings(workers), self.reactor)
        self.stopped: list[object] = []
        self.master.privilegedStartService()
        self.master.startService()
        self.reactor.advance(0)

    @property
    def processes(self) -> list[Process]:
        return self.reactor.processes

    def stop(self) -> None:
        if self.master.running:
            self.master.stopService().addBoth(self.stopped.append)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.stop()


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    caught: list[LogEvent] = []
    globalLogPublisher.addObserver(caught.append)
    yield caught
    globalLogPublisher.removeObserver(caught.append)


def test_each_worker_has_a_socket_of_its_own_for_each_endpoint() -> None:
    """Workers are told their number, who the master is, and what to do; their sockets begin with number 3."""
    house = House(workers=2, endpoints=2)
    assert [process.command[-3:] for process in house.processes] == [
        ["scepra.workers", "1", str(os.getpid())],
        ["scepra.workers", "2", str(os.getpid())],
    ]
    assert [process.orders for process in house.processes] == [[Prepare(0, FIRST)]] * 2
    assert [list(process.sockets) for process in house.processes] == [[3, 4]] * 2
    names: list[list[Any]] = [[], []]
    for process in house.processes:
        for place, descriptor in enumerate(process.sockets.values()):
            with socket.socket(fileno=os.dup(descriptor)) as each:
                names[place].append(each.getsockname())
    assert [len(set(each)) for each in names] == [1, 1]
    assert len({descriptor for process in house.processes for descriptor in process.sockets.values()}) == 4
    house.stop()


@pytest.mark.proves("FT-55")
def test_a_dead_worker_is_replaced_at_the_same_sockets(house: House) -> None:
    """A worker that died has a successor at its sockets; the other worker stays."""
    first, second = house.processes
    first.end()
    house.reactor.advance(0.1)
    [*_, third] = house.processes
    assert (third.command, third.sockets) == (first.command, first.sockets)
    assert len(house.processes) == 3
    assert second.running


@pytest.mark.proves("FT-55")
def test_workers_that_keep_dying_are_replaced_ever_later(house: House, events: list[LogEvent]) -> None:
    """The pause doubles from a tenth of a second to ten; it is short again after a worker that has lived a minute."""
    pauses = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    for pause in pauses:
        house.processes[-1].end()
        known = len(house.processes)
        house.reactor.advance(pause * 0.99)
        assert len(house.processes) == known
        house.reactor.advance(pause * 0.02)
        assert len(house.processes) == known + 1
    house.reactor.advance(60)
    house.processes[-1].end(ProcessDone(0))
    house.reactor.advance(0.1)
    assert len(house.processes) == 2 + len(pauses) + 1
    said = [formatEvent(event) for event in events]
    assert "worker 2 has ended with signal 9: another one comes in 0.4 s" in said
    assert "worker 2 has ended with exit status 0: another one comes in 0.1 s" in said


@pytest.mark.proves("FT-55")
def test_a_worker_that_cannot_be_started_is_tried_again(house: House, events: list[LogEvent]) -> None:
    """While the machine has no room for a process its place stays empty, and is filled when there is."""
    first, second = house.processes
    house.reactor.obstacle = BlockingIOError(errno.EAGAIN, "busy")
    first.end()
    for pause in (0.1, 0.2, 0.4):
        house.reactor.advance(pause)
    assert len(house.processes) == 2
    said = [formatEvent(event) for event in events]
    assert f"worker 1 cannot be started: {os.strerror(errno.EAGAIN)}: tried again in 0.8 s" in said
    house.reactor.obstacle = None
    house.reactor.advance(0.8)
    [*_, third] = house.processes
    assert (third.command, third.sockets) == (first.command, first.sockets)
    assert second.running


def wait(house: House, seconds: float, *living: Process) -> None:
    """Let so much time pass, with signs of life of some workers."""
    for _ in range(round(seconds)):
        house.reactor.advance(1)
        for process in living:
            process.beat()


@pytest.mark.proves("FT-55", "I9")
def test_a_worker_that_hangs_is_replaced(house: House, events: list[LogEvent]) -> None:
    """After its deadline without a sign of life it is killed, which the log says, and has a successor."""
    first, second = house.processes
    first.beat()
    wait(house, DEADLINE, second)
    assert first.signals == []
    wait(house, DEADLINE / 10, second)
    assert (first.signals, second.signals) == (["KILL"], [])
    first.end()
    wait(house, 1, second)
    [*_, third] = house.processes
    assert third.command == first.command
    said = [formatEvent(event) for event in events]
    assert "worker 1, process 1000, has shown no sign of life for 30 s: it is killed" in said
    wait(house, 10 * DEADLINE, second, third)
    assert (second.signals, third.signals, len(house.processes)) == ([], [], 3)


@pytest.mark.proves("FT-55")
def test_a_worker_that_starts_has_more_time(house: House) -> None:
    """Four times its deadline; if a kill does not end it, another follows."""
    first, second = house.processes
    wait(house, 4 * DEADLINE, second)
    assert first.signals == []
    wait(house, DEADLINE / 10, second)
    assert first.signals == ["KILL"]
    wait(house, 1.2 * DEADLINE, second)
    assert first.signals == ["KILL", "KILL"]
    first.end()


@pytest.mark.proves("FT-55")
def test_a_master_that_stood_still_kills_nobody(house: House) -> None:
    """It has not read for an hour what the workers wrote: it looks once, reads, and goes on."""
    first, second = house.processes
    wait(house, 5, first, second)
    house.reactor.advance(3600)
    wait(house, 5 * DEADLINE, first, second)
    assert first.signals == second.signals == []


@pytest.mark.proves("FT-45", "FT-55")
def test_a_worker_that_ends_is_not_looked_at(house: House) -> None:
    """The grace bounds how long that takes, not the deadline."""
    first, second = house.processes
    wait(house, 5, first, second)
    house.stop()
    wait(house, GRACE)
    assert first.signals == second.signals == ["TERM"]
    for process in (first, second):
        process.end(ProcessDone(0))


@pytest.mark.proves("FT-45")
def test_the_end_is_when_all_workers_have_ended(house: House) -> None:
    """Told to end, the master lets nobody in any more, tells the workers, and waits for them; none is replaced."""
    first, second = house.processes
    address = house.master._places[0]._sockets[0].getsockname()
    house.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert [process.signals for process in house.processes] == [["TERM"], ["TERM"]]
    first.end(ProcessDone(0))
    house.reactor.advance(GRACE)
    assert house.stopped == []
    second.end(ProcessDone(0))
    assert house.stopped == [None]
    house.reactor.advance(100)
    assert len(house.processes) == 2
    assert second.signals == ["TERM"]
    assert house.reactor.getDelayedCalls() == []


@pytest.mark.proves("FT-45")
def test_workers_that_do_not_end_are_killed(house: House) -> None:
    """Five seconds after the grace a worker that still lives is killed; one that has ended is let be."""
    first, second = house.processes
    house.stop()
    first.end(ProcessDone(0))
    house.reactor.advance(GRACE + 4.9)
    assert second.signals == ["TERM"]
    house.reactor.advance(0.1)
    assert (first.signals, second.signals) == (["TERM"], ["TERM", "KILL"])
    second.end()
    assert house.stopped == [None]


def test_a_place_that_is_empty_at_the_end_stays_empty(house: House) -> None:
    """A worker that has just died is neither waited for nor replaced; nor is one that dies without a word of it."""
    first, second = house.processes
    first.end()
    second.running = False
    house.stop()
    assert second.signals == []
    second.end()
    assert house.stopped == [None]
    assert house.reactor.getDelayedCalls() == []


def test_an_end_before_the_beginning_starts_nobody() -> None:
    """A master that is stopped before its reactor runs starts no worker."""
    reactor: Any = Reactor()
    master = Master([TCPEndpoint(0, "127.0.0.1")], FIRST, settings(2), reactor)
    master.privilegedStartService()
    master.startService()
    stopped: list[object] = []
    master.stopService().addBoth(stopped.append)
    reactor.advance(0)
    assert (stopped, reactor.processes) == ([None], [])


@pytest.mark.proves("FT-35")
def test_a_lost_database_ends_all(house: House) -> None:
    """When workers say that the database is gone, none is replaced, and the exit status of the master says so too."""
    for process in house.processes:
        process.end(ProcessTerminated(LOST))
    assert house.reactor.stopped == 1
    assert house.reactor.triggers == [("after", "shutdown", os._exit, LOST)]
    house.stop()
    assert house.stopped == [None]
    assert len(house.processes) == 2


def test_a_port_that_is_taken_is_told() -> None:
    """Where somebody else listens, the master does not start."""
    [other] = TCPEndpoint(0, "127.0.0.1").bind(1)
    reactor: Any = Reactor()
    with other, pytest.raises(CannotListenError):
        Master([TCPEndpoint(other.getsockname()[1], "127.0.0.1")], FIRST, settings(2), reactor).privilegedStartService()


@pytest.mark.proves("FT-45")
def test_signals_stop_the_reactor_once() -> None:
    """The first signal stops the reactor, and others change nothing; until the reactor runs, none is heeded."""
    reactor: Any = Reactor()
    before = signal.getsignal(signal.SIGUSR2)
    try:
        Signals(reactor, [signal.SIGUSR2]).startService()
        assert signal.getsignal(signal.SIGUSR2) is before
        reactor.advance(0)
        for _ in range(3):
            signal.raise_signal(signal.SIGUSR2)
        assert reactor.stopped == 0
        reactor.advance(0)
        assert reactor.stopped == 1
    finally:
        signal.signal(signal.SIGUSR2, before)


def begin(house: House, source: Source) -> Deferred[Any]:
    """Have the workers make ready for another configuration."""
    return Deferred.fromCoroutine(house.master.prepare(source, settings(len(house.processes))))


def outcome(deferred: Deferred[Any]) -> Any:
    """What came of it: problems, or what is ready; None as long as nothing has."""
    found: list[Any] = []
    deferred.addErrback(lambda failure: failure.trap(ConfigError) and failure.value.problems)
    deferred.addCallback(found.append)
    return found[0] if found else None


@pytest.mark.proves("FT-51")
def test_all_are_ready_before_any_goes_by_it(house: House) -> None:
    """No worker is told to go by another configuration before the last one is ready for it."""
    first, second = house.processes
    preparing = begin(house, SECOND)
    assert first.orders == second.orders == [Prepare(0, FIRST), Prepare(1, SECOND)]
    first.answer(1)
    assert outcome(preparing) is None
    preparing = begin(house, THIRD)
    second.answer(1)  # Of the attempt before.
    first.answer(2)
    assert not preparing.called
    second.answer(2)
    taking = Deferred.fromCoroutine(house.master.take(outcome(preparing)))
    assert first.orders[-1] == second.orders[-1] == Take(2)
    first.answer(2)
    assert not taking.called
    second.answer(2)
    assert taking.called
    assert house.reactor.stopped == 0
    first.end()
    house.reactor.advance(0.1)
    assert house.processes[-1].orders == [Prepare(0, THIRD)]


@pytest.mark.proves("FT-51", "FT-55")
@pytest.mark.parametrize("how", ["refused", "dead", "late"])
def test_one_that_cannot_is_enough(house: House, how: str) -> None:
    """A worker that refuses, dies, or does not answer: none goes by it, all are told why, and the one that comes in the
    place of the dead goes by what is in force."""
    first, second = house.processes
    preparing = begin(house, SECOND)
    first.answer(1)
    if how == "refused":
        second.answer(1, PROBLEM)
        said = PROBLEM
    elif how == "dead":
        second.end()
        house.reactor.advance(0.2)
        said = Problem("scepra.yaml", 0, 0, "", "worker 2 has ended with signal 9")
    else:
        house.reactor.advance(PREPARING)
        said = Problem("scepra.yaml", 0, 0, "", "worker 2 has not answered within 60 s")
    assert outcome(preparing) == (said,)
    # Nobody starts before it is decided by what.
    assert len(house.processes) == 2
    house.master.refuse("why")
    assert first.orders[-1] == Refuse("why")
    assert Take(1) not in first.orders + second.orders
    house.reactor.advance(0)
    assert [process.orders for process in house.processes[2:]] == ([[Prepare(0, FIRST)]] if how == "dead" else [])
    second.answer(1)


@pytest.mark.proves("FT-51", "FT-55")
def test_one_that_is_ready_and_does_not_go_by_it_is_replaced(house: House, events: list[LogEvent]) -> None:
    """It is killed, and its successor goes by the new configuration: never some by the one, some by the other."""
    first, second = house.processes
    preparing = begin(house, SECOND)
    for process in house.processes:
        process.answer(1)
    taking = Deferred.fromCoroutine(house.master.take(outcome(preparing)))
    first.answer(1)
    house.reactor.advance(TAKING)
    assert taking.called
    assert (first.signals, second.signals) == ([], ["KILL"])
    assert "worker 2 has not answered within 10 s: it is killed" in [formatEvent(event) for event in events]
    second.end()
    house.reactor.advance(0.1)
    assert house.processes[-1].orders == [Prepare(0, SECOND)]


@pytest.mark.proves("FT-51")
def test_a_place_that_is_empty_meanwhile_is_filled_by_what_is_decided(house: House) -> None:
    """Its worker has died just before: it is not waited for, and the next one goes by the new configuration."""
    first, second = house.processes
    second.end()
    preparing = begin(house, SECOND)
    house.reactor.advance(0.2)
    assert len(house.processes) == 2
    first.answer(1)
    taking = Deferred.fromCoroutine(house.master.take(outcome(preparing)))
    first.answer(1)
    assert taking.called
    house.reactor.advance(0)
    assert [process.orders for process in house.processes[2:]] == [[Prepare(0, SECOND)]]


@pytest.mark.proves("FT-51", "FT-45")
def test_an_end_meanwhile_is_the_end(house: House) -> None:
    """Told to end while workers make ready, the master ends."""
    first, second = house.processes
    preparing = begin(house, SECOND)
    house.stop()
    for process in (first, second):
        process.end(ProcessDone(0))
    assert len(outcome(preparing)) == 2
    house.master.refuse("why")
    house.reactor.advance(100)
    assert house.stopped == [None]
    assert len(house.processes) == 2
