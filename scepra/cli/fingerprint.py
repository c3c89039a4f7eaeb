"""``scepra fingerprint``: what a SCEP CA offers, and the pin that its configuration needs (CERT-10, CERT-12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from scepra.config.value import Url
from scepra.errors import UpstreamError
from scepra.http.connection import Limits
from scepra.upstream.exchange import Exchange
from scepra.upstream.offer import DIGESTS, Offer, ask

T = TypeVar("T")
ANSWER = 1024 * 1024
WARNING = """\
Whoever stands between here and the CA can have answered. Compare the SHA-256 with what the CA's operator tells you on
another way (on the phone, in person, on the CA's own console) before you use it."""


def describe(report: dict[str, Any]) -> Iterator[str]:
    """The report's lines, for people."""
    yield f"{report['url']} lists {' '.join(report['capabilities']) or 'no capabilities'}"
    for number, row in enumerate(report["certificates"], 1):
        yield ""
        yield f"{number}. {row['role']}"
        yield f"   subject  {row['subject']}"
        yield f"   issuer   {row['issuer']}"
        yield f"   valid    {row['starts']} to {row['expires']}"
        yield from (f"   {label:8} {colons(row[digest])}" for digest, label in DIGESTS.items())
    yield ""
    if report["ca-fingerprint"] is None:
        yield "There is no CA certificate among them, so there is nothing to pin."
    else:
        yield "To pin the CA, the upstream's section of the configuration needs this line:"
        yield ""
        yield f'    ca-fingerprint: "{report["ca-fingerprint"]}"'
        yield ""
        yield WARNING


def colons(fingerprint: str) -> str:
    """A fingerprint as OpenSSL prints it."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


@click.command("fingerprint")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
def fingerprint(url: str, as_json: bool) -> None:
    """Print what a SCEP CA offers, to compare out of band.

    URL is the CA's, without a query, such as http://ca.example.org/certsrv/mscep/mscep.dll.
    """
    checked_url(url)

    async def main(reactor: Any) -> Offer:
        from scepra.http.agent import http_client

        return await ask(Exchange(url, url, http_client(reactor, url, Limits()), reactor, ANSWER), url)

    outcome = running(main)
    if isinstance(outcome, UpstreamError):
        raise click.ClickException(f"{url}: {outcome.reason}")
    report = outcome.report()
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(describe(report)))


def checked_url(url: str) -> None:
    """Refuse what is no URL of a CA.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        TypeAdapter(Url).validate_python(url)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, "), param_hint="URL") from error


def running(ask_it: Callable[[Any], Coroutine[Any, Any, T]]) -> T | UpstreamError:
    """Run a reactor for as long as the CA takes."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    outcomes: list[T | UpstreamError] = []

    async def main(reactor: Any) -> None:
        try:
            outcomes.append(await ask_it(reactor))
        except UpstreamError as error:
            outcomes.append(error)

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit:
        # How react ends, also when it was interrupted.
        if not outcomes:
            raise
    return outcomes[0]
