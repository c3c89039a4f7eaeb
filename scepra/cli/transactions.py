"""``scepra transactions``: where enrolments stand, and what people can do about one that is stuck (DR-10)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from scepra.cli.asn1_text import printable
from scepra.cli.dossier import dossier, lines, report
from scepra.cli.store import (
    at_terminal,
    by_option,
    config_option,
    confirm,
    identifier_argument,
    json_option,
    limit_option,
    opened,
    why_option,
)
from scepra.cli.table import minute, table, terminal_width, to_json
from scepra.store import listing
from scepra.store.listing import Entry
from scepra.transaction import State, Transaction


@click.group()
def transactions() -> None:
    """Show where enrolments stand, and deal with those that are stuck.

    Each command exits with 0 if it did what was asked, with 1 if that is not possible or was refused, with 2 if the
    command line or the configuration is wrong.
    """


@transactions.command("list")
@config_option
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="Only those in this state; several.",
)
@click.option("--profile", help="Only those of this profile.")
@click.option("--attention", is_flag=True, help="Only those that somebody should look at: stuck, or quarantined.")
@limit_option(100)
@json_option
def list_(file: Path, states: tuple[str, ...], profile: str | None, attention: bool, limit: int, as_json: bool) -> None:
    """List the latest enrolments.

    Newest first, each with what happens next, or why somebody should look at it.
    """
    with opened(file) as ledger:
        found = ledger.look(
            listing.entries, states=tuple(map(State, states)), profile=profile, attention=attention, limit=limit
        )
    if as_json:
        click.echo(to_json(list(map(asdict, found))))
    elif not found:
        click.echo("There are no such transactions." if states or profile or attention else "There are none.")
    else:
        now = datetime.now(UTC)
        rows = [
            (each.id, minute(each.received), each.state, each.profile, each.subject, _next(each, now)) for each in found
        ]
        headings = ("ID", "RECEIVED (UTC)", "STATE", "PROFILE", "SUBJECT", "NEXT")
        click.echo("\n".join(table(headings, rows, terminal_width())))
        if len(found) == limit:
            click.echo(f"No more than {limit} are listed; --limit says how many.", err=True)


@transactions.command()
@identifier_argument
@config_option
@json_option
def show(identifier: str, file: Path, as_json: bool) -> None:
    """Show the enrolment ID.

    Everything but what is sealed, and its history. ID may be the first digits of an id, if they are no other's.
    """
    with opened(file) as ledger:
        found = ledger.look(dossier, ledger.resolve(identifier))
    click.echo(to_json(report(found)) if as_json else "\n".join(lines(found)))


@transactions.command()
@identifier_argument
@config_option
@why_option
@by_option
@json_option
def redrive(identifier: str, file: Path, why: str, person: str, as_json: bool) -> None:
    """Have the CA asked about ID again.

    Now, and under the same transactionID at the CA, so that nothing is issued twice. What was quarantined is tried
    again.
    """
    with opened(file) as ledger:
        after = ledger.act(listing.redrive, ledger.resolve(identifier), person=person, why=why, now=datetime.now(UTC))
    _tell(after, as_json)


@transactions.command()
@identifier_argument
@config_option
@why_option
@by_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def close(identifier: str, file: Path, why: str, person: str, yes: bool, as_json: bool) -> None:
    """End the enrolment ID.

    For what the CA will never decide: the client is refused. The CA may have issued a certificate all the same, which
    nobody would get, so this shows the enrolment and asks first.
    """
    with opened(file) as ledger:
        chosen = ledger.resolve(identifier)
        if not yes:
            if not at_terminal():
                raise click.UsageError("there is no terminal to ask on: look at it, and then give --yes")
            click.echo("\n".join((*lines(ledger.look(dossier, chosen)), "")), err=True)
            confirm(f"The CA may have issued a certificate for it, which nobody would get. Close it, as {person}?")
        after = ledger.act(listing.close, chosen, person=person, why=why, now=datetime.now(UTC))
    _tell(after, as_json)


def _tell(after: Transaction, as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"id": after.id, "state": after.state.value}))
    else:
        click.echo(f"{after.id} is {after.state.value}: {printable(after.reason or after.state.meaning)}")


def _next(entry: Entry, now: datetime) -> str:
    """What happens next, or why somebody should look."""
    if entry.quarantine is not None:
        return f"quarantined: {entry.quarantine}"
    if entry.attention:
        return entry.attention
    if entry.state == State.HELD.value:
        return "people approve or deny it"
    if entry.next_at is None:
        return entry.reason
    return "looked at now" if entry.next_at <= now else f"looked at in {_duration(entry.next_at - now)}"


def _duration(pause: timedelta) -> str:
    """Roughly how long."""
    seconds = pause.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"
