"""The lab's NDES, and clients of it: in memory with Basic, on loopback with NTLM."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.web.resource import IResource

from scepra.config.model import NdesChallenge
from scepra.config.secret import Secret
from scepra.lab import AdministrationPage, Passwords
from scepra.ndes.client import Client, Session
from tests.rig.material import NOW, authority

USER, PASSWORD = "LAB\\ndes", "correct horse battery staple"
URL = "https://ndes.example/certsrv/mscep_admin/"


def settings(url: str = URL, **changes: Any) -> NdesChallenge:
    """The settings of an account that the lab's NDES knows; keywords are keys, with underscores."""
    known = {"type": "ndes", "url": url, "user": USER, "password-file": Secret(PASSWORD.encode(), "the file p")}
    keys = {key.replace("_", "-"): value for key, value in ({"authentication": "basic"} | changes).items()}
    return NdesChallenge.model_validate(known | keys)


class Administration:
    """The lab's NDES in memory, which a client reaches as if over TLS; ``now`` is the time of day there.

    ``connections`` counts them; ``broken`` is raised in place of the next ones.
    """

    def __init__(self, **changes: Any) -> None:
        self.now: datetime = NOW
        self.connections = 0
        self.broken: Exception | None = None
        self.passwords = Passwords(lambda: self.now, **changes)
        self.page = AdministrationPage(authority(), self.passwords, {USER: PASSWORD})
        self.resource: IResource = self.page

    async def connect(self) -> Session:
        """A connection."""
        self.connections += 1
        if self.broken is not None:
            raise self.broken
        return Session(RequestTraversalAgent(self.resource), None, lambda: succeed(None))

    def client(self, **changes: Any) -> Client:
        """A client of it."""
        return Client(settings(**changes), Clock(), self.connect)
