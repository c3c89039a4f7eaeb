"""What ``scepra check-config --online`` asks each upstream, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from scepra.config.check import Finding
from scepra.config.document import Path
from scepra.config.model import Upstream as Settings
from scepra.errors import UpstreamError
from scepra.scep.certificate import Certificate
from scepra.upstream.client import Upstream
from scepra.upstream.view import UpstreamView

Maker = Callable[[str, Settings, IReactorTime], Upstream]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, and the views of those upstreams that are believed."""

    findings: tuple[Finding, ...]
    views: Mapping[str, UpstreamView]


async def look(upstreams: Mapping[str, Settings], reactor: IReactorTime, make: Maker = Upstream) -> Seen:
    """Ask every upstream for its capabilities and certificates, one after the other.

    Args:
        upstreams: the settings of each, by name.
        reactor: connects and waits.
        make: takes the place of one that connects.
    """
    findings: list[Finding] = []
    views: dict[str, UpstreamView] = {}
    for name, settings in upstreams.items():
        try:
            views[name] = await make(name, settings, reactor).discover()
        except UpstreamError as error:
            findings.append(Finding(("upstreams", name), f"cannot be used: {error.reason}"))
        else:
            findings += _judge(("upstreams", name), settings, views[name])
    return Seen(tuple(findings), views)


def _judge(path: Path, settings: Settings, view: UpstreamView) -> Iterator[Finding]:
    """What an upstream that is believed does not offer."""
    for keyword in sorted(view.missing):
        yield Finding((*path, "expect-capabilities"), f"the CA does not list {keyword}", "warning")
    for successor in (each for each in view.announced if not any(pin.matches(each) for pin in settings.ca_fingerprint)):
        yield Finding(
            (*path, "ca-fingerprint"),
            f"the CA that follows, sha256:{successor.fingerprint()}, is not pinned: compare it out of band, and add it"
            f"{_by(view.pinned)}",
            "warning",
        )
    if not view.capabilities.digest(settings.digest):
        yield Finding((*path, "digest"), f"the CA does not list {settings.digest.value}", "warning")
    if not view.capabilities.cipher(settings.cipher):
        yield Finding((*path, "cipher"), f"the CA does not list {settings.cipher.value}", "warning")
    if settings.transport == "post" and not view.capabilities.post:
        yield Finding((*path, "transport"), "the CA does not list POSTPKIOperation", "warning")
    if not view.encryption.public_key.encrypts and settings.authorisation != "challenge":
        yield Finding(
            (*path, "authorisation"),
            "the CA has no RSA key: only a request with a challenge can be encrypted to it (RA-19)",
            "warning",
        )


def _by(pinned: Certificate) -> str:
    """Until when a successor should be pinned: as long as its predecessor is one."""
    return f" by {pinned.not_after:%Y-%m-%d}" if pinned.not_after is not None else ""
