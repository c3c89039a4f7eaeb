"""The requests that are stored, one after the other, for commands that judge them anew or learn from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from scepra.cli.asn1_text import printable
from scepra.cli.store import Ledger
from scepra.config.load import read
from scepra.enrolment import Credential
from scepra.errors import ConfigError, ScepError, StoreError
from scepra.policy.value import parse_duration
from scepra.scep.csr import CertificationRequest
from scepra.store import listing
from scepra.store.listing import Decided, Happening, Span
from scepra.store.rows import Corrupt
from scepra.store.vault import Vault, read_vault
from scepra.transaction import Transaction

PAGE = 200
"""How many are read in one database transaction, so that the RA's own are not kept waiting."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A stored request as rules see it, and what was decided on it."""

    transaction: Transaction
    csr: CertificationRequest
    decision: Happening | None

    @property
    def credential(self) -> Credential:
        """How its signer stood to it."""
        return self.transaction.credential

    @property
    def source(self) -> str:
        """The address that it came from."""
        return self.transaction.source

    @property
    def received(self) -> datetime:
        """When it came in, UTC."""
        return self.transaction.received


def seen(ledger: Ledger, vault: Vault, span: Span, skipped: list[Corrupt]) -> Iterator[Seen]:
    """Every stored request, opened; those that cannot be read are named on standard error, and put into *skipped*.

    Somebody at a terminal sees how far it is.
    """
    after = ""
    total = ledger.look(listing.count, span)
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=total, label="stored requests", file=sys.stderr, hidden=hidden) as bar:
        while found := ledger.look(listing.page, span, after, PAGE):
            for each in found:
                opened = each if isinstance(each, Corrupt) else _open(vault, each)
                if isinstance(opened, Corrupt):
                    skipped.append(opened)
                else:
                    yield opened
            last = found[-1]
            after = last.transaction if isinstance(last, Corrupt) else last.transaction.id
            bar.update(len(found))
    for error in skipped:
        click.echo(f"skipped: {printable(error.reason)}", err=True)


def _open(vault: Vault, stored: Decided) -> Seen | Corrupt:
    transaction = stored.transaction
    try:
        csr = CertificationRequest.parse(vault.open(transaction.csr))
    except (ScepError, StoreError) as error:
        return Corrupt(transaction.id, error.reason)
    return Seen(transaction, csr, stored.decision)


def opened_vault(file: Path) -> Vault:
    """What the requests in a configuration's store are sealed by.

    Raises:
        ClickException: it cannot be used.
    """
    store = read(file).sections.store
    assert store is not None  # noqa: S101 - it has been opened
    try:
        return read_vault(store.key_file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """The moment that an option means: a duration before now, or a date, in UTC unless it says otherwise."""
    if value is None:
        return None
    now = datetime.now(UTC)
    if re.fullmatch(r"[0-9]+[a-z]+", value):
        try:
            return now - timedelta(seconds=parse_duration(value))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("expected a duration such as 30d, or a date such as 2026-01-31") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
