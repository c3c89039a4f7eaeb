"""The connection to the database: SQLite beside the configuration, or a PostgreSQL server."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from scepra.config.store import Store
from scepra.errors import ConfigError, Problem


def create_engine(settings: Store, threads: int) -> sa.Engine:
    """An engine that has not connected yet.

    Every transaction of SQLite takes the write lock when it begins, so that none fails half-way for want of it (FT-34);
    ``execution_options(reading=True)`` leaves the lock alone. What is committed is on the disk (DR-7).

    Args:
        settings: the configuration's store.
        threads: how many threads will use it at once.
    """
    if settings.sqlite_path is not None:
        return _sqlite(settings.sqlite_path, settings.timeout)
    return _postgresql(settings, threads)


def create_file(path: Path) -> None:
    """Make SQLite's file, for this user only, if it is not there (AC-130). The engine never does: a file that has gone
    must not come back empty (FT-35).

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        sentence = f"cannot be opened for writing: {os.strerror(error.errno or 0)}"
        raise ConfigError((Problem(str(path), 0, 0, "store.url", sentence),)) from None


def _sqlite(path: Path, timeout: float) -> sa.Engine:
    # sqlite3 begins no transaction by itself.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}),
        poolclass=sa.pool.QueuePool,
        connect_args={"timeout": timeout, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={round(timeout * 1000)}")
        _use_wal(cursor, timeout)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _use_wal(cursor: sqlite3.Cursor, timeout: float) -> None:
    """Switch to a write-ahead log. Who does so first in a file's life does not wait for another who does the same, but
    fails at once (FT-38)."""
    end = time.monotonic() + timeout
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _postgresql(settings: Store, threads: int) -> sa.Engine:
    milliseconds = round(settings.timeout * 1000)
    url = sa.make_url(settings.url).set(drivername="postgresql+psycopg")
    password = settings.password_file.reveal().decode() if settings.password_file is not None else None
    try:
        return sa.create_engine(
            url.set(password=password) if password is not None else url,
            pool_size=threads,
            max_overflow=0,
            pool_timeout=settings.timeout,
            # A connection that the server has closed meanwhile is replaced, not failed on (FT-39).
            pool_pre_ping=False,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": max(2, round(settings.timeout)),
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
                f" -c idle_in_transaction_session_timeout={4 * milliseconds} -c synchronous_commit=on",
                # A server that is stopped or unplugged must not hang more than the timeout.
                "tcp_user_timeout": 2 * milliseconds,
                "keepalives_idle": max(1, round(settings.timeout)),
                "keepalives_interval": 1,
                "keepalives_count": 3,
            },
        )
    except ModuleNotFoundError as error:
        problem = Problem("store", 0, 0, "store.url", "PostgreSQL needs the extra: pip install 'scepra[postgres]'")
        raise ConfigError((problem,)) from error
