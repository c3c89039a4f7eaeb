"""The upstream of the measurements: the lab's CA in a process of its own, which has issued everything beforehand.

Run as ``python -m bench.upstream PORT DEVICES JOURNAL issues|holds``. An enrolment costs it no signature on a
certificate, so that it is not the CA that is measured. To the journal it appends the time of each PKIOperation, in
seconds since 1970, one a line; told to hold, it answers all of them with PENDING.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from io import TextIOBase
from pathlib import Path

from twisted.internet import defer, task
from twisted.internet.interfaces import IReactorTime
from twisted.web import http

from bench.records import read_records
from scepra.lab import Authority, Behaviour, CertificationService, LabState
from scepra.lab.authority import LIFETIME
from scepra.lab.server import listen
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import PKIStatus

ISSUES, HOLDS = "issues", "holds"


class RememberingAuthority(Authority):
    """A CA that gives what it has issued before.

    Args:
        authority: whose keys it has.
        issued: CSRs and certificates, in turns.
    """

    def __init__(self, authority: Authority, issued: list[bytes]) -> None:
        super().__init__(authority.identity)
        self._remembered = dict(zip(issued[::2], issued[1::2], strict=True))

    def issue(self, csr: CertificationRequest, lifetime: timedelta = LIFETIME) -> Certificate:
        return Certificate.parse(self._remembered[csr.der])


class JournalledService(CertificationService):
    """A CA's face that writes down when it was asked."""

    def __init__(self, authority: Authority, behaviour: Behaviour, journal: TextIOBase) -> None:
        super().__init__(authority, behaviour=behaviour)
        self._journal = journal

    def render(self, request: http.Request) -> bytes | int:
        if b"operation=PKIOperation" in request.uri:
            self._journal.write(f"{time.time():.6f}\n")
        return super().render(request)


async def serve(reactor: IReactorTime, port: int, lab: Path, journal: Path, manner: str) -> None:
    """Serve until the process is ended."""
    authority = RememberingAuthority(LabState.load_or_create(lab).authority, read_records(lab / "ca.issued"))
    behaviour = Behaviour(status=PKIStatus.PENDING if manner == HOLDS else PKIStatus.SUCCESS)
    with journal.open("a", buffering=1) as file:
        service = JournalledService(authority, behaviour, file)
        await listen(reactor, f"tcp:{port}:interface=127.0.0.1", service)
        await defer.Deferred()


if __name__ == "__main__":
    PORT, LAB, JOURNAL, MANNER = sys.argv[1:]
    task.react(
        lambda reactor: defer.Deferred.fromCoroutine(serve(reactor, int(PORT), Path(LAB), Path(JOURNAL), MANNER)),
        argv=(),
    )
