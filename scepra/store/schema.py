"""The version of the tables: brought up to date by one process when the RA starts (FT-38).

A migration is one database transaction: killed half-way, it has not begun.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

log = Logger()

VERSION = "0003"
"""What this program needs; the last of the migrations."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# Names the lock for PostgreSQL: only one process migrates, the others wait and find it done.
_LOCK = 7_216_453


class Newer(StoreError):
    """The tables belong to a newer program: nothing was changed (AC-137)."""


class Migration(Service):
    """Tries until it is done: the server may not be up yet when the RA starts (FT-39)."""

    def __init__(self, engine: sa.Engine, reactor: Any) -> None:
        self._engine = engine
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._pause = _FIRST_PAUSE

    def attempt(self) -> None:
        """Try once, on the calling thread.

        Raises:
            Newer: it will never work.
            StoreError: not now.
        """
        try:
            upgrade(self._engine)
        finally:
            self._engine.dispose()

    def startService(self) -> None:
        """Go on trying."""
        super().startService()
        self._wait()

    def stopService(self) -> None:
        """Give up."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._reactor.callLater(self._pause, self._try)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _try(self) -> None:
        attempt = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self.attempt)
        attempt.addCallbacks(self._done, self._failed)

    def _done(self, ignored: None) -> None:
        log.info("the database is ready")

    def _failed(self, failure: Failure) -> None:
        log.error("{error}", error=failure.getErrorMessage())
        if failure.check(Newer):
            self._reactor.stop()
        elif self.running:
            self._wait()


def upgrade(engine: sa.Engine) -> str | None:
    """Create the tables, or bring them up to date.

    Returns:
        The version that was found; None for an empty database.

    Raises:
        Newer: the tables are a newer program's.
        StoreError: the database does not answer.
    """
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            found = version(connection)
            if found == VERSION:
                return found
            _migrate(connection, found)
            return found
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).split("\n", maxsplit=1)[0]
        raise StoreError(f"the database cannot be brought up to date: {said[:200]}") from error


def _migrate(connection: sa.Connection, found: str | None) -> None:
    # Imported here: it takes time and room, and is needed once in a database's life.
    from alembic import command
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    _refuse_unknown(settings, found)
    command.upgrade(settings, VERSION)


def version(connection: sa.Connection) -> str | None:
    """The version of the tables; None if there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_unknown(settings: Config, found: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if found is not None and found not in known:
        raise Newer(
            f"the database has version {found}, which is newer than this program knows: use the newer program, or"
            " another database; nothing was changed"
        )
