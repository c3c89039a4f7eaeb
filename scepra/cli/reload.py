"""``scepra reload``: has the RA take its changed configuration, and says whether it has (FT-51)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from scepra.cli.asn1_text import printable
from scepra.cli.store import Ledger, Untold, config_option, json_option, opened
from scepra.cli.table import to_json
from scepra.config.source import Source
from scepra.errors import ConfigError
from scepra.store import processes
from scepra.store.owner import process_of
from scepra.store.processes import Process

PATIENCE = 90.0
"""How long, in seconds, it is waited for an answer: longer than several processes may take for one."""
_PAUSE = 0.1


@click.command()
@config_option
@json_option
@click.pass_context
def reload(context: click.Context, file: Path, as_json: bool) -> None:
    """Have the RA on this machine take its changed configuration.

    Whole, or not at all. Exits with 0 if it is in force, with 1 if it is not taken, and says why, with 2 if no RA of
    this configuration runs here, or does not answer.
    """
    try:
        source = Source.read(file)
        reading = source.parse()
        if reading.config is None:
            raise ConfigError(reading.problems)
    except ConfigError as error:
        _tell(context, as_json, "", [*map(str, error.problems)], [])
    try:
        with opened(file) as ledger:
            before = _here(ledger, file)
            leaders = {leader for each in before if (leader := process_of(each.leader)) is not None}
            if not leaders:
                raise Untold(f"no RA that goes by {file} runs on this machine")
            for leader in leaders:
                _signal(leader)
            after = _answers(ledger, file, source.version, {each.owner: each.told for each in before})
    except click.ClickException as error:
        raise Untold(error.message) from error
    # Several processes mostly say the same.
    problems = list(dict.fromkeys(line for each in after for line in each.failure.splitlines()))
    _tell(context, as_json, source.version, problems, after)


def _here(ledger: Ledger, file: Path) -> list[Process]:
    """The processes of this machine that go by a file."""
    return [
        each
        for each in ledger.look(processes.known)
        if process_of(each.owner) is not None and os.path.realpath(each.file) == os.path.realpath(file)
    ]


def _signal(process: int) -> None:
    try:
        os.kill(process, signal.SIGHUP)
    except OSError as error:
        raise Untold(f"process {process} cannot be told: {os.strerror(error.errno or 0)}") from error


def _answers(ledger: Ledger, file: Path, version: str, told: Mapping[str, datetime]) -> list[Process]:
    """The processes, when each has said what it has made of it.

    Args:
        told: when each of them was told before.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now = _here(ledger, file)
        # One that has come meanwhile goes by what is in force.
        answered = [each for each in now if each.told != told.get(each.owner)]
        if now and len(answered) == len(now) and all(each.failure or each.configuration == version for each in now):
            return now
        time.sleep(_PAUSE)
    raise Untold(f"no answer within {PATIENCE:g} s: its log says more")


def _tell(context: click.Context, as_json: bool, version: str, problems: list[str], after: list[Process]) -> NoReturn:
    """Write what came of it, and exit."""
    if as_json:
        report = {
            "ok": not problems,
            "configuration": version,
            "problems": problems,
            "processes": [asdict(each) for each in after],
        }
        click.echo(to_json(report))
    elif problems:
        click.echo("\n".join(map(printable, problems)), err=True)
        click.echo("The configuration is as it was." if after else "Nobody was told.", err=True)
    else:
        counted = "1 process" if len(after) == 1 else f"{len(after)} processes"
        click.echo(f"Configuration {version[:12]} is in force in {counted}.")
    context.exit(1 if problems else 0)
