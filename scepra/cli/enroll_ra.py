"""``scepra enroll-ra`` and ``scepra install``: the RA's own certificates, by SCEP or by hand (CERT-06, CERT-07)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepra.cli.challenge import duration_of
from scepra.cli.store import config_option, json_option, opened
from scepra.cli.table import to_json
from scepra.config.load import load
from scepra.config.model import Config, GenerationDirectory
from scepra.errors import ConfigError, KeyUnavailable, ScepError, StoreError, UpstreamError
from scepra.generation import Installed
from scepra.keys.certificate import read_certificates
from scepra.keys.directory import Busy, GenerationStore, UnderWay
from scepra.keys.token import Tokens
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates

if TYPE_CHECKING:
    from scepra.acquisition import Acquisition, Waiting
    from scepra.upstream.succession import Succession

PENDING = 3
"""The exit status where the CA holds something back."""
_profile_option = click.option("--profile", required=True, help="The profile whose RA it is.")


@click.command("enroll-ra", short_help="Enrol certificates for the RA itself.")
@config_option
@_profile_option
@click.option("--csr-only", is_flag=True, help="Make keys and requests only, for a CA that is fed by hand.")
@click.option("--renew", is_flag=True, help="Enrol the next generation although there is one already.")
@click.option(
    "--wait", callback=duration_of, metavar="DURATION", help="How long to wait where the CA holds requests back: 10m."
)
@json_option
def enroll_ra(file: Path, profile: str, csr_only: bool, renew: bool, wait: float | None, as_json: bool) -> None:
    """Enrol certificates for the RA itself, into the directory of the profile (ra: directory).

    Keys are made, certificates are asked for, judged as clients will judge them, and installed. What is under way is
    gone on with: nothing is asked for twice.

    Exits with 0 if the certificates are installed (or the requests are written), with 1 if the CA refuses or does not
    answer, with 2 if the command line or the configuration is wrong, with 3 while the CA holds them back.
    """
    config, settings = _settings(file, profile)
    tokens = Tokens(config.tokens)
    store = GenerationStore(settings.directory, tokens)

    async def work(acquisition: Acquisition, reactor: Any) -> UnderWay | Installed | Waiting | None:
        installed = store.installed()
        if installed and store.under_way() is None and not renew:
            _say(as_json, f"generation {installed[-1].number} is there already; --renew enrols the next")
            return installed[-1]
        _say(as_json, f"making keys and requests in {settings.directory}")
        under_way = await acquisition.prepare(by_hand=csr_only)
        if csr_only:
            return under_way
        asked = "one certificate" if len(under_way.orders) == 1 else "two certificates"
        _say(as_json, f"asking upstream {config.profiles[profile].certifier} for {asked}")
        return await _until_whole(acquisition, reactor, wait or 0.0, as_json)

    outcome = _run(file, config, profile, store, tokens, work)
    _tell(outcome, store, as_json, f"scepra install --config {file} --profile {profile} CERTIFICATE...")


@click.command("install", short_help="Install certificates for the RA that a CA has issued by hand.")
@config_option
@_profile_option
@click.argument("certificates", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def install(file: Path, profile: str, certificates: tuple[Path, ...], as_json: bool) -> None:
    """Install CERTIFICATES (PEM, DER or PKCS#7 files) that a CA has issued for the requests of enroll-ra --csr-only.

    Each is put to the key that it is for; certificates of CAs among them are passed over.

    Exits with 0 if all are installed, with 1 if they cannot be used, with 2 if the command line or the configuration is
    wrong, with 3 while one is missing.
    """
    config, settings = _settings(file, profile)
    tokens = Tokens(config.tokens)
    store = GenerationStore(settings.directory, tokens)
    found = [item for path in certificates for item in _read(path)]

    async def work(acquisition: Acquisition, reactor: Any) -> Installed | Waiting:
        return await acquisition.install(found)

    _tell(_run(file, config, profile, store, tokens, work), store, as_json, "")


async def _until_whole(acquisition: Acquisition, reactor: Any, wait: float, as_json: bool) -> Installed | Waiting:
    """Ask, and ask again as long as there is time."""
    from twisted.internet.task import deferLater

    from scepra.acquisition import Waiting

    end, pause = reactor.seconds() + wait, 2.0
    while True:
        outcome = await acquisition.advance()
        left = end - reactor.seconds()
        if not isinstance(outcome, Waiting) or left <= 0:
            return outcome
        _say(as_json, f"the CA holds back the {' and the '.join(outcome.roles)} certificate; asking again")
        await deferLater(reactor, min(pause, left))
        pause = min(2 * pause, 60.0)


def _settings(file: Path, profile: str) -> tuple[Config, GenerationDirectory]:
    try:
        config = load(file)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if profile not in config.profiles:
        raise click.UsageError(f"there is no profile {profile}")
    settings = config.profiles[profile].ra
    if not isinstance(settings, GenerationDirectory):
        raise click.UsageError(f"the certificates of profile {profile} are files: ra needs a directory instead")
    return config, settings


def _remembered(file: Path, config: Config, upstream: str) -> tuple[Succession, ...]:
    """What the RA has stored of a CA's rollovers; nothing where it has not been started yet."""
    from scepra.store import successions
    from scepra.succession import parsed

    path = config.store.sqlite_path
    if path is not None and not path.exists():
        return ()
    try:
        with opened(file) as ledger:
            return tuple(parsed(ledger.look(successions.load, upstream), upstream))
    except click.ClickException as error:
        click.echo(f"Without what the store tells of rollovers of the CA: {error.message}", err=True)
        return ()


def _run(
    file: Path,
    config: Config,
    profile: str,
    store: GenerationStore,
    tokens: Tokens,
    work: Callable[[Acquisition, Any], Coroutine[Any, Any, Any]],
) -> Any:
    """What *work* comes to, by a reactor that runs for that long.

    Raises:
        ClickException: it went wrong.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted.internet.threads import deferToThread

    from scepra.acquisition import Acquisition, NotAcquired
    from scepra.conversation import Conversation
    from scepra.keys.hands import Hands
    from scepra.upstream.client import Upstream, utc_now
    from scepra.upstream.succession import Passing

    outcomes: list[Any] = []
    settings = config.profiles[profile].ra
    assert isinstance(settings, GenerationDirectory)  # noqa: S101 - as _settings has it

    name = config.profiles[profile].certifier
    at = config.upstreams[name]
    # What is learned here of a rollover, the RA will learn itself.
    successions = Passing(_remembered(file, config, name))

    async def main(reactor: Any) -> None:
        conversation = Conversation(at, Upstream(name, at, reactor, successions=successions), Hands(deferToThread))
        acquisition = Acquisition(settings, store, conversation, utc_now, deferToThread)
        try:
            with store.changing():
                outcomes.append(await work(acquisition, reactor))
        except KeyUnavailable as error:
            outcomes.append(click.ClickException(f"profiles.{profile}.ra: {error}"))
        except (NotAcquired, Busy, UpstreamError, StoreError, ConfigError, OSError) as error:
            outcomes.append(click.ClickException(str(error)))

    # How react ends.
    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    tokens.leave()
    if isinstance(outcomes[0], click.ClickException):
        raise outcomes[0]
    return outcomes[0]


def _tell(outcome: UnderWay | Installed | Waiting, store: GenerationStore, as_json: bool, then: str) -> None:
    """Print what came of it, and exit with the status for it."""
    if isinstance(outcome, UnderWay):
        requests = {role: str(store.file(outcome, f"{role}.csr.pem")) for role in outcome.orders}
        if as_json:
            click.echo(to_json({"state": "requests", "generation": outcome.number, "requests": requests}))
        else:
            lines = (f"  {role}: {path}" for role, path in requests.items())
            click.echo("\n".join(("Have these requests certified:", *lines, f"Then: {then}")))
        return
    if isinstance(outcome, Installed):
        rows = [
            {
                "role": role,
                "subject": str(item.subject),
                "expires": item.not_after.isoformat() if item.not_after is not None else "unreadable",
                "sha256": item.fingerprint(),
            }
            for role, item in _by_role(outcome)
        ]
        if as_json:
            click.echo(to_json({"state": "installed", "generation": outcome.number, "certificates": rows}))
        else:
            lines = (f"  {row['role']}: {row['subject']}, until {row['expires']}\n    {row['sha256']}" for row in rows)
            click.echo("\n".join((f"Generation {outcome.number} is installed in {store.path}:", *lines)))
        return
    if as_json:
        click.echo(to_json({"state": "pending", "generation": outcome.number, "waiting": outcome.roles}))
    else:
        click.echo(f"There is no {' and no '.join(outcome.roles)} certificate yet: call this again to go on.")
    raise SystemExit(PENDING)


def _by_role(installed: Installed) -> tuple[tuple[str, Certificate], ...]:
    generation = installed.generation
    if len(installed.certificates) == 1:
        return (("signing and encryption", generation.signing.certificate),)
    return (("signing", generation.signing.certificate), ("encryption", generation.encryption.certificate))


def _read(path: Path) -> tuple[Certificate, ...]:
    """The certificates of a file: PEM, DER, or a PKCS#7 bag."""
    try:
        return read_certificates(path)
    except ConfigError as error:
        try:
            content = path.read_bytes()
            return parse_ca_certificates(_unarmoured(content))
        except (OSError, ScepError, ValueError):
            raise click.ClickException(str(error)) from error


def _unarmoured(content: bytes) -> bytes:
    """The DER in a PEM block; whatever else as it is."""
    import base64

    if not content.lstrip().startswith(b"-----BEGIN"):
        return content
    lines = content.strip().splitlines()
    return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-----")))


def _say(as_json: bool, text: str) -> None:
    """Progress, on standard error."""
    if not as_json:
        click.echo(f"{text} ...", err=True)
