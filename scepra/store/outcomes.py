"""What became of a transaction: written by whoever holds it, in one commit with its audit record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.errors import FailInfo
from scepra.scep.certificate import Certificate
from scepra.store import claims, notices
from scepra.store.rows import Insert, note
from scepra.store.tables import certificates, transactions
from scepra.transaction import Event, State, Transaction, follow

ALREADY_ISSUED = "the CA gave a certificate that another request had been given before"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a transaction.

    Attributes:
        event: see :class:`~scepra.transaction.Event`.
        next_at: when to look at it again; None: when somebody does something.
        reason: why, for people.
        attention: why somebody should look at it; empty if nobody has to.
        fail_info: for what is refused.
        expires: when it will have taken too long, if that is not known yet.
        certificate: for GRANTED, the one that is believed; for MISISSUED, the one that is not.
        sends, polls: how many PKCSReqs and CertPolls it took.
        record: for the audit.
    """

    event: Event
    next_at: datetime | None = None
    reason: str = ""
    attention: str = ""
    fail_info: FailInfo | None = None
    expires: datetime | None = None
    certificate: Certificate | None = None
    sends: int = 0
    polls: int = 0
    record: Mapping[str, Any] | None = None


def apply(connection: sa.Connection, held: Transaction, outcome: Outcome, now: datetime) -> Transaction | None:
    """Write what became of a transaction, and give it up.

    Args:
        held: as it was when it was taken up; its fence must still be the last (FT-43).

    Returns:
        The transaction as it is now; None if somebody else has taken it up meanwhile, and nothing was written.
    """
    event, reason, certificate = outcome.event, outcome.reason, outcome.certificate
    where = {"held_id": held.id, "held_fence": held.fence, "held_state": held.state.value}
    if event is Event.GRANTED and certificate is not None:
        # Locked before its certificate is kept: whoever was overtaken writes nothing.
        if connection.execute(_LOCK, where).first() is None:
            return None
        if not (_keep(connection, held, certificate, now) or _is_kept(connection, held, certificate)):
            event, reason = Event.MISISSUED, ALREADY_ISSUED
    state = follow(held.state, event)
    believed = certificate if event is Event.GRANTED else None
    after = replace(
        held,
        state=state,
        changed=held.changed if state is held.state else now,
        next_at=None if state.final else outcome.next_at,
        expires=held.expires or outcome.expires,
        reason=reason,
        attention=outcome.attention,
        sends=held.sends + outcome.sends,
        polls=held.polls + outcome.polls,
        fail_info=_fail_info(outcome) if state is State.REFUSED else None,
        certificate=None if believed is None else believed.der,
        certificate_ends=None if believed is None else believed.not_after,
    )
    values = {name: getattr(after, name) for name in _WRITTEN}
    values |= {
        "state": state.value,
        "fail_info": None if after.fail_info is None else int(after.fail_info),
        "misissued": certificate.der if certificate is not None and event is Event.MISISSUED else None,
    }
    if connection.execute(_APPLY, values | where).rowcount != 1:
        return None
    if believed is not None:
        claims.keep(connection, held.id, believed, now)
    elif state is State.REFUSED:
        claims.drop(connection, held.id)
    if state is not held.state:
        note(connection, held.id, event.value, now, outcome.record or {"reason": reason})
    if state.final:
        notices.add(connection, held.id, held.notify, event, now)
    return after


def surplus(connection: sa.Connection, held: Transaction, certificate: Certificate, now: datetime) -> bool:
    """Keep a certificate that came for a transaction which somebody else has finished meanwhile (FT-13).

    Returns:
        Whether it is another one than the transaction has, so that the CA issued twice.
    """
    if not _keep(connection, held, certificate, now):
        return False
    note(connection, held.id, "surplus", now, {"certificate": certificate.fingerprint()})
    return True


def quarantine(connection: sa.Connection, transaction: str, reason: str, now: datetime) -> None:
    """Leave a transaction alone from now on, because its row cannot be used (FT-58)."""
    found = connection.execute(
        sa.update(transactions)
        .where(transactions.c.id == transaction, transactions.c.quarantine.is_(None))
        .values(quarantine=reason, next_at=None)
    )
    if found.rowcount:
        note(connection, transaction, "quarantined", now, {"reason": reason})


def _fail_info(outcome: Outcome) -> FailInfo:
    return FailInfo.BAD_REQUEST if outcome.fail_info is None else outcome.fail_info  # badAlg is 0


def _is_kept(connection: sa.Connection, held: Transaction, certificate: Certificate) -> bool:
    """Whether this very certificate was kept for this transaction before."""
    return bool(connection.execute(_OWNER, {"fingerprint": _fingerprint(certificate)}).scalar() == held.id)


def _keep(connection: sa.Connection, held: Transaction, certificate: Certificate, now: datetime) -> bool:
    """Put a certificate into the inventory; whether it had none of this issuer and serial number (AC-110)."""
    kept = _KEEP.into(
        connection,
        {
            "fingerprint": _fingerprint(certificate),
            "identity": _identity(certificate),
            "transaction": held.id,
            "profile": held.profile,
            "public_key": held.public_key,
            "serial": f"{certificate.serial:x}"[:64],
            "subject": held.subject,
            "issued": now,
            "ends": certificate.not_after or now,
        },
    ).first()
    return kept is not None


def _fingerprint(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.der).digest()


def _identity(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.issuer_der + certificate.serial_der).digest()


_WRITTEN = (
    "changed",
    "next_at",
    "expires",
    "reason",
    "attention",
    "sends",
    "polls",
    "certificate",
    "certificate_ends",
)
_AS_HELD = sa.and_(
    transactions.c.id == sa.bindparam("held_id"),
    transactions.c.fence == sa.bindparam("held_fence"),
    transactions.c.state == sa.bindparam("held_state"),
)
_LOCK = sa.select(transactions.c.id).where(_AS_HELD).with_for_update()
_APPLY = (
    sa.update(transactions)
    .where(_AS_HELD)
    .values(
        {name: sa.bindparam(name) for name in (*_WRITTEN, "state", "fail_info", "misissued")}
        | {"owner": None, "lease_ends": None}
    )
)
_OWNER = sa.select(certificates.c.transaction).where(certificates.c.fingerprint == sa.bindparam("fingerprint"))
_KEEP = Insert(certificates, lambda insert: insert.on_conflict_do_nothing().returning(certificates.c.fingerprint))
