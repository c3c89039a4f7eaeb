"""What is wrong with how a profile's challenges are asked about, beyond each section by itself.

Findings are (path below the challenge, sentence, severity); see :mod:`scepra.config.check`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from scepra.config.challenge import (
    AllOf,
    AnyOf,
    CertificateChallenge,
    Challenge,
    MintedChallenge,
    NdesChallenge,
    SignedChallenge,
    StaticChallenge,
    singles,
)
from scepra.config.devices import read_devices
from scepra.config.document import Path
from scepra.config.model import Limits
from scepra.config.service import DirectoryChallenge, IntuneChallenge, WebhookChallenge
from scepra.config.store import Retention
from scepra.config.upstream import Upstream

Found = tuple[Path, str, str]


def findings(
    challenge: Challenge, limits: Limits | None, retention: Retention | None, upstreams: Collection[Upstream]
) -> Iterator[Found]:
    """Everything that is wrong with the providers of a profile.

    Args:
        limits, retention, upstreams: what else the file says, as far as it could be read; upstreams are those that
            requests of the profile may go to.
    """
    several = isinstance(challenge, AnyOf | AllOf)
    if several:
        yield from _together(challenge)
    for index, each in enumerate(singles(challenge)):
        path: Path = ("providers", index) if several else ()
        match each:
            case SignedChallenge():
                yield from _signed(path, each, retention, upstreams)
            case WebhookChallenge() | IntuneChallenge():
                if isinstance(each, WebhookChallenge):
                    yield from _url(path, each)
                yield from _asked(path, each, limits, retention, upstreams)
            case DirectoryChallenge():
                yield from _devices(path, each, by_name=isinstance(challenge, AllOf))


def _together(challenge: Challenge) -> Iterator[Found]:
    each = singles(challenge)
    kinds = [one.type for one in each]
    for index, one in enumerate(each):
        path: Path = ("providers", index, "type")
        # Several passwords of one profile are how one is changed; who gives challenges out is looked at elsewhere.
        repeatable = isinstance(one, StaticChallenge | MintedChallenge | NdesChallenge | CertificateChallenge)
        if not repeatable and one.type in kinds[:index]:
            yield path, f"there is one {one.type} already: records and notices name it by its type", "error"
        asked = isinstance(one, WebhookChallenge | IntuneChallenge)
        others = [other for other in each[index + 1 :] if not isinstance(other, CertificateChallenge)]
        if isinstance(challenge, AnyOf) and asked and others:
            yield path, "must be the last: whatever it is asked about it decides, and no other is asked then", "error"


def _signed(
    path: Path, signed: SignedChallenge, retention: Retention | None, upstreams: Collection[Upstream]
) -> Iterator[Found]:
    if retention is not None and signed.longest > retention.challenges:
        yield (*path, "longest"), "longer than used challenges are kept (store: retention)", "error"
    if any(upstream.authorisation == "challenge" for upstream in upstreams):
        yield (*path, "type"), "its upstream asks for a challenge, and does not know tokens", "error"


def _url(path: Path, webhook: WebhookChallenge) -> Iterator[Found]:
    parts = urlsplit(webhook.url)
    if parts.scheme != "http":
        return
    if not webhook.insecure_http:
        yield (*path, "url"), "http shows challenges to whoever listens: use https, or unix:PATH", "error"
    elif not _on_loopback(parts.hostname or ""):
        yield (*path, "url"), "http is for this machine only (127.0.0.1, [::1]): use https", "error"


def _on_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _asked(
    path: Path,
    asked: WebhookChallenge | IntuneChallenge,
    limits: Limits | None,
    retention: Retention | None,
    upstreams: Collection[Upstream],
) -> Iterator[Found]:
    if asked.connect_timeout > asked.timeout:
        yield (*path, "connect-timeout"), "longer than timeout, which includes it", "error"
    whole = asked.timeout + max((upstream.timeout for upstream in upstreams), default=0)
    if limits is not None and whole >= limits.answer_deadline:
        sentence = "together with the upstream's timeout not shorter than the answer-deadline under limits"
        yield (*path, "timeout"), sentence, "error"
    if retention is not None and asked.give_up_after > retention.transactions:
        yield (*path, "give-up-after"), "longer than transactions are kept (store: retention)", "error"


def _devices(path: Path, directory: DirectoryChallenge, *, by_name: bool) -> Iterator[Found]:
    reading = read_devices(directory.file)
    for problem in reading.problems:
        sentence = str(problem).replace(": warning: ", ": ", 1)
        yield (*path, "file"), sentence, problem.severity
    if by_name or not reading.usable:
        return
    unknown = sum(device.challenge is None for device in reading.devices)
    if unknown:
        sentence = f"{unknown} of its devices have no challenge: only all-of, with another kind, may know them by name"
        yield (*path, "file"), sentence, "error"
    elif not reading.devices:
        yield (*path, "file"), "there is no device in it: nobody may enrol", "warning"
