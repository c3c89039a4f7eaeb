"""What has taken too long ends, what is old goes, and the clock is watched (FT-15, FT-46, FT-47).

Everything is done in small steps, so that no step holds the database for long.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from scepra.config.store import Retention
from scepra.errors import FailInfo
from scepra.policy.model import LONGEST_WINDOW
from scepra.store.claims import drop
from scepra.store.intents import get
from scepra.store.notices import add
from scepra.store.rows import Corrupt, Insert, note
from scepra.store.tables import (
    Moment,
    approvals,
    audit,
    certificates,
    challenges,
    claims,
    clock,
    drivers,
    notices,
    reservations,
    routes,
    signer_keys,
    transactions,
)
from scepra.transaction import TRANSITIONS, Event, State

STEP = 500
"""How many rows of a kind one step takes away at most."""
SET_BACK = timedelta(minutes=1)
UNWANTED = timedelta(hours=1)
"""How long after its end a broker's password is kept that nobody was given: as long as it may count at the CA."""
_EXPIRING = [state.value for state, event in TRANSITIONS if event is Event.EXPIRED]
_FINAL = [state.value for state in State if state.final]


def tick(connection: sa.Connection, now: datetime) -> timedelta:
    """Note the time of day. If the clock was set back since the last time, what was put off is brought forward by as
    much, so that pauses and leases stay as long as they were.

    Returns:
        How far the clock is behind the latest time that was ever seen; not positive if it is not.
    """
    row = connection.execute(sa.select(clock.c.seen, clock.c.last)).first()
    if row is None:
        _FIRST_SEEN.into(connection, {"id": 1, "seen": now, "last": now})
        return timedelta(0)
    if row.last - now > SET_BACK:
        _bring_forward(connection, row.last - now, now)
    connection.execute(sa.update(clock).values(seen=max(row.seen, now), last=now))
    behind: timedelta = row.seen - now
    return behind


def _bring_forward(connection: sa.Connection, by: timedelta, now: datetime) -> None:
    milliseconds = by // timedelta(milliseconds=1)
    for column in (transactions.c.next_at, transactions.c.lease_ends, drivers.c.lease_ends, notices.c.next_at):
        earlier = sa.type_coerce(sa.type_coerce(column, sa.BigInteger) - milliseconds, Moment)
        connection.execute(sa.update(column.table).where(column > now).values({column.name: earlier}))


def expire(connection: sa.Connection, now: datetime) -> list[str]:
    """End what has taken too long: nothing of it is at the CA, or the CA has not decided (FT-15).

    Returns:
        The ids.
    """
    rows = connection.execute(
        sa.select(transactions.c.id, transactions.c.fence, transactions.c.state)
        .where(
            transactions.c.expires <= now,
            transactions.c.state.in_(_EXPIRING),
            transactions.c.quarantine.is_(None),
            sa.or_(transactions.c.lease_ends.is_(None), transactions.c.lease_ends <= now),
        )
        .limit(STEP)
    ).all()
    ended = []
    for row in rows:
        reason = "it took longer than is configured"
        changed = connection.execute(
            sa.update(transactions)
            .where(transactions.c.id == row.id, transactions.c.fence == row.fence, transactions.c.state == row.state)
            .values(
                state=TRANSITIONS[State(row.state), Event.EXPIRED].value,
                fence=row.fence + 1,
                changed=now,
                next_at=None,
                fail_info=int(FailInfo.BAD_REQUEST),
                reason=reason,
                attention="",
            )
        )
        if changed.rowcount:
            drop(connection, row.id)
            note(connection, row.id, Event.EXPIRED.value, now, {"reason": reason, "was": row.state})
            _note_notices(connection, row.id, now)
            ended.append(row.id)
    return ended


def _note_notices(connection: sa.Connection, transaction: str, now: datetime) -> None:
    """Have providers told that it has expired; a row that cannot be read keeps no other from ending (FT-58)."""
    with suppress(Corrupt):
        found = get(connection, transaction)
        add(connection, transaction, found.notify if found is not None else (), Event.EXPIRED, now)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows went, by table."""

    counts: dict[str, int]

    @property
    def more(self) -> bool:
        """Whether there may be more to take away."""
        return any(count >= STEP for count in self.counts.values())


def sweep(connection: sa.Connection, retention: Retention, now: datetime) -> Swept:
    """Take away what is older than it is to be kept: one step.

    What is not decided stays, however old it is.
    """
    counts = {"transactions": _sweep_transactions(connection, now - timedelta(seconds=retention.transactions))}
    for table, column, kept in (
        (certificates, certificates.c.ends, retention.certificates),
        (reservations, reservations.c.made, retention.challenges),
        (challenges, challenges.c.expires, retention.challenges),
        (claims, claims.c.ends, LONGEST_WINDOW),
        (audit, audit.c.at, retention.audit),
    ):
        counts[table.name] = _delete(connection, table, column < now - timedelta(seconds=kept))
    unwanted = sa.and_(challenges.c.digest.is_(None), challenges.c.expires < now - UNWANTED)
    counts[challenges.name] += _delete(connection, challenges, unwanted)
    unused = sa.and_(
        signer_keys.c.made < now - timedelta(seconds=retention.transactions),
        ~sa.exists().where(transactions.c.signer_key_id == signer_keys.c.id),
    )
    counts["signer_keys"] = _delete(connection, signer_keys, unused)
    return Swept(counts)


def _sweep_transactions(connection: sa.Connection, before: datetime) -> int:
    old = sa.select(transactions.c.id).where(transactions.c.state.in_(_FINAL), transactions.c.changed < before)
    # Locked first, as by whoever begins one of them anew; what is locked already goes another time.
    ids = list(connection.execute(old.limit(STEP).with_for_update(skip_locked=True)).scalars())
    if ids:
        for table in (routes, approvals, notices):
            connection.execute(sa.delete(table).where(table.c.transaction.in_(ids)))
        connection.execute(sa.delete(transactions).where(transactions.c.id.in_(ids)))
    return len(ids)


def _delete(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    key = sa.tuple_(*table.primary_key.columns)
    some: Any = sa.select(*table.primary_key.columns).where(condition).limit(STEP)
    return connection.execute(sa.delete(table).where(key.in_(some))).rowcount


_FIRST_SEEN = Insert(clock, lambda insert: insert.on_conflict_do_nothing())
