"""``scepra demo``: a CA, an RA and a device, all real and all on this machine, step by step."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from scepra.errors import ConfigError
from scepra.lab.demonstration import DOMAIN, Demonstration
from scepra.lab.process import Decision, Failed
from scepra.lab.story import Step

WIDTH = 62


@click.command(short_help="Enrol through a real RA at a real CA, all on this machine.")
@click.option("--once", is_flag=True, help="End after the enrolments: with 0 if each step did what it should.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("scepra-demo"),
    show_default=True,
    help="The directory of keys, certificates and the RA's configuration; the next run uses them again.",
)
def demo(once: bool, state: Path) -> None:
    """Enrol through a real RA at a real CA, all on this machine.

    Shows each step; then it keeps serving, so that you can try your own client, until Ctrl-C.
    """
    react(_demonstrate, (state, once))


async def _demonstrate(reactor: Any, state: Path, once: bool) -> None:
    demonstration = Demonstration(reactor, state, _show)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(demonstration.stop()))
    _say(f"Keys, certificates and configuration are kept in {state}/", bold=True)
    _say("")
    try:
        if not await demonstration.run():
            raise Failed("Not every step did what it should.")
        _say("Every step did what it should.", fg="green")
        if not once:
            _say(_invitation(demonstration))
            await demonstration.serve(_tell)
    except (ConfigError, Failed, OSError) as error:
        raise SystemExit(f"\nError: {error}") from error


def _say(text: str, **style: Any) -> None:
    """Print; in colour only on a terminal whose user does not mind."""
    click.echo(click.style(text, **style) if style else text, color=False if os.environ.get("NO_COLOR") else None)


def _show(step: Step) -> None:
    mark = click.style(" ok ", fg="green") if step.ok else click.style(" NO ", fg="red", bold=True)
    _say(f"{mark} {click.style(f'{step.title:<{WIDTH}}', bold=True)} {_duration(step.seconds):>8}")
    for detail in step.details:
        _say(f"     {detail}")
    _say("")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _tell(decision: Decision) -> None:
    """What the RA decided about a request of the user's own client."""
    what = decision.subject or decision.transaction_id
    _say(f"     {decision.outcome}: {what}{''.join(f'{chr(10)}       {reason}' for reason in decision.reasons)}")


def _invitation(demonstration: Demonstration) -> str:
    url, at = demonstration.url, quote(str(demonstration.directory))
    return f"""
Try your own client: any name below {DOMAIN}, with the challenge in {at}/challenge.txt.

strongSwan (Debian: strongswan-pki)
  pki --gen --type rsa --size 2048 --outform pem > my.key
  pki --scep --url {url} --in my.key --dn "CN=my.{DOMAIN}" \\
      --password "$(cat {at}/challenge.txt)" --cacert-enc {at}/ra-encryption.crt \\
      --cacert-sig {at}/ra-signing.crt --cacert {at}/ca.crt --outform pem > my.crt

micromdm (Debian: scep), which knows nothing newer than single DES
  scepclient -server-url {url}/old -private-key old.key -certificate old.crt \\
      -cn old.{DOMAIN} -challenge "$(cat {at}/challenge.txt)"

What the RA decides is shown here. Ctrl-C ends it.
"""
