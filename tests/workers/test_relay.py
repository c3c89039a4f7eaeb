from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from scepra.config.source import Source
from scepra.errors import Problem
from scepra.workers.event import LONGEST, SIGN_OF_LIFE, encode
from scepra.workers.order import Answer, Prepare
from scepra.workers.relay import STDERR, STDOUT, Ending, Lines, WorkerProcess


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    caught: list[LogEvent] = []
    globalLogPublisher.addObserver(caught.append)
    yield caught
    globalLogPublisher.removeObserver(caught.append)


@pytest.fixture
def signs() -> list[str]:
    return []


@pytest.fixture
def answers() -> list[Answer]:
    return []


@pytest.fixture
def worker(signs: list[str], answers: list[Answer]) -> WorkerProcess:
    first = Prepare(0, Source("f", "/", b"x", 0o600))
    return WorkerProcess(3, first, lambda: signs.append("lives"), answers.append)


def event(text: str) -> bytes:
    return encode({"log_format": text, "log_level": LogLevel.warn, "log_namespace": "scepra.example", "log_time": 1.0})


def test_events_are_published_as_they_come(worker: WorkerProcess, events: list[LogEvent]) -> None:
    """An event becomes one of the master's when its line is complete, however its octets are cut."""
    data = event("one") + event("two")
    for position in range(len(data)):
        worker.childDataReceived(STDOUT, data[position : position + 1])
    assert [(formatEvent(each), each["worker"], each["log_level"]) for each in events] == [
        ("one", 3, LogLevel.warn),
        ("two", 3, LogLevel.warn),
    ]


@pytest.mark.proves("FT-55")
def test_empty_lines_are_signs_of_life(worker: WorkerProcess, events: list[LogEvent], signs: list[str]) -> None:
    """Wherever they stand among events, and only where events stand: an error may have empty lines."""
    worker.childDataReceived(STDOUT, SIGN_OF_LIFE + event("one") + SIGN_OF_LIFE[:1])
    assert len(signs) == 2
    worker.childDataReceived(STDERR, b"\n")
    worker.childDataReceived(STDOUT, event("two"))
    assert len(signs) == 2
    assert [formatEvent(each) for each in events] == ["one", "worker 3: ", "two"]


@pytest.mark.proves("FT-51")
def test_answers_are_told_from_events(worker: WorkerProcess, events: list[LogEvent], answers: list[Answer]) -> None:
    """Among events, and only there: what is printed can say anything."""
    answer = Answer(7, (Problem("f", 1, 2, "listen", "no such thing"),))
    worker.childDataReceived(STDOUT, event("one") + answer.encode() + event("two"))
    worker.childDataReceived(STDERR, answer.encode())
    assert answers == [answer]
    assert [formatEvent(each) for each in events][:2] == ["one", "two"]
    assert len(events) == 3


def test_other_lines_are_logged_as_text(worker: WorkerProcess, events: list[LogEvent]) -> None:
    """A traceback, and whatever else is no event, is logged line by line as the worker's, the last line too."""
    worker.childDataReceived(STDERR, b"Traceback {x}:\n  \xff")
    worker.childDataReceived(STDOUT, b"printed\n")
    worker.processEnded(Failure(ProcessDone(0)))
    assert [(formatEvent(each), each["worker"]) for each in events] == [
        ("worker 3: Traceback {x}:", 3),
        ("worker 3: printed", 3),
        ("worker 3:   \\xff", 3),
    ]


def test_a_line_without_end_is_cut() -> None:
    """A line that is too long comes in pieces: no worker fills the master's memory."""
    lines = Lines()
    taken = [piece for _ in range(10) for piece in lines.take(b"x" * 30_000)]
    assert max(map(len, taken)) <= LONGEST + 30_000
    assert sum(map(len, [*taken, *lines.end()])) == 300_000


@pytest.mark.parametrize(
    ("reason", "expected", "text"),
    [
        (ProcessDone(0), Ending(None, 0), "exit status 0"),
        (ProcessTerminated(3), Ending(None, 3), "exit status 3"),
        (ProcessTerminated(None, 9), Ending(9, None), "signal 9"),
    ],
)
def test_how_it_ended(reason: Any, expected: Ending, text: str, worker: WorkerProcess) -> None:
    """A signal and an exit status are told apart."""
    endings: list[Ending] = []
    worker.ended.addCallback(endings.append)
    worker.processEnded(Failure(reason))
    assert endings == [expected]
    assert str(endings[0]) == text
