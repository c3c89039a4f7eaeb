from __future__ import annotations

import os
from typing import Any

import pytest

from scepra.workers.inlet import Inlet, first_line


class Reactor:
    """Remembers who waits to read."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's name
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802 - Twisted's name
        self.readers.remove(reader)


@pytest.mark.proves("FT-51")
def test_lines_come_whole_and_in_order() -> None:
    """The first is waited for, the others are heard when they are complete, those too that came with the first."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"first\nsecond\nthi")
    line, rest = first_line(read_end)
    assert (line, rest) == (b"first", b"second\nthi")
    heard: list[bytes] = []
    reactor: Any = Reactor()
    inlet = Inlet(read_end, rest, reactor, heard.append)
    assert (heard, reactor.readers, inlet.fileno()) == ([b"second"], [inlet], read_end)
    for data in (b"r", b"d\nfou", b"rth\n"):
        os.write(write_end, data)
        inlet.doRead()
    assert heard == [b"second", b"third", b"fourth"]
    os.close(write_end)
    inlet.doRead()
    assert (heard, reactor.readers) == ([b"second", b"third", b"fourth"], [])
    os.close(read_end)


def test_a_master_that_ends_at_once() -> None:
    """The first line is what there was of it."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"fir")
    os.close(write_end)
    assert first_line(read_end) == (b"fir", b"")
    os.close(read_end)
