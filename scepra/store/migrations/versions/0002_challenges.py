"""Challenges that the RA gives out, tokens of the administration, what is counted, and what providers are told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, and let a reservation have several uses."""
    op.add_column("transactions", sa.Column("device", sa.String(length=128), nullable=False, server_default=""))
    op.add_column("transactions", sa.Column("notify", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("transactions", sa.Column("policy", sa.String(length=16), nullable=False, server_default=""))
    op.add_column("transactions", sa.Column("neighbourhood", sa.String(length=64), nullable=False, server_default=""))
    held = sa.text("state = 'held'")
    op.create_index("transactions_held", "transactions", ["profile"], sqlite_where=held, postgresql_where=held)
    _reservations()
    _challenges()
    _claims()


def _reservations() -> None:
    op.rename_table("reservations", "earlier_reservations")
    op.drop_index(op.f("ix_reservations_made"), "earlier_reservations")
    op.create_table(
        "reservations",
        sa.Column("credential", sa.String(length=128), nullable=False),
        sa.Column("use", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "use", name="reservations_uses_pkey"),
        sa.UniqueConstraint("credential", "public_key"),
    )
    op.create_index(op.f("ix_reservations_made"), "reservations", ["made"], unique=False)
    op.execute(
        'INSERT INTO reservations (credential, "use", public_key, "transaction", made)'
        ' SELECT credential, 0, public_key, "transaction", made FROM earlier_reservations'
    )
    op.drop_table("earlier_reservations")


def _challenges() -> None:
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("binding", sa.JSON(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("minter", sa.String(length=128), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.Column("misuses", sa.Integer(), nullable=False),
        sa.Column("suspended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(op.f("ix_challenges_expires"), "challenges", ["expires"], unique=False)
    op.create_index("challenges_profile", "challenges", ["profile", "expires"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=True),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["transaction"], ["transactions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_notices_next_at"), "notices", ["next_at"], unique=False)
    op.create_index(op.f("ix_notices_transaction"), "notices", ["transaction"], unique=False)


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("replaces", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("transaction", "kind", "value"),
    )
    op.create_index(op.f("ix_claims_ends"), "claims", ["ends"], unique=False)
    op.create_index("claims_value", "claims", ["kind", "value", "made"], unique=False)
    op.create_table(
        "gates",
        sa.Column("gate", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("gate"),
    )
