"""What this RA has issued (AC-050)."""

from __future__ import annotations

import sqlalchemy as sa

from scepra.store.tables import certificates


def profile_of(connection: sa.Connection, fingerprint: bytes) -> str | None:
    """Through which profile a certificate was issued.

    Args:
        fingerprint: the SHA-256 of the whole certificate: neither its names nor its number are proof.

    Returns:
        None for one that is not known.
    """
    profile: str | None = connection.execute(_PROFILE, {"fingerprint": fingerprint}).scalar()
    return profile


_PROFILE = sa.select(certificates.c.profile).where(certificates.c.fingerprint == sa.bindparam("fingerprint"))
