"""One-time passwords of a CA that are kept, sealed, until somebody asks for one (RA-11).

A password that was drawn is nobody's: its row is sealed and has no digest. When it is handed out its row loses the
sealed text for good and gets a digest, and is from then on a challenge like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from scepra.store.challenges import COLUMNS, Challenge
from scepra.store.rows import note
from scepra.store.tables import challenges, reservations


@dataclass(frozen=True, slots=True)
class Stock:
    """What a broker has: passwords that are nobody's yet and may still be handed out, of one profile; and passwords of
    all profiles that the CA still has to keep, as far as is known here."""

    ready: int
    outstanding: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a password is wanted for, and who asks; ``lasting`` is how long it must still be good."""

    broker: str
    profile: str
    binding: Mapping[str, Any]
    minter: str
    lasting: timedelta


def stock(
    connection: sa.Connection, broker: str, profile: str, now: datetime, lasting: timedelta, margin: timedelta
) -> Stock:
    """What there is.

    Args:
        lasting: how long a password must still be good to be handed out.
        margin: how much longer than here the CA keeps it.
    """
    ready = sa.select(sa.func.count()).where(
        challenges.c.origin == broker, challenges.c.profile == profile, _nobodys(now + lasting)
    )
    # Where a key has it already, its request is at the CA, or will be: that has forgotten it, or is about to.
    used = sa.exists().where(reservations.c.credential == challenges.c.origin + " " + challenges.c.id)
    outstanding = sa.select(sa.func.count()).where(
        challenges.c.origin == broker, challenges.c.expires > now - margin, ~used
    )
    return Stock(connection.execute(ready).scalar_one(), connection.execute(outstanding).scalar_one())


def keep(
    connection: sa.Connection, challenge: Challenge, sealed: bytes, digest: bytes, digest_of: Callable[[bytes], bytes]
) -> bool:
    """Keep a password that was drawn.

    Args:
        digest: of the password, keyed.
        digest_of: the digest of a sealed one.

    Returns:
        False if it has been drawn before: then it is no password of one use, and is not kept.
    """
    given = sa.select(challenges.c.id).where(challenges.c.digest == digest)
    if connection.execute(given).first() is not None:
        return False
    waiting = sa.select(challenges.c.sealed).where(
        challenges.c.origin == challenge.origin, challenges.c.digest.is_(None)
    )
    if digest in [digest_of(each) for each in connection.execute(waiting).scalars()]:
        return False
    values = {column.name: getattr(challenge, column.name) for column in COLUMNS}
    connection.execute(sa.insert(challenges).values(sealed=sealed, **values))
    note(connection, challenge.id, "drawn", challenge.made, {"challenge": challenge.id, "profile": challenge.profile})
    return True


def hand_out(
    connection: sa.Connection, wanted: Wanted, now: datetime, open_: Callable[[bytes], tuple[str, bytes]]
) -> tuple[str, Challenge] | None:
    """Give somebody the password that ends first of those that are good for long enough.

    Args:
        open_: the text of a sealed password, and its digest.

    Returns:
        The password and what is kept of it; None if there is none.
    """
    found = connection.execute(
        sa.select(challenges.c.id, challenges.c.sealed)
        .where(
            challenges.c.origin == wanted.broker,
            challenges.c.profile == wanted.profile,
            _nobodys(now + wanted.lasting),
        )
        .order_by(challenges.c.expires, challenges.c.id)
        .limit(1)
        # Others take the next one meanwhile.
        .with_for_update(skip_locked=True)
    ).first()
    if found is None:
        return None
    text, digest = open_(found.sealed)
    row = connection.execute(
        sa.update(challenges)
        .where(challenges.c.id == found.id)
        .values(digest=digest, sealed=None, binding=dict(wanted.binding), minter=wanted.minter)
        .returning(*COLUMNS)
    ).one()
    record = {"challenge": found.id, "profile": wanted.profile, "minter": wanted.minter}
    note(connection, found.id, "minted", now, record | {"binding": dict(wanted.binding)})
    return text, Challenge(*row)


def _nobodys(good_at: datetime) -> sa.ColumnElement[bool]:
    """Passwords that nobody has been given, and that are still good at a moment."""
    return sa.and_(
        challenges.c.digest.is_(None),
        challenges.c.sealed.is_not(None),
        challenges.c.revoked.is_(None),
        challenges.c.expires > good_at,
    )
