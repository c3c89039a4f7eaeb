"""The tables. Moments are milliseconds since 1970, UTC; digests are 32 octets of SHA-256.

Nothing secret is readable here: requests hold challenges, so they and the signer keys are sealed (I10).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

UNREADABLE = datetime.max.replace(tzinfo=UTC)
"""Stands where a row holds no moment at all, so that the rest of it can be shown (FT-58)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

metadata = sa.MetaData()


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time as a number, which both databases order and compare alike."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """To milliseconds."""
        return None if value is None else (value - _EPOCH) // _MILLISECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """From milliseconds."""
        try:
            return None if value is None else _EPOCH + value * _MILLISECOND
        except (TypeError, OverflowError):
            return UNREADABLE


DIGEST = sa.LargeBinary(32)

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("profile", sa.String(64), nullable=False),
    sa.Column("upstream", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("credential", sa.String(16), nullable=False),
    # None once another transaction may take its place.
    sa.Column("request", DIGEST, unique=True),
    sa.Column("message", DIGEST, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("client_transaction", sa.String(255), nullable=False),
    sa.Column("signer_key", DIGEST, nullable=False),
    sa.Column("public_key", DIGEST, nullable=False),
    sa.Column("csr", sa.LargeBinary, nullable=False),
    sa.Column("csr_digest", DIGEST, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("challenge", sa.String(128), nullable=False),
    sa.Column("upstream_transaction", sa.String(255), nullable=False),
    sa.Column("signer_key_id", sa.String(16), sa.ForeignKey("signer_keys.id")),
    sa.Column("signer_certificate", sa.LargeBinary),
    sa.Column("sends", sa.Integer, nullable=False),
    sa.Column("polls", sa.Integer, nullable=False),
    sa.Column("received", Moment, nullable=False),
    sa.Column("changed", Moment, nullable=False),
    sa.Column("next_at", Moment),
    sa.Column("expires", Moment),
    sa.Column("owner", sa.String(32)),
    sa.Column("lease_ends", Moment),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("certificate", sa.LargeBinary),
    sa.Column("certificate_ends", Moment),
    # What the CA issued instead of what was asked for: kept for people, given to nobody.
    sa.Column("misissued", sa.LargeBinary),
    sa.Column("fail_info", sa.Integer),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attention", sa.Text, nullable=False),
    sa.Column("approvals", sa.Integer, nullable=False),
    # The device that its challenge was given to; who is told what becomes of it; the policy that it was judged by.
    sa.Column("device", sa.String(128), nullable=False, server_default=""),
    sa.Column("notify", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("policy", sa.String(16), nullable=False, server_default=""),
    # What is counted as one address: the source itself, or the network of an IPv6 one.
    sa.Column("neighbourhood", sa.String(64), nullable=False, server_default=""),
    # The CA certificate that it is for, by its SHA-256, where that is not the upstream's present one (CERT-35).
    sa.Column("authority", DIGEST),
    # Why the row cannot be used; it is left alone then (FT-58).
    sa.Column("quarantine", sa.Text),
    # What is due, of one upstream; and what may go, by age.
    sa.Index("transactions_due", "upstream", "next_at"),
    sa.Index("transactions_age", "state", "changed"),
)

HELD = transactions.c.state == sa.literal_column("'held'")
"""What waits for people. It is written out, so that the index that has nothing else is used."""
sa.Index("transactions_held", transactions.c.profile, sqlite_where=HELD, postgresql_where=HELD)

routes = sa.Table(
    "routes",
    metadata,
    sa.Column("route", DIGEST, primary_key=True),
    sa.Column("transaction", sa.String(16), sa.ForeignKey("transactions.id"), nullable=False, index=True),
)
"""Where polls lead: see :func:`scepra.transaction.route`."""

reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("credential", sa.String(128), primary_key=True),
    # Counts from 0 to the number of public keys that the credential is good for, and has one owner each.
    sa.Column("use", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("public_key", DIGEST, nullable=False),
    sa.Column("transaction", sa.String(16), nullable=False),
    sa.Column("made", Moment, nullable=False, index=True),
    sa.UniqueConstraint("credential", "public_key"),
)
"""Credentials that are good for some public keys only, and whose they are (I2, DR-8)."""

challenges = sa.Table(
    "challenges",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("profile", sa.String(64), nullable=False),
    # Keyed, so that nobody can try out challenges without the key (DR-17); None while a brokered one is nobody's yet.
    sa.Column("digest", DIGEST, unique=True),
    # The challenge itself, sealed: of those only that a CA has made and nobody has been given yet.
    sa.Column("sealed", sa.LargeBinary),
    # For whom it is: see scepra.binding; {} is anybody.
    sa.Column("binding", sa.JSON, nullable=False),
    sa.Column("uses", sa.Integer, nullable=False),
    # "minted", or the name of the broker that drew it.
    sa.Column("origin", sa.String(64), nullable=False),
    # Who asked for it: the name of a token or of a person.
    sa.Column("minter", sa.String(128), nullable=False),
    sa.Column("made", Moment, nullable=False),
    sa.Column("expires", Moment, nullable=False, index=True),
    sa.Column("revoked", Moment),
    # How often it was shown with a request that it was not given for; too often, and it is suspended (AC-091).
    sa.Column("misuses", sa.Integer, nullable=False),
    sa.Column("suspended", Moment),
    sa.Index("challenges_profile", "profile", "expires"),
)
"""Challenges that this RA has given out, or keeps to give out; never to be read from here again."""

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("digest", DIGEST, nullable=False, unique=True),
    sa.Column("roles", sa.JSON, nullable=False),
    # The profiles that it is good for; None: all of them.
    sa.Column("profiles", sa.JSON),
    sa.Column("made", Moment, nullable=False),
    sa.Column("expires", Moment),
    sa.Column("revoked", Moment),
)
"""Who may use the administration's listener, and for what (AC-119, AC-124)."""

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("transaction", sa.String(16), primary_key=True),
    # What is counted: "subject", "name", "key", "device" or "challenge".
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("value", DIGEST, primary_key=True),
    sa.Column("profile", sa.String(64), nullable=False),
    sa.Column("public_key", DIGEST, nullable=False),
    sa.Column("made", Moment, nullable=False),
    # When the certificate ends; None while there is none yet. What was refused claims nothing.
    sa.Column("ends", Moment, index=True),
    # Of a renewal, the transaction of the certificate that it renews, empty if that is not known; None: of all else.
    sa.Column("replaces", sa.String(16)),
    sa.Index("claims_value", "kind", "value", "made"),
)
"""What requests under way and certificates that are valid stand for, so that it can be counted and kept unique."""

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("gate", DIGEST, primary_key=True),
)
"""Rows that are made, and so locked, while what they stand for is counted, and taken away in the same commit: two
requests never count each other out (DR-7)."""

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("transaction", sa.String(16), sa.ForeignKey("transactions.id"), nullable=False, index=True),
    sa.Column("provider", sa.String(64), nullable=False),
    # "issued" or "refused".
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("made", Moment, nullable=False),
    sa.Column("next_at", Moment, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Which event of the transaction's life it was.
    sa.Column("reason", sa.Text, nullable=False),
)
"""What providers of challenges have still to be told; written in the commit of what they are told of."""

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("transaction", sa.String(16), sa.ForeignKey("transactions.id"), primary_key=True),
    sa.Column("person", sa.String(128), primary_key=True),
    sa.Column("approved", sa.Boolean, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("shown", sa.String(64), nullable=False),
    sa.Column("given", Moment, nullable=False),
)
"""Who said what about a transaction that is held, and the digest of what they were shown."""

certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("fingerprint", DIGEST, primary_key=True),
    # Issuer and serial number, which no two certificates may share (AC-110).
    sa.Column("identity", DIGEST, nullable=False, unique=True),
    sa.Column("transaction", sa.String(16), nullable=False, index=True),
    sa.Column("profile", sa.String(64), nullable=False),
    sa.Column("public_key", DIGEST, nullable=False, index=True),
    sa.Column("serial", sa.String(64), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("issued", Moment, nullable=False),
    sa.Column("ends", Moment, nullable=False, index=True),
)
"""Every certificate that was believed, longer than its transaction."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("transaction", sa.String(16), nullable=False, index=True),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""What was decided, committed with its effect (I7). The sequence gives the order, whatever the clock does (FT-46)."""

signer_keys = sa.Table(
    "signer_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("upstream", sa.String(64), nullable=False),
    sa.Column("made", Moment, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
"""Keys that requests to a CA were signed with, sealed: answers are encrypted to them, polls signed by them (RA-20)."""

drivers = sa.Table(
    "drivers",
    metadata,
    sa.Column("upstream", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("lease_ends", Moment, nullable=False),
)
"""Which process drives the backlog of an upstream, so that its rate is one rate (FT-17)."""

successions = sa.Table(
    "successions",
    metadata,
    sa.Column("upstream", sa.String(64), primary_key=True),
    # Of the next CA's certificate.
    sa.Column("fingerprint", DIGEST, primary_key=True),
    sa.Column("certificate", sa.LargeBinary, nullable=False),
    # The signed answer that says so, and a certs-only message: whose signature that has, and whoever vouches for the
    # signer, up to the CA that it speaks for. All is verified again whenever it is read.
    sa.Column("evidence", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.LargeBinary, nullable=False),
    sa.Column("seen", Moment, nullable=False),
)
"""Which CA certificate follows a pinned one, by whose word; nothing is believed for being here (CERT-31, AC-106)."""

watched = sa.Table(
    "watched",
    metadata,
    # "profile" or "upstream", and its name.
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("fingerprint", DIGEST, primary_key=True),
    # What it is for there: "signing", "encryption", "both", "signer", "ra" or "ca".
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("begins", Moment, nullable=False),
    sa.Column("ends", Moment, nullable=False),
    sa.Column("seen", Moment, nullable=False),
    # How many days before its end were left when somebody was warned last; None: nobody was yet.
    sa.Column("warned", sa.Integer),
)
"""Certificates without which nothing goes on, and when they end (FT-49)."""

health = sa.Table(
    "health",
    metadata,
    sa.Column("upstream", sa.String(64), primary_key=True),
    sa.Column("well", sa.Boolean, nullable=False),
    # Since when it is so, and when that was found the last time.
    sa.Column("since", Moment, nullable=False),
    sa.Column("checked", Moment, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Whether each upstream answers requests, as far as the process knows that asks it."""

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("owner", sa.String(32), primary_key=True),
    # "worker" or "single".
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    # The process that is told to take another configuration, as in owner: a worker's master, or itself.
    sa.Column("leader", sa.String(32), nullable=False),
    # The configuration file, as an absolute path.
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("started", Moment, nullable=False),
    sa.Column("seen", Moment, nullable=False),
    # Which configuration it goes by, since when; when it was last told to take one, and why it has not.
    sa.Column("configuration", sa.String(64), nullable=False),
    sa.Column("loaded", Moment, nullable=False),
    sa.Column("told", Moment, nullable=False),
    sa.Column("failure", sa.Text, nullable=False),
)
"""The processes that serve clients, and by which configuration."""

clock = sa.Table(
    "clock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seen", Moment, nullable=False),
    sa.Column("last", Moment, nullable=False),
)
"""The latest time of day that was ever seen, and the one that was seen last, in its only row (FT-46)."""
