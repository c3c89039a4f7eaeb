"""Which core runs what: the RA and the floor take turns on one, and nothing else of a measurement runs there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager

ALL = frozenset(os.sched_getaffinity(0))
MEASURED = frozenset((max(ALL),))
OTHERS = ALL - MEASURED or MEASURED


@contextmanager
def on(cores: Set[int]) -> Iterator[None]:
    """Run on these cores, and start processes there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
