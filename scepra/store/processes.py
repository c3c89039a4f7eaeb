"""The processes that serve clients, as each of them says of itself: where it runs, and by which configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from scepra.store.owner import has_ended
from scepra.store.rows import Insert
from scepra.store.tables import processes

Role = Literal["single", "master", "worker"]

SILENT = timedelta(days=1)
"""After how long a process of another machine is forgotten that has said nothing of itself any more."""
LONGEST_FAILURE = 4000
"""How many characters of a failure are kept."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Attributes:
        owner: its name in leases, see :mod:`scepra.store.owner`.
        role: "worker", the "master" of several workers, or "single", which serves alone.
        host, process: where it runs, and its number there.
        leader: the owner of the master; of all others but workers, its own.
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
    """Write down what a process says of itself."""
    _KEEP.into(connection, asdict(process) | {"failure": process.failure[:LONGEST_FAILURE]})


def forget(connection: sa.Connection, owners: Collection[str]) -> None:
    """Take away what these have said."""
    connection.execute(sa.delete(processes).where(processes.c.owner.in_(owners)))


def known(connection: sa.Connection) -> list[Process]:
    """All processes, in the order in which they were started."""
    rows = connection.execute(sa.select(*_COLUMNS).order_by(processes.c.started, processes.c.owner))
    return [Process(*row) for row in rows]


def ended(connection: sa.Connection, now: datetime) -> list[str]:
    """The owners of those that have certainly ended, or have been silent for long."""
    return [each.owner for each in known(connection) if has_ended(each.owner) or each.seen < now - SILENT]


_COLUMNS = tuple(processes.c[name] for name in Process.__slots__)
_KEEP = Insert(
    processes,
    lambda insert: insert.on_conflict_do_update(
        index_elements=["owner"],
        set_={name: insert.excluded[name] for name in Process.__slots__ if name != "owner"},
    ),
)
