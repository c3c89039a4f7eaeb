"""The first tables: transactions and all that belongs to them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_transaction"), "audit", ["transaction"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("identity", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
        sa.UniqueConstraint("identity"),
    )
    op.create_index(op.f("ix_certificates_ends"), "certificates", ["ends"], unique=False)
    op.create_index(op.f("ix_certificates_public_key"), "certificates", ["public_key"], unique=False)
    op.create_index(op.f("ix_certificates_transaction"), "certificates", ["transaction"], unique=False)
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "drivers",
        sa.Column("upstream", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("lease_ends", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("upstream"),
    )
    op.create_table(
        "reservations",
        sa.Column("credential", sa.String(length=128), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential"),
    )
    op.create_index(op.f("ix_reservations_made"), "reservations", ["made"], unique=False)
    op.create_table(
        "signer_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("upstream", sa.String(length=64), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("upstream", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("credential", sa.String(length=16), nullable=False),
        sa.Column("request", sa.LargeBinary(length=32), nullable=True),
        sa.Column("message", sa.LargeBinary(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("client_transaction", sa.String(length=255), nullable=False),
        sa.Column("signer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("csr", sa.LargeBinary(), nullable=False),
        sa.Column("csr_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("challenge", sa.String(length=128), nullable=False),
        sa.Column("upstream_transaction", sa.String(length=255), nullable=False),
        sa.Column("signer_key_id", sa.String(length=16), nullable=True),
        sa.Column("signer_certificate", sa.LargeBinary(), nullable=True),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("lease_ends", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.Column("certificate_ends", sa.BigInteger(), nullable=True),
        sa.Column("misissued", sa.LargeBinary(), nullable=True),
        sa.Column("fail_info", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attention", sa.Text(), nullable=False),
        sa.Column("approvals", sa.Integer(), nullable=False),
        sa.Column("quarantine", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["signer_key_id"],
            ["signer_keys.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request"),
    )
    op.create_index("transactions_age", "transactions", ["state", "changed"], unique=False)
    op.create_index("transactions_due", "transactions", ["upstream", "next_at"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("shown", sa.String(length=64), nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction"],
            ["transactions.id"],
        ),
        sa.PrimaryKeyConstraint("transaction", "person"),
    )
    op.create_table(
        "routes",
        sa.Column("route", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction"],
            ["transactions.id"],
        ),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_index(op.f("ix_routes_transaction"), "routes", ["transaction"], unique=False)
