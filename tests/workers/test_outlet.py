from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import Logger, formatEvent, globalLogPublisher

from scepra.workers import outlet as module
from scepra.workers.event import decode
from scepra.workers.outlet import Outlet


class Reactor:
    """Remembers who waits to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: N802 - Twisted's name
        function(*arguments)

    def addWriter(self, writer: Any) -> None:  # noqa: N802 - Twisted's name
        self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802 - Twisted's name
        self.writers.remove(writer)


class Pipe:
    """An outlet, and the master's end of its pipe."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.reactor: Any = Reactor()
        self.outlet = Outlet(self.write_end, self.reactor)
        self.log = Logger("scepra.example", observer=self.outlet)
        self._data = b""

    def read(self) -> list[str]:
        """What the master reads now, as the texts of events."""
        try:
            while data := os.read(self.read_end, 65536):
                self._data += data
        except BlockingIOError:
            pass
        *lines, self._data = self._data.split(b"\n")
        return [formatEvent(decode(line, 1)) for line in lines]

    def close(self) -> None:
        for descriptor in (self.read_end, self.write_end):
            if descriptor >= 0:
                os.close(descriptor)

    def hang_up(self) -> None:
        os.close(self.read_end)
        self.read_end = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.mark.proves("FT-55")
def test_signs_of_life_stand_among_events(pipe: Pipe) -> None:
    """Each is a line with nothing in it, after what was logged before."""
    pipe.outlet.beat()
    pipe.log.info("one")
    pipe.outlet.beat()
    first, event, last, rest = os.read(pipe.read_end, 65536).split(b"\n")
    assert (first, last, rest) == (b"", b"", b"")
    assert formatEvent(decode(event, 1)) == "one"


def test_events_are_written_at_once(pipe: Pipe) -> None:
    """As long as the master reads, an event is in the pipe when it has been logged."""
    pipe.log.info("one")
    pipe.log.info("two")
    assert pipe.read() == ["one", "two"]
    assert pipe.reactor.writers == []


def test_a_master_that_does_not_read_does_not_hold_up_a_worker(pipe: Pipe) -> None:
    """Events wait until the master reads again, and come in order, each once."""
    for number in range(2000):
        pipe.log.info("{number} {text}", number=number, text="x" * 100)
    assert pipe.reactor.writers == [pipe.outlet]
    texts = pipe.read()
    while pipe.reactor.writers:
        pipe.outlet.doWrite()
        texts += pipe.read()
    assert [int(text.split()[0]) for text in texts] == list(range(2000))


def test_what_is_too_much_is_counted(pipe: Pipe) -> None:
    """Beyond a bound events are lost, and the log says how many, once the master reads again."""
    globalLogPublisher.addObserver(pipe.outlet)
    try:
        size = 10_000
        for number in range(1000):
            pipe.log.info("{number}", number=number, text="x" * size)
        texts = pipe.read()
        while pipe.reactor.writers:
            pipe.outlet.doWrite()
            texts += pipe.read()
    finally:
        globalLogPublisher.removeObserver(pipe.outlet)
    *texts, last = texts
    assert [int(text) for text in texts] == list(range(len(texts)))
    assert module._MOST / 2 < len(texts) * size < module._MOST + 2 * 65536
    assert last == f"{1000 - len(texts)} log events are lost: the master did not read them in time"
    pipe.log.info("after")
    assert pipe.read() == ["after"]


def test_threads_may_log(pipe: Pipe) -> None:
    """Lines of several threads do not mix, and none is lost."""

    def write(name: str) -> None:
        for number in range(200):
            pipe.log.info("{name}{number}", name=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = pipe.read()
    while pipe.reactor.writers:
        pipe.outlet.doWrite()
        texts += pipe.read()
    assert sorted(texts) == sorted(f"{name}{number}" for name in "abcd" for number in range(200))


def test_a_master_that_is_gone_is_not_written_to(pipe: Pipe) -> None:
    """Nothing happens when there is nobody to read, and nothing is kept."""
    for _ in range(2000):
        pipe.log.info("x" * 100)
    pipe.hang_up()
    pipe.outlet.doWrite()
    assert pipe.reactor.writers == []
    pipe.log.info("x")
    pipe.outlet.close(5)


def test_the_end_waits_for_the_master_but_not_for_long(pipe: Pipe) -> None:
    """What still waits at the end is written while the master reads; one that does not read is given up."""
    for _ in range(2000):
        pipe.log.info("x" * 100)
    begun = time.monotonic()
    pipe.outlet.close(0.05)
    assert 0.05 <= time.monotonic() - begun < 5
    texts: list[str] = []
    closing = threading.Thread(target=pipe.outlet.close, args=(30,))
    closing.start()
    while closing.is_alive():
        texts += pipe.read()
    assert len(texts + pipe.read()) == 2000
