"""``scepra status``: how everything is, from what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from scepra.cli.asn1_text import printable
from scepra.cli.store import Untold, config_option, json_option, opened
from scepra.cli.table import facts, minute, moment, table, terminal_width, to_json
from scepra.config.load import read
from scepra.store.health import Health
from scepra.store.overview import Overview, overview
from scepra.store.processes import Process
from scepra.store.watching import Watched
from scepra.watch import remaining

SOON = timedelta(days=7)
"""How long before its end a certificate needs somebody."""
SILENT = timedelta(minutes=15)
"""After how long without a look nobody knows how an upstream, or a process, is."""


@click.command()
@config_option
@json_option
@click.pass_context
def status(context: click.Context, file: Path, as_json: bool) -> None:
    """Show how everything is: upstreams, certificates, enrolments, processes.

    From what is stored; nothing is asked. Exits with 0 if all is well, with 1 if something needs somebody, with 2 if
    that cannot be told.
    """
    now = datetime.now(UTC)
    try:
        with opened(file) as ledger:
            found = ledger.look(overview)
        names = tuple(read(file).sections.upstream_names)
    except click.ClickException as error:
        # Whoever watches takes 1 for what was found out.
        raise Untold(error.message) from error
    needs = list(_needs(found, names, now))
    if as_json:
        click.echo(to_json(_report(found, names, needs, now)))
    else:
        click.echo("\n".join(_lines(found, names, needs, now)))
    context.exit(1 if needs else 0)


def _needs(found: Overview, names: tuple[str, ...], now: datetime) -> Iterator[str]:
    """What needs somebody."""
    for each in _configured(found, names):
        if not each.well:
            yield f"upstream {each.upstream} is not well: {each.reason}"
        elif now - each.checked > SILENT:
            yield f"upstream {each.upstream} has not been looked after since {moment(each.checked)}: does the RA run?"
    for certificate in found.certificates:
        if certificate.ends - now < SOON:
            yield f"{_place(certificate)}: the certificate for {certificate.role} {remaining(certificate.ends - now)}"
    if not found.processes:
        yield "no process of the RA is known to run"
    for process in found.processes:
        if process.failure:
            why = process.failure.splitlines()[0]
            yield f"process {process.process} on {process.host} has not taken the latest configuration: {why}"
        elif now - process.seen > SILENT:
            yield f"process {process.process} on {process.host} has said nothing since {moment(process.seen)}"
    if found.attention:
        said = "1 enrolment needs" if found.attention == 1 else f"{found.attention} enrolments need"
        yield f"{said} somebody: scepra transactions list --attention"


def _report(found: Overview, names: tuple[str, ...], needs: list[str], now: datetime) -> dict[str, Any]:
    return {
        "ok": not needs,
        "needs": needs,
        "upstreams": [asdict(each) for each in _configured(found, names)],
        "certificates": [
            {**asdict(each), "days": (each.ends - now) // timedelta(days=1)} for each in found.certificates
        ],
        "transactions": {state.value: count for state, count in found.transactions.items()},
        "oldest": found.oldest,
        "attention": found.attention,
        "processes": [asdict(each) for each in found.processes],
    }


def _lines(found: Overview, names: tuple[str, ...], needs: list[str], now: datetime) -> Iterator[str]:
    width = terminal_width()
    known = {each.upstream: each for each in _configured(found, names)}
    rows = [_upstream(name, known.get(name)) for name in names]
    yield from table(("UPSTREAM", "HEALTH", "SINCE (UTC)", "CHECKED (UTC)", "REASON"), rows, width)
    if found.certificates:
        yield ""
        certificates = [_certificate(each, now) for each in found.certificates]
        yield from table(("CERTIFICATE OF", "FOR", "ENDS (UTC)", "LEFT", "SUBJECT"), certificates, width)
    if found.processes:
        yield ""
        headings = ("PROCESS", "ROLE", "HOST", "STARTED (UTC)", "SEEN (UTC)", "CONFIGURATION")
        yield from table(headings, [_process(each) for each in found.processes], width)
    yield ""
    yield from facts(
        {
            "enrolments": ", ".join(f"{count} {state.value}" for state, count in found.transactions.items() if count)
            or "none",
            "oldest that waits": moment(found.oldest),
        },
        indent="",
    )
    yield ""
    yield from (click.style(f"! {printable(each)}", fg="red") for each in needs)
    yield "Something needs somebody." if needs else "All is well."


def _configured(found: Overview, names: tuple[str, ...]) -> list[Health]:
    """What is known of the upstreams that there are still."""
    return [each for each in found.upstreams if each.upstream in names]


def _upstream(name: str, known: Health | None) -> tuple[str, ...]:
    if known is None:
        return (name, "not known yet", "", "", "")
    return (name, "well" if known.well else "NOT WELL", minute(known.since), minute(known.checked), known.reason)


def _place(certificate: Watched) -> str:
    return f"{certificate.kind} {certificate.name}"


def _certificate(each: Watched, now: datetime) -> tuple[str, ...]:
    left = remaining(each.ends - now).removeprefix("ends in ").removeprefix("has ")
    return (_place(each), each.role, minute(each.ends), left, each.subject)


def _process(each: Process) -> tuple[str, ...]:
    configuration = f"{each.configuration[:12]} since {minute(each.loaded)}"
    return (str(each.process), each.role, each.host, minute(each.started), minute(each.seen), configuration)
