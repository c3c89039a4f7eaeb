"""What requests stand for, counted in the commit that records one, so that limits hold whatever runs beside (DR-7).

A claim is made with the intent, ends with the certificate, and goes with a request that is refused. While its kind is
counted, a row for it is locked: at PostgreSQL's READ COMMITTED two requests would else count each other out. SQLite has
one writer at a time anyhow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from scepra.enrolment import Hold, Violation
from scepra.policy.claim import Bound, Claim
from scepra.scep.certificate import Certificate
from scepra.store.rows import Insert
from scepra.store.tables import DIGEST, Moment, certificates, claims, gates


@dataclass(frozen=True, slots=True)
class Claimant:
    """A request that is about to be recorded, and what it stands for.

    Attributes:
        claims: everything.
        bounds: what may not be exceeded.
        renews: the fingerprint of the certificate that it renews; None: it renews none.
    """

    claims: tuple[Claim, ...] = ()
    bounds: tuple[Bound, ...] = ()
    renews: bytes | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of counting: why it is refused, what is only reported, and what it has to wait for."""

    violations: tuple[Violation, ...] = ()
    reported: tuple[Violation, ...] = ()
    hold: Hold | None = None


NOTHING = Claimant()
_FINE = Counted()


def make(
    connection: sa.Connection, claimant: Claimant, transaction: str, profile: str, public_key: bytes, now: datetime
) -> Counted:
    """Count, and make the claims unless the request is refused.

    Args:
        transaction: its id.
        public_key: its digest.
    """
    request = _Request(claimant, _replaced(connection, claimant), profile, public_key, now)
    counted = _count(connection, request) if claimant.bounds else _FINE
    if not counted.violations and claimant.claims:
        rows = [
            {
                "transaction": transaction,
                "kind": claim.kind,
                "value": claim.value,
                "profile": profile,
                "public_key": public_key,
                "made": now,
                "ends": None,
                "replaces": request.replaces,
            }
            for claim in claimant.claims
        ]
        connection.execute(sa.insert(claims), rows)
        if request.replaces:
            # A renewal shows no challenge: its device stays the one that the first challenge was given to.
            _INHERIT.into(connection, {"old": request.replaces, "new": transaction, "made": now, "key": public_key})
    return counted


def keep(connection: sa.Connection, transaction: str, certificate: Certificate, now: datetime) -> None:
    """Let the claims of a transaction last as long as the certificate that it got; what it renews claims no more what
    both claim."""
    ends = certificate.not_after or now
    replaces = connection.execute(_KEEP, {"of": transaction, "until": ends}).scalars().first()
    if replaces:
        connection.execute(_SUPERSEDE, {"old": replaces, "new": transaction, "at": now})


def drop(connection: sa.Connection, transaction: str) -> None:
    """Take away the claims of a transaction that gets no certificate."""
    connection.execute(_DROP, {"of": transaction})


@dataclass(frozen=True, slots=True)
class _Request:
    claimant: Claimant
    # The transaction of the certificate that is renewed; empty where that is not known; None: nothing is renewed.
    replaces: str | None
    profile: str
    public_key: bytes
    now: datetime

    def values(self, kind: str) -> list[bytes]:
        """What it stands for, of one kind."""
        return [claim.value for claim in self.claimant.claims if claim.kind == kind]


def _replaced(connection: sa.Connection, claimant: Claimant) -> str | None:
    if claimant.renews is None:
        return None
    found: str | None = connection.execute(_TRANSACTION_OF, {"of": claimant.renews}).scalar()
    return found or ""


def _count(connection: sa.Connection, request: _Request) -> Counted:
    """Everything that is exceeded; a hold asks for people only where nothing is refused."""
    bounds = [bound for bound in request.claimant.bounds if request.values(bound.kind) and _concerns(bound, request)]
    locked = sorted({_gate(bound, value, request) for bound in bounds for value in request.values(bound.kind)})
    for gate in locked:
        _LOCK.into(connection, {"gate": gate})
    violations: list[Violation] = []
    reported: list[Violation] = []
    holds: list[Hold] = []
    for bound in bounds:
        if not (_is_taken if bound.unique else _is_full)(connection, bound, request):
            continue
        if bound.reported:
            reported.append(bound.violation)
        elif bound.hold is not None:
            holds.append(bound.hold)
        else:
            violations.append(bound.violation)
    if locked:
        # Locked until the commit all the same; nothing is left of them.
        connection.execute(sa.delete(gates).where(gates.c.gate.in_(locked)))
    hold = None
    if holds and not violations:
        first = max(holds, key=lambda each: each.approvals)
        hold = Hold(first.approvals, first.expires, "; ".join(each.reason for each in holds))
    return Counted(tuple(violations), tuple(reported), hold)


def _concerns(bound: Bound, request: _Request) -> bool:
    """A renewal takes the place of another certificate; of unique things, it must not take another's key."""
    return request.replaces is None or (bound.unique and bound.kind == "key")


def _gate(bound: Bound, value: bytes, request: _Request) -> bytes:
    where = "" if bound.everywhere else request.profile
    return hashlib.sha256(f"{bound.kind}\0{where}\0".encode() + value).digest()


def _is_full(connection: sa.Connection, bound: Bound, request: _Request) -> bool:
    """Whether there are as many as may be."""
    (value,) = request.values(bound.kind)
    where = [claims.c.kind == bound.kind, claims.c.value == value, claims.c.profile == request.profile]
    if bound.within is None:
        # A renewal that is under way is counted as what it renews.
        under_way = sa.and_(claims.c.ends.is_(None), claims.c.replaces.is_(None))
        where.append(sa.or_(under_way, claims.c.ends > request.now))
    else:
        where += [claims.c.made > request.now - timedelta(seconds=bound.within), claims.c.replaces.is_(None)]
    some = sa.select(sa.literal(1)).where(*where).limit(bound.most).subquery()
    count: int = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return count >= bound.most


def _is_taken(connection: sa.Connection, bound: Bound, request: _Request) -> bool:
    """Whether somebody else stands for one of the things."""
    where = [
        claims.c.kind == bound.kind,
        claims.c.value.in_(request.values(bound.kind)),
        sa.or_(claims.c.ends.is_(None), claims.c.ends > request.now),
    ]
    if not bound.everywhere:
        where.append(claims.c.profile == request.profile)
    if bound.kind == "key":
        where.append(claims.c.transaction != (request.replaces or ""))
    else:
        where.append(claims.c.public_key != request.public_key)
        device = request.values("device")
        if device:
            own = claims.alias()
            ours = sa.exists().where(
                own.c.transaction == claims.c.transaction, own.c.kind == "device", own.c.value == device[0]
            )
            where.append(~ours)
    return connection.execute(sa.select(claims.c.transaction).where(*where).limit(1)).first() is not None


_TRANSACTION_OF = sa.select(certificates.c.transaction).where(certificates.c.fingerprint == sa.bindparam("of"))
_LOCK = Insert(
    gates,
    lambda insert: insert.on_conflict_do_update(index_elements=["gate"], set_={"gate": insert.excluded.gate}),
)
_KEEP = (
    sa.update(claims)
    .where(claims.c.transaction == sa.bindparam("of"))
    .values(ends=sa.bindparam("until"))
    .returning(claims.c.replaces)
)
_INHERITED = claims.alias()
_INHERIT = Insert(
    claims,
    lambda insert: insert.from_select(
        [column.name for column in claims.c],
        sa.select(
            sa.bindparam("new", type_=sa.String),
            _INHERITED.c.kind,
            _INHERITED.c.value,
            _INHERITED.c.profile,
            sa.bindparam("key", type_=DIGEST),
            sa.bindparam("made", type_=Moment),
            sa.null(),
            sa.bindparam("old", type_=sa.String),
        ).where(
            _INHERITED.c.transaction == sa.bindparam("old", type_=sa.String),
            _INHERITED.c.kind.in_(("device", "challenge")),
        ),
    ).on_conflict_do_nothing(),
)
_DROP = sa.delete(claims).where(claims.c.transaction == sa.bindparam("of"))
_new = claims.alias()
_SUPERSEDE = (
    sa.update(claims)
    .where(
        claims.c.transaction == sa.bindparam("old"),
        sa.exists().where(
            _new.c.transaction == sa.bindparam("new"), _new.c.kind == claims.c.kind, _new.c.value == claims.c.value
        ),
        claims.c.ends > sa.bindparam("at"),
    )
    .values(ends=sa.bindparam("at"))
)
