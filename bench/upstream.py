"""The upstream of the measurements: the lab's CA in a process of its own, which issues each request once and then
remembers.

Run as ``python -m bench.upstream PORT STATE``. A second enrolment with the same CSR costs it no signature on a
certificate, so that it is not the CA that is measured.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from twisted.internet import defer, task
from twisted.internet.interfaces import IReactorTime

from scepra.lab import Authority, CertificationService, LabState
from scepra.lab.authority import LIFETIME
from scepra.lab.server import listen
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest


class RememberingAuthority(Authority):
    """A CA that answers the same request with the same certificate."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority.identity)
        self._remembered: dict[bytes, Certificate] = {}

    def issue(self, csr: CertificationRequest, lifetime: timedelta = LIFETIME) -> Certificate:
        known = self._remembered.get(csr.der)
        if known is None:
            known = self._remembered[csr.der] = super().issue(csr, lifetime)
        return known


async def serve(reactor: IReactorTime, port: int, state: Path) -> None:
    """Serve until the process is ended."""
    authority = RememberingAuthority(LabState.load_or_create(state).authority)
    await listen(reactor, f"tcp:{port}:interface=127.0.0.1", CertificationService(authority))
    await defer.Deferred()


if __name__ == "__main__":
    task.react(
        lambda reactor: defer.Deferred.fromCoroutine(serve(reactor, int(sys.argv[1]), Path(sys.argv[2]))), argv=()
    )
