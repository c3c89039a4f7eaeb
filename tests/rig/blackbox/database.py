"""The RA's database as the rig reads it, and locks it: from outside, in a process of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from psycopg.errors import DeadlockDetected

from scepra.store.tables import metadata

Row = dict[str, Any]
_TRIES = 5


class Database:
    """One database: a file of SQLite's, or one on a PostgreSQL server."""

    def __init__(self, url: str, directory: Path) -> None:
        """
        Args:
            url: as the RA's configuration has it.
            directory: where a relative path starts.
        """
        self.file = directory / url.removeprefix("sqlite:") if url.startswith("sqlite:") else None
        if self.file is not None:
            # Reading must not make the file.
            address = sa.make_url(f"sqlite:///file:{self.file.absolute()}?mode=rw&uri=true")
            self._engine = sa.create_engine(address, poolclass=sa.NullPool)
        else:
            address = sa.make_url(url).set(drivername="postgresql+psycopg")
            self._engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})

    def rows(self, table: str, **values: Any) -> list[Row]:
        """The rows of a table that have these values, in the order of its primary key; none before the first start."""
        found = metadata.tables[table]
        if (self.file is not None and not self.file.exists()) or not sa.inspect(self._engine).has_table(table):
            return []
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(found).order_by(*found.primary_key.columns)).mappings()
            return [dict(row) for row in rows if all(row[name] == value for name, value in values.items())]

    def transactions(self, subject: str | None = None) -> list[Row]:
        """Those of a common name, or all; oldest first."""
        rows = self.rows("transactions") if subject is None else self.rows("transactions", subject=f"CN={subject}")
        return sorted(rows, key=lambda row: row["received"])

    def state(self, subject: str) -> str:
        """Where the latest transaction of a common name stands; empty if there is none."""
        found = self.transactions(subject)
        return found[-1]["state"] if found else ""

    def dump(self) -> Iterator[bytes]:
        """Everything that is stored, value by value, as octets: what a thief of the database has."""
        for table in metadata.sorted_tables:
            for row in self.rows(table.name):
                for value in row.values():
                    yield value if isinstance(value, bytes) else str(value).encode("utf-8")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can commit, for the duration of the block; reading goes on (CP2, CP8, FT-33)."""
        if self.file is not None:
            connection = sqlite3.connect(self.file, timeout=10, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("ROLLBACK")
            finally:
                connection.close()
        else:
            with self._engine.connect() as shared:
                _lock(shared)
                yield
                shared.rollback()


def _lock(shared: sa.Connection) -> None:
    """Take the lock of every table; again, if it crosses somebody who takes them in another order."""
    names = ", ".join(table.name for table in metadata.sorted_tables)
    for tries_left in reversed(range(_TRIES)):
        try:
            shared.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
        except sa.exc.OperationalError as error:
            if not isinstance(error.orig, DeadlockDetected) or not tries_left:
                raise
            shared.rollback()
        else:
            return
