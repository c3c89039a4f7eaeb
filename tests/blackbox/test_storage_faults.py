"""What becomes of enrolments when the disk is full, the database is locked, is gone, is another one, or has gone bad
(FT-30 to FT-41, FT-58)."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scepra.app import LOST
from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from scepra.store.tables import transactions
from tests.blackbox.procedure import LAZY, START, at_once, has_one, is_pending, is_turned_away, sent_for, started
from tests.rig.blackbox.device import Retry
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.postgres import Postgres

Rigs = Callable[..., Rig]
Filled = Callable[[Rig], AbstractContextManager[None]]

NAME = "device.example"
DISK = "disk"

pytestmark = pytest.mark.slow


def execute(rig: Rig, *statements: str) -> None:
    """Do something to the database that no RA would, and commit."""
    with rig.database._engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


# --- No room ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["disk", "file size"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[dict[str, Any], Filled]]:
    """Settings of a rig whose database can be filled, and what fills it for the duration of a block: a small disk,
    where this user may mount one, or a limit on the size of files.
    """
    if request.param == "file size":
        yield {}, _limited
        return
    place = tmp_path / DISK
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.strip()}")
    try:
        yield {"store": {"url": f"sqlite:{place / 'scepra.db'}"}}, lambda rig: _occupied(place)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def _occupied(place: Path) -> Iterator[None]:
    """No octet is left on a disk."""
    rest = place / "rest"
    with rest.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        rest.unlink()


@contextmanager
def _limited(rig: Rig) -> Iterator[None]:
    """No file may become larger than SQLite's log of what is to be written is now."""
    assert rig.database.file is not None
    log = rig.database.file.with_name(f"{rig.database.file.name}-wal")
    limit = log.stat().st_size
    assert limit > 2 * rig.ra.log.stat().st_size, "it would hit the log first"
    before = resource.prlimit(rig.ra.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(rig.ra.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.proves("FT-30", "I3", "I4", "I9", "DR-16")
def test_a_full_disk_turns_everybody_away(filled: tuple[dict[str, Any], Filled], rigs: Rigs) -> None:
    """While nothing can be written nothing is begun, neither for an enrolment nor for a renewal: they are told to come
    again. What was issued before is told as ever, and so is what needs no database. It heals by itself.
    """
    settings, full = filled
    rig = rigs(extra=settings)
    before = [rig.device(f"before-{number}.example") for number in range(3)]
    has_one(rig, *before)
    process = rig.ra.pid
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    renewal = before[0].renewal(rig.key())
    count = len(rig.database.transactions())
    with full(rig):
        for _ in range(2):
            assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol, renewal.enrol])))
        assert before[1].retry(Retry.SAME_BYTES).status is PKIStatus.SUCCESS
        assert before[2].poll().status is PKIStatus.SUCCESS
        assert rig.ra.get("GetCACert")[0] == 200
        assert len(rig.database.transactions()) == count
        assert sent_for(rig, device) == sent_for(rig, impatient) == sent_for(rig, renewal) == []
    has_one(rig, device, impatient, renewal)
    assert rig.ra.pid == process


@pytest.mark.proves("FT-31", "I5", "RA-24", "RA-25", "I4")
def test_a_certificate_that_cannot_be_stored_is_told_to_nobody(
    filled: tuple[dict[str, Any], Filled], rigs: Rigs
) -> None:
    """The disk fills while the CA works: the client is told to wait, and gets the certificate when there is room again.
    The CA has issued once.
    """
    settings, full = filled
    rig = rigs(extra=settings)
    has_one(rig, *(rig.device(f"before-{number}.example") for number in range(3)))
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    with rig.upstream.hold(Event.HANDLED, count=2) as held:
        talks = [each.begin(each.message()) for each in (device, impatient)]
        held.wait(2)
        with full(rig):
            held.release()
            patient, turned_away = at_once([talk.answer for talk in talks])
            assert is_pending(patient)
            assert is_turned_away(turned_away)
            assert {rig.database.state(each.name) for each in (device, impatient)} == {"sending"}
    has_one(rig, device, impatient)
    assert len(sent_for(rig, device)) == len(sent_for(rig, impatient)) == 1


# --- Locked ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-33", "I9")
def test_a_short_lock_is_waited_for(rigs: Rigs, store: str | None) -> None:
    """Somebody else holds the database for about a second: the enrolment takes that much longer, and others are
    answered meanwhile.
    """
    rig = rigs(store=store, extra=LAZY)
    device = rig.device(NAME)
    with rig.probing() as prober:
        with rig.database.locked():
            talk = device.begin(device.message())
            wait_until(lambda: prober.answers >= 15, "others are answered")
            assert rig.database.state(NAME) == ""
        assert talk.answer().status is PKIStatus.SUCCESS
        assert prober.failures == 0
    has_one(rig, device)


@pytest.mark.proves("FT-33", "I3", "I9", "DR-15")
def test_a_long_lock_is_not_waited_for(rigs: Rigs, store: str | None) -> None:
    """Somebody holds the database for longer than its timeout: clients are told to come again, nothing is begun, and
    others are answered meanwhile.
    """
    rig = rigs(store=store)
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    with rig.probing() as prober:
        with rig.database.locked():
            for _ in range(2):
                assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol])))
            assert prober.answers >= 20
            assert prober.failures == 0
            assert rig.database.transactions() == []
        assert rig.upstream.operations() == []
        has_one(rig, device, impatient)


@pytest.mark.proves("FT-34", "I4")
@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_enrolments_at_once_do_not_hinder_each_other(workers: int, rigs: Rigs) -> None:
    """Fifty devices enrol at the same time: nobody is turned away for a database that is busy with the others."""
    rig = started(rigs, workers, extra=LAZY)
    devices = [rig.device(f"parallel-{number}.example") for number in range(50)]
    answers = at_once([device.enrol for device in devices])
    assert {answer.status for answer in answers} == {PKIStatus.SUCCESS}
    assert len(rig.upstream.issued()) == len(rig.upstream.requests()) == 50
    assert "database" not in rig.ra.output()
    has_one(rig, *devices[::10])


# --- Another one -----------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-35", "I13")
@pytest.mark.parametrize(("fate", "workers"), [("deleted", 1), ("moved", 2), ("replaced", 1), ("replaced", 2)])
def test_a_database_that_is_not_there_any_more_ends_the_ra(fate: str, workers: int, rigs: Rigs) -> None:
    """The file is deleted, moved away or replaced by a copy: the RA says so and ends with a status of its own, since
    nobody would read what it writes from then on. With the file back in its place it goes on.
    """
    rig = started(rigs, workers, extra=LAZY)
    device, other = rig.device(NAME), rig.device("other.example")
    has_one(rig, device)
    file = rig.database.file
    assert file is not None
    kept = file.with_suffix(".kept")
    if fate == "replaced":
        os.link(file, kept)
        shutil.copy2(file, file.with_suffix(".copy"))
        file.with_suffix(".copy").replace(file)
    elif fate == "deleted":
        os.link(file, kept)
        file.unlink()
    else:
        file.rename(kept)
    wait_until(lambda: not rig.ra.running, "the RA ends")
    assert rig.ra.exit_code == LOST
    said = {"replaced": "has been replaced by another"}.get(fate, "has gone")
    assert f"the database file {file} {said}" in rig.ra.output()
    kept.replace(file)
    rig.ra.start(START)
    has_one(rig, device, other)


@pytest.mark.proves("FT-38", "AC-137")
def test_a_newer_database_is_refused(rigs: Rigs, store: str | None) -> None:
    """A program that does not know the tables' version does not start: it says why, and changes nothing."""
    rig = rigs(store=store)
    device = rig.device(NAME)
    has_one(rig, device)
    assert rig.ra.terminate() == 0
    ((version,),) = _rows(rig, "SELECT version_num FROM alembic_version")
    execute(rig, "UPDATE alembic_version SET version_num = '9999'")
    stored = list(rig.database.dump())
    octets = rig.database.file.read_bytes() if rig.database.file is not None else b""
    for _ in range(2):
        with pytest.raises(AssertionError, match="has version 9999, which is newer than this program knows"):
            rig.ra.start()
        assert rig.ra.exit_code == 1
    assert list(rig.database.dump()) == stored
    assert rig.database.file is None or rig.database.file.read_bytes() == octets
    assert _rows(rig, "SELECT version_num FROM alembic_version") == [("9999",)]
    execute(rig, f"UPDATE alembic_version SET version_num = '{version}'")  # noqa: S608 - ours
    rig.ra.start()
    has_one(rig, device)


def _rows(rig: Rig, query: str) -> list[tuple[Any, ...]]:
    with rig.database._engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-39", "I3", "I9")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_down_at_the_start_is_waited_for(workers: int, rigs: Rigs, postgres: Postgres) -> None:
    """While the database server is down the RA starts, tells its certificates and turns away everybody else; when the
    server comes, it makes its tables and serves.
    """
    url = postgres.database()
    postgres.stop()
    rig = started(rigs, workers, store=url)
    process = rig.ra.pid
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol])))
    assert rig.ra.get("GetCACert")[0] == 200
    assert rig.upstream.operations() == []
    postgres.start()
    has_one(rig, device, impatient)
    assert rig.ra.pid == process


@pytest.mark.proves("FT-39", "FT-31", "I3", "I5", "I9", "RA-25")
@pytest.mark.parametrize("fate", ["stopped", "frozen"])
def test_a_server_that_goes_away_turns_everybody_away(fate: str, rigs: Rigs, postgres: Postgres) -> None:
    """The database server ends or freezes while one enrolment is at the CA: that one is told to wait and
    others to come again, all of them in time; when the server is back, each has one certificate.
    """
    rig = rigs(store=postgres.database())
    process = rig.ra.pid
    under_way, device, impatient = rig.device("first.example"), rig.device(NAME), rig.device("x.example", "impatient")
    with rig.upstream.hold(Event.HANDLED, under_way.name) as held:
        talk = under_way.begin(under_way.message())
        held.wait()
        {"stopped": postgres.stop, "frozen": postgres.pause}[fate]()
        with rig.probing() as prober:
            held.release()
            assert is_pending(talk.answer())
            begun = time.monotonic()
            assert all(map(is_turned_away, at_once([device.enrol, impatient.enrol])))
            assert time.monotonic() - begun < 10
            assert rig.ra.get("GetCACert")[0] == 200
            assert prober.failures == 0
    assert rig.upstream.operations(NAME) == []
    postgres.start()
    has_one(rig, under_way, device, impatient)
    assert len(sent_for(rig, under_way)) == 1
    assert rig.ra.pid == process


@pytest.mark.proves("FT-39", "FT-41")
def test_connections_that_are_cut_off_are_replaced(rigs: Rigs, postgres: Postgres) -> None:
    """The server ends all connections, again and again: enrolments go on over new ones."""
    rig = rigs(store=postgres.database(), extra=LAZY)
    devices = [rig.device(f"cut-{number}.example") for number in range(5)]
    for device in devices:
        has_one(rig, device)
        assert postgres.kill_backends(rig.ra.settings["store"]["url"]) > 0
    has_one(rig, *devices)


@pytest.mark.proves("FT-41", "I3")
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_crosses_others_in_the_database_is_repeated(code: str, rigs: Rigs, postgres: Postgres) -> None:
    """A database transaction that could not be fitted among others is made again, a few times: the client notices
    nothing. If it never fits, the client is told to come again, and nothing was begun.
    """
    rig = rigs(store=postgres.database(), extra=LAZY)
    execute(
        rig,
        "CREATE SEQUENCE attempts",
        "CREATE FUNCTION crossed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF mod(nextval('attempts'), 4) > 0 THEN RAISE EXCEPTION 'crossed' USING ERRCODE = '{code}'; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER crossed BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION crossed()",
    )
    device, unlucky = rig.device(NAME), rig.device("unlucky.example")
    assert device.enrol().status is PKIStatus.SUCCESS
    assert _rows(rig, "SELECT last_value FROM attempts") == [(4,)]
    execute(rig, "ALTER SEQUENCE attempts INCREMENT BY 4 RESTART WITH 1")
    assert is_turned_away(unlucky.enrol())
    assert rig.database.transactions(unlucky.name) == []
    assert rig.upstream.operations(unlucky.name) == []
    execute(rig, "DROP TRIGGER crossed ON transactions")
    has_one(rig, device, unlucky)


# --- Gone bad --------------------------------------------------------------------------------------------------------


DAMAGES = {"csr": "substr(csr, 2)", "message": "substr(message, 2)", "received": "9e18"}
"""Columns, and what they hold when they have gone bad."""


@pytest.mark.proves("FT-58", "I13")
def test_rows_that_have_gone_bad_are_left_alone(rigs: Rigs) -> None:
    """Some of several transactions cannot be read any more, each in a way of its own: they are set aside, and told of,
    and their clients are never told a failure; the others go on, over a restart too. Mended, they go on themselves.
    """
    rig = rigs(extra={"store": LAZY["store"]})
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING))
    bad = [rig.device(f"{column}.example") for column in DAMAGES]
    good, better = rig.device("good.example"), rig.device("better.example")
    assert all(map(is_pending, at_once([device.enrol for device in (*bad, good, better)])))
    assert rig.ra.terminate() == 0
    sound = [rig.database.transactions(device.name)[0] for device in bad]
    for device, (column, value) in zip(bad, DAMAGES.items(), strict=True):
        execute(rig, f"UPDATE transactions SET {column} = {value} WHERE subject = 'CN={device.name}'")  # noqa: S608 - ours
    rig.ra.start()
    wait_until(lambda: rig.ra.output().count(_LEFT_ALONE) == len(bad), "they are set aside")
    rig.upstream.approve(good.name)
    has_one(rig, good)
    for told in at_once([device.poll for device in bad]):
        assert is_pending(told) or is_turned_away(told)
    rig.ra.restart()
    rig.upstream.approve(better.name)
    has_one(rig, good, better)
    assert rig.ra.output().count(_LEFT_ALONE) == len(bad)
    assert rig.ra.terminate() == 0
    mended = {"quarantine": None, "next_at": sound[0]["received"]}
    with rig.database._engine.begin() as connection:
        for row, column in zip(sound, DAMAGES, strict=True):
            same = transactions.c.id == row["id"]
            connection.execute(transactions.update().where(same).values({column: row[column]} | mended))
    rig.ra.start()
    assert [rig.upstream.approve(device.name) for device in bad] == [1, 1, 1]
    has_one(rig, *bad)


_LEFT_ALONE = "left alone from now on"
