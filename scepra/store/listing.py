"""What operators see of the transactions, and what they may do to one that is stuck."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.errors import FailInfo
from scepra.store import notices
from scepra.store.approvals import NotPossible
from scepra.store.claims import drop
from scepra.store.intents import get
from scepra.store.rows import COLUMNS, Corrupt, note, read
from scepra.store.tables import audit, transactions
from scepra.transaction import Event, Impossible, State, Transaction, follow


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list: what of a row can be shown whatever is wrong with the rest."""

    id: str
    profile: str
    upstream: str
    state: str
    subject: str
    received: datetime
    changed: datetime
    next_at: datetime | None
    sends: int
    polls: int
    reason: str
    attention: str
    quarantine: str | None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else a row holds than a transaction: who is at work on it and until when, and the encoding of the
    certificate that was issued instead of what was asked for."""

    owner: str | None
    lease_ends: datetime | None
    misissued: bytes | None


@dataclass(frozen=True, slots=True)
class Happening:
    """One audit record of a transaction."""

    sequence: int
    at: datetime
    event: str
    record: dict[str, Any]


_ENTRY = tuple(transactions.c[name] for name in Entry.__slots__)
_CIRCUMSTANCES = tuple(transactions.c[name] for name in Circumstances.__slots__)


def entries(
    connection: sa.Connection,
    *,
    states: Collection[State] = (),
    profile: str | None = None,
    attention: bool = False,
    limit: int = 100,
) -> list[Entry]:
    """The latest transactions, newest first.

    Args:
        states: only in one of these; in any if empty.
        profile: only of this profile.
        attention: only those that somebody should look at: stuck, or quarantined.
        limit: how many at most.
    """
    statement = sa.select(*_ENTRY).order_by(transactions.c.received.desc(), transactions.c.id).limit(limit)
    if states:
        statement = statement.where(transactions.c.state.in_([state.value for state in states]))
    if profile is not None:
        statement = statement.where(transactions.c.profile == profile)
    if attention:
        statement = statement.where(sa.or_(transactions.c.attention != "", transactions.c.quarantine.is_not(None)))
    return [Entry(*row) for row in connection.execute(statement)]


def entry(connection: sa.Connection, transaction: str) -> Entry | None:
    """One line, by its id."""
    row = connection.execute(sa.select(*_ENTRY).where(transactions.c.id == transaction)).first()
    return None if row is None else Entry(*row)


def matching(connection: sa.Connection, prefix: str, *, states: Collection[State] = (), limit: int = 10) -> list[str]:
    """The ids that begin with some hexadecimal digits, in order.

    Args:
        states: only of transactions in one of these; in any if empty.
        limit: how many at most.
    """
    # "g" comes after every hexadecimal digit: a range can use the index, which LIKE cannot.
    condition = transactions.c.id.between(prefix, prefix + "g")
    statement = sa.select(transactions.c.id).where(condition).order_by(transactions.c.id).limit(limit)
    if states:
        statement = statement.where(transactions.c.state.in_([state.value for state in states]))
    return list(connection.execute(statement).scalars())


def circumstances(connection: sa.Connection, transaction: str) -> Circumstances | None:
    """What else the row of a transaction holds; None if there is none."""
    row = connection.execute(sa.select(*_CIRCUMSTANCES).where(transactions.c.id == transaction)).first()
    return None if row is None else Circumstances(*row)


def counts(connection: sa.Connection) -> dict[State, int]:
    """How many transactions are in each state."""
    rows = connection.execute(sa.select(transactions.c.state, sa.func.count()).group_by(transactions.c.state))
    found: dict[str, int] = {state: count for state, count in rows}
    return {state: found.get(state.value, 0) for state in State}


def history(connection: sa.Connection, transaction: str) -> list[Happening]:
    """What happened to a transaction, in order."""
    rows = connection.execute(
        sa.select(audit.c.sequence, audit.c.at, audit.c.event, audit.c.record)
        .where(audit.c.transaction == transaction)
        .order_by(audit.c.sequence)
    )
    return [Happening(*row) for row in rows]


def decision(connection: sa.Connection, transaction: str) -> Happening | None:
    """The record of the RA's own decision on a transaction: what each rule said to it."""
    row = connection.execute(
        sa.select(audit.c.sequence, audit.c.at, audit.c.event, audit.c.record)
        .where(audit.c.transaction == transaction, audit.c.event.in_(("authorised", "held")))
        .order_by(audit.c.sequence)
        .limit(1)
    ).first()
    return None if row is None else Happening(*row)


@dataclass(frozen=True, slots=True)
class Span:
    """Which transactions: of a profile, or of all; received from a moment on, and until another."""

    profile: str | None
    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """A transaction, and the record of the RA's own decision on it."""

    transaction: Transaction
    decision: Happening | None


def count(connection: sa.Connection, span: Span) -> int:
    """How many transactions there are of them."""
    found: int = connection.execute(_within(sa.select(sa.func.count()), span)).scalar_one()
    return found


def page(connection: sa.Connection, span: Span, after: str, limit: int) -> list[Decided | Corrupt]:
    """Some of them, in the order of their ids, beginning behind one: a whole walk holds no database transaction open,
    and a row that cannot be used stands for itself.

    Args:
        after: the last id of the page before; "" for the first page.
        limit: how many at most.
    """
    statement = _within(sa.select(transactions.c.id), span).where(transactions.c.id > after)
    found: list[Decided | Corrupt] = []
    for identifier in connection.execute(statement.order_by(transactions.c.id).limit(limit)).scalars().all():
        try:
            transaction = get(connection, identifier)
        except Corrupt as error:
            found.append(error)
        else:
            assert transaction is not None  # noqa: S101 - seen in this very database transaction
            found.append(Decided(transaction, decision(connection, identifier)))
    return found


def _within(statement: sa.Select[Any], span: Span) -> sa.Select[Any]:
    statement = statement.where(transactions.c.received <= span.until)
    if span.since is not None:
        statement = statement.where(transactions.c.received >= span.since)
    if span.profile is not None:
        statement = statement.where(transactions.c.profile == span.profile)
    return statement


def redrive(connection: sa.Connection, transaction: str, *, person: str, why: str, now: datetime) -> Transaction:
    """Have a transaction asked about again now; one that was quarantined is tried again.

    Raises:
        NotPossible: there is no such transaction, or nothing to ask.
    """
    return _act(connection, transaction, Event.REDRIVEN, {"next_at": now, "attention": ""}, person, why, now)


def close(connection: sa.Connection, transaction: str, *, person: str, why: str, now: datetime) -> Transaction:
    """End a transaction that the CA will never decide: its client is refused.

    Raises:
        NotPossible: there is no such transaction, or it cannot be ended this way.
    """
    values = {
        "next_at": None,
        "attention": "",
        "reason": f"closed by {person}: {why}",
        "fail_info": int(FailInfo.BAD_REQUEST),
    }
    return _act(connection, transaction, Event.CLOSED, values, person, why, now)


def _act(
    connection: sa.Connection,
    transaction: str,
    event: Event,
    values: dict[str, Any],
    person: str,
    why: str,
    now: datetime,
) -> Transaction:
    try:
        found = get(connection, transaction)
        if found is None:
            raise NotPossible(f"there is no transaction {transaction}")
        state = follow(found.state, event)
        if found.state.final:
            # Somebody has looked at it; what it has come to stays.
            values = {"attention": ""}
    except (Impossible, Corrupt) as error:
        raise NotPossible(str(error)) from None
    row = connection.execute(
        sa.update(transactions)
        .where(
            transactions.c.id == transaction,
            transactions.c.fence == found.fence,
            transactions.c.state == found.state.value,
        )
        # Whoever is at work on it loses it: its answer counts no more than any other's.
        .values(
            state=state.value,
            fence=found.fence + 1,
            owner=None,
            lease_ends=None,
            quarantine=None,
            changed=now,
            **values,
        )
        .returning(*COLUMNS)
    ).first()
    if row is None:
        raise NotPossible(f"{transaction} was changed at the same moment: look at it again")
    if state is State.REFUSED:
        drop(connection, transaction)
    note(connection, transaction, event.value, now, {"person": person, "why": why, "was": found.state.value})
    if state.final and not found.state.final:
        notices.add(connection, transaction, found.notify, event, now)
    return read(row)
