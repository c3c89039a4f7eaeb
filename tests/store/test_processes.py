"""What processes say of themselves."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from scepra.store import processes
from scepra.store.owner import new_owner, process_of
from scepra.store.processes import LONGEST_FAILURE, SILENT, Process
from tests.store.sample import NOW, Bench

OURS = new_owner()


def process(owner: str = OURS, **changes: object) -> Process:
    """A process that serves alone."""
    made = Process(owner, "single", "ra1", os.getpid(), owner, "/etc/scepra.yaml", NOW, NOW, "ab" * 32, NOW, NOW)
    return replace(made, **changes)  # type: ignore[arg-type]  # whatever a test changes


@pytest.mark.proves("FT-51")
def test_what_was_said_last_is_known(bench: Bench) -> None:
    """Each process has one row, which it writes anew; a long failure is cut."""
    bench.database.call(processes.keep, process())
    later = process(seen=NOW + timedelta(minutes=1), configuration="cd" * 32, failure="x" * 2 * LONGEST_FAILURE)
    bench.database.call(processes.keep, later)
    assert bench.database.call(processes.known) == [replace(later, failure="x" * LONGEST_FAILURE)]
    bench.database.call(processes.forget, [OURS])
    assert bench.database.call(processes.known) == []


def test_who_has_ended_can_be_told(bench: Bench) -> None:
    """Here by the process, elsewhere by long silence."""
    place, *_ = OURS.split(".")
    dead, elsewhere, silent = f"{place}.{os.getpid():x}.1.1", "ffffffff.1.1.1", "eeeeeeee.1.1.1"
    for owner in (OURS, dead, elsewhere):
        bench.database.call(processes.keep, process(owner))
    bench.database.call(processes.keep, process(silent, seen=NOW - SILENT - timedelta(seconds=1)))
    assert sorted(bench.database.call(processes.ended, NOW)) == sorted([dead, silent])
    assert bench.database.call(processes.ended, NOW + SILENT + timedelta(seconds=1)) != []


def test_a_process_that_runs_here_has_a_number() -> None:
    """Ours has; one that has ended, runs elsewhere, or has no such name has none."""
    place, *_ = OURS.split(".")
    assert process_of(OURS) == os.getpid()
    for owner in (f"{place}.{os.getpid():x}.1.1", "ffffffff" + OURS.removeprefix(place), "nobody", f"{place}.x.1.1"):
        assert process_of(owner) is None
