"""``scepra lab-ca``: a small SCEP CA in the foreground, and the files that ``config.example.yaml`` names."""

from __future__ import annotations

import secrets
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogBeginner
from twisted.web.resource import Resource
from zope.interface import provider

from scepra.config.kind import KINDS, KindName
from scepra.errors import ConfigError
from scepra.lab.behaviour import Behaviour
from scepra.lab.files import write_private
from scepra.lab.kind import BEHAVIOURS
from scepra.lab.ndes import AdministrationPage, Passwords, WithPage, write_users
from scepra.lab.rollover import Plan
from scepra.lab.server import listen as listen_on
from scepra.lab.server import url_of
from scepra.lab.state import LabState

USER = "LAB\\ndes"
ACCOUNT = "ndes-password.txt"
PATH = "/certsrv/mscep_admin/"
DAYS = click.FloatRange(min=0, min_open=True)


@click.command("lab-ca", short_help="Serve a small SCEP CA for trials.")
@click.option(
    "--listen", default="tcp:8089:interface=127.0.0.1", show_default=True, metavar="ENDPOINT", help="Where it listens."
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("lab"),
    show_default=True,
    help="The directory of its keys and certificates, made at the first start.",
)
@click.option(
    "--challenge-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the challenge that it asks for. Without this it asks for none: the RA before it does.",
)
@click.option(
    "--kind",
    type=click.Choice(tuple(KINDS)),
    default="generic",
    show_default=True,
    help="Which kind of CA it imitates, by what is documented of it.",
)
@click.option(
    "--ndes",
    is_flag=True,
    help="Ask for one-time passwords, and give them out on a page like that of NDES, which this imitates.",
)
@click.option(
    "--ca-lifetime",
    type=DAYS,
    default=3650,
    show_default=True,
    metavar="DAYS",
    help="How long a CA that is made is good.",
)
@click.option(
    "--certificate-lifetime",
    type=DAYS,
    default=365,
    show_default=True,
    metavar="DAYS",
    help="How long certificates are.",
)
@click.option(
    "--rollover-before",
    type=DAYS,
    metavar="DAYS",
    help="Announce the next CA so long before the end of each; it takes over in the middle of that time.",
)
def lab_ca(
    listen: str,
    state: Path,
    challenge_file: Path | None,
    kind: KindName,
    ndes: bool,
    ca_lifetime: float,
    certificate_lifetime: float,
    rollover_before: float | None,
) -> None:
    """Serve a small SCEP CA for trials, until Ctrl-C.

    The first start makes a CA, certificates for an RA and a challenge for its clients; config.example.yaml names these
    files, so that the RA runs in front of this CA as it stands.
    """
    if rollover_before is not None and rollover_before >= ca_lifetime:
        raise click.BadParameter("must be less than --ca-lifetime", param_hint="--rollover-before")
    before = timedelta(days=rollover_before) if rollover_before is not None else None
    plan = Plan(timedelta(days=ca_lifetime), timedelta(days=certificate_lifetime), before)
    try:
        lab = LabState.load_or_create(state, plan=plan)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    challenge = challenge_file.read_text("utf-8").rstrip("\r\n") if challenge_file is not None else None
    if challenge == "":
        raise click.BadParameter("the file is empty", param_hint="--challenge-file")
    if ndes and challenge is not None:
        raise click.UsageError("--challenge-file is one challenge for everybody: it does not go with --ndes")
    globalLogBeginner.beginLoggingTo([_print_event], redirectStandardIO=False)
    behaviour = BEHAVIOURS[kind]
    resource = _imitate_ndes(lab, behaviour) if ndes else lab.serve(challenge, behaviour)
    said = f"the one in {challenge_file}" if challenge_file else "none: it trusts whoever reaches this port"
    theirs = f"the challenge in {lab.directory / 'challenge.txt'}"
    if ndes:
        said = f"one-time, from the page at {PATH} with the account {USER} ({ACCOUNT})"
        theirs = "what the RA gives out: scepra challenge mint"
    react(_serve, (listen, lab, resource, said, theirs))


def _imitate_ndes(lab: LabState, behaviour: Behaviour) -> Resource:
    """The CA with NDES's page, whose account is made at the first start."""
    account = lab.directory / ACCOUNT
    if not account.exists():
        write_private(account, f"{secrets.token_hex(16)}\n".encode("ascii"))
    users = {USER: account.read_text("ascii").strip()}
    ntlm = find_spec("spnego") is not None
    if ntlm:
        write_users(lab.directory / "ndes-users.txt", users)
    passwords = Passwords()
    page = AdministrationPage(lab.authority, passwords, users, ntlm=ntlm)
    return WithPage(lab.serve(behaviour=behaviour, one_time=passwords.take), page)


async def _serve(reactor: Any, endpoint: str, lab: LabState, resource: Resource, challenge: str, theirs: str) -> None:
    try:
        port = await listen_on(reactor, endpoint, resource)
    except (CannotListenError, ValueError) as error:
        raise SystemExit(f"Error: cannot listen on {endpoint}: {error}") from error
    # Not before Ctrl-C is listened to.
    reactor.callWhenRunning(click.echo, _welcome(lab, url_of(port), challenge, theirs))
    await Deferred()


@provider(ILogObserver)
def _print_event(event: LogEvent) -> None:
    """One line for each operation of a client, and what goes wrong; what Twisted says of itself is passed over."""
    if event["log_namespace"].startswith("scepra.lab") or event["log_level"] >= LogLevel.warn:
        click.echo(eventAsText(event, includeSystem=False), err=True)


def _welcome(lab: LabState, url: str, challenge: str, theirs: str) -> str:
    """What its user needs to know; *challenge* is what the CA asks for, *theirs* what clients of the RA need."""
    rows = (
        ("URL", url),
        ("CA", f"{lab.directory / 'ca.crt'}{' (made now)' if lab.created else ''}"),
        ("SHA-256", lab.authority.certificate.fingerprint()),
        ("challenge", challenge),
        ("for the RA", f"ra.crt, ra.key, ra-signing.*, ra-encryption.* in {lab.directory}"),
        ("next", "twistd -n scepra --config config.example.yaml"),
        ("then", f"enrol at the RA with {theirs}"),
    )
    return "\n".join(("The lab's CA is ready; Ctrl-C ends it.", *(f"  {name:<12}{text}" for name, text in rows)))
