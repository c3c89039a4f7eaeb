"""The names by which processes hold leases; whether such a process has ended can be told on the machine it ran on, so
that what it left is taken up at once (I13)."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

_PROCESSES = Path("/proc")
_serial = itertools.count(1)


def new_owner() -> str:
    """A name for whoever holds leases in this process; at most 32 characters."""
    return owner_of(os.getpid(), next(_serial))


def owner_of(process: int, serial: int = 0) -> str:
    """The name of a process that runs here now; *serial* tells several in one process from each other."""
    return f"{_place()}.{process:x}.{_started(process) or 0:x}.{serial:x}"


def has_ended(owner: str) -> bool:
    """Whether the process of this name has certainly ended; never so for one of another machine or container."""
    place, *rest = owner.split(".")
    try:
        process, started, _ = (int(part, 16) for part in rest)
    except ValueError:
        return False
    return place == _place() and _started(process) != started


def process_of(owner: str) -> int | None:
    """The number of the process of this name; None if it does not run here now."""
    place, *rest = owner.split(".")
    try:
        process, started, _ = (int(part, 16) for part in rest)
    except ValueError:
        return None
    return process if place == _place() and _started(process) == started else None


def _place() -> str:
    """This machine since it was started, and this namespace of process numbers."""
    try:
        boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text("ascii")
        namespace = os.readlink(_PROCESSES / "self/ns/pid")
    except OSError:
        return os.urandom(4).hex()
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]


def _started(process: int) -> int | None:
    """When a process was started, in ticks since the machine was; None if there is none, or it is only a remnant."""
    try:
        fields = (_PROCESSES / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
