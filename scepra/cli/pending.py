"""``scepra pending``: what waits for people, and what they say about it (DR-18).

An approval is bound to the digest of what its giver was shown: what has changed since, or is something else, is not
approved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

import click
import sqlalchemy as sa

from scepra.audit import RECORDED, RECORDED_NAMES
from scepra.cli.dossier import remark
from scepra.cli.store import (
    Ledger,
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
from scepra.cli.table import facts, minute, moment, table, terminal_width, to_json
from scepra.store import approvals
from scepra.store.approvals import Approval, Case, Held
from scepra.transaction import State, Transaction

_LABELS = {
    "id": "transaction",
    "challenge": "authorised by",
    "public_key": "public key",
    "request": "request, SHA-256",
    "transaction": "client's transactionID",
    "approvals": "approvals needed",
}


@click.group()
def pending() -> None:
    """List what waits for people, and approve or deny it.

    Each command exits with 0 if it did what was asked, with 1 if that is not possible or was refused, with 2 if the
    command line or the configuration is wrong.
    """


@pending.command("list")
@config_option
@limit_option(1000)
@json_option
def list_(file: Path, limit: int, as_json: bool) -> None:
    """List what waits for people.

    The longest waiting comes first.
    """
    with opened(file) as ledger:
        held = ledger.look(approvals.waiting, limit)
    if as_json:
        click.echo(to_json(list(map(asdict, held))))
    elif not held:
        click.echo("Nothing waits for anybody.")
    else:
        headings = ("ID", "SINCE (UTC)", "EXPIRES (UTC)", "PROFILE", "SUBJECT", "APPROVALS", "BY")
        click.echo("\n".join(table(headings, list(map(_row, held)), terminal_width())))
        if len(held) == limit:
            click.echo(f"No more than {limit} are listed; --limit says how many.", err=True)


@pending.command()
@identifier_argument
@config_option
@json_option
def show(identifier: str, file: Path, as_json: bool) -> None:
    """Show the request ID.

    Everything that an approval is about, what people have said, and the digest that an approval is bound to. ID may be
    the first digits of an id, if they are no other's.
    """
    with opened(file) as ledger:
        case = ledger.look(approvals.case, ledger.resolve(identifier, (State.HELD,)))
    if as_json:
        report = {
            "shown": approvals.shown(case.transaction),
            "digest": case.digest,
            "expires": case.transaction.expires,
            "said": list(map(asdict, case.said)),
        }
        click.echo(to_json(report))
    else:
        click.echo("\n".join((*_lines(case), "", *_how(case, file))))


def _digest(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch("[0-9A-Fa-f]{64}", value):
        raise click.BadParameter("expected the 64 hexadecimal digits at the end of what `scepra pending show` prints")
    return value.lower() if value is not None else None


_digest_option = click.option(
    "--digest",
    "digest",
    metavar="HEX",
    callback=_digest,
    help="Of what you were shown: nothing is shown and asked again.",
)
_yes_option = click.option("--yes", is_flag=True, help="Show it, but do not ask.")


@pending.command()
@identifier_argument
@config_option
@why_option
@by_option
@_digest_option
@_yes_option
@json_option
def approve(identifier: str, file: Path, why: str, person: str, digest: str | None, yes: bool, as_json: bool) -> None:
    """Approve the request ID.

    Shows it on the terminal and asks, unless the --digest of what `scepra pending show` printed is given. The request
    is forwarded to the CA when as many different people as its rule asks for have approved it.
    """
    with opened(file) as ledger:
        said = _say(ledger, identifier, digest, yes, approve=True, person=person, why=why)
    _tell(*said, as_json)


@pending.command()
@identifier_argument
@config_option
@why_option
@by_option
@_digest_option
@_yes_option
@json_option
def deny(identifier: str, file: Path, why: str, person: str, digest: str | None, yes: bool, as_json: bool) -> None:
    """Deny the request ID.

    Shows it on the terminal and asks, unless the --digest of what `scepra pending show` printed is given. One person
    is enough: the client is refused.
    """
    with opened(file) as ledger:
        said = _say(ledger, identifier, digest, yes, approve=False, person=person, why=why)
    _tell(*said, as_json)


def _say(
    ledger: Ledger, prefix: str, digest: str | None, yes: bool, *, approve: bool, person: str, why: str
) -> tuple[Transaction, list[Approval]]:
    """What becomes of a request after somebody has seen it and spoken."""
    identifier = ledger.resolve(prefix, (State.HELD,))
    if digest is None:
        if not at_terminal():
            raise click.UsageError("there is no terminal to show it on: give --digest, from `scepra pending show`")
        case = ledger.look(approvals.case, identifier)
        click.echo("\n".join((*_lines(case), "")), err=True)
        if not yes:
            confirm(f"{'Approve' if approve else 'Deny'} this, as {person}?")
        digest = case.digest

    def say(connection: sa.Connection, shown_digest: str) -> tuple[Transaction, list[Approval]]:
        after = approvals.say(
            connection,
            identifier,
            approve=approve,
            person=person,
            why=why,
            shown_digest=shown_digest,
            now=datetime.now(UTC),
        )
        return after, approvals.given(connection, identifier)

    return ledger.act(say, digest)


def _tell(after: Transaction, said: list[Approval], as_json: bool) -> None:
    if as_json:
        report = {"id": after.id, "state": after.state.value, "approvals": after.approvals}
        click.echo(to_json(report | {"said": list(map(asdict, said))}))
    elif after.state is State.HELD:
        click.echo(f"{after.id} is held: approved by {len(said)} of {after.approvals} people")
    else:
        click.echo(f"{after.id} is {after.state.value}: {after.reason}")


def _row(held: Held) -> tuple[str, ...]:
    approved = [each.person for each in held.said if each.approved]
    count = f"{len(approved)} of {held.approvals}" if held.quarantine is None else "quarantined"
    names = ", ".join(approved)
    return held.id, minute(held.received), minute(held.expires), held.profile, held.subject, count, names


def _lines(case: Case) -> Iterator[str]:
    """Everything that an approval is about, and what others have said."""
    shown = approvals.shown(case.transaction)
    if len(shown["subject"]) >= RECORDED:
        shown["subject"] += " (cut here)"
    more = "" if len(shown["names"]) < RECORDED_NAMES else " (no more are kept: look at the device for others)"
    shown["names"] = ", ".join(shown["names"]) + more
    shown["received"] = moment(case.transaction.received)
    known = {_LABELS.get(name, name): str(value) for name, value in shown.items()}
    yield from facts(known | {"expires": moment(case.transaction.expires)})
    if case.said:
        yield ""
        yield from map(remark, case.said)


def _how(case: Case, file: Path) -> Iterator[str]:
    yield f"digest of what is shown: {case.digest}"
    yield ""
    yield "To approve exactly this, or with deny in the place of approve to deny it:"
    yield ""
    options = f"--config {quote(str(file))} --digest {case.digest} --why TEXT"
    yield f"  scepra pending approve {case.transaction.id} {options}"
