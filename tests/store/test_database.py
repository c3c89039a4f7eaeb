"""Functions of a connection: each in one database transaction, whole or not at all, whatever the server does."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from scepra.config.store import Store
from scepra.errors import StoreError
from scepra.store import intents, leases, outcomes
from scepra.store.database import Database, Lost
from scepra.store.engine import create_engine
from scepra.store.intents import Recorded
from scepra.store.outcomes import Outcome
from scepra.store.tables import drivers
from scepra.transaction import Event
from tests.rig.postgres import Postgres
from tests.store.sample import LEASE, NOW, PATIENCE, Bench, certificate, digest, intent, just_before, together
from tests.store.threaded import PATIENT, run, threads

sqlite_only = pytest.mark.parametrize("product", ["sqlite"])
postgresql_only = pytest.mark.parametrize("product", ["postgresql"])


def answer(connection: sa.Connection) -> int:
    """42, from the database."""
    return int(connection.execute(sa.text("SELECT 42")).scalar_one())


def drive(connection: sa.Connection, upstream: str) -> bool:
    """Write a row."""
    return leases.drive(connection, upstream, "process", NOW, NOW + LEASE)


def fail(connection: sa.Connection) -> None:
    """Write a row, and fail."""
    drive(connection, "failed")
    raise KeyError("a mistake")


def driven(bench: Bench) -> set[str]:
    """Which rows were written."""
    return {row["upstream"] for row in bench.rows("drivers")}


# --- Where it is called ----------------------------------------------------------------------------------------------


def test_on_the_calling_thread_a_call_is_one_transaction(bench: Bench) -> None:
    """It returns what the function returns; what the function raises undoes everything and comes out as it was."""
    assert bench(answer) == run(bench.database.read(answer)) == run(bench.database.write(answer)) == 42
    with pytest.raises(KeyError, match="a mistake"):
        bench(fail)
    with pytest.raises(KeyError):
        run(bench.database.write(fail))
    assert driven(bench) == set()
    run(bench.database.write(drive, "ca"))
    assert driven(bench) == {"ca"}


@pytest.mark.proves("I10")
def test_errors_of_the_database_show_neither_statement_nor_values(bench: Bench) -> None:
    """What the database says comes as a StoreError of one line without anything that was to be written."""
    secret = "Pa55word-canary"

    def wrong(connection: sa.Connection) -> None:
        connection.execute(sa.insert(drivers).values(upstream=secret, owner=secret, lease_ends=NOW))
        connection.execute(sa.insert(drivers).values(upstream=secret, owner=secret, lease_ends=NOW))

    def unknown(connection: sa.Connection) -> None:
        connection.execute(sa.text("SELECT :value FROM nowhere"), {"value": secret})

    def unbound(connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.bindparam("missing")))

    for function in (wrong, unknown, unbound):
        with pytest.raises(StoreError) as caught:
            bench(function)
        said = str(caught.value)
        assert said.startswith("the database")
        for hidden in (secret, "INSERT", "SELECT", "\n"):
            assert hidden not in said
    assert driven(bench) == set()


# --- On threads ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-15")
def test_results_come_to_the_reactor_s_thread(settings: Store) -> None:
    """Functions that write run elsewhere; what they return or raise comes back where it was asked for."""
    with threads(settings) as made:
        waiting = made.begin(lambda connection: threading.get_ident())
        delivered: list[int] = []
        waiting.addCallback(lambda ident: delivered.append(threading.get_ident()) or ident)
        (ran,) = made.loop.wait(waiting)
        assert ran != threading.get_ident()
        assert delivered == [threading.get_ident()]
        assert made.do(answer, read=True) == 42
        assert isinstance(made.do(fail), KeyError)
        assert made.loop.getDelayedCalls() == [], "no deadline is left behind"


@pytest.mark.proves("FT-34")
@sqlite_only
def test_what_comes_meanwhile_is_committed_together(bench: Bench) -> None:
    """Writes that wait while the disk is busy share the next commit."""
    with threads(bench.settings) as made:
        busy, release = made.occupy()
        waiting = [made.begin(drive, f"{number}") for number in range(10)]
        release.set()
        assert made.loop.wait(busy, *waiting) == [True] * 11
        assert made.commits == 2
    assert len(driven(bench)) == 10


@pytest.mark.proves("FT-30")
def test_one_that_fails_harms_no_other(bench: Bench) -> None:
    """Of those that are committed together each has its own result; what failed has left nothing."""
    with threads(bench.settings) as made:
        busy, release = made.occupy()
        waiting = [made.begin(drive, "a"), made.begin(fail), made.begin(drive, "b"), made.begin(drive, "a")]
        release.set()
        _, first, failed, second, again = made.loop.wait(busy, *waiting)
    assert (first, second, again) == (True, True, True)
    assert isinstance(failed, KeyError)
    assert driven(bench) == {"a", "b"}


@pytest.mark.proves("FT-34")
@sqlite_only
def test_more_than_one_batch_of_writes_are_all_carried_out(bench: Bench) -> None:
    """However many wait, all are written, in as few commits as batches allow."""
    with threads(bench.settings) as made:
        busy, release = made.occupy()
        waiting = [made.begin(drive, f"{number}") for number in range(150)]
        release.set()
        assert made.loop.wait(busy, *waiting) == [True] * 151
        assert made.commits == 1 + 3
    assert len(driven(bench)) == 150


@pytest.mark.proves("FT-39", "FT-33", "I9")
def test_whoever_waits_too_long_is_told(bench: Bench) -> None:
    """After so many seconds a StoreError; what has not begun by then is never begun, and what comes later works."""
    with threads(bench.settings, count=1) as made:
        busy, release = made.occupy()
        given_up = [made.begin(drive, "given up")]
        made.loop.advance(PATIENT)
        for problem in made.loop.wait(busy, *given_up):
            assert isinstance(problem, StoreError)
            assert problem.reason == "the database has not answered within 1000 s"
        release.set()
        assert made.do(drive, "later")
    assert driven(bench) == {"later"}


@pytest.mark.proves("DR-15")
def test_no_more_than_so_many_wait(settings: Store) -> None:
    """One more is told at once; as soon as there is room others may wait again."""
    with threads(settings, count=1, limit=3) as made:
        busy, release = made.occupy()
        waiting = [made.begin(answer), made.begin(drive, "ca")]
        problem = made.do(answer)
        assert isinstance(problem, StoreError)
        assert problem.reason == "too much is waiting for the database"
        release.set()
        assert made.loop.wait(busy, *waiting) == [True, 42, True]
        assert made.do(answer) == 42
        busy, release = made.occupy()
        given_up = [made.begin(answer), made.begin(answer)]
        made.loop.advance(PATIENT)
        made.loop.wait(busy, *given_up)
        release.set()
        assert made.loop.wait(*[made.begin(answer) for _ in range(3)]) == [42] * 3


def test_what_was_begun_before_the_end_is_ended(bench: Bench) -> None:
    """Stopping waits for what the threads have to do, and they end."""
    with threads(bench.settings) as made:
        busy, release = made.occupy()
        waiting = [made.begin(drive, f"{number}") for number in range(5)]
        stopped = made.database.stopService()
        release.set()
        assert made.loop.wait(busy, *waiting, stopped) == [True] * 6 + [None]
        assert not any(thread.name.startswith("store-") for thread in threading.enumerate())
    assert len(driven(bench)) == 5


@pytest.mark.proves("FT-34")
def test_fifty_writers_at_once(bench: Bench, other: Callable[..., Database]) -> None:
    """Fifty enrolments at the same moment, of one process and of others, are all recorded: nothing is ever locked."""
    databases = [other() for _ in range(5)]
    with threads(bench.settings) as made:
        waiting = [made.begin(intents.record, intent(f"own {number}"), NOW) for number in range(25)]
        elsewhere = together(
            *[partial(databases[number % 5].call, intents.record, intent(f"{number}"), NOW) for number in range(25)]
        )
        own = made.loop.wait(*waiting)
    assert [each for each in [*own, *elsewhere] if not isinstance(each, Recorded)] == []
    assert len(bench.rows("transactions")) == 50


# --- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-37")
@sqlite_only
def test_what_is_read_waits_for_nobody_who_writes(bench: Bench) -> None:
    """While a write is under way and another waits, what is committed can be read at once, where it is asked for."""
    bench(drive, "committed")
    with threads(bench.settings) as made:
        busy, release = made.occupy()
        names = sa.select(drivers.c.upstream)
        read = made.begin(lambda connection: list(connection.execute(names).scalars()), read=True)
        assert read.result == ["committed"], "it was not handed to a thread"
        release.set()
        made.loop.wait(busy)
        assert isinstance(made.do(fail, read=True), KeyError)


@sqlite_only
def test_what_cannot_be_read_here_is_read_by_a_thread(bench: Bench) -> None:
    """Where the database refuses, the thread that may wait asks it again."""
    with threads(bench.settings) as made:
        problem = made.do(lambda connection: connection.execute(sa.text("SELECT 1 FROM nowhere")), read=True)
        assert isinstance(problem, StoreError)
        assert problem.reason == "the database refuses: no such table: nowhere"
        assert made.do(answer, read=True) == 42


@pytest.mark.proves("FT-33", "I9")
@sqlite_only
def test_a_lock_of_another_process_that_ends_is_waited_for(bench: Bench) -> None:
    """A backup or a shell that has the file for a moment delays what is written, and nothing else."""
    with locked(bench) as release, threads(bench.settings) as made:
        waiting = made.begin(drive, "ca")
        assert made.do(answer, read=True) == 42
        assert not waiting.called
        release()
        assert made.loop.wait(waiting) == [True]
    assert driven(bench) == {"ca"}


@pytest.mark.proves("FT-33", "I3")
@sqlite_only
def test_a_lock_of_another_process_that_does_not_end_is_told(bench: Bench, other: Callable[..., Database]) -> None:
    """After the timeout a StoreError, and nothing was written; when the lock has gone everything works again."""
    impatient = bench.settings.model_copy(update={"timeout": 0.2})
    before = bench.content()
    with locked(bench), threads(impatient) as made:
        for problem in made.loop.wait(*[made.begin(intents.record, intent(once="code"), NOW) for _ in range(3)]):
            assert isinstance(problem, StoreError)
            assert problem.reason == "the database refuses: database is locked"
        with pytest.raises(StoreError):
            other(timeout=0.2).call(drive, "ca")
    assert bench.content() == before
    assert bench.record(once="code")


@contextmanager
def locked(bench: Bench) -> Iterator[Callable[[], object]]:
    """The file, locked by another connection than scepra's until the end, or until what is given is called."""
    with closing(sqlite3.connect(bench.settings.sqlite_path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        yield foreign.rollback


@pytest.mark.proves("FT-35")
@sqlite_only
@pytest.mark.parametrize("what", ["deleted", "replaced", "moved away"])
@pytest.mark.parametrize("read", [False, True])
def test_a_file_that_was_exchanged_is_never_written_to(bench: Bench, what: str, read: bool) -> None:
    """A file that is deleted, replaced or moved under us is Lost; whoever has to stop is told once."""
    path = bench.settings.sqlite_path
    assert path is not None
    with threads(bench.settings) as made:
        assert made.do(drive, "before")
        assert made.do(answer, read=True) == 42
        if what == "replaced":
            shutil.copy(path, path.with_name("backup"))
            os.replace(path.with_name("backup"), path)
        elif what == "deleted":
            path.unlink()
        else:
            path.rename(path.with_name("elsewhere"))
        assert made.lost == []
        busy = [made.begin(answer, read=read) for _ in range(3)]
        problems = made.loop.wait(*busy)
        assert {type(problem) for problem in problems} == {Lost}
        said = "has been replaced by another" if what == "replaced" else "has gone: No such file or directory"
        assert str(problems[0]) == f"the database file {path} {said}"
        assert len(made.lost) == 1
        assert isinstance(made.do(drive, "after"), Lost)
        assert len(made.lost) == 1
    assert path.exists() == (what == "replaced"), "it does not come back empty"


@pytest.mark.proves("FT-35")
@sqlite_only
def test_a_file_that_never_was_there_is_not_made(settings: Store) -> None:
    """The engine opens what is there, and makes nothing."""
    path = settings.sqlite_path
    assert path is not None
    path.unlink()
    with threads(settings) as made:
        problem = made.do(answer)
        assert isinstance(problem, StoreError)
        assert problem.reason == "the database refuses: unable to open database file"
        assert isinstance(made.do(answer, read=True), StoreError)
    assert not path.exists()


@pytest.mark.proves("FT-30", "I3", "I7", "I10")
@sqlite_only
def test_a_full_disk_undoes_the_whole_transaction(bench: Bench) -> None:
    """What does not fit leaves nothing at all, and says so without what was to be written; with room it goes on."""
    canary = "Pa55word-canary"
    pages: list[int] = []

    def bounded(engine: sa.Engine) -> None:
        @event.listens_for(engine, "connect")
        def limit(connection: sqlite3.Connection, record: object) -> None:
            used = connection.execute("PRAGMA page_count").fetchone()[0]
            pages.append(connection.execute(f"PRAGMA max_page_count={used + 2}").fetchone()[0])

    bench.record(request="before")
    before = bench.content()
    large = intent("large", once="code", csr=canary.encode() * 10_000)
    with threads(bench.settings, prepared=bounded) as made:
        busy, release = made.occupy()
        waiting = [made.begin(intents.record, large, NOW), made.begin(answer)]
        release.set()
        _, problem, unharmed = made.loop.wait(busy, *waiting)
        assert isinstance(problem, StoreError)
        assert problem.reason == "the database refuses: database or disk is full"
        assert canary not in str(problem)
        assert unharmed == 42
        assert bench.content() == before
        assert made.do(answer, read=True) == 42
    assert pages
    with threads(bench.settings) as made:
        recorded = made.do(intents.record, large, NOW)
        assert isinstance(recorded, Recorded)
        assert recorded.new


@pytest.mark.proves("FT-31", "FT-30", "I5")
@sqlite_only
def test_a_certificate_that_does_not_fit_is_not_granted(bench: Bench) -> None:
    """With a full disk the transaction stays as it was, to be asked about again."""
    held, crowded = bench.record(), create_engine(bench.settings, 1)

    @event.listens_for(crowded, "connect")
    def limit(connection: sqlite3.Connection, record: object) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={used}")

    outcome = Outcome(Event.GRANTED, certificate=certificate(), reason="r" * 50_000)
    before = bench.content()
    with pytest.raises(StoreError, match="disk is full"):
        Database(crowded).call(outcomes.apply, held, outcome, NOW)
    crowded.dispose()
    assert bench.content() == before
    assert bench(outcomes.apply, held, outcome, NOW) is not None


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-41")
@postgresql_only
def test_crossing_transactions_are_both_carried_out(bench: Bench) -> None:
    """One of two that wait for each other is ended by the server, and run again."""
    for upstream in ("a", "b"):
        bench(drive, upstream)
    barrier, runs = threading.Barrier(2), []

    def cross(connection: sa.Connection, first: str, second: str) -> str:
        runs.append(first)
        for upstream in (first, second):
            connection.execute(sa.update(drivers).where(drivers.c.upstream == upstream).values(owner=first))
            if upstream == first and len(runs) <= 2:
                barrier.wait(PATIENCE)
        return first

    assert together(partial(bench, cross, "a", "b"), partial(bench, cross, "b", "a")) == ["a", "b"]
    assert len(runs) > 2
    assert len({row["owner"] for row in bench.rows("drivers")}) == 1


@pytest.mark.proves("FT-41")
@postgresql_only
def test_serialization_failures_are_tried_again(bench: Bench) -> None:
    """Where the server is set to serializable transactions, one that does not fit among others is run again."""
    for upstream in ("a", "b"):
        bench(drive, upstream)
    serializable = Database(bench.engine.execution_options(isolation_level="SERIALIZABLE"))
    barrier, runs = threading.Barrier(2), []

    def skew(connection: sa.Connection, mine: str) -> int:
        runs.append(mine)
        count = connection.execute(sa.select(sa.func.count()).where(drivers.c.owner == "process")).scalar_one()
        if len(runs) <= 2:
            barrier.wait(PATIENCE)
        connection.execute(sa.update(drivers).where(drivers.c.upstream == mine).values(owner=f"{count}"))
        return int(count)

    counts = together(*[partial(serializable.call, skew, name) for name in ("a", "b")])
    assert set(counts) == {1, 2}
    assert len(runs) > 2


@pytest.mark.proves("FT-41")
@postgresql_only
def test_what_never_fits_is_told_in_the_end(bench: Bench) -> None:
    """After some tries a StoreError."""
    runs = []

    def never(connection: sa.Connection) -> None:
        runs.append(1)
        connection.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(StoreError, match=r"^the database refuses: no$"):
        bench(never)
    assert len(runs) == 5


@pytest.mark.proves("FT-39")
@postgresql_only
def test_connections_that_were_cut_off_are_replaced(bench: Bench, postgres: Postgres) -> None:
    """After an administrator has ended them all, whoever calls next notices nothing."""
    with threads(bench.settings) as made:
        assert made.loop.wait(*[made.begin(answer) for _ in range(8)]) == [42] * 8
        assert postgres.kill_backends(bench.settings.url) >= 1
        assert made.loop.wait(*[made.begin(drive, f"{number}") for number in range(8)]) == [True] * 8
    assert len(driven(bench)) == 8


@pytest.mark.proves("FT-39", "DR-7")
@postgresql_only
def test_a_commit_that_nobody_answered_is_not_repeated(bench: Bench, postgres: Postgres) -> None:
    """Whether it happened is not known, so a StoreError says that; what calls again finds what there is."""
    runs = []

    def once(connection: sa.Connection) -> None:
        runs.append(1)
        drive(connection, "ca")

    def cut(connection: sa.Connection) -> None:
        postgres.kill_backends(bench.settings.url)

    event.listen(bench.engine, "commit", cut)
    try:
        with pytest.raises(StoreError):
            bench(once)
    finally:
        event.remove(bench.engine, "commit", cut)
    assert runs == [1]
    assert bench(answer) == 42


@pytest.mark.proves("FT-39", "I9")
@postgresql_only
def test_a_server_that_stands_still_stops_nobody(bench: Bench, postgres: Postgres) -> None:
    """Whoever waits is told in time, however many they are; when the server goes on, so does the store."""
    with threads(bench.settings, count=2) as made:
        assert made.loop.wait(*[made.begin(answer) for _ in range(4)]) == [42] * 4
        postgres.pause()
        try:
            waiting = [made.begin(drive, f"{number}") for number in range(6)]
            made.loop.advance(PATIENT)
            assert all(isinstance(problem, StoreError) for problem in made.loop.wait(*waiting))
        finally:
            postgres.resume()
        assert made.loop.wait(*[made.begin(drive, f"later {number}") for number in range(4)]) == [True] * 4
    assert {f"later {number}" for number in range(4)} <= driven(bench)


@pytest.mark.slow
@pytest.mark.proves("FT-39", "FT-42", "DR-7")
@postgresql_only
def test_a_server_that_crashes_keeps_what_was_committed(bench: Bench, postgres: Postgres) -> None:
    """While it is down every call is a StoreError at once; when it is back everything committed is there."""
    assert bench(drive, "before")
    postgres.crash()
    with pytest.raises(StoreError, match=r"^the database refuses: "):
        bench(drive, "while it is down")
    postgres.start()
    assert bench(drive, "after")
    assert driven(bench) == {"before", "after"}
    (setting,) = bench(lambda connection: connection.execute(sa.text("SHOW synchronous_commit")).one())
    assert setting == "on"


@pytest.mark.proves("FT-33", "FT-39")
@postgresql_only
def test_a_row_that_is_locked_too_long_is_told(bench: Bench, other: Callable[..., Database]) -> None:
    """A statement waits for a lock so long and no longer."""
    bench(drive, "ca")
    impatient = other(timeout=0.2)
    with bench.engine.begin() as connection:
        connection.execute(sa.update(drivers).values(owner="console"))
        with pytest.raises(StoreError, match="timeout"):
            impatient.call(drive, "ca")
    assert impatient.call(drive, "another")


@pytest.mark.proves("FT-39")
@postgresql_only
def test_more_threads_than_connections_take_turns(settings: Store) -> None:
    """An engine has as many connections as it was made for; who comes in vain for one is told."""
    with threads(settings.model_copy(update={"timeout": 0.2}), count=1) as made:
        busy, release = made.occupy()
        with pytest.raises(StoreError, match=r"^the database cannot be used \(TimeoutError\)$"):
            Database(made.engine).call(answer)
        release.set()
        made.loop.wait(busy)


def test_the_helper_that_interrupts_says_when_it_was_not_needed(bench: Bench) -> None:
    """A test that interrupts nothing proves nothing."""
    with pytest.raises(AssertionError), just_before(bench.engine, "SELECT nothing", lambda: None):
        assert bench(intents.find, digest("route")) is None
