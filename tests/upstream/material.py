"""Certificates as CAs and registration authorities have them, and settings of an upstream that pins one."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepra.config.upstream import Upstream as Settings
from scepra.lab.key import PrivateKey
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import Validity, basic_constraints, build_certificate, key_usage, name
from scepra.scep.identity import Identity, SoftwareKey
from tests.rig.material import DAY, NOW, key

T = TypeVar("T")
URL = "http://ca.example/scep"
YEAR = 365 * DAY


def made(
    common_name: str,
    by: Identity | None = None,
    *,
    ca: bool | None = False,
    usage: Iterable[str] | None = None,
    path_length: int | None = None,
    start: timedelta = -DAY,
    end: timedelta = YEAR,
    private_key: PrivateKey | None = None,
    digest: Digest = Digest.SHA256,
) -> Identity:
    """A certificate and its key.

    Args:
        by: who issues it; it signs itself if None.
        private_key: its own; one that all CAs here share, or all others, if None.
        ca: what basicConstraints says; None leaves it out.
        usage: what keyUsage says; None leaves it out.
        start: when its validity starts, from now; so is *end*.
    """
    software = SoftwareKey(private_key or key("CA" if by is None else "RA"))
    subject = name(common_name)
    extensions = [] if ca is None else [basic_constraints(ca=ca)]
    if path_length is not None:
        extensions = [Extension(oid.BASIC_CONSTRAINTS, True, der.sequence(b"\x01\x01\xff", der.integer(path_length)))]
    if usage is not None:
        extensions.append(key_usage(usage))
    certificate = build_certificate(
        subject=subject,
        public_key=software.public.der,
        issuer=by.certificate.subject_der if by is not None else subject,
        signer=by.key if by is not None else software,
        validity=Validity(NOW + start, NOW + end),
        extensions=extensions,
        digest=digest,
    )
    return Identity(certificate, software)


def settings(*pinned: Certificate, **more: Any) -> Settings:
    """The settings of an upstream at :data:`URL`; keywords are its keys, with underscores."""
    pins = [f"sha256:{certificate.fingerprint()}" for certificate in pinned]
    return Settings.model_validate(
        {"url": URL, "ca-fingerprint": pins, **{key.replace("_", "-"): value for key, value in more.items()}}
    )


def run(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    """The result of a coroutine that waits for nothing outside this process."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]
