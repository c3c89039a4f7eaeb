"""``scepra check-config`` and ``scepra config``: what is wrong with a configuration, and what one may contain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepra.config.check import Finding
from scepra.config.load import read
from scepra.config.model import Upstream as Settings
from scepra.errors import Problem
from scepra.keys.check import examine
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation

if TYPE_CHECKING:
    from scepra.cli.online import Seen
    from scepra.upstream.view import UpstreamView

DIGESTS = ("sha256", "sha1", "md5")


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--online", is_flag=True, help="Ask each upstream for its capabilities and certificates, too.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@click.pass_context
def check_config(context: click.Context, file: Path, online: bool, as_json: bool) -> None:
    """Check a configuration FILE, the keys and certificates that it names, and how they suit clients.

    Exits with 1 if there are errors; warnings are printed.
    """
    reading = read(file)
    found: list[Finding] = []
    views: Mapping[str, UpstreamView] = {}
    if online:
        seen = _look(reading.sections.upstreams)
        found += seen.findings
        views = seen.views
    offered = {name: view.issuers for name, view in views.items()}
    examination = examine(reading.sections, datetime.now(UTC), offered)
    found += examination.findings
    located = (reading.problem(each.path, each.sentence, each.severity) for each in found)
    problems = reading.in_order((*reading.problems, *located))
    refused = any(problem.severity == "error" for problem in problems)
    report = {
        "ok": not refused,
        "problems": [asdict(problem) for problem in problems],
        "profiles": {name: list(_served(each)) for name, each in examination.generations.items()},
        "upstreams": {name: _offered(view) for name, view in views.items()},
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo("\n".join((*map(str, problems), *_lines(report), _summary(file, problems))))
    context.exit(1 if refused else 0)


def _look(upstreams: Mapping[str, Settings]) -> Seen:
    """What the upstreams say, by a reactor that runs for that long."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from scepra.cli.online import look

    seen: list[Seen] = []

    async def main(reactor: Any) -> None:
        seen.append(await look(upstreams, reactor))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit:
        # How react ends.
        return seen[0]


def _served(generation: Generation) -> Iterator[dict[str, str]]:
    """The RA certificates of a profile."""
    signing, encryption = generation.signing.certificate, generation.encryption.certificate
    if signing == encryption:
        yield _row("signing and encryption", signing)
    else:
        yield _row("signing", signing)
        yield _row("encryption", encryption)


def _offered(view: UpstreamView) -> dict[str, Any]:
    """What an upstream offers."""
    return {
        "capabilities": sorted(view.capabilities.keywords),
        "certificates": [
            _row("believed" if certificate in view.signers else "not believed", certificate)
            for certificate in view.certificates
        ],
    }


def _row(role: str, certificate: Certificate) -> dict[str, str]:
    """A certificate with the fingerprints that people compare (CERT-10)."""
    return {
        "role": role,
        "subject": str(certificate.subject),
        "expires": certificate.not_after.isoformat() if certificate.not_after is not None else "unreadable",
        **{digest: certificate.fingerprint(digest) for digest in DIGESTS},
    }


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    for name, rows in report["profiles"].items():
        yield f"profile {name}"
        yield from _certificates(rows)
    for name, offered in report["upstreams"].items():
        yield f"upstream {name} lists {' '.join(offered['capabilities']) or 'nothing'}"
        yield from _certificates(offered["certificates"])


def _certificates(rows: list[dict[str, str]]) -> Iterator[str]:
    for row in rows:
        yield f"  {row['role']}: {row['subject']}, until {row['expires']}"
        yield from (f"    {digest:6} {row[digest]}" for digest in DIGESTS)


def _summary(file: Path, problems: list[Problem]) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    return f"{file}: {_counted(errors, 'error')}, {_counted(len(problems) - errors, 'warning')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@click.group()
def config() -> None:
    """Tell about the configuration's form."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from scepra.config.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
