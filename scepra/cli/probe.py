"""``scepra probe``: how a SCEP CA behaves, what it is like, and the configuration that fits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from scepra.cli.fingerprint import WARNING, checked_url, running
from scepra.config.kind import KINDS
from scepra.errors import UpstreamError
from scepra.http.connection import Limits
from scepra.lab.csr import build_csr
from scepra.lab.key import new_key
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import SoftwareKey
from scepra.scep.message import PKIStatus
from scepra.upstream import proposal
from scepra.upstream.exchange import Exchange
from scepra.upstream.offer import Offer, row
from scepra.upstream.probe import Probe, Prober

ANSWER = 1024 * 1024
REFUSED, PENDING = 3, 4
"""Exit codes of a trial that got no certificate: refused or unanswered, and held back."""


@click.command("probe", short_help="Find out how a SCEP CA behaves, and how to configure it.")
@click.argument("url")
@click.option("--enrol", is_flag=True, help="Ask for a certificate too: a full trial, which leaves one behind.")
@click.option("--subject", metavar="NAME", help="The common name to ask for, with --enrol.")
@click.option(
    "--challenge-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the challenge to ask with, with --enrol; what is one-time is used up.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@click.pass_context
def probe(
    context: click.Context, url: str, enrol: bool, subject: str | None, challenge_file: Path | None, as_json: bool
) -> None:
    """Find out how a SCEP CA behaves, and print the section of the configuration that fits it.

    URL is the CA's, without a query, such as http://ca.example.org/certsrv/mscep/mscep.dll. Without --enrol nothing is
    asked for: the CA gets polls for a transaction that nobody has begun. Exit code 1: it could not be asked; with
    --enrol also 3: no certificate; 4: the CA holds the request back.
    """
    checked_url(url)
    if enrol != (subject is not None):
        raise click.UsageError("--enrol and --subject go together: what should the certificate be for?")
    if challenge_file is not None and not enrol:
        raise click.UsageError("--challenge-file is for --enrol")
    challenge = challenge_file.read_text("utf-8").rstrip("\r\n") if challenge_file is not None else None
    if challenge == "":
        raise click.BadParameter("the file is empty", param_hint="--challenge-file")
    csr = _request(subject, challenge) if subject is not None else None

    async def main(reactor: Any) -> Probe:
        from scepra.http.agent import http_client

        exchange = Exchange(url, url, http_client(reactor, url, Limits()), reactor, ANSWER)
        told = (lambda sentence: None) if as_json else (lambda sentence: click.echo(f"asking: {sentence}", err=True))
        prober = Prober(exchange, url, SoftwareKey(new_key()), datetime.now(UTC), told)
        return await find_out(prober, csr)

    outcome = running(main)
    if isinstance(outcome, UpstreamError):
        raise click.ClickException(f"{url}: {outcome.reason}")
    report = describe(outcome)
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(lines(report, outcome.offer)))
    context.exit(exit_code(outcome))


async def find_out(prober: Prober, csr: CertificationRequest | None) -> Probe:
    """Look, and ask for a certificate if there is a request.

    Raises:
        UpstreamError: the CA cannot be asked.
    """
    found = await prober.look()
    if csr is None:
        return found
    try:
        settings = proposal.read(proposal.propose(found))
    except LookupError as error:
        raise UpstreamError(prober.url, str(error), sent=False) from error
    return await prober.enrol(found, csr, settings)


def describe(found: Probe) -> dict[str, Any]:
    """What was found, for scripts."""
    verdict, offer = found.verdict, found.offer
    try:
        section = proposal.propose(found)
        configuration = proposal.write(section, str(offer.authority.subject) if offer.authority is not None else "")
    except LookupError:
        configuration = None
    report: dict[str, Any] = {
        **offer.report(),
        "transport": {method: heard.said for method, heard in found.methods.items()},
        "algorithms": {label: reading.value for label, reading in found.readings.items()},
        "kind": verdict.kind,
        "title": KINDS[verdict.kind].title,
        "evidence": [trait.value for trait in verdict.evidence],
        "seen": sorted(trait.value for trait in found.traits),
        "advice": KINDS[verdict.kind].advice,
        "configuration": configuration,
    }
    if found.trial is not None:
        serial = f"{found.issued.serial:x}" if found.issued is not None else None
        report["trial"] = {"answer": found.trial.said, "certificate": serial}
    return report


def lines(report: dict[str, Any], offer: Offer) -> Iterator[str]:
    """The report, for people."""
    yield f"{report['url']} lists {' '.join(report['capabilities']) or 'no capabilities'}"
    for certificate in offer.certificates:
        said = row(certificate)
        yield f"  {said['role']}: {said['subject']}, until {said['expires']}"
        yield f"    SHA-256 {said['sha256']}"
    yield ""
    yield "A poll for a transaction that nobody has begun:"
    yield from (f"  by {method:5} {said}" for method, said in report["transport"].items())
    if report["algorithms"]:
        yield ""
        yield "Algorithms of messages to it:"
        yield from (f"  {label:17} {reading}" for label, reading in report["algorithms"].items())
    else:
        yield "  Its algorithms cannot be told by polls."
    yield ""
    if report["evidence"]:
        yield f"It looks like {report['title']} (kind: {report['kind']}):"
        yield from (f"  {sentence}" for sentence in report["evidence"])
    else:
        yield f"It looks like {report['title']}: nothing speaks for another kind."
    if report["advice"]:
        yield report["advice"]
    if "trial" in report:
        yield ""
        trial = report["trial"]
        yield f"The trial: {trial['answer']}"
        if trial["certificate"] is not None:
            yield f"  It issued the certificate with the serial number {trial['certificate']}: revoke it if need be."
    yield ""
    if report["configuration"] is None:
        yield "There is no CA certificate among those offered, so there is nothing to pin, and nothing to configure."
        return
    yield "For the configuration:"
    yield ""
    yield report["configuration"]
    yield WARNING


def _request(subject: str, challenge: str | None) -> CertificationRequest:
    """A request of a new key, which nobody will ever see."""
    return CertificationRequest.parse(build_csr(new_key(), subject, challenge=challenge))


def exit_code(found: Probe) -> int:
    """What the command exits with."""
    if found.trial is None or found.issued is not None:
        return 0
    rep = found.trial.rep
    return PENDING if rep is not None and rep.status is PKIStatus.PENDING else REFUSED
