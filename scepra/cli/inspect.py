"""``scepra inspect``: what is in a message, a CSR, a certificate or a query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from scepra.cli.description import describe, understood
from scepra.cli.pkix import Report
from scepra.scep.identity import SoftwareKey


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, allow_dash=True), nargs=-1, required=True)
@click.option(
    "--key", "keys", type=click.File("rb"), multiple=True, help="A private key that opens envelopes; several."
)
@click.option(
    "--passphrase-file", type=click.File("rb"), help="What the keys are encrypted with, without its line end."
)
@click.option("--show-secrets", is_flag=True, help="Show challenge passwords.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, by file, for scripts.")
@click.pass_context
def inspect(
    context: click.Context,
    files: tuple[str, ...],
    keys: tuple[BinaryIO, ...],
    passphrase_file: BinaryIO | None,
    show_secrets: bool,
    as_json: bool,
) -> None:
    """Decode SCEP messages, CSRs, CA certificates and query strings.

    Each of FILES (- is standard input) is a request or an answer, a CSR, a certificate, an answer to GetCACert,
    GetCACaps or GetNextCACert, or a text with the URL of a GET; in DER, PEM or base64. With the --key of the RA or the
    client the envelope is opened too. Challenge passwords are masked.

    Exits with 0 if every file was understood, else with 1.
    """
    passphrase = passphrase_file.read().rstrip(b"\r\n") if passphrase_file is not None else None
    opened = tuple(_key(file, passphrase) for file in keys)
    reports = {}
    for file in files:
        with click.open_file(file, "rb") as stream:
            reports[file] = describe(stream.read(), opened, secrets=show_secrets)
    if as_json:
        click.echo(json.dumps(reports, indent=2))
    else:
        click.echo("\n\n".join("\n".join(_lines(name, report)) for name, report in reports.items()))
    context.exit(0 if understood(list(reports.values())) else 1)


def _key(file: BinaryIO, passphrase: bytes | None) -> SoftwareKey:
    content = file.read()
    load = load_pem_private_key if b"-----BEGIN" in content else load_der_private_key
    try:
        key = load(content, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        doubt = (
            "is the --passphrase-file missing?" if passphrase is None else "does the --passphrase-file belong to it?"
        )
        raise click.BadParameter(f"{file.name} holds no private key that can be read; {doubt}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise click.BadParameter(f"{file.name} holds a key that is neither RSA nor EC")
    return SoftwareKey(key)


def _lines(name: str, report: Report) -> Iterator[str]:
    """A report for people: one fact a line, aligned, what is within something further right."""
    yield f"{name}: {report['kind']}"
    yield from _facts(report, "  ")


def _facts(report: Report, indent: str) -> Iterator[str]:
    facts = {key.replace("-", " "): value for key, value in report.items() if key not in ("kind", "type")}
    width = max((len(key) for key, value in facts.items() if not _nested(value)), default=0)
    for key, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{key}: {value['kind']}"
            yield from _facts(value, indent + "  ")
        elif _nested(value):
            yield f"{indent}{key}:"
            yield from _items(value, indent + "  ")
        else:
            yield f"{indent}{key:{width}}  {_plain(value)}"


def _items(items: list[Any], indent: str) -> Iterator[str]:
    """Parts of one whole: attributes and extensions as a table, others under their numbers."""
    width = max((len(item["type"]) for item in items if _is_row(item)), default=0)
    for place, item in enumerate(items, 1):
        if _is_row(item):
            critical = " (critical)" if item.get("critical") else ""
            yield f"{indent}{item['type']:{width}}  {_plain(item.get('value', item.get('values')))}{critical}"
        elif isinstance(item, dict):
            yield f"{indent}{place}. {item.get('kind') or item['type']}"
            yield from _facts(item, indent + "   ")
        else:
            yield f"{indent}{place}. {item}"


def _is_row(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.keys() & {"value", "values"})


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
