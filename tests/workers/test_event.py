from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, eventAsText
from twisted.python.failure import Failure

from scepra.audit import Record
from scepra.workers.event import LONGEST, decode, encode

LONG = "\N{FIRE}" * LONGEST


def logged(write: Callable[[Logger], object]) -> LogEvent:
    """The event that is logged."""
    events: list[LogEvent] = []
    write(Logger("scepra.example", observer=events.append))
    [event] = events
    return event


def fail() -> Failure:
    try:
        raise LookupError("no such thing")
    except LookupError:
        return Failure()


class Hostile:
    """Something that nobody can print."""

    def __repr__(self) -> str:
        raise RuntimeError


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "write",
    [
        lambda log: log.info("plain"),
        lambda log: log.warn("{source} {status}", source="192.0.2.1", status=200),
        lambda log: log.error("{error}", error=ValueError("a\nb")),
        lambda log: log.failure("it {what}", fail(), what="failed"),
        lambda log: log.info("{text}", text="\u2028\ud800\x1b\n"),
        lambda log: log.info("{thing!r}", thing=b"\xff"),
        lambda log: log.info("{missing}"),
        lambda log: log.info("old", log_system="TCP,1"),
    ],
)
def test_an_event_says_the_same_at_the_master(write: Callable[[Logger], object]) -> None:
    """It is printed as the worker would print it, the traceback of a failure too; on its way it is one line."""
    event = logged(write)
    line = encode(dict(event))
    assert line.count(b"\n") == 1
    relayed = decode(line[:-1], 7)
    assert eventAsText(relayed) == eventAsText(event)
    assert relayed["worker"] == 7


def test_an_audit_record_arrives_whole() -> None:
    """The record of a decision is one line, and the same JSON, whatever a client has put into it."""
    events: list[LogEvent] = []
    record = Record("wifi", "192.0.2.1", outcome="refused", subject='CN={x}"\r\n\u2028', names=("a\nb",))
    logger = Logger("scepra.audit", observer=events.append)
    logger.warn("{record}", record=json.dumps({"subject": record.subject, "names": record.names}))
    relayed = decode(encode(events[0]), 1)
    assert json.loads(relayed["record"]) == {"subject": record.subject, "names": list(record.names)}
    printed = eventAsText(relayed, includeTimestamp=False)
    assert printed == f"[scepra.audit#warn] {relayed['record']}"
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda log: log.error("{text}", text=LONG),
        lambda log: log.failure("{text}", fail(), text=LONG),
        lambda log: log.error("{text}", text=LONG, circle=CIRCLE),
        lambda log: log.error("\N{FIRE}" * 100, circle=CIRCLE),
        lambda log: log.error("{thing}", thing=Hostile()),
    ],
)
def test_an_event_that_fits_in_no_line_is_shortened(write: Callable[[Logger], object]) -> None:
    """What is too long, or cannot be written as JSON, keeps its level, its time, and the beginning of its text."""
    event = logged(write)
    line = encode(event)
    assert len(line) <= LONGEST
    relayed = decode(line[:-1], 1)
    whole, printed = eventAsText(event), eventAsText(relayed)
    assert len(printed) > 100
    assert printed in (whole, f"{whole[: len(printed) - 4]} ...")


@pytest.mark.parametrize("line", [b"", b"[]", b'"x"', b"7", b"{", b"\xff", b'{"__class_uuid__": "x"}', b"Traceback:"])
def test_other_lines_are_no_events(line: bytes) -> None:
    """What was not written as an event is told from one."""
    with pytest.raises(ValueError):
        decode(line, 1)
