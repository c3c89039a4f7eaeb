"""What a process says of itself, for as long as it runs."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from scepra.config.source import Source
from scepra.presence import EVERY, Presence
from scepra.store import processes
from scepra.store.database import Database
from scepra.store.owner import new_owner, owner_of, process_of
from tests.rig.house import Day, in_memory

SOURCE = Source("scepra.yaml", "/etc", b"x", 0o600)


@pytest.mark.proves("FT-51")
@pytest.mark.parametrize("leader", [None, os.getppid()])
def test_a_process_is_known_until_it_ends(leader: int | None) -> None:
    """By which configuration it goes and since when, whether it has taken the latest, and whom to tell of another."""
    day, database, owner = Day(), Database(in_memory()), new_owner()
    # The store keeps milliseconds.
    day.begun = day.begun.replace(microsecond=0)
    service = Presence(database, owner, SOURCE, leader, day.now, day)
    service.startService()
    day.advance(0)
    (first,) = database.call(processes.known)
    assert (first.owner, first.process, first.file) == (owner, os.getpid(), "/etc/scepra.yaml")
    assert (first.role, process_of(first.leader)) == (
        ("single", os.getpid()) if leader is None else ("worker", os.getppid())
    )
    assert first.leader == owner_of(leader or os.getpid())
    assert (first.configuration, first.failure) == (SOURCE.version, "")
    day.advance(1.2 * EVERY)
    (later,) = database.call(processes.known)
    assert later.seen > first.seen
    assert later == replace(first, seen=later.seen)
    service.refused("scepra.yaml:1:1: no")
    day.advance(0)
    (refused,) = database.call(processes.known)
    assert (refused.configuration, refused.failure) == (SOURCE.version, "scepra.yaml:1:1: no")
    assert (refused.loaded, refused.told) == (first.loaded, day.now())
    day.advance(1)
    service.taken("new")
    day.advance(0)
    (taken,) = database.call(processes.known)
    assert (taken.configuration, taken.loaded, taken.told, taken.failure) == ("new", day.now(), day.now(), "")
    assert service.stopService().called
    assert database.call(processes.known) == []
    database.close()


def test_a_store_that_does_not_answer_is_no_reason_to_end() -> None:
    """It is said again later."""
    day, engine = Day(), in_memory()
    database = Database(engine)
    service = Presence(database, new_owner(), SOURCE, None, day.now, day)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE processes RENAME TO elsewhere")
    service.startService()
    day.advance(0)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO processes")
    day.advance(1.2 * EVERY)
    assert len(database.call(processes.known)) == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE processes RENAME TO elsewhere")
    assert service.stopService().called
    database.close()
