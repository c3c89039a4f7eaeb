"""What this process tries to reach outside of itself: connections, names, programs, and files that a peer named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MARK = "evil"
"""What stands in every address and path that a hostile message names."""

_OUTWARD = frozenset(("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"))
_watching: list[list[str]] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and (event in _OUTWARD or (event == "open" and MARK in str(arguments[0]))):
        _watching[-1].append(f"{event} {arguments!r}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is tried until the end of the block, as the interpreter's audit hooks see it: no hook is ever taken out."""
    if not _hooked:
        sys.addaudithook(_note)
        _hooked.append(True)
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()


_hooked: list[bool] = []
