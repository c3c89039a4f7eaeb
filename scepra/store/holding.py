"""How much people may be asked to decide: counted in the commit that holds another request (AC-061).

On PostgreSQL those that commit at the same moment do not see each other, so a bound may be exceeded by as many as do:
a few for each process. It keeps a queue readable and a disk from filling up; no certificate hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from scepra.store.tables import HELD, transactions


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one profile may be held at once: how many requests, how many of them from one address, how many
    octets they may have together; and the address that one more comes from, which may stand for a network."""

    requests: int
    per_address: int
    octets: int
    neighbourhood: str


def full(connection: sa.Connection, profile: str, size: int, room: Room) -> str | None:
    """Why one more request cannot be held, for the record; None if it can.

    Args:
        size: how many octets it has as it is stored.
    """
    held = connection.execute(_HELD, {"of": profile, "from": room.neighbourhood}).one()
    if held.here >= room.per_address:
        return "as many requests wait for approval as may from one address"
    if held.requests >= room.requests or held.octets + size > room.octets:
        return "as many requests wait for approval as may of one profile"
    return None


_HELD = sa.select(
    sa.func.count().label("requests"),
    sa.func.coalesce(sa.func.sum(sa.func.length(transactions.c.csr)), 0).label("octets"),
    sa.func.count(sa.case((transactions.c.neighbourhood == sa.bindparam("from"), 1))).label("here"),
).where(HELD, transactions.c.profile == sa.bindparam("of"))
