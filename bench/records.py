"""Files of octet strings, each after its length in four octets: what one process has made for others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Put octet strings into a file."""
    path.write_bytes(b"".join(len(record).to_bytes(4, "big") + record for record in records))


def read_records(path: Path) -> list[bytes]:
    """What :func:`write_records` has written."""
    data, records, position = path.read_bytes(), [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        records.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return records
