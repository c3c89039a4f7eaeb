"""Who is at work on what: leases that end by themselves, fenced by a count (FT-43).

A moment that lies further ahead than anything is ever put off was written before the clock was set back, and counts as
past (FT-46).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa

from scepra.store.rows import COLUMNS, Insert, fetch, note, read
from scepra.store.tables import Moment, drivers, transactions
from scepra.transaction import Event, State, Transaction, follow

FAR = timedelta(days=2)
_AT_WORK = (State.QUEUED, State.SENDING, State.WAITING, State.UNKNOWN)


def drive(connection: sa.Connection, upstream: str, owner: str, now: datetime, lease_ends: datetime) -> bool:
    """Whether *owner* is the one process that drives an upstream's backlog, until the lease ends."""
    row = {"upstream": upstream, "owner": owner, "lease_ends": lease_ends, "now": now, "far": now + FAR}
    return _DRIVE.into(connection, row).first() is not None


def driver(connection: sa.Connection, upstream: str, now: datetime) -> str | None:
    """Who drives an upstream; None if nobody does."""
    row = connection.execute(
        sa.select(drivers.c.owner, drivers.c.lease_ends).where(drivers.c.upstream == upstream)
    ).first()
    if row is None or not now < row.lease_ends <= now + FAR:
        return None
    return str(row.owner)


def release(connection: sa.Connection, upstream: str, owner: str, now: datetime) -> None:
    """Let others drive an upstream, if *owner* does."""
    condition = sa.and_(drivers.c.upstream == upstream, drivers.c.owner == owner)
    connection.execute(sa.update(drivers).where(condition).values(lease_ends=now))


def owners(connection: sa.Connection, now: datetime) -> set[str]:
    """Everybody who holds a lease now."""
    working = sa.select(transactions.c.owner).where(
        transactions.c.state.in_([state.value for state in _AT_WORK]),
        transactions.c.owner.is_not(None),
        transactions.c.lease_ends > now,
    )
    driving = sa.select(drivers.c.owner).where(drivers.c.lease_ends > now)
    return set(connection.execute(sa.union(working, driving)).scalars())


def bury(connection: sa.Connection, owner: str, now: datetime) -> None:
    """End all leases of somebody who is no more: what they left is due now."""
    connection.execute(
        sa.update(transactions)
        .where(transactions.c.owner == owner, transactions.c.state.in_([state.value for state in _AT_WORK]))
        .values(lease_ends=now, next_at=now)
    )
    connection.execute(sa.update(drivers).where(drivers.c.owner == owner).values(lease_ends=now))


def due(
    connection: sa.Connection, upstream: str, now: datetime, limit: int, *, latest: bool = False
) -> list[tuple[str, int]]:
    """Ids and fences of what is to be driven: the longest due first, or the latest (FT-17)."""
    at = transactions.c.next_at
    found: list[tuple[str, int]] = []
    # One range of the index at a time: in between lies all that is not due yet, and before them all that has ended.
    for ripe in (at <= now, at > now + FAR):
        if len(found) < limit:
            rows = connection.execute(
                sa.select(transactions.c.id, transactions.c.fence)
                .where(
                    transactions.c.upstream == upstream,
                    ripe,
                    # What says nothing that is known is taken up too, and found to be no transaction (FT-58).
                    transactions.c.state.not_in([state.value for state in State if state not in _AT_WORK]),
                    transactions.c.quarantine.is_(None),
                    _free(now),
                )
                .order_by(at.desc() if latest else at)
                .limit(limit - len(found))
            )
            found += [(row.id, row.fence) for row in rows]
    return found


def claim(
    connection: sa.Connection, transaction: str, fence: int, owner: str, now: datetime, lease_ends: datetime
) -> Transaction | None:
    """Take up a transaction that nobody is at work on.

    What is QUEUED becomes SENDING, since it is about to be sent; what was left in SENDING becomes UNKNOWN.

    Returns:
        The transaction as it is now; None if somebody else was faster.

    Raises:
        Corrupt: its row cannot be used.
    """
    free = sa.select(*COLUMNS).where(
        transactions.c.id == transaction,
        transactions.c.fence == fence,
        transactions.c.quarantine.is_(None),
        _free(now),
    )
    found = fetch(connection, free)
    if found is None or found.state not in _AT_WORK:
        return None
    event = {State.QUEUED: Event.SENT, State.SENDING: Event.LOST}.get(found.state)
    state = found.state if event is None else follow(found.state, event)
    taken = connection.execute(
        sa.update(transactions)
        # Who held it last may be late, and still the first to say what came of it.
        .where(
            transactions.c.id == transaction, transactions.c.fence == fence, transactions.c.state == found.state.value
        )
        .values(
            state=state.value,
            changed=found.changed if event is None else now,
            fence=fence + 1,
            owner=owner,
            lease_ends=lease_ends,
            next_at=lease_ends,
        )
        .returning(*COLUMNS)
    ).first()
    return None if taken is None else read(taken)


def move(
    connection: sa.Connection,
    transaction: str,
    fence: int,
    upstream: str,
    other: str,
    now: datetime,
    present: bytes | None = None,
) -> int | None:
    """Have a transaction go to another CA, of which certainly nothing was sent, which nobody is at work on, and which
    nobody has approved for its own (I4).

    Args:
        present: the upstream's present CA; what is for the one that follows it stays (CERT-35).

    Returns:
        Its fence from now on; None if it is not so, or somebody was faster.
    """
    moved = connection.execute(
        sa.update(transactions)
        .where(
            transactions.c.id == transaction,
            transactions.c.fence == fence,
            transactions.c.upstream == upstream,
            _movable(now, present),
        )
        .values(upstream=other, authority=None, fence=fence + 1, owner=None, lease_ends=None, changed=now, next_at=now)
    )
    if not moved.rowcount:
        return None
    note(connection, transaction, "moved", now, {"upstream": other, "was": upstream})
    return fence + 1


def stranded(
    connection: sa.Connection,
    upstream: str,
    profiles: Collection[str],
    now: datetime,
    limit: int,
    present: bytes | None = None,
) -> list[tuple[str, int, str]]:
    """Ids, fences and profiles of what may go to another CA, the oldest first; *present* as for :func:`move`."""
    rows = connection.execute(
        sa.select(transactions.c.id, transactions.c.fence, transactions.c.profile)
        .where(transactions.c.upstream == upstream, transactions.c.profile.in_(profiles), _movable(now, present))
        .order_by(transactions.c.next_at)
        .limit(limit)
    )
    return [(row.id, row.fence, row.profile) for row in rows]


def _movable(now: datetime, present: bytes | None) -> sa.ColumnElement[bool]:
    return sa.and_(
        transactions.c.state == State.QUEUED.value,
        transactions.c.sends == 0,
        transactions.c.approvals == 0,
        sa.or_(transactions.c.authority.is_(None), transactions.c.authority == present),
        transactions.c.quarantine.is_(None),
        _free(now),
    )


def _free(now: datetime) -> sa.ColumnElement[bool]:
    ends = transactions.c.lease_ends
    return sa.or_(ends.is_(None), ends <= now, ends > now + FAR)


_DRIVE = Insert(
    drivers,
    lambda insert: (
        insert.values(
            upstream=sa.bindparam("upstream"), owner=sa.bindparam("owner"), lease_ends=sa.bindparam("lease_ends")
        )
        .on_conflict_do_update(
            index_elements=["upstream"],
            set_={"owner": insert.excluded.owner, "lease_ends": insert.excluded.lease_ends},
            where=sa.or_(
                drivers.c.owner == insert.excluded.owner,
                drivers.c.lease_ends <= sa.bindparam("now", type_=Moment),
                drivers.c.lease_ends > sa.bindparam("far", type_=Moment),
            ),
        )
        .returning(drivers.c.owner)
    ),
)
