"""The keys that requests to a CA are signed with, kept as long as a transaction needs them (RA-20)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from scepra.store.tables import signer_keys


def keep(connection: sa.Connection, key: str, upstream: str, sealed: bytes, now: datetime) -> None:
    """Store a sealed key under its id."""
    connection.execute(sa.insert(signer_keys).values(id=key, upstream=upstream, made=now, sealed=sealed))


def load(connection: sa.Connection, key: str) -> bytes | None:
    """The sealed key with an id."""
    sealed: bytes | None = connection.execute(sa.select(signer_keys.c.sealed).where(signer_keys.c.id == key)).scalar()
    return sealed
