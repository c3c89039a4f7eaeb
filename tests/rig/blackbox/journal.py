"""An append-only file of JSON lines, each with both times: what happened, in order, readable while it is written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JOURNAL, LEDGER = "upstream.jsonl", "ledger.jsonl"
"""The upstream's: what came in, and what it knows of each transaction."""


class Journal:
    """Writes lines to a file, each in one piece."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **what: Any) -> None:
        """Write one line: its times, then *what*."""
        line = json.dumps({"monotonic": time.monotonic(), "wall": time.time(), **what})
        os.write(self._descriptor, line.encode("utf-8") + b"\n")

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal so far; one that a kill has cut short is left out."""
    if path.exists():
        for line in path.read_text("utf-8").split("\n")[:-1]:
            yield json.loads(line)
