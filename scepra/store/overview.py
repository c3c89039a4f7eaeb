"""How everything is, in one reading: what people and monitoring are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scepra.store import health, listing, processes, watching
from scepra.store.health import Health
from scepra.store.processes import Process
from scepra.store.tables import transactions
from scepra.store.watching import Watched
from scepra.transaction import State


@dataclass(frozen=True, slots=True)
class Overview:
    """How everything is.

    Attributes:
        processes: those that serve clients, as far as they have said so and have not ended.
        upstreams: what is known of each.
        certificates: those that are watched, the first to end first.
        transactions: how many are in each state.
        oldest: when the request came in that has waited longest for its CA or for people; None: none waits.
        attention: how many somebody should look at.
    """

    processes: tuple[Process, ...]
    upstreams: tuple[Health, ...]
    certificates: tuple[Watched, ...]
    transactions: Mapping[State, int]
    oldest: datetime | None
    attention: int


def overview(connection: sa.Connection) -> Overview:
    """How everything is now."""
    waiting = sa.select(sa.func.min(transactions.c.received)).where(
        transactions.c.state.in_([state.value for state in State if not state.final]),
        transactions.c.quarantine.is_(None),
    )
    stuck = sa.select(sa.func.count()).where(
        sa.or_(transactions.c.attention != "", transactions.c.quarantine.is_not(None))
    )
    return Overview(
        tuple(processes.known(connection)),
        tuple(health.listing(connection)),
        tuple(watching.listing(connection)),
        listing.counts(connection),
        connection.execute(waiting).scalar(),
        int(connection.execute(stuck).scalar_one()),
    )
