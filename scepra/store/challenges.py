"""Challenges that the RA gives out: kept as keyed digests, bound to names, limited, revocable (DR-17, SEC-05, SEC-06).

Nothing here ever returns a challenge: who was not told it when it was made is never told it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.store.rows import note
from scepra.store.tables import challenges, reservations

MOST_MISUSES = 5
"""How often a challenge may be shown with a request that it was not given for, before it is suspended (AC-091)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is kept of a challenge; ``used`` is by how many public keys it has been used.

    ``binding`` is what it is good for, as :meth:`scepra.binding.Binding.to_json` says it; ``origin`` is "minted", or
    the name of the broker that drew it from a CA; ``minter`` who asked for it.
    """

    id: str
    profile: str
    binding: Mapping[str, Any]
    uses: int
    origin: str
    minter: str
    made: datetime
    expires: datetime
    revoked: datetime | None
    misuses: int
    suspended: datetime | None
    used: int = 0

    def fault(self, now: datetime) -> str | None:
        """Why it is not good now, for the record; None if it is."""
        if self.revoked is not None:
            return "revoked"
        if self.suspended is not None:
            return "suspended: it was shown too often with requests that it was not given for"
        return "expired" if now >= self.expires else None


COLUMNS = tuple(challenges.c[each.name] for each in fields(Challenge) if each.name != "used")


def add(connection: sa.Connection, digest: bytes, challenge: Challenge, most: int) -> bool:
    """Keep a new challenge.

    Args:
        digest: of the challenge, keyed.
        most: how many challenges of its profile may be good at once (AC-104).

    Returns:
        False if there are as many as may be; nothing is kept then.
    """
    good = sa.select(sa.func.count()).where(
        challenges.c.profile == challenge.profile,
        challenges.c.digest.is_not(None),
        challenges.c.expires > challenge.made,
        challenges.c.revoked.is_(None),
        challenges.c.suspended.is_(None),
    )
    count: int = connection.execute(good).scalar_one()
    if count >= most:
        return False
    values = {each.name: getattr(challenge, each.name) for each in fields(Challenge) if each.name != "used"}
    connection.execute(sa.insert(challenges).values(digest=digest, **values))
    record = {"challenge": challenge.id, "profile": challenge.profile, "minter": challenge.minter}
    note(connection, challenge.id, "minted", challenge.made, record | {"binding": dict(challenge.binding)})
    return True


def find(connection: sa.Connection, digest: bytes) -> Challenge | None:
    """The challenge with a digest, whether it is good or not."""
    row = connection.execute(_BY_DIGEST, {"digest": digest}).first()
    return None if row is None else Challenge(*row)


def fault(connection: sa.Connection, identifier: str, now: datetime) -> str | None:
    """Why a challenge is not good now, for the record; None if it is. It stays as it is until the commit."""
    row = connection.execute(_LOCK, {"id": identifier}).first()
    return "not kept any more" if row is None else Challenge(*row).fault(now)


def misused(connection: sa.Connection, identifier: str, now: datetime) -> bool:
    """Count that a challenge was shown with a request that it was not given for (AC-091).

    Returns:
        Whether it is suspended for that now, and was not before.
    """
    row = connection.execute(
        sa.update(challenges)
        .where(challenges.c.id == identifier)
        .values(misuses=challenges.c.misuses + 1)
        .returning(challenges.c.misuses, challenges.c.suspended)
    ).first()
    if row is None or row.misuses < MOST_MISUSES or row.suspended is not None:
        return False
    connection.execute(sa.update(challenges).where(challenges.c.id == identifier).values(suspended=now))
    note(connection, identifier, "suspended", now, {"challenge": identifier, "misuses": row.misuses})
    return True


def revoke(
    connection: sa.Connection, identifier: str, profiles: frozenset[str] | None, person: str, why: str, now: datetime
) -> bool:
    """Let nobody use a challenge from now on who has not used it yet.

    Args:
        profiles: of which profiles it may be; None: of any.

    Returns:
        Whether there was one to revoke.
    """
    statement = sa.update(challenges).where(challenges.c.id == identifier, challenges.c.revoked.is_(None))
    if profiles is not None:
        statement = statement.where(challenges.c.profile.in_(sorted(profiles)))
    changed = connection.execute(statement.values(revoked=now))
    if changed.rowcount:
        note(connection, identifier, "revoked", now, {"challenge": identifier, "person": person, "why": why})
    return bool(changed.rowcount)


def listing(
    connection: sa.Connection, profiles: frozenset[str] | None, good_at: datetime | None, limit: int
) -> list[Challenge]:
    """The challenges that were made last, the latest first.

    Args:
        profiles: of which profiles; None: of all.
        good_at: only those that are good at a moment; None: all.
    """
    used = (
        sa.select(sa.func.count())
        .where(reservations.c.credential == challenges.c.origin + " " + challenges.c.id)
        .scalar_subquery()
    )
    query = sa.select(*COLUMNS, used).order_by(challenges.c.made.desc(), challenges.c.id).limit(limit)
    # What a broker has drawn and nobody was given yet is no challenge of anybody's.
    query = query.where(challenges.c.digest.is_not(None))
    if profiles is not None:
        query = query.where(challenges.c.profile.in_(sorted(profiles)))
    if good_at is not None:
        query = query.where(
            challenges.c.expires > good_at, challenges.c.revoked.is_(None), challenges.c.suspended.is_(None)
        )
    return [Challenge(*row) for row in connection.execute(query)]


_BY_DIGEST = sa.select(*COLUMNS).where(challenges.c.digest == sa.bindparam("digest"))
_LOCK = sa.select(*COLUMNS).where(challenges.c.id == sa.bindparam("id")).with_for_update()
