"""How the databases are opened: what is committed is on the disk, and nothing waits for ever."""

from __future__ import annotations

import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from scepra.config.load import load
from scepra.config.store import Store
from scepra.errors import ConfigError, StoreError
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import upgrade
from tests.config.sample import MINIMAL
from tests.rig.postgres import GUARDED, PASSWORD, Postgres
from tests.store.sample import Bench


@pytest.mark.proves("FT-34", "DR-7")
@pytest.mark.parametrize("product", ["sqlite"])
def test_sqlite_is_set_up_to_keep_what_is_committed(bench: Bench) -> None:
    """A log that is written through at each commit, references that are checked, a wait for locks."""
    with bench.engine.connect() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert read == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.proves("FT-34")
@pytest.mark.parametrize("product", ["sqlite"])
def test_who_begins_has_the_lock_and_who_only_reads_takes_none(bench: Bench) -> None:
    """A transaction that may write cannot fail half-way for want of the lock."""
    path = bench.settings.sqlite_path
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as foreign:
        with bench.engine.execution_options(reading=True).begin():
            foreign.execute("BEGIN IMMEDIATE")
            foreign.rollback()
        with bench.engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
            foreign.execute("BEGIN IMMEDIATE")


@pytest.mark.proves("AC-130")
def test_the_file_is_made_private_and_kept(tmp_path: Path) -> None:
    """Its log is private like it; what is there already is not emptied; what cannot be made is a problem."""
    path = tmp_path / "a b#%.db"
    create_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    engine = create_engine(Store(url=f"sqlite:{tmp_path}/x").model_copy(update={"url": f"sqlite:{path}"}), 1)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}
        assert len(list(tmp_path.iterdir())) == 3
    create_file(path)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["t"]
    engine.dispose()
    with pytest.raises(ConfigError) as caught:
        create_file(tmp_path / "nowhere" / "x.db")
    (problem,) = caught.value.problems
    assert (problem.path, problem.sentence) == (
        "store.url",
        "cannot be opened for writing: No such file or directory",
    )


@pytest.mark.proves("FT-39", "DR-7")
@pytest.mark.parametrize("product", ["postgresql"])
def test_postgresql_is_told_to_keep_what_is_committed_and_to_hang_on_nothing(bench: Bench) -> None:
    """Its statements, locks and idle transactions end after the configured time."""
    names = ("synchronous_commit", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with bench.engine.connect() as connection:
        read = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]
        level = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    assert read == ["on", "5s", "5s", "20s"]
    assert level == "read committed"


@pytest.mark.proves("AC-131")
def test_the_password_comes_from_its_file(tmp_path: Path, postgres: Postgres) -> None:
    """A role that needs one is let in with it, and it is in no text of the engine."""
    secret = tmp_path / "db.pass"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    url = postgres.url(postgres.database().rpartition("/")[2], GUARDED)
    file = tmp_path / "scepra.yaml"
    file.write_text(f"store: {{url: '{url}', password-file: db.pass}}\n{MINIMAL}")
    settings = load(file, {"CHALLENGE": "kX7-mQ2vRz9_TbW4nLp8"}).store
    engine = create_engine(settings, 1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_user").scalar_one() == GUARDED
    assert PASSWORD not in repr(engine) + str(engine.url)
    engine.dispose()


@pytest.mark.proves("FT-33", "FT-38")
def test_a_new_file_that_is_locked_is_waited_for_so_long(tmp_path: Path) -> None:
    """The first start of all waits for whoever has the file, as every later one does; in the end it is told."""
    path = tmp_path / "scepra.db"
    create_file(path)
    engine = create_engine(Store(url=f"sqlite:{path}", timeout="200ms"), 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"brought up to date: database is locked$"):
            upgrade(engine)
        foreign.rollback()
        assert upgrade(engine) is None
    engine.dispose()


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL needs an extra: without it the configuration's key and the command that helps are told."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError) as caught:
        create_engine(Store(url="postgresql://db.example/scepra"), 1)
    (problem,) = caught.value.problems
    assert (problem.path, problem.sentence) == (
        "store.url",
        "PostgreSQL needs the extra: pip install 'scepra[postgres]'",
    )


def test_a_server_by_its_socket(postgres: Postgres) -> None:
    """A URL may name the directory of the server's socket."""
    name = postgres.database().rpartition("/")[2]
    url = f"postgresql://scepra@/{name}?host={postgres.directory}&port={postgres.port}"
    engine = create_engine(Store(url=url), 1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT inet_server_addr()").scalar_one() is None
    engine.dispose()
