"""Which CA follows which, with the evidence: nothing is believed for being here (CERT-31, AC-106)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.store.rows import Insert
from scepra.store.tables import UNREADABLE, successions


@dataclass(frozen=True, slots=True)
class Row:
    """One succession as it is stored: encodings, and when it was first seen, UTC."""

    certificate: bytes
    evidence: bytes
    path: bytes
    seen: datetime


def load(connection: sa.Connection, upstream: str) -> list[Row]:
    """What is stored for an upstream, oldest first; a row without a moment is left out."""
    found: list[Any] = list(connection.execute(_OF_UPSTREAM, {"upstream": upstream}))
    return [Row(*each) for each in found if each.seen is not UNREADABLE]


def keep(connection: sa.Connection, upstream: str, fingerprint: bytes, row: Row) -> bool:
    """Store one more.

    Args:
        fingerprint: the SHA-256 of the certificate.

    Returns:
        False if it is there already, which stays as it is.
    """
    values = {
        "upstream": upstream,
        "fingerprint": fingerprint,
        "certificate": row.certificate,
        "evidence": row.evidence,
        "path": row.path,
        "seen": row.seen,
    }
    return _INSERT.into(connection, values).first() is not None


_OF_UPSTREAM = (
    sa.select(successions.c.certificate, successions.c.evidence, successions.c.path, successions.c.seen)
    .where(successions.c.upstream == sa.bindparam("upstream"))
    .order_by(successions.c.seen)
)
_INSERT = Insert(successions, lambda insert: insert.on_conflict_do_nothing().returning(successions.c.fingerprint))
