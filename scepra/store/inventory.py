"""What this RA has issued (AC-050)."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from scepra.store.tables import certificates, transactions

MOST = 16
"""How many certificates of one key are looked at, the newest."""


def profile_of(connection: sa.Connection, fingerprint: bytes) -> str | None:
    """Through which profile a certificate was issued.

    Args:
        fingerprint: the SHA-256 of the whole certificate: neither its names nor its number are proof.

    Returns:
        None for one that is not known.
    """
    profile: str | None = connection.execute(_PROFILE, {"fingerprint": fingerprint}).scalar()
    return profile


def kept(connection: sa.Connection, profiles: Collection[str], public_key: bytes) -> list[bytes]:
    """The certificates of a key that were issued through some profiles, encoded, the newest first: those whose
    transactions are kept.

    Args:
        public_key: the digest of its SubjectPublicKeyInfo.
    """
    found = connection.execute(_KEPT, {"profiles": list(profiles), "public_key": public_key})
    return list(found.scalars())


_PROFILE = sa.select(certificates.c.profile).where(certificates.c.fingerprint == sa.bindparam("fingerprint"))
_KEPT = (
    sa.select(transactions.c.certificate)
    .join(certificates, certificates.c.transaction == transactions.c.id)
    .where(
        certificates.c.public_key == sa.bindparam("public_key"),
        certificates.c.profile.in_(sa.bindparam("profiles", expanding=True)),
        transactions.c.certificate.is_not(None),
    )
    .order_by(certificates.c.issued.desc())
    .limit(MOST)
)
