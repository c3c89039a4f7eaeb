"""The processes that serve clients, as each of them says of itself: where it runs, and by which configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from scepra.store.owner import has_ended
from scepra.store.rows import Insert
from scepra.store.tables import processes

Role = Literal["single", "worker"]

FORGOTTEN = timedelta(days=1)
"""After how long a process of another machine is forgotten that has said nothing of itself any more."""
LONGEST_FAILURE = 4000
"""How many characters of a failure are kept."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Attributes:
        owner: its name in leases, see :mod:`scepra.store.owner`.
        role: "worker", or "single", which serves alone.
        host, process: where it runs, and its number there.
        leader: names the process that is told to take another configuration: a worker's master, or itself.
        file: the configuration file, absolute.
        started, seen: since when it runs, and when it said so last, UTC.
        configuration: the SHA-256 of the file that it goes by.
        loaded: since when it does.
        told: when it was last told to take a configuration; at first, when it started.
        failure: why it has not taken that one; empty if it has.
    """

    owner: str
    role: Role
    host: str
    process: int
    leader: str
    file: str
    started: datetime
    seen: datetime
    configuration: str
    loaded: datetime
    told: datetime
    failure: str = ""


def keep(connection: sa.Connection, process: Process) -> None:
    """Write down what a process says of itself; what those have said that have ended goes away."""
    gone = [each.owner for each in _all(connection) if has_ended(each.owner) or each.seen < process.seen - FORGOTTEN]
    connection.execute(sa.delete(processes).where(processes.c.owner.in_(gone)))
    _KEEP.into(connection, asdict(process) | {"failure": process.failure[:LONGEST_FAILURE]})


def forget(connection: sa.Connection, owner: str) -> None:
    """Take away what one has said."""
    connection.execute(sa.delete(processes).where(processes.c.owner == owner))


def known(connection: sa.Connection) -> list[Process]:
    """Those that have not certainly ended, in the order in which they were started."""
    return [each for each in _all(connection) if not has_ended(each.owner)]


def _all(connection: sa.Connection) -> list[Process]:
    rows = connection.execute(sa.select(*_COLUMNS).order_by(processes.c.started, processes.c.owner))
    return [Process(*row) for row in rows]


_COLUMNS = tuple(processes.c[name] for name in Process.__slots__)
_KEEP = Insert(
    processes,
    lambda insert: insert.on_conflict_do_update(
        index_elements=["owner"],
        set_={name: insert.excluded[name] for name in Process.__slots__ if name != "owner"},
    ),
)
