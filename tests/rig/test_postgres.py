"""The PostgreSQL server of the tests."""

from __future__ import annotations

import psycopg
import pytest

from tests.rig.postgres import GUARDED, PASSWORD, USER, Postgres

pytestmark = pytest.mark.slow


def test_each_database_is_new_and_belongs_to_a_role_without_rights(postgres: Postgres) -> None:
    """What is made in one database is not in the next, and its owner is no administrator."""
    first, second = postgres.database(), postgres.database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE t (n integer)")
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE other")
        connection.rollback()
    assert postgres.execute(second, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    socket = f"postgresql://{USER}@/{second.rpartition('/')[2]}?host={postgres.directory}&port={postgres.port}"
    with psycopg.connect(socket) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (USER,)


def test_what_is_committed_survives_a_crash_and_a_stop(postgres: Postgres) -> None:
    """After either the server is gone from its port, and then there again with what was committed."""
    url = postgres.database()
    postgres.execute(url, "CREATE TABLE t (n integer)")
    for end in (postgres.crash, postgres.stop):
        postgres.execute(url, "INSERT INTO t SELECT count(*) FROM t")
        end()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
        postgres.start()
    assert postgres.execute(url, "SELECT n FROM t ORDER BY n") == [(0,), (1,)]


def test_a_frozen_server_accepts_connections_and_does_not_answer(postgres: Postgres) -> None:
    """Connections neither end nor get anywhere until the server goes on; then a statement that was sent is answered."""
    url = postgres.database()
    with psycopg.connect(url, autocommit=True) as connection:
        postgres.pause()
        connection.pgconn.send_query(b"SELECT 1")
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(url, connect_timeout=2)
        assert connection.pgconn.is_busy()
        postgres.resume()
        result = connection.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"1"
        assert connection.pgconn.get_result() is None


def test_a_database_is_to_be_had_of_a_frozen_or_stopped_server(postgres: Postgres) -> None:
    """A test that leaves the server so does no harm to the next."""
    for leave in (postgres.pause, postgres.stop):
        leave()
        assert postgres.execute(postgres.database(), "SELECT 1") == [(1,)]


def test_connections_of_one_database_are_cut_off(postgres: Postgres) -> None:
    """Those of another database stay."""
    one, other = postgres.database(), postgres.database()
    with psycopg.connect(other) as stays, psycopg.connect(one) as first, psycopg.connect(one) as second:
        assert postgres.kill_backends(one) == 2
        assert postgres.kill_backends(one) == 0
        for cut in (first, second):
            with pytest.raises(psycopg.OperationalError):
                cut.execute("SELECT 1")
        assert stays.execute("SELECT 1").fetchone() == (1,)


def test_the_guarded_role_needs_its_password(postgres: Postgres) -> None:
    """With it, it can make tables; without or with another it does not get in."""
    url = postgres.url(postgres.database().rpartition("/")[2], GUARDED)
    with psycopg.connect(url, password=PASSWORD) as connection:
        connection.execute("CREATE TABLE t (n integer)")
    for password in ("wrong", None):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url, password=password)
