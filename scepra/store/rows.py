"""Rows and values: how a transaction is read, and how rows are put beside others that may be there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from scepra.enrolment import Credential
from scepra.errors import FailInfo, StoreError
from scepra.store.tables import UNREADABLE, Moment, audit, transactions
from scepra.transaction import State, Transaction


class Corrupt(StoreError):
    """A row that cannot be a transaction (FT-58).

    Args:
        transaction: its id.
    """

    def __init__(self, transaction: str, reason: str) -> None:
        super().__init__(f"transaction {transaction}: {reason}")
        self.transaction = transaction


_FIELDS = tuple(each.name for each in fields(Transaction))
COLUMNS = tuple(transactions.c[name] for name in _FIELDS)
"""What :func:`read` needs of a row."""

_POSITIONS = {name: position for position, name in enumerate(_FIELDS)}
_STATE, _CREDENTIAL, _FAIL_INFO, _NAMES, _NOTIFY = (
    _POSITIONS[name] for name in ("state", "credential", "fail_info", "names", "notify")
)
_DIGESTS = tuple(_POSITIONS[name] for name in ("message", "signer_key", "public_key", "csr_digest"))
_MOMENTS = tuple(_POSITIONS[column.name] for column in COLUMNS if isinstance(column.type, Moment))


def read(row: sa.Row[Any]) -> Transaction:
    """The transaction in a row of :data:`COLUMNS`.

    Raises:
        Corrupt: it holds what no transaction can.
    """
    values = list(row)
    try:
        values[_STATE] = State(values[_STATE])
        values[_CREDENTIAL] = Credential(values[_CREDENTIAL])
        values[_NAMES] = tuple(values[_NAMES])
        values[_NOTIFY] = tuple(values[_NOTIFY])
        if values[_FAIL_INFO] is not None:
            values[_FAIL_INFO] = FailInfo(values[_FAIL_INFO])
        for position in _DIGESTS:
            if len(values[position]) != 32:
                raise ValueError("a digest of another length")
        for position in _MOMENTS:
            if values[position] is UNREADABLE:
                raise ValueError("a moment that is none")
    except (ValueError, TypeError) as error:
        raise Corrupt(str(values[0]), f"a row that cannot be read ({error})") from None
    return Transaction(*values)


def fetch(
    connection: sa.Connection, statement: sa.Select[Any], parameters: Mapping[str, Any] | None = None
) -> Transaction | None:
    """The transaction that a query of :data:`COLUMNS` finds.

    Raises:
        Corrupt: its row holds what no transaction can.
    """
    result = connection.execute(statement, parameters)
    try:
        row = result.first()
    except (ValueError, TypeError) as error:
        # A column holds no value of its type.
        identifier = connection.execute(statement.with_only_columns(transactions.c.id), parameters).scalar_one()
        raise Corrupt(identifier, f"a row that cannot be read ({error})") from None
    return None if row is None else read(row)


def fresh(values: Mapping[str, Any]) -> Transaction:
    """The transaction that a row just made of *values* holds, without reading it."""
    known: dict[str, Any] = {name: values.get(name) for name in _FIELDS}
    known |= {
        "state": State(values["state"]),
        "credential": Credential(values["credential"]),
        "names": tuple(values["names"]),
        "notify": tuple(values["notify"]),
    }
    return Transaction(**known)


class Insert:
    """An INSERT that says what happens where the row is there already, built once for each kind of database.

    Args:
        table: where.
        finish: adds what happens then; both kinds of database say it alike.
    """

    def __init__(self, table: sa.Table, finish: Callable[[Any], Any]) -> None:
        self._statements = {
            "sqlite": finish(sqlite.insert(table)),
            "postgresql": finish(postgresql.insert(table)),
        }

    def into(self, connection: sa.Connection, rows: Mapping[str, Any] | list[dict[str, Any]]) -> sa.CursorResult[Any]:
        """Insert one row, or several."""
        return connection.execute(self._statements[connection.dialect.name], rows)


def note(connection: sa.Connection, transaction: str, event: str, at: Any, record: Mapping[str, Any]) -> int:
    """Write an audit record; it is durable when and only if its effect is (I7).

    Returns:
        Its place in the order of all.
    """
    values = {"transaction": transaction, "event": event, "at": at, "record": dict(record)}
    sequence: int = connection.execute(_NOTE, values).scalar_one()
    return sequence


_NOTE = sa.insert(audit).returning(audit.c.sequence)
