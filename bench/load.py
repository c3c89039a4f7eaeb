"""The clients: requests made beforehand, sent over kept-alive connections by a process of their own.

Run as ``python -m bench.load`` with a plan in JSON on standard input; the result is JSON on standard output. Nothing is
waited for but answers and the pace: ``pace`` is enrolments per second over all connections, 0 for as fast as they are
answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_SUCCESS = bytes.fromhex("060a6086480186f845010903310313") + b"\x010"  # pkiStatus "0"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to send what: ``requests`` is a file of pkiMessages, each after its length in four octets."""

    host: str
    port: int
    path: str
    requests: str
    connections: int
    count: int
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds for all, seconds for each that succeeded, and how many did not."""

    elapsed: float
    latencies: list[float]
    failed: int


def write_requests(path: Path, messages: list[bytes]) -> None:
    """Put messages into a file that a plan can name."""
    path.write_bytes(b"".join(len(message).to_bytes(4, "big") + message for message in messages))


def _read_requests(path: Path) -> list[bytes]:
    data, messages, position = path.read_bytes(), [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        messages.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return messages


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plan: Plan, message: bytes) -> bytes:
    writer.write(
        f"POST {plan.path}?operation=PKIOperation HTTP/1.1\r\nHost: {plan.host}\r\nContent-Length: {len(message)}\r\n"
        f"Content-Type: application/x-pki-message\r\n\r\n".encode("ascii")
        + message
    )
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return await reader.readexactly(int(fields[b"content-length"]))


async def run(plan: Plan) -> Outcome:
    """Carry a plan out."""
    messages = _read_requests(Path(plan.requests))
    start = time.perf_counter()
    latencies: list[float] = []
    failed = 0
    numbers = iter(range(plan.count))

    async def connection() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(plan.host, plan.port)
        for number in numbers:
            due = start + number / plan.pace if plan.pace else 0.0
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            sent = time.perf_counter()
            answer = await _post(reader, writer, plan, messages[number % len(messages)])
            if _SUCCESS in answer:
                # From when it was due, so that a queue before the connection counts as waiting.
                latencies.append(time.perf_counter() - (due or sent))
            else:
                failed += 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(plan.connections)))
    return Outcome(time.perf_counter() - start, latencies, failed)


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(run(Plan(**json.load(sys.stdin))))), sys.stdout)
