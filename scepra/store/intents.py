"""What is recorded before anything is sent, and found again when a request is repeated or polled for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.enrolment import Reservation
from scepra.store import holding, reservations
from scepra.store.holding import Room
from scepra.store.rows import COLUMNS, Insert, fetch, fresh, note
from scepra.store.tables import routes, transactions
from scepra.transaction import State, Transaction, upstream_transaction_id


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that may be forwarded.

    Attributes:
        request: the digest by which the same request is known again.
        values: what :class:`~scepra.transaction.Transaction` calls by the same names, as far as it is known now.
        routes: where polls for it come in.
        reserve: what is taken for the request's public key.
        owner, lease_ends: who is going to send it at once, and until when nobody else may; None: nobody is.
        record: for the audit.
        room: how much may wait for people, if it has to.
    """

    request: bytes
    values: Mapping[str, Any]
    routes: tuple[bytes, ...]
    reserve: tuple[Reservation, ...]
    owner: str | None
    lease_ends: datetime | None
    record: Mapping[str, Any]
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an intent: ``transaction``, which was there already unless ``new``; ``sequence`` of its audit
    record."""

    transaction: Transaction
    new: bool
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A credential is not to be had for this public key: other keys have it, and keep it (I2), or it is not good any
    more. ``reason`` says which, for the record."""

    credential: str
    reason: str


@dataclass(frozen=True, slots=True)
class Full:
    """It would have to wait for people, and as much does as may; ``reason`` says what there is too much of."""

    reason: str


def recall(connection: sa.Connection, request: bytes) -> Transaction | None:
    """The latest transaction of a request, whoever sends it under whatever transactionID."""
    return fetch(connection, _BY_REQUEST, {"request": request})


def find(connection: sa.Connection, route: bytes) -> Transaction | None:
    """The transaction that a poll is for."""
    return fetch(connection, _BY_ROUTE, {"route": route})


def get(connection: sa.Connection, transaction: str) -> Transaction | None:
    """The transaction with an id."""
    return fetch(connection, _BY_ID, {"id": transaction})


def leads(connection: sa.Connection, transaction: str, where: tuple[bytes, ...]) -> bool:
    """Whether polls on all these routes lead to a transaction now."""
    found = sa.select(sa.func.count()).where(routes.c.route.in_(where), routes.c.transaction == transaction)
    count: int = connection.execute(found).scalar_one()
    return count == len(where)


def lead(connection: sa.Connection, transaction: str, where: tuple[bytes, ...]) -> None:
    """Let polls on these routes lead to a transaction, wherever they led before."""
    _LEAD.into(connection, [{"route": route, "transaction": transaction} for route in where])


def record(connection: sa.Connection, intent: Intent, now: datetime) -> Recorded | Taken | Full:
    """Record an intent, reserve its credential and note the decision: one commit, before the first octet (DR-7, RA-25).

    A request that was recorded meanwhile, and still answers, is returned instead; and where a credential is not to be
    had, or as much is held as may be, nothing is recorded.
    """
    values = dict(intent.values)
    latest = recall(connection, intent.request)
    if latest is not None and latest.answers(values["message"], now):
        lead(connection, latest.id, intent.routes)
        return Recorded(latest, new=False)
    for wanted in intent.reserve:
        reason = reservations.take(connection, wanted, values["public_key"], values["id"], now)
        if reason is not None:
            reservations.give_back(connection, values["id"])
            return Taken(wanted.credential, reason)
    if intent.room is not None and values["state"] == State.HELD.value:
        reason = holding.full(connection, values["profile"], len(values["csr"]), intent.room)
        if reason is not None:
            reservations.give_back(connection, values["id"])
            return Full(reason)
    if latest is not None:
        connection.execute(_SUPERSEDE, {"key": latest.id})
        values["attempt"] = latest.attempt + 1
        values["upstream_transaction"] = upstream_transaction_id(
            intent.request, values["client_transaction"], values["attempt"]
        )
    values |= {"request": intent.request, "owner": intent.owner, "lease_ends": intent.lease_ends}
    row = _RECORD.into(connection, values).first()
    if row is None:
        # Another process recorded it between our look and our attempt.
        latest = recall(connection, intent.request)
        assert latest is not None  # noqa: S101 - it was in the way
        lead(connection, latest.id, intent.routes)
        return Recorded(latest, new=False)
    transaction = fresh(values)
    lead(connection, transaction.id, intent.routes)
    event = "held" if transaction.state is State.HELD else "authorised"
    return Recorded(transaction, True, note(connection, transaction.id, event, now, intent.record))


def new_id() -> str:
    """An id for a transaction, a key or a process."""
    return os.urandom(8).hex()


_LEAD = Insert(
    routes,
    lambda insert: insert.on_conflict_do_update(
        index_elements=["route"], set_={"transaction": insert.excluded.transaction}
    ),
)
_RECORD = Insert(
    transactions,
    lambda insert: insert.on_conflict_do_nothing(index_elements=["request"]).returning(transactions.c.id),
)
_BY_REQUEST = sa.select(*COLUMNS).where(transactions.c.request == sa.bindparam("request"))
_BY_ID = sa.select(*COLUMNS).where(transactions.c.id == sa.bindparam("id"))
_BY_ROUTE = (
    sa.select(*COLUMNS)
    .join(routes, routes.c.transaction == transactions.c.id)
    .where(routes.c.route == sa.bindparam("route"))
)
_SUPERSEDE = sa.update(transactions).where(transactions.c.id == sa.bindparam("key")).values(request=None)
