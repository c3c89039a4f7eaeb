"""The store: the database in which transactions are kept, and how long each thing in it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import AfterValidator, Field, StrictStr, ValidationInfo

from scepra.config.secret import SecretFile
from scepra.config.section import Section, Surroundings
from scepra.config.value import FilePath, Seconds

_SQLITE = "sqlite:"
_FORM = "expected sqlite:PATH or postgresql://[USER@]HOST[:PORT]/DATABASE"
_POSTGRESQL = re.compile(
    r"postgresql://(?:[^:/?#@]+@)?(?:\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]*)(?::(?P<port>[0-9]{1,5}))?/[^/?#@]+"
    r"(?:\?(?P<query>[^#]*))?"
)
_WITH_PASSWORD = re.compile(r"[^@?]*://[^@?]*:[^@?]*@")


def _url(text: str, info: ValidationInfo) -> str:
    if text.startswith(_SQLITE):
        return _SQLITE + str(Surroundings.of(info).base / _sqlite_path(text.removeprefix(_SQLITE)))
    if _WITH_PASSWORD.match(text):
        raise ValueError("a URL here has no password: put it into a file and name that under password-file")
    match = _POSTGRESQL.fullmatch(text)
    if match is None or not re.fullmatch("[!-~]+", text) or not 0 < int(match["port"] or 5432) < 65536:
        raise ValueError(_FORM)
    # libpq's password and sslpassword.
    if any("password" in key.lower() for key, _ in parse_qsl(match["query"] or "", keep_blank_values=True)):
        raise ValueError("a URL here has no password: put it into a file and name that under password-file")
    return text


def _sqlite_path(text: str) -> str:
    if not text.isprintable() or text.startswith("//") or "?" in text or "#" in text:
        raise ValueError("expected sqlite:PATH, with the path of a file as it is: no slashes before it, nothing after")
    if text in ("", ":memory:"):
        raise ValueError("expected sqlite:PATH: without a file nothing would be kept")
    return text


StoreUrl = Annotated[StrictStr, AfterValidator(_url)]


class Retention(Section):
    """How long what has come to its end is kept."""

    transactions: Seconds = Field(
        default=2592000.0,
        ge=86400,
        description="How long after its end a transaction is kept: a client that asks again within it gets the same"
        " answer.",
    )
    certificates: Seconds = Field(
        default=7776000.0, ge=86400, description="How long after its expiry an issued certificate is remembered."
    )
    challenges: Seconds = Field(
        default=34560000.0,
        ge=86400,
        description="How long after its use a challenge is remembered as used; not shorter than transactions.",
    )
    audit: Seconds = Field(
        default=34560000.0, ge=86400, description="How long a record of a decision is kept in the database."
    )


class Store(Section):
    """The database.

    ``url`` has the path of SQLite's file joined to the configuration's directory already; it holds no password.
    """

    url: StoreUrl = Field(
        default="sqlite:scepra.db",
        validate_default=True,
        description="The database: sqlite:PATH, or postgresql://[USER@]HOST[:PORT]/DATABASE, perhaps with libpq's"
        " parameters such as ?host=/run/postgresql or ?sslmode=verify-full.",
    )
    password_file: SecretFile | None = Field(
        default=None, description="A file with the password for PostgreSQL, where it asks for one."
    )
    key_file: FilePath = Field(
        default="scepra.key",
        validate_default=True,
        description="The file of the key that requests and private keys in the database are encrypted under; keep it"
        " away from copies of the database.",
    )
    timeout: Seconds = Field(default=5.0, gt=0, description="How long a statement may wait for a lock.")
    retention: Retention = Field(default_factory=Retention, description="How long what is in the database is kept.")

    @property
    def is_postgresql(self) -> bool:
        """Whether the database is a server's; otherwise it is a file."""
        return self.sqlite_path is None

    @property
    def sqlite_path(self) -> Path | None:
        """The file of the database, absolute or joined to the configuration's directory; None for PostgreSQL."""
        return Path(self.url.removeprefix(_SQLITE)) if self.url.startswith(_SQLITE) else None
