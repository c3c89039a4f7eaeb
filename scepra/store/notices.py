"""What providers of challenges have still to be told: noted in the commit of what they are told of (AC-103, FT-57).

A notice that was taken to be delivered comes back by itself, unless somebody says what came of it: whoever is killed in
between loses nothing, and who is told may be told again, under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scepra.store.intents import new_id
from scepra.store.leases import FAR
from scepra.store.rows import note
from scepra.store.tables import notices, transactions
from scepra.transaction import Event


@dataclass(frozen=True, slots=True)
class Due:
    """A notice to be delivered, with what its transaction holds.

    Attributes:
        id: the same, however often it is delivered.
        transaction: its id.
        profile, provider: by their names.
        event: "issued" or "refused".
        reason: which :class:`~scepra.transaction.Event` it was, by its value.
        made: when it happened.
        attempts: how often it was tried in vain.
        client_transaction: the client's transactionID.
        csr: sealed.
        certificate: what was issued.
    """

    id: str
    transaction: str
    profile: str
    provider: str
    event: str
    reason: str
    made: datetime
    attempts: int
    client_transaction: str
    csr: bytes
    certificate: bytes | None


def add(connection: sa.Connection, transaction: str, providers: Sequence[str], event: Event, now: datetime) -> None:
    """Note that a transaction has ended by an event, for each of these providers."""
    for provider in providers:
        values = {
            "id": new_id(),
            "transaction": transaction,
            "provider": provider,
            "event": "issued" if event is Event.GRANTED else "refused",
            "made": now,
            "next_at": now,
            "attempts": 0,
            "reason": event.value,
        }
        connection.execute(sa.insert(notices).values(values))


def any_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether there is anything to deliver."""
    return connection.execute(sa.select(notices.c.id).where(_due(now)).limit(1)).first() is not None


def take(connection: sa.Connection, now: datetime, until: datetime, limit: int) -> list[Due]:
    """Take up what is due, the longest due first.

    Args:
        until: when it is due again, for others too, if nobody says what came of it.
    """
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .join(transactions, transactions.c.id == notices.c.transaction)
        .where(_due(now))
        .order_by(notices.c.next_at)
        .limit(limit)
        .with_for_update(of=notices, skip_locked=True)
    )
    taken = [Due(*row) for row in rows]
    if taken:
        ids = [each.id for each in taken]
        connection.execute(sa.update(notices).where(notices.c.id.in_(ids)).values(next_at=until))
    return taken


def put_off(connection: sa.Connection, due: Due, next_at: datetime) -> None:
    """Try again then; it was in vain."""
    connection.execute(
        sa.update(notices).where(notices.c.id == due.id).values(attempts=notices.c.attempts + 1, next_at=next_at)
    )


def finish(connection: sa.Connection, due: Due, now: datetime, *, told: bool) -> None:
    """Deliver it no more: it was delivered, or nobody tries any longer."""
    if connection.execute(sa.delete(notices).where(notices.c.id == due.id)).rowcount:
        record = {"provider": due.provider, "event": due.event, "notice": due.id}
        note(connection, due.transaction, "told" if told else "not told", now, record)


def _due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(notices.c.next_at <= now, notices.c.next_at > now + FAR)


_COLUMNS = (
    notices.c.id,
    notices.c.transaction,
    transactions.c.profile,
    notices.c.provider,
    notices.c.event,
    notices.c.reason,
    notices.c.made,
    notices.c.attempts,
    transactions.c.client_transaction,
    transactions.c.csr,
    transactions.c.certificate,
)
