"""The clients: messages made beforehand, sent over kept-alive connections by a process of their own.

Run as ``python -m bench.load`` with a plan in JSON on standard input; the result is JSON on standard output. Nothing is
waited for but answers and the pace.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.records import read_records

SUCCESS, PENDING = "0", "3"
_STATUS = bytes.fromhex("060a6086480186f845010903310313") + b"\x01"  # pkiStatus, before its one character


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send to a port of the loopback interface.

    ``requests`` is a file of pkiMessages (:mod:`bench.records`), sent from the one numbered ``first``, and from the
    beginning again after the last. ``pace`` is requests per second over all connections, 0 for as fast as they are
    answered; ``status`` is the pkiStatus that all must be answered with.
    """

    port: int
    requests: str
    connections: int
    count: int
    pace: float = 0.0
    first: int = 0
    status: str = SUCCESS


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds for all, seconds for each that was answered as planned, and how many were not."""

    elapsed: float
    latencies: list[float]
    failed: int


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> bytes:
    writer.write(
        b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n"
        b"Content-Type: application/x-pki-message\r\n\r\n" % len(message) + message
    )
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return await reader.readexactly(int(fields[b"content-length"]))


async def run(plan: Plan) -> Outcome:
    """Carry a plan out."""
    messages = read_records(Path(plan.requests))
    expected = _STATUS + plan.status.encode("ascii")
    latencies: list[float] = []
    failed = 0
    numbers = iter(range(plan.count))
    streams = [await asyncio.open_connection("127.0.0.1", plan.port) for _ in range(plan.connections)]
    start = time.perf_counter()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal failed
        for number in numbers:
            due = start + number / plan.pace if plan.pace else 0.0
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            sent = time.perf_counter()
            answer = await _post(reader, writer, messages[(plan.first + number) % len(messages)])
            if expected in answer:
                # From when it was due, so that a queue before the connection counts as waiting.
                latencies.append(time.perf_counter() - (due or sent))
            else:
                failed += 1
        writer.close()

    await asyncio.gather(*(connection(*each) for each in streams))
    return Outcome(time.perf_counter() - start, latencies, failed)


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(run(Plan(**json.load(sys.stdin))))), sys.stdout)
