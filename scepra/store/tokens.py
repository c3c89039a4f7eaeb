"""Who may use the administration: tokens, kept as keyed digests, with roles and profiles (AC-119, AC-124)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.store.rows import note
from scepra.store.tables import tokens
from scepra.store.vault import Vault


class Role(enum.Enum):
    """What a token is good for; there is nothing else that one could be good for."""

    READER = "reader"
    MINTER = "minter"
    UNBOUND_MINTER = "unbound-minter"
    REVOKER = "revoker"
    METRICS = "metrics"

    @property
    def meaning(self) -> str:
        """For people."""
        return _MEANINGS[self]


_MEANINGS = {
    Role.READER: "lists challenges, never the challenges themselves",
    Role.MINTER: "has challenges made for somebody",
    Role.UNBOUND_MINTER: "has challenges made that name nobody, as MDMs fetch them from NDES",
    Role.REVOKER: "revokes challenges",
    Role.METRICS: "reads the metrics",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept; ``profiles`` are those that it is good for, None for all; ``name`` stands in records."""

    id: str
    name: str
    roles: frozenset[Role]
    profiles: frozenset[str] | None
    made: datetime
    expires: datetime | None
    revoked: datetime | None

    def good(self, now: datetime) -> bool:
        """Whether it is good at a moment."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def reaches(self, profile: str) -> bool:
        """Whether it is good for a profile."""
        return self.profiles is None or profile in self.profiles


_COLUMNS = tuple(tokens.c[each.name] for each in fields(Token))


def add(connection: sa.Connection, digest: bytes, token: Token) -> bool:
    """Keep a new token; False if there is one of its name."""
    if connection.execute(sa.select(tokens.c.id).where(tokens.c.name == token.name)).first() is not None:
        return False
    roles = sorted(role.value for role in token.roles)
    profiles = None if token.profiles is None else sorted(token.profiles)
    connection.execute(
        sa.insert(tokens).values(
            id=token.id,
            name=token.name,
            digest=digest,
            roles=roles,
            profiles=profiles,
            made=token.made,
            expires=token.expires,
        )
    )
    note(connection, token.id, "token", token.made, {"token": token.name, "roles": roles, "profiles": profiles})
    return True


def digest(vault: Vault, text: str) -> bytes:
    """Under which a token is kept and found again: keyed, so that the database alone gives nothing away."""
    return vault.digest(b"\0token\0" + text.encode("utf-8"))


def find(connection: sa.Connection, digest: bytes) -> Token | None:
    """The token with a digest, good or not."""
    row = connection.execute(_BY_DIGEST, {"digest": digest}).first()
    return None if row is None else _read(row)


def listing(connection: sa.Connection) -> list[Token]:
    """All tokens, in the order of their names."""
    return [_read(row) for row in connection.execute(sa.select(*_COLUMNS).order_by(tokens.c.name))]


def revoke(connection: sa.Connection, name: str, person: str, now: datetime) -> bool:
    """Let nobody use a token any more; whether there was one to revoke."""
    row = connection.execute(
        sa.update(tokens)
        .where(tokens.c.name == name, tokens.c.revoked.is_(None))
        .values(revoked=now)
        .returning(tokens.c.id)
    ).first()
    if row is not None:
        note(connection, row.id, "revoked", now, {"token": name, "person": person})
    return row is not None


def _read(row: sa.Row[Any]) -> Token:
    values = row._mapping
    known = {role.value: role for role in Role}
    # A role that a later program knows gives no power here.
    roles = frozenset(known[each] for each in values["roles"] if each in known)
    profiles = None if values["profiles"] is None else frozenset(values["profiles"])
    return Token(**{**values, "roles": roles, "profiles": profiles})


_BY_DIGEST = sa.select(*_COLUMNS).where(tokens.c.digest == sa.bindparam("digest"))
