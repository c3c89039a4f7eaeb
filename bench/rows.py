"""Rows for a store that has seen many enrolments: issued, each with a route, a certificate and two audit records."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from scepra.config.store import Store
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import upgrade
from scepra.store.tables import audit, certificates, routes, transactions
from scepra.transaction import State

Values = dict[str, Any]

_DAY = 86_400_000
# As large as a sealed request and a certificate of RSA-2048 are.
_CSR, _CERTIFICATE = os.urandom(1600), os.urandom(900)
_RECORD = json.dumps({"outcome": "issued", "subject": "CN=stored.bench.example", "serial": "0" * 40, "reason": ""})


def fill(store: Store, count: int) -> None:
    """Make a store with the tables and so many transactions.

    Args:
        store: the configuration's section; SQLite's file is not there yet, PostgreSQL's database empty.
    """
    if store.sqlite_path is not None:
        create_file(store.sqlite_path)
    engine = create_engine(store, 1)
    upgrade(engine)
    engine.dispose()
    if store.sqlite_path is not None:
        _into_sqlite(store.sqlite_path, count)
    else:
        _into_postgresql(store.url, count)


def _into_sqlite(path: Path, count: int) -> None:
    connection = sqlite3.connect(path)
    # If this is cut short, so is the measurement.
    for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000"):
        connection.execute(f"PRAGMA {setting}")
    for table, names, rows in _tables(count):
        places = ", ?" * names.count(",")
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES (?{places})", rows)  # noqa: S608 - our own names
    connection.commit()
    connection.close()


def _into_postgresql(url: str, count: int) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for table, names, rows in _tables(count):
            with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            # Now, so that the server does not do it while it is measured.
            connection.execute(f"VACUUM ANALYZE {table}")


def _tables(count: int) -> Iterator[tuple[str, str, Iterator[tuple[Any, ...]]]]:
    """Each table's name, the names of its columns, and its rows."""
    now = time.time_ns() // 1_000_000
    kinds: list[tuple[sa.Table, Callable[[int, int], Values], int]] = [
        (transactions, _transaction, count),
        (routes, _route, count),
        (certificates, _certificate, count),
        (audit, _record, 2 * count),
    ]
    for table, values, rows in kinds:
        names = ", ".join(f'"{name}"' for name in values(0, now))
        # Begun over the last four weeks, one after the other.
        moments = range(now - 28 * _DAY, now, max(1, 28 * _DAY // rows))
        yield table.name, names, (tuple(values(n, at).values()) for n, at in zip(range(rows), moments, strict=False))


def _digest(kind: str, number: int) -> bytes:
    return hashlib.sha256(f"{kind} {number}".encode("ascii")).digest()


def _id(number: int) -> str:
    return _digest("id", number).hex()[:16]


def _transaction(number: int, at: int) -> Values:
    return {
        "id": _id(number),
        "profile": "bench",
        "upstream": "lab",
        "state": State.ISSUED.value,
        "credential": "initial",
        "request": _digest("request", number),
        "message": _digest("message", number),
        "attempt": 0,
        "client_transaction": f"{number:032X}",
        "signer_key": _digest("key", number),
        "public_key": _digest("key", number),
        "csr": _CSR,
        "csr_digest": _digest("csr", number),
        "subject": f"CN=stored-{number}.bench.example",
        "names": f'["DNS:stored-{number}.bench.example"]',
        "source": "192.0.2.1",
        "challenge": "static",
        "upstream_transaction": _digest("upstream", number).hex()[:32].upper(),
        "signer_key_id": None,
        "signer_certificate": None,
        "sends": 1,
        "polls": 0,
        "received": at,
        "changed": at,
        "next_at": None,
        "expires": at + 7 * _DAY,
        "owner": None,
        "lease_ends": None,
        "fence": 1,
        "certificate": _CERTIFICATE,
        "certificate_ends": at + 365 * _DAY,
        "misissued": None,
        "fail_info": None,
        "reason": "",
        "attention": "",
        "approvals": 0,
        "device": "",
        "notify": [],
        "policy": "0123456789abcdef",
        "quarantine": None,
    }


def _route(number: int, at: int) -> Values:
    return {"route": _digest("route", number), "transaction": _id(number)}


def _certificate(number: int, at: int) -> Values:
    return {
        "fingerprint": _digest("certificate", number),
        "identity": _digest("serial", number),
        "transaction": _id(number),
        "profile": "bench",
        "public_key": _digest("key", number),
        "serial": _digest("serial", number).hex()[:40],
        "subject": f"CN=stored-{number}.bench.example",
        "issued": at,
        "ends": at + 365 * _DAY,
    }


def _record(number: int, at: int) -> Values:
    event = "granted" if number % 2 else "authorised"
    return {"at": at, "transaction": _id(number // 2), "event": event, "record": _RECORD}
