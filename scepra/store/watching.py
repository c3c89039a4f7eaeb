"""Certificates without which nothing goes on, when they end, and whether somebody has been warned (FT-49)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from scepra.store.rows import Insert
from scepra.store.tables import watched


@dataclass(frozen=True, slots=True)
class Watched:
    """One certificate in one place.

    Attributes:
        kind: what it belongs to, "profile" or "upstream"; name: that one's.
        fingerprint: of the certificate.
        role: what it is for there: "signing", "encryption", "both", "signer", "ra", "ca", "next ra" or
            "next ca".
        subject: for people.
        begins, ends: its validity.
        seen: when it was in use last.
        warned: how many days before its end were left when somebody was warned last; None: nobody was yet.
    """

    kind: str
    name: str
    fingerprint: bytes
    role: str
    subject: str
    begins: datetime
    ends: datetime
    seen: datetime
    warned: int | None = None


_COLUMNS = tuple(watched.c[each.name] for each in fields(Watched))
Place = tuple[str, str]
"""The kind and the name."""


def keep(connection: sa.Connection, found: Iterable[Watched], looked_at: Iterable[Place]) -> None:
    """Write which certificates are in use, and take those out that are so no more.

    Args:
        found: all that are in use in the places that could be looked at.
        looked_at: those places; what stands in others that are still there is left.
    """
    present = {(each.kind, each.name, each.fingerprint): each for each in found}
    places = set(looked_at)
    for row in connection.execute(sa.select(watched.c.kind, watched.c.name, watched.c.fingerprint)).all():
        if (row.kind, row.name) in places and tuple(row) not in present:
            connection.execute(sa.delete(watched).where(_is(*row)))
    for each in present.values():
        _KEEP.into(connection, {field.name: getattr(each, field.name) for field in fields(Watched)})


def forget(connection: sa.Connection, places: Iterable[Place]) -> None:
    """Take everything out that stands in other places than these."""
    kept = set(places)
    for row in connection.execute(sa.select(watched.c.kind, watched.c.name).distinct()).all():
        if tuple(row) not in kept:
            connection.execute(sa.delete(watched).where(watched.c.kind == row.kind, watched.c.name == row.name))


def warn(connection: sa.Connection, certificate: Watched, days: int) -> bool:
    """Note that somebody is warned that no more days than these are left; False if somebody was already."""
    again = sa.or_(watched.c.warned.is_(None), watched.c.warned > days)
    changed = connection.execute(
        sa.update(watched)
        .where(_is(certificate.kind, certificate.name, certificate.fingerprint), again)
        .values(warned=days)
    )
    return changed.rowcount > 0


def listing(connection: sa.Connection) -> list[Watched]:
    """All certificates that are watched, those that end first."""
    rows = connection.execute(sa.select(*_COLUMNS).order_by(watched.c.ends, watched.c.kind, watched.c.name))
    return [Watched(*row) for row in rows]


def _is(kind: str, name: str, fingerprint: bytes) -> sa.ColumnElement[bool]:
    return sa.and_(watched.c.kind == kind, watched.c.name == name, watched.c.fingerprint == fingerprint)


_KEEP = Insert(
    watched,
    lambda insert: insert.on_conflict_do_update(
        index_elements=["kind", "name", "fingerprint"],
        set_={name: getattr(insert.excluded, name) for name in ("role", "subject", "begins", "ends", "seen")},
    ),
)
