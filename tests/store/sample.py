"""Intents, certificates and whole stores that the tests of the store share."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from scepra.config.store import Store
from scepra.enrolment import Reservation
from scepra.scep.certificate import Certificate
from scepra.store import intents, leases, outcomes
from scepra.store.database import Database
from scepra.store.engine import create_engine
from scepra.store.intents import Intent, Recorded
from scepra.store.outcomes import Outcome
from scepra.store.tables import metadata
from scepra.transaction import Event, State, Transaction, upstream_transaction_id
from tests.rig.material import ec_key, issued, request

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=count) for count in (1, 60, 3600, 86400))
LEASE = MINUTE
PATIENCE = 20.0
"""Seconds after which whatever a test waits for has failed."""


def digest(text: str) -> bytes:
    """32 octets for a name."""
    return hashlib.sha256(text.encode()).digest()


def intent(
    request: str = "request",
    *,
    key: str = "key",
    state: State = State.SENDING,
    routes: Sequence[str] = ("route",),
    once: str | None = None,
    reserve: tuple[Reservation, ...] = (),
    at: datetime = NOW,
    **changes: Any,
) -> Intent:
    """An intent as the RA makes it of a request and a key that go by names."""
    identifier, sending = intents.new_id(), state is State.SENDING
    csr_digest = digest(f"csr {request} {key}")
    values = {
        "id": identifier,
        "profile": "wifi",
        "upstream": "ca",
        "state": state.value,
        "credential": "initial",
        "message": digest(f"message {request} {key}"),
        "attempt": 0,
        "client_transaction": f"transaction of {request}",
        "signer_key": digest(key),
        "public_key": digest(key),
        "csr": b"sealed",
        "csr_digest": csr_digest,
        "subject": f"CN={request}",
        "names": [f"dns:{request}.example"],
        "source": "192.0.2.1",
        "challenge": "static",
        "upstream_transaction": upstream_transaction_id(csr_digest, f"transaction of {request}"),
        "signer_key_id": None,
        "signer_certificate": None,
        "sends": 0,
        "polls": 0,
        "received": at,
        "changed": at,
        "next_at": {State.HELD: None, State.SENDING: at + LEASE}.get(state, at),
        "expires": at + 7 * DAY,
        "fence": 1,
        "reason": "",
        "attention": "",
        "approvals": 1 if state is State.HELD else 0,
        "device": "",
        "notify": [],
        "policy": "0123456789abcdef",
    } | changes
    return Intent(
        digest(f"{request} {key}"),
        values,
        tuple(map(digest, routes)),
        reserve or ((Reservation(once),) if once is not None else ()),
        "process" if sending else None,
        at + LEASE if sending else None,
        {"profile": "wifi"},
    )


@dataclass(frozen=True)
class Bench:
    """A store, and short words for what is done to it.

    Attributes:
        settings: of the configuration.
        database: used on the calling thread.
        engine: what it works with; enough connections for many threads.
    """

    settings: Store
    engine: sa.Engine
    database: Database

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a function of a connection in a transaction of its own."""
        return self.database.call(function, *arguments, **named)

    def record(self, what: Intent | None = None, now: datetime = NOW, **changes: Any) -> Transaction:
        """Record an intent, by default one of its own kind; it is there afterwards."""
        recorded = self(intents.record, what or intent(**{"at": now} | changes), now)
        assert isinstance(recorded, Recorded)
        return recorded.transaction

    def apply(self, held: Transaction, event: Event, now: datetime = NOW, **changes: Any) -> Transaction | None:
        """Write what became of a transaction."""
        return self(outcomes.apply, held, Outcome(event, **changes), now)

    def happen(self, held: Transaction, event: Event, now: datetime = NOW, **changes: Any) -> Transaction:
        """The same, where nobody is in the way."""
        after = self.apply(held, event, now, **changes)
        assert after is not None
        return after

    def claim(self, transaction: Transaction, now: datetime, owner: str = "process") -> Transaction:
        """Take up a transaction."""
        taken = self(leases.claim, transaction.id, transaction.fence, owner, now, now + LEASE)
        assert taken is not None
        return taken

    def get(self, transaction: Transaction) -> Transaction:
        """A transaction as it is now."""
        found = self(intents.get, transaction.id)
        assert found is not None
        return found

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """What a table holds, in the order of its primary key."""
        made = metadata.tables[table]
        statement = sa.select(made).order_by(*made.primary_key.columns).filter_by(**where)
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def events(self, transaction: Transaction) -> list[str]:
        """The audit records of a transaction, in order, by their events."""
        return [row["event"] for row in self.rows("audit", transaction=transaction.id)]

    def content(self) -> dict[str, list[dict[str, Any]]]:
        """All that is stored."""
        return {name: self.rows(name) for name in metadata.tables}

    def other(self, **changes: Any) -> Database:
        """The same store as another process has it: by connections of its own."""
        return Database(create_engine(self.settings.model_copy(update=changes), 8), self.settings.sqlite_path)


@cache
def certificate(name: str = "device", by: str = "CA") -> Certificate:
    """The certificate that goes by a name; each has a serial number of its own."""
    return issued(request(f"{name}.example", private_key=ec_key()), by=by)


def together(*functions: Callable[[], T]) -> list[T | Exception]:
    """What functions return or raise that are called at the same moment, each on a thread of its own."""
    barrier = threading.Barrier(len(functions))

    def call(function: Callable[[], T]) -> T | Exception:
        barrier.wait(PATIENCE)
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


@contextmanager
def just_before(engine: sa.Engine, statement: str, action: Callable[[], object]) -> Iterator[None]:
    """Do something once, in the moment before the engine sends a statement that begins like this one."""
    done: list[bool] = []

    def before(connection: Any, cursor: Any, sent: str, *others: Any) -> None:
        if sent.startswith(statement) and not done:
            done.append(True)
            action()

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield
        assert done, f"nothing was sent that begins with {statement!r}"
    finally:
        event.remove(engine, "before_cursor_execute", before)


def again(what: Intent, **changes: Any) -> Intent:
    """The same request in another message."""
    values = {**what.values, "id": intents.new_id(), "message": digest("another message"), **changes}
    return replace(what, values=values)
