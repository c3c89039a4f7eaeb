"""An RA of several processes as its tests look at it: what each worker logs, which of them has a connection."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, eventAsJSON, eventAsText

MARK = "event "


def observer() -> FileLogObserver:
    """For ``twistd --logger``: each event as twistd prints it, and then whole, as JSON."""

    def both(event: LogEvent) -> str:
        return f"{eventAsText(event)}\n{MARK}{eventAsJSON(event)}\n"

    return FileLogObserver(sys.stdout, both)


def observed(command: Sequence[str]) -> Sequence[str]:
    """The words that run twistd with that observer."""
    place = command.index("-n")
    return (*command[:place], f"--logger={__name__}.observer", *command[place:])


def events(output: str) -> list[dict[str, Any]]:
    """What was printed as JSON."""
    return [json.loads(line.removeprefix(MARK)) for line in output.splitlines() if line.startswith(MARK)]


def owner(client: int, server: int, workers: Sequence[int]) -> int | None:
    """Which of the workers has accepted the connection from a port to a port; None is none of them, yet."""
    # Addresses are written as the machine keeps them, ports in hexadecimal.
    ends = [f":{server:04X}", f":{client:04X}"]
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        if [local[-5:], remote[-5:]] == ends and inode != "0":
            return next((pid for pid in workers if f"socket:[{inode}]" in _open(pid)), None)
    return None


def _open(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(descriptor))
    return found
