"""``scepra token``: who may use the administration, and for what (AC-119, AC-124)."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from scepra.cli.challenge import duration_of
from scepra.cli.store import by_option, config_option, json_option, opened
from scepra.cli.table import minute, table, terminal_width, to_json
from scepra.config.load import load
from scepra.errors import ConfigError
from scepra.store import tokens
from scepra.store.intents import new_id
from scepra.store.tokens import Role, Token
from scepra.store.vault import read_vault


@click.group()
def token() -> None:
    """Say who may use the administration, and for what.

    Each command exits with 0 if it did what was asked, with 1 if that is not possible or was refused, with 2 if the
    command line or the configuration is wrong.
    """


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    # A colon would end the user's name in Basic authentication.
    if not value.isprintable() or not 0 < len(value) <= 128 or ":" in value or value != value.strip():
        raise click.BadParameter("expected 1 to 128 characters that can be printed, without a colon")
    return value


@token.command("create")
@config_option
@click.option("--name", required=True, callback=_name, help="What it is called in records.")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What it may do; several. " + "; ".join(f"{role.value} {role.meaning}" for role in Role) + ".",
)
@click.option("--profile", "profiles", multiple=True, help="The profiles that it is good for; several; otherwise all.")
@click.option("--lifetime", callback=duration_of, help="How long it is good, such as 90d; otherwise until revoked.")
@json_option
def create(
    file: Path, name: str, roles: tuple[str, ...], profiles: tuple[str, ...], lifetime: float | None, as_json: bool
) -> None:
    """Make a token.

    It is printed here, once, and never again.
    """
    now = datetime.now(UTC)
    try:
        config = load(file)
        unknown = sorted(set(profiles) - set(config.profiles))
        if unknown:
            raise click.UsageError(f"there is no profile {unknown[0]}")
        made = Token(
            new_id(),
            name,
            frozenset(map(Role, roles)),
            frozenset(profiles) or None,
            now,
            None if lifetime is None else now + timedelta(seconds=lifetime),
            None,
        )
        text = secrets.token_hex(24)
        with opened(file) as ledger:
            if not ledger.act(tokens.add, tokens.digest(read_vault(config.store.key_file), text), made):
                raise click.ClickException(f"there is a token {name} already, or there was: take another name")
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    click.echo(to_json({"token": text, **_plain(made)}) if as_json else text)


@token.command("list")
@config_option
@json_option
def list_(file: Path, as_json: bool) -> None:
    """List the tokens.

    The tokens themselves are not shown: they are not stored.
    """
    now = datetime.now(UTC)
    with opened(file) as ledger:
        found = ledger.look(tokens.listing)
    if as_json:
        click.echo(to_json([_plain(each) for each in found]))
    elif not found:
        click.echo("There are no tokens.")
    else:
        rows = [_row(each, now) for each in found]
        headings = ("NAME", "ROLES", "PROFILES", "MADE (UTC)", "EXPIRES (UTC)", "STATE")
        click.echo("\n".join(table(headings, rows, terminal_width())))


@token.command("revoke")
@click.argument("name", callback=_name)
@config_option
@by_option
@json_option
def revoke(name: str, file: Path, person: str, as_json: bool) -> None:
    """Revoke the token NAME.

    Nobody can use it any more, from the next request on.
    """
    now = datetime.now(UTC)
    with opened(file) as ledger:
        if not ledger.act(tokens.revoke, name, person, now):
            raise click.ClickException(f"there is no token {name} that could be revoked")
    click.echo(to_json({"name": name, "revoked": now}) if as_json else f"{name} is revoked.")


def _row(each: Token, now: datetime) -> tuple[str, ...]:
    state = "good" if each.good(now) else "revoked" if each.revoked is not None else "expired"
    profiles = "all" if each.profiles is None else ", ".join(sorted(each.profiles))
    roles = ", ".join(sorted(role.value for role in each.roles))
    return (each.name, roles, profiles, minute(each.made), minute(each.expires) or "never", state)


def _plain(each: Token) -> dict[str, object]:
    """A token as JSON has it."""
    profiles = None if each.profiles is None else sorted(each.profiles)
    return {**asdict(each), "roles": sorted(role.value for role in each.roles), "profiles": profiles}
