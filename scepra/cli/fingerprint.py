"""``scepra fingerprint``: what a SCEP CA offers, and the pin that its configuration needs (CERT-10, CERT-12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from scepra.config.value import Url
from scepra.errors import ScepError, UpstreamError
from scepra.http.connection import Limits
from scepra.scep.capabilities import KEYWORDS, Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from scepra.scep.transport import OperationKind
from scepra.upstream.exchange import Exchange
from scepra.upstream.view import is_ra, issued

DIGESTS = {"sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5"}
ANSWER = 1024 * 1024
WARNING = """\
Whoever stands between here and the CA can have answered. Compare the SHA-256 with what the CA's operator tells you on
another way (on the phone, in person, on the CA's own console) before you use it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a CA answered to GetCACaps and GetCACert, believed in nothing."""

    url: str
    capabilities: Capabilities
    certificates: tuple[Certificate, ...]

    @property
    def authority(self) -> Certificate | None:
        """The certificate to pin: the CA's that issued an RA certificate, else the CA's below which no other stands."""
        authorities = [item for item in self.certificates if not is_ra(item)]
        for item in self.certificates:
            for authority in authorities:
                if is_ra(item) and issued(item, authority) and item.signed_by(authority.public_key):
                    return authority
        for authority in authorities:
            if not any(issued(other, authority) for other in authorities if other != authority):
                return authority
        return None

    def report(self) -> dict[str, Any]:
        """What there is to say, for scripts."""
        authority = self.authority
        return {
            "url": self.url,
            "capabilities": [keyword for keyword in KEYWORDS if keyword in self.capabilities],
            "certificates": [_row(item) for item in self.certificates],
            "ca-fingerprint": f"sha256:{authority.fingerprint()}" if authority is not None else None,
        }


def _row(certificate: Certificate) -> dict[str, str]:
    starts, ends = certificate.not_before, certificate.not_after
    return {
        "role": role_of(certificate),
        "subject": str(certificate.subject),
        "issuer": str(certificate.issuer),
        "starts": starts.isoformat() if starts is not None else "unreadable",
        "expires": ends.isoformat() if ends is not None else "unreadable",
        **{digest: certificate.fingerprint(digest) for digest in DIGESTS},
    }


def role_of(certificate: Certificate) -> str:
    """What a certificate is for, by its own word: "CA", or an RA's for "signing", "encryption", both or neither."""
    usage = certificate.key_usage
    if not is_ra(certificate):
        return "CA"
    uses = []
    if usage is None or "digitalSignature" in usage:
        uses.append("signing")
    if usage is None or usage & {"keyEncipherment", "dataEncipherment"}:
        uses.append("encryption")
    return f"RA, for {' and '.join(uses) or 'neither signing nor encryption'}"


async def ask(exchange: Exchange, url: str) -> Offer:
    """What a CA offers.

    Raises:
        UpstreamError: it gives no certificates.
    """
    caps = b""
    try:
        reply = await exchange.get(OperationKind.GET_CA_CAPS)
    except UpstreamError as error:
        if not error.sent:
            raise
    else:
        caps = reply.body if reply.status == 200 else b""
    reply = await exchange.get(OperationKind.GET_CA_CERT)
    if reply.status != 200:
        raise UpstreamError(exchange.name, f"no CA certificates but {reply}", sent=True)
    try:
        offer = Offer(url, Capabilities.parse(caps), parse_ca_certificates(reply.body))
        offer.report()
    except ScepError as error:
        reason = f"no CA certificates but {reply}, which cannot be read: {error.reason}"
        raise UpstreamError(exchange.name, reason, sent=True) from error
    return offer


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
    try:
        TypeAdapter(Url).validate_python(url)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, "), param_hint="URL") from error
    outcome = _ask_now(url)
    if isinstance(outcome, UpstreamError):
        raise click.ClickException(f"{url}: {outcome.reason}")
    report = outcome.report()
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(describe(report)))


def _ask_now(url: str) -> Offer | UpstreamError:
    """Run a reactor for as long as the CA takes."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from scepra.http.agent import http_client

    outcomes: list[Offer | UpstreamError] = []

    async def main(reactor: Any) -> None:
        exchange = Exchange(url, url, http_client(reactor, url, Limits()), reactor, ANSWER)
        try:
            outcomes.append(await ask(exchange, url))
        except UpstreamError as error:
            outcomes.append(error)

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit:
        # How react ends, also when it was interrupted.
        if not outcomes:
            raise
    return outcomes[0]
