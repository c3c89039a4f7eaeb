"""The version of the tables: brought up to date once, whoever else starts, and never by halves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra.config.store import Store
from scepra.errors import StoreError
from scepra.store.engine import create_engine
from scepra.store.schema import VERSION, Migration, Newer, upgrade, version
from scepra.store.tables import metadata
from tests.rig.postgres import Postgres
from tests.rig.programs import wait_until
from tests.store.sample import together

UPGRADE = """
import sys
from pathlib import Path
from scepra.config.store import Store
from scepra.store.engine import create_engine
from scepra.store.schema import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(create_engine(Store(url=sys.argv[1]), 1)))
"""
"""A first start; it waits for a line."""

KILLED = """
import os, signal, sys
from sqlalchemy import event
from scepra.config.store import Store
from scepra.store.engine import create_engine
from scepra.store.schema import upgrade
engine = create_engine(Store(url=sys.argv[1]), 1)
left = int(sys.argv[2])

def count(connection, cursor, statement, *others):
    global left
    if statement.lstrip().startswith(("CREATE", "INSERT", "UPDATE")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

event.listen(engine, "before_cursor_execute", count)
event.listen(engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
upgrade(engine)
"""
"""A start that is killed before one of its statements, or at the latest before the commit."""


@pytest.fixture
def engine(empty: Store) -> Iterator[sa.Engine]:
    """An empty database."""
    made = create_engine(empty, 8)
    yield made
    made.dispose()


def tables(engine: sa.Engine) -> set[str]:
    """The names of what there is."""
    return set(sa.inspect(engine).get_table_names())


def found(engine: sa.Engine) -> str | None:
    """The version of the tables."""
    with engine.connect() as connection:
        return version(connection)


@pytest.mark.proves("FT-38")
def test_an_empty_database_gets_its_tables_and_keeps_them(engine: sa.Engine) -> None:
    """The first start makes them, and the next finds them as they are."""
    assert found(engine) is None
    assert upgrade(engine) is None
    assert tables(engine) == {*metadata.tables, "alembic_version"}
    assert found(engine) == VERSION
    assert upgrade(engine) == VERSION


@pytest.mark.proves("FT-38")
def test_the_migrations_make_what_the_program_expects(engine: sa.Engine) -> None:
    """Tables, columns, types, keys and indexes are those of the program: nothing is left to be migrated."""
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.proves("FT-38")
def test_threads_that_start_at_once(engine: sa.Engine, empty: Store) -> None:
    """One makes the tables, the others wait and find them."""
    engines = [create_engine(empty, 1) for _ in range(4)]
    versions = together(*[partial(upgrade, each) for each in engines])
    for each in engines:
        each.dispose()
    assert sorted(versions, key=str) == sorted([None] + [VERSION] * 3, key=str)
    assert upgrade(engine) == VERSION


@pytest.mark.slow
@pytest.mark.proves("FT-38")
def test_processes_that_start_at_once(engine: sa.Engine, empty: Store) -> None:
    """Four first starts in the same moment: one makes the tables, and none fails."""
    started = [_start(UPGRADE, empty.url) for _ in range(4)]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=30) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert sorted(out for out, _ in said) == [f"{VERSION}\n"] * 3 + ["None\n"], said
    assert upgrade(engine) == VERSION


@pytest.mark.proves("FT-38", "I13")
@pytest.mark.parametrize("statements", [1, 8, 1000])
def test_a_start_that_is_killed_half_way_has_not_begun(engine: sa.Engine, empty: Store, statements: int) -> None:
    """Killed after some tables, or right before the commit, it leaves nothing; the second start completes."""
    process = _start(KILLED, empty.url, str(statements))
    out, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, out + errors
    wait_until(lambda: tables(engine) == set(), "the server has noticed")
    assert upgrade(engine) is None
    assert tables(engine) == {*metadata.tables, "alembic_version"}


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.proves("AC-137", "FT-38")
def test_tables_of_a_newer_program_are_left_alone(engine: sa.Engine) -> None:
    """An older program refuses them with a sentence, and changes nothing."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.text("ALTER TABLE clock ADD COLUMN later INTEGER"))
        connection.execute(sa.text("DROP TABLE drivers"))
    before = tables(engine)
    with pytest.raises(Newer, match=r"^the database has version 9999, which is newer than this program knows"):
        upgrade(engine)
    assert tables(engine) == before
    assert found(engine) == "9999"
    with pytest.raises(Newer):
        Migration(engine, Clock()).attempt()


@pytest.mark.slow
@pytest.mark.proves("FT-39")
@pytest.mark.parametrize("product", ["postgresql"])
def test_a_server_that_is_down_is_tried_again_until_it_answers(empty: Store, postgres: Postgres) -> None:
    """Each try is later than the last; the first that finds the server makes the tables."""
    clock = Turns()
    migration = Migration(create_engine(empty, 1), clock)
    postgres.stop()
    with pytest.raises(StoreError, match=r"^the database cannot be brought up to date: "):
        migration.attempt()
    migration.startService()
    pauses = [clock.turn(), clock.turn(), clock.turn()]
    assert pauses == sorted(set(pauses))
    postgres.start()
    clock.turn()
    assert clock.getDelayedCalls() == [], "it is done"
    engine = create_engine(empty, 1)
    assert found(engine) == VERSION
    engine.dispose()
    migration.stopService()


@pytest.mark.proves("FT-39")
@pytest.mark.parametrize("product", ["postgresql"])
def test_who_waits_for_a_server_can_be_stopped(empty: Store, postgres: Postgres) -> None:
    """Nothing is tried any more then."""
    clock = Turns()
    migration = Migration(create_engine(empty, 1), clock)
    migration.startService()
    assert len(clock.getDelayedCalls()) == 1
    migration.stopService()
    assert clock.getDelayedCalls() == []


@pytest.mark.proves("AC-137")
def test_who_waits_for_a_server_stops_at_tables_of_a_newer_program(engine: sa.Engine, empty: Store) -> None:
    """It would never work: the program ends instead of trying on."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    clock = Turns()
    migration = Migration(create_engine(empty, 1), clock)
    migration.startService()
    clock.turn()
    assert clock.stopped
    assert clock.getDelayedCalls() == []
    migration.stopService()


class Turns(Clock):
    """A clock that goes to the next call and does it, and what it does on other threads, at once."""

    stopped = False

    def stop(self) -> None:
        """The program ends."""
        self.stopped = True

    def turn(self) -> float:
        """Do the next call; after how many seconds it was to be done."""
        (call,) = self.getDelayedCalls()
        pause: float = call.getTime() - self.seconds()
        self.advance(pause)
        return pause

    def getThreadPool(self) -> Turns:  # noqa: N802 - Twisted's name
        """Itself: there are no other threads."""
        return self

    def callInThreadWithCallback(self, told, function, *arguments, **named):  # noqa: N802 - Twisted's name
        """Call a function, and say what it came to."""
        result: Deferred[object] = Deferred()
        result.addCallback(lambda ignored: function(*arguments, **named))
        result.addCallbacks(lambda value: told(True, value), lambda failure: told(False, failure))
        result.callback(None)

    def callFromThread(self, function, *arguments, **named):  # noqa: N802 - Twisted's name
        """Call a function."""
        function(*arguments, **named)
