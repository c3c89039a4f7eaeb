"""What processes say of themselves."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from scepra.store import processes, tables
from scepra.store.owner import new_owner, process_of
from scepra.store.processes import FORGOTTEN, LONGEST_FAILURE, Process
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
    bench.database.call(processes.forget, OURS)
    assert bench.database.call(processes.known) == []


def test_who_has_ended_is_not_known_any_more(bench: Bench) -> None:
    """Here that is told by the process, elsewhere by long silence; their rows go when another says something."""
    place, *_ = OURS.split(".")
    dead, elsewhere, silent = f"{place}.{os.getpid():x}.1.1", "ffffffff.1.1.1", "eeeeeeee.1.1.1"

    def rows() -> set[str]:
        return set(
            bench.database.call(lambda connection: list(connection.scalars(sa.select(tables.processes.c.owner))))
        )

    bench.database.call(processes.keep, process(silent, seen=NOW - FORGOTTEN - timedelta(seconds=1)))
    bench.database.call(processes.keep, process(elsewhere, seen=NOW - FORGOTTEN))
    assert rows() == {elsewhere, silent}
    bench.database.call(processes.keep, process(dead))
    assert {each.owner for each in bench.database.call(processes.known)} == {elsewhere}
    bench.database.call(processes.keep, process())
    assert rows() == {OURS, elsewhere}


def test_a_process_that_runs_here_has_a_number() -> None:
    """Ours has; one that has ended, runs elsewhere, or has no such name has none."""
    place, *_ = OURS.split(".")
    assert process_of(OURS) == os.getpid()
    for owner in (f"{place}.{os.getpid():x}.1.1", "ffffffff" + OURS.removeprefix(place), "nobody", f"{place}.x.1.1"):
        assert process_of(owner) is None
