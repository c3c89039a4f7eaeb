"""What people say about a transaction that is held: bound to what they were shown (issue of trust: DR-18)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.errors import FailInfo
from scepra.store import notices
from scepra.store.claims import drop
from scepra.store.intents import get
from scepra.store.rows import COLUMNS, note, read
from scepra.store.tables import approvals, transactions
from scepra.transaction import Event, State, Transaction, follow


class NotPossible(Exception):
    """What an operator wants cannot be done; the text is a sentence for them."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person said."""

    person: str
    approved: bool
    why: str
    given: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """A held transaction as it is put before people, with what they have said about it, oldest first."""

    transaction: Transaction
    said: tuple[Approval, ...]

    @property
    def digest(self) -> str:
        """Of what is shown; an approval is bound to it."""
        return digest(shown(self.transaction))


@dataclass(frozen=True, slots=True)
class Held:
    """A line of the list of what waits for people: what of a row can be shown whatever is wrong with the rest.

    ``approvals`` is how many people have to approve it; ``said`` what they have said, oldest first.
    """

    id: str
    profile: str
    upstream: str
    subject: str
    received: datetime
    expires: datetime | None
    reason: str
    quarantine: str | None
    approvals: int
    said: tuple[Approval, ...]


_HELD = tuple(transactions.c[name] for name in Held.__slots__ if name != "said")
_APPROVAL = (approvals.c.person, approvals.c.approved, approvals.c.why, approvals.c.given)


def waiting(connection: sa.Connection, limit: int = 1000) -> list[Held]:
    """What waits for people, the longest waiting first.

    Args:
        limit: how many at most.
    """
    held = transactions.c.state == State.HELD.value
    found = sa.select(*_HELD).where(held).order_by(transactions.c.received, transactions.c.id).limit(limit)
    rows = connection.execute(found).all()
    said: dict[str, list[Approval]] = {}
    for transaction, *values in connection.execute(
        sa.select(approvals.c.transaction, *_APPROVAL)
        .join(transactions, transactions.c.id == approvals.c.transaction)
        .where(held)
        .order_by(approvals.c.given)
    ):
        said.setdefault(transaction, []).append(Approval(*values))
    return [Held(**row._mapping, said=tuple(said.get(row.id, ()))) for row in rows]


def case(connection: sa.Connection, transaction: str) -> Case:
    """A held transaction, to be shown.

    Raises:
        NotPossible: it is not held.
        Corrupt: its row cannot be used.
    """
    return Case(_held(connection, transaction), tuple(given(connection, transaction)))


def shown(transaction: Transaction) -> dict[str, Any]:
    """Everything about a held transaction that an approval is about, as JSON values."""
    return {
        "id": transaction.id,
        "profile": transaction.profile,
        "upstream": transaction.upstream,
        "credential": transaction.credential.value,
        "challenge": transaction.challenge,
        "subject": transaction.subject,
        "names": list(transaction.names),
        "request": transaction.csr_digest.hex(),
        "public_key": transaction.public_key.hex(),
        "source": transaction.source,
        "transaction": transaction.client_transaction,
        "received": transaction.received.isoformat(timespec="milliseconds"),
        "reason": transaction.reason,
        "approvals": transaction.approvals,
    }


def digest(what: Mapping[str, Any]) -> str:
    """The digest of what was shown, in hexadecimal."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def given(connection: sa.Connection, transaction: str) -> list[Approval]:
    """What people have said about a transaction, oldest first."""
    rows = connection.execute(
        sa.select(*_APPROVAL).where(approvals.c.transaction == transaction).order_by(approvals.c.given)
    )
    return [Approval(*row) for row in rows]


def say(
    connection: sa.Connection,
    transaction: str,
    *,
    approve: bool,
    person: str,
    why: str,
    shown_digest: str,
    now: datetime,
) -> Transaction:
    """Approve or deny a held transaction.

    Args:
        person: who says so. Each person counts once.
        why: the reason, for the record.
        shown_digest: of what that person was shown (:func:`digest` of :func:`shown`).

    Returns:
        The transaction as it is now: HELD still, if more people have to approve it.

    Raises:
        NotPossible: it is not held, has changed since it was shown, or this person has spoken already.
    """
    found = _held(connection, transaction)
    if digest(shown(found)) != shown_digest:
        raise NotPossible(f"{transaction} is not what was shown: look at it again")
    before = given(connection, transaction)
    if any(each.person == person for each in before):
        raise NotPossible(f"{person} has approved {transaction} already: somebody else has to")
    state, said, values = State.HELD, "approval", {}
    if not approve or len(before) + 1 >= found.approvals:
        event = Event.APPROVED if approve else Event.DENIED
        state, said = follow(found.state, event), event.value
        values = {"changed": now, "reason": f"{said} by {person}: {why}"}
        values |= {"next_at": now, "expires": None} if approve else {"fail_info": int(FailInfo.BAD_REQUEST)}
    # First of all: the fence keeps two people, at two processes, from both being the first of two.
    changed = _change(connection, found, state, values)
    if state is State.REFUSED:
        drop(connection, found.id)
    connection.execute(
        sa.insert(approvals).values(
            transaction=transaction, person=person, approved=approve, why=why, shown=shown_digest, given=now
        )
    )
    note(connection, transaction, said, now, {"person": person, "why": why, "shown": shown_digest})
    if state is State.REFUSED:
        notices.add(connection, transaction, found.notify, Event.DENIED, now)
    return changed


def _held(connection: sa.Connection, transaction: str) -> Transaction:
    found = get(connection, transaction)
    if found is None:
        raise NotPossible(f"there is no transaction {transaction}")
    if found.state is not State.HELD:
        raise NotPossible(f"{transaction} is not held any more: it is {found.state.value}")
    return found


def _change(connection: sa.Connection, found: Transaction, state: State, values: Mapping[str, Any]) -> Transaction:
    row = connection.execute(
        sa.update(transactions)
        .where(
            transactions.c.id == found.id,
            transactions.c.fence == found.fence,
            transactions.c.state == found.state.value,
        )
        .values(state=state.value, fence=found.fence + 1, **values)
        .returning(*COLUMNS)
    ).first()
    if row is None:
        raise NotPossible(f"{found.id} was changed at the same moment by somebody else: look at it again")
    return read(row)
