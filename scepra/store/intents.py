"""What is recorded before anything is sent, and found again when a request is repeated or polled for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from scepra.enrolment import Hold, Reservation, Violation
from scepra.store import claims, holding, reservations
from scepra.store.claims import NOTHING, Claimant
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
        claimant: what the request stands for, and what may not be exceeded by that.
        passthrough: the transactionID at the CA is the client's, also at the next attempt (RA-16).
    """

    request: bytes
    values: Mapping[str, Any]
    routes: tuple[bytes, ...]
    reserve: tuple[Reservation, ...]
    owner: str | None
    lease_ends: datetime | None
    record: Mapping[str, Any]
    room: Room | None = None
    claimant: Claimant = NOTHING
    passthrough: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an intent: ``transaction``, which was there already unless ``new``; ``sequence`` of its audit
    record; ``reported`` is what counting found that is only reported."""

    transaction: Transaction
    new: bool
    sequence: int | None = None
    reported: tuple[Violation, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Exceeded:
    """There is as much already as may be: why nothing was recorded, and what is only reported."""

    violations: tuple[Violation, ...]
    reported: tuple[Violation, ...]


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


def record(connection: sa.Connection, intent: Intent, now: datetime) -> Recorded | Taken | Full | Exceeded:
    """Record an intent, reserve its credential, count, and note the decision: one commit, before the first octet (DR-7,
    RA-25).

    A request that was recorded meanwhile, and still answers, is returned instead; and where a credential is not to be
    had, or there is too much already, nothing is recorded.
    """
    values = dict(intent.values)
    latest = recall(connection, intent.request)
    if latest is not None and latest.answers(values["message"], now):
        return _again(connection, latest, intent)
    for wanted in intent.reserve:
        reason = reservations.take(connection, wanted, values["public_key"], values["id"], now)
        if reason is not None:
            reservations.give_back(connection, values["id"])
            return Taken(wanted.credential, reason)
    identity = (values["id"], values["profile"], values["public_key"])
    counted = claims.make(connection, intent.claimant, *identity, now)
    if counted.violations:
        reservations.give_back(connection, values["id"])
        # Counting waits for whoever counts the same, who may have recorded this very request.
        latest = recall(connection, intent.request)
        if latest is not None and latest.answers(values["message"], now):
            return _again(connection, latest, intent)
        return Exceeded(counted.violations, counted.reported)
    values |= {"request": intent.request, "owner": intent.owner, "lease_ends": intent.lease_ends}
    if counted.hold is not None:
        values |= _held(values, counted.hold, now)
    if intent.room is not None and values["state"] == State.HELD.value:
        reason = holding.full(connection, values["profile"], len(values["csr"]), intent.room)
        if reason is not None:
            reservations.give_back(connection, values["id"])
            claims.drop(connection, values["id"])
            return Full(reason)
    if latest is not None:
        connection.execute(_SUPERSEDE, {"key": latest.id})
        values["attempt"] = latest.attempt + 1
        if not intent.passthrough:
            values["upstream_transaction"] = upstream_transaction_id(
                intent.request, values["client_transaction"], values["attempt"]
            )
    row = _RECORD.into(connection, values).first()
    if row is None:
        # Another process recorded it between our look and our attempt.
        claims.drop(connection, values["id"])
        latest = recall(connection, intent.request)
        assert latest is not None  # noqa: S101 - it was in the way
        return _again(connection, latest, intent)
    transaction = fresh(values)
    lead(connection, transaction.id, intent.routes)
    held = transaction.state is State.HELD
    noted = dict(intent.record) | ({"outcome": "held"} if counted.hold is not None else {})
    if counted.reported:
        noted["reported"] = [*noted.get("reported", ()), *map(str, counted.reported)]
    sequence = note(connection, transaction.id, "held" if held else "authorised", now, noted)
    return Recorded(transaction, True, sequence, counted.reported)


def _again(connection: sa.Connection, latest: Transaction, intent: Intent) -> Recorded:
    """A request that is recorded already."""
    lead(connection, latest.id, intent.routes)
    return Recorded(latest, new=False)


def _held(values: Mapping[str, Any], hold: Hold, now: datetime) -> dict[str, Any]:
    """What a request that would be sent becomes where counting puts it before people."""
    reasons = [values["reason"], hold.reason] if values["state"] == State.HELD.value else [hold.reason]
    return {
        "state": State.HELD.value,
        "next_at": None,
        "owner": None,
        "lease_ends": None,
        "expires": now + timedelta(seconds=hold.expires),
        "approvals": max(values["approvals"], hold.approvals),
        "reason": "; ".join(reasons),
    }


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
