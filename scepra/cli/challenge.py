"""``scepra challenge``: challenges that are made for somebody (DR-17, AC-104)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from scepra.binding import Binding, NoBinding
from scepra.cli.store import (
    by_option,
    config_option,
    identifier_argument,
    json_option,
    limit_option,
    opened,
    why_option,
)
from scepra.cli.table import facts, minute, moment, table, terminal_width, to_json
from scepra.config.load import load
from scepra.errors import ConfigError
from scepra.minting import NotMinted, Order, give
from scepra.policy.value import parse_duration
from scepra.store import challenges
from scepra.store.challenges import Challenge
from scepra.store.vault import read_vault


@click.group()
def challenge() -> None:
    """Make challenges for somebody; list and revoke them.

    Each command exits with 0 if it did what was asked, with 1 if that is not possible or was refused, with 2 if the
    command line or the configuration is wrong.
    """


def duration_of(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds of an option such as 2h."""
    try:
        return None if value is None else float(parse_duration(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@challenge.command("mint")
@config_option
@click.option("--profile", required=True, help="The profile that it is for.")
@click.option("--cn", "common_name", default="", help="The common name that may be asked for with it.")
@click.option("--serial-number", default="", help="The serial number in the subject.")
@click.option("--dns", multiple=True, help="A DNS name; several.")
@click.option("--email", multiple=True, help="A mail address; several.")
@click.option("--upn", multiple=True, help="A user principal name; several.")
@click.option("--uri", multiple=True, help="A URI; several.")
@click.option("--ip", multiple=True, help="An IP address; several.")
@click.option("--sid", default="", help="Microsoft's security identifier.")
@click.option("--key-usage", multiple=True, help="A usage, such as digitalSignature; exactly those that are given.")
@click.option("--device", default="", help="The device that it is for, as limits count it.")
@click.option("--lifetime", callback=duration_of, help="How long it is good, such as 2h; otherwise the profile's.")
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="For how many keys it is good.")
@click.option("--anybody", is_flag=True, help="It names nobody: it is good for whatever the policy lets through.")
@by_option
@json_option
def mint_(
    file: Path,
    profile: str,
    lifetime: float | None,
    uses: int,
    anybody: bool,
    person: str,
    as_json: bool,
    **names: str | tuple[str, ...],
) -> None:
    """Make a challenge.

    It is good for the names that are given and for no others: a request may ask for fewer. It is printed here, once,
    and never again.
    """
    try:
        binding = Binding.from_json({name: value for name, value in names.items() if value})
    except NoBinding as error:
        raise click.UsageError(str(error)) from None
    try:
        config = load(file)
        with opened(file) as ledger:
            order = Order(profile, binding, person, lifetime, uses, anybody)
            vault = read_vault(config.store.key_file)
            minted = ledger.act(give, order, config.profiles, vault, datetime.now(UTC))
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except NotMinted as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(to_json({"challenge": minted.text, **asdict(minted.kept)}))
        return
    click.echo(minted.text)
    told = {"for": _bound(minted.kept), "id": minted.kept.id, "expires": moment(minted.kept.expires)}
    click.echo("\n".join(facts(told)), err=True)


@challenge.command("list")
@config_option
@click.option("--profile", help="Only those of this profile.")
@click.option("--all", "everything", is_flag=True, help="Also those that are not good any more.")
@limit_option(100)
@json_option
def list_(file: Path, profile: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """List challenges, the latest first.

    The challenges themselves are not shown: they are not stored.
    """
    now = datetime.now(UTC)
    with opened(file) as ledger:
        profiles = None if profile is None else frozenset((profile,))
        found = ledger.look(challenges.listing, profiles, None if everything else now, limit)
    if as_json:
        click.echo(to_json(list(map(asdict, found))))
    elif not found:
        click.echo("There are no challenges." if everything else "No challenge is outstanding.")
    else:
        headings = ("ID", "PROFILE", "FOR", "EXPIRES (UTC)", "USED", "STATE", "BY")
        click.echo("\n".join(table(headings, [_row(each, now) for each in found], terminal_width())))


@challenge.command("revoke")
@identifier_argument
@config_option
@why_option
@by_option
@json_option
def revoke(identifier: str, file: Path, why: str, person: str, as_json: bool) -> None:
    """Revoke the challenge ID.

    Nobody can use it any more who has not used it yet.
    """
    now = datetime.now(UTC)
    with opened(file) as ledger:
        if not ledger.act(challenges.revoke, identifier, None, person, why, now):
            raise click.ClickException(f"there is no challenge {identifier} that could be revoked")
    click.echo(to_json({"id": identifier, "revoked": now}) if as_json else f"{identifier} is revoked.")


def _row(each: Challenge, now: datetime) -> tuple[str, ...]:
    state = (each.fault(now) or "good").partition(":")[0]
    return (
        each.id,
        each.profile,
        _brief(each),
        minute(each.expires),
        f"{each.used}/{each.uses}",
        state,
        each.minter,
    )


def _bound(each: Challenge) -> str:
    """For whom a challenge is, in one line."""
    return ", ".join(_values(each)) or "anybody"


def _brief(each: Challenge) -> str:
    """The first of its names, and how many more there are."""
    values = [part for value in each.binding.values() for part in ([value] if isinstance(value, str) else value)]
    return f"{values[0]} +{len(values) - 1}" if len(values) > 1 else values[0] if values else "anybody"


def _values(each: Challenge) -> list[str]:
    return [
        f"{name.replace('_', '-')} {'+'.join(value) if isinstance(value, list | tuple) else value}"
        for name, value in each.binding.items()
    ]
