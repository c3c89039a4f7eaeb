"""What the commands about stored transactions have in common: opening the store, naming a transaction, who acts."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import sqlalchemy as sa

from scepra.cli.asn1_text import printable
from scepra.config.load import read
from scepra.config.store import Store
from scepra.errors import ConfigError, StoreError
from scepra.store import listing, schema
from scepra.store.approvals import NotPossible
from scepra.store.database import Database
from scepra.store.engine import create_engine
from scepra.transaction import State

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_NAME, LONGEST_WHY = 128, 500
MOST_LISTED = 10_000
"""How many rows a list has at most: what is read is read at once, so that SQLite's log can be written anew (FT-37)."""
_NOT_STARTED = "the RA has not been started with this configuration yet"


class Untold(click.ClickException):
    """What was asked cannot be told; exit status 1 would be an answer."""

    exit_code = 2


class Ledger:
    """The store, used by a command and closed after it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """The result of a function that only reads.

        Raises:
            StoreError: the database does not answer.
        """
        coroutine = self._database.read(function, *arguments, **named)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            result: R = stop.value
            return result
        raise AssertionError("a database on this thread waits for nothing")

    def act(self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """The result of a function that may write, committed.

        Raises:
            StoreError: it was not carried out, or nobody knows whether it was.
        """
        return self._database.call(function, *arguments, **named)

    def resolve(self, prefix: str, states: Collection[State] = ()) -> str:
        """The id that begins so: of a transaction in one of the states; if there is none, of any.

        Raises:
            ClickException: there is none, or more than one.
        """
        found = self.look(listing.matching, prefix, states=states) or self.look(listing.matching, prefix)
        if not found:
            raise click.ClickException(f"there is no transaction {prefix}")
        if len(found) > 1:
            raise click.ClickException(f"{prefix} may be any of {', '.join(found)}: give more digits of it")
        return found[0]


@contextmanager
def opened(file: Path) -> Iterator[Ledger]:
    """The store of a configuration, for the duration of the block.

    Raises:
        UsageError: the configuration does not say which.
        ClickException: it cannot be used, or not for this, now or within the block.
    """
    settings = _settings(file)
    try:
        if settings.sqlite_path is not None:
            _require_file(settings.url, settings.sqlite_path)
        database = Database(create_engine(settings, 1), settings.sqlite_path)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    ledger = Ledger(database)
    try:
        _require_version(settings.url, ledger.look(schema.version))
        yield ledger
    except NotPossible as error:
        raise click.ClickException(str(error)) from error
    except StoreError as error:
        raise click.ClickException(f"{settings.url}: {printable(error.reason)}") from error
    finally:
        database.close()


def _settings(file: Path) -> Store:
    """The section on the store; what else is wrong with the configuration does not matter here."""
    reading = read(file)
    if reading.sections.store is None:
        raise click.UsageError("\n".join(map(str, reading.problems)))
    return reading.sections.store


def _require_file(url: str, path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError:
        raise click.ClickException(f"{url}: there is no such file: {_NOT_STARTED}") from None
    except OSError as error:
        raise click.ClickException(f"{url}: cannot be opened: {os.strerror(error.errno or 0)}") from None


def _require_version(url: str, found: str | None) -> None:
    """Whether the tables are this program's: nothing is read or changed in any others (AC-137)."""
    if found is None:
        raise click.ClickException(f"{url}: there are no tables in it: {_NOT_STARTED}")
    if found > schema.VERSION:
        raise click.ClickException(
            f"{url}: the database has version {printable(found)}, which is newer than this program knows: use the newer"
            " program; nothing was changed"
        )
    if found < schema.VERSION:
        raise click.ClickException(
            f"{url}: the database has version {printable(found)}, which is older than this program's: start the RA of"
            " this version first, which brings it up to date"
        )


def confirm(question: str) -> None:
    """Ask somebody at a terminal, on standard error.

    Raises:
        Abort: they do not want to.
    """
    click.confirm(question, abort=True, err=True)


def at_terminal() -> bool:
    """Whether somebody is there who can be shown something and asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


# Parameters of commands


def limit_option(default: int) -> Callable[[Any], Any]:
    """How long a list may become."""
    return click.option(
        "--limit", type=click.IntRange(1, MOST_LISTED), default=default, show_default=True, help="How many at most."
    )


def _identifier(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch("[0-9A-Fa-f]{1,16}", value):
        raise click.BadParameter("expected the hexadecimal digits of an id, or the first of them")
    return value.lower()


def _person(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    name = value if value is not None else os.environ.get("SUDO_USER") or _user()
    return _line(name, LONGEST_NAME)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise click.BadParameter("the user of this process has no name, so say who you are") from None


def _why(context: click.Context, parameter: click.Parameter, value: str) -> str:
    return _line(value, LONGEST_WHY)


def _line(text: str, longest: int) -> str:
    """What people say about themselves or their reasons: kept for the record, and shown to others."""
    text = text.strip()
    if not text or not text.isprintable() or len(text) > longest:
        raise click.BadParameter(f"expected a line of 1 to {longest} characters that can be printed")
    return text


config_option: Callable[[Any], Any] = click.option(
    "--config", "file", type=click.Path(path_type=Path), required=True, help="The configuration file."
)
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")
why_option: Callable[[Any], Any] = click.option(
    "--why", metavar="TEXT", required=True, callback=_why, help="The reason, for the record."
)
by_option: Callable[[Any], Any] = click.option(
    "--by",
    "person",
    metavar="NAME",
    callback=_person,
    help="Who you are, for the record; otherwise whoever called sudo, or the user of this process.",
)
identifier_argument: Callable[[Any], Any] = click.argument("identifier", metavar="ID", callback=_identifier)
optional_identifier_argument: Callable[[Any], Any] = click.argument(
    "identifier", metavar="[ID]", required=False, callback=_identifier
)
