"""Credentials that are good for some public keys only, and who has them (I2, DR-8; AC-092)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from scepra.enrolment import Reservation
from scepra.store import challenges
from scepra.store.rows import Insert
from scepra.store.tables import reservations


def take(
    connection: sa.Connection, wanted: Reservation, public_key: bytes, transaction: str, now: datetime
) -> str | None:
    """Take a credential for a public key. Whoever has it already, keeps it, whatever has become of it since (FT-27).

    Args:
        public_key: its digest.
        transaction: the id of the one that it is taken for.

    Returns:
        Why it is not to be had, for the record; None if it is this key's now.
    """
    if _has(connection, wanted.credential, public_key):
        return None
    if wanted.challenge is not None:
        # Locked until the commit: what is revoked in the same moment is revoked before, or after (AC-098).
        reason = challenges.fault(connection, wanted.challenge, now)
        if reason is not None:
            return reason
    row = {
        "credential": wanted.credential,
        "public_key": public_key,
        "transaction": transaction,
        "made": now,
    }
    used: int = connection.execute(_USED, {"credential": wanted.credential}).scalar_one()
    for use in range(used, wanted.uses):
        if _TAKE.into(connection, row | {"use": use}).first() is not None:
            return None
    # It may have been taken for this very key between our look and our attempts.
    if _has(connection, wanted.credential, public_key):
        return None
    return "used by another key before" if wanted.uses == 1 else f"used by {wanted.uses} other keys before"


def give_back(connection: sa.Connection, transaction: str) -> None:
    """Undo what was taken for a transaction that is not recorded in the end."""
    connection.execute(sa.delete(reservations).where(reservations.c.transaction == transaction))


def _has(connection: sa.Connection, credential: str, public_key: bytes) -> bool:
    return connection.execute(_HAS, {"credential": credential, "public_key": public_key}).first() is not None


_HAS = sa.select(reservations.c.use).where(
    reservations.c.credential == sa.bindparam("credential"), reservations.c.public_key == sa.bindparam("public_key")
)
_USED = sa.select(sa.func.count()).where(reservations.c.credential == sa.bindparam("credential"))
_TAKE = Insert(reservations, lambda insert: insert.on_conflict_do_nothing().returning(reservations.c.use))
