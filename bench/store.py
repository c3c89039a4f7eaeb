"""The databases that an RA is measured with: SQLite's file, and a PostgreSQL server where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.cores import OTHERS, on

if TYPE_CHECKING:
    from tests.rig.postgres import Postgres

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


class Stores:
    """Where stores come from.

    Args:
        server: PostgreSQL; None if it cannot be had.
    """

    def __init__(self, server: Postgres | None) -> None:
        self._server = server

    def new(self, database: str) -> str | None:
        """The URL of a new, empty store, as a configuration has it; None if there is no such database here."""
        if database == SQLITE:
            return "sqlite:scepra.db"
        return None if self._server is None else self._server.database()

    def settle(self) -> None:
        """Bring to the disk what has been written, so that it does not happen in the midst of a measurement."""
        if self._server is not None:
            self._server.execute("postgres", "CHECKPOINT")
        os.sync()


@contextmanager
def stores() -> Iterator[Stores]:
    """Stores, as long as they are needed.

    The server is the tests', run beside the CA. It is set up as PostgreSQL comes: what is committed is on the disk.
    """
    try:
        # Imported here: whoever runs the RA on SQLite has neither a client for it nor the tests' tools.
        from tests.rig.postgres import Postgres
        from tests.rig.programs import find
    except ImportError:
        yield Stores(None)
        return
    if find("initdb") is None or find("postgres") is None:
        yield Stores(None)
        return
    with on(OTHERS):
        server = Postgres()
    try:
        yield Stores(server)
    finally:
        server.close()
