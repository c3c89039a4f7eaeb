"""An authority that answers what the test tells it to."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from scepra.scep.transport import CONTENT_TYPE_CA_CERT, CONTENT_TYPE_CA_RA_CERT_CHAIN, CONTENT_TYPE_NEXT_CA_CERT


@dataclass(eq=False)
class Fake:
    """What it was asked, and what it is to say: bytes, an exception, or a Deferred of bytes."""

    name: str = "wifi"
    reply: bytes | Exception | Deferred[bytes] = b"CertRep"
    asked: list[tuple[bytes, str]] = field(default_factory=list)
    finished: int = 0

    def ca_caps(self) -> bytes:
        if isinstance(self.reply, Exception):
            raise self.reply
        return b"AES\nSCEPStandard\n"

    def ca_cert(self) -> tuple[str, bytes]:
        return CONTENT_TYPE_CA_CERT, b"certificate of " + self.name.encode()

    def ca_cert_chain(self) -> tuple[str, bytes]:
        return CONTENT_TYPE_CA_RA_CERT_CHAIN, b"chain"

    async def next_ca_cert(self) -> tuple[str, bytes]:
        return CONTENT_TYPE_NEXT_CA_CERT, b"next"

    async def pki_operation(self, message: bytes, source: str) -> bytes:
        self.asked.append((message, source))
        reply = self.reply
        if isinstance(reply, Deferred):
            reply = await reply
        self.finished += 1
        if isinstance(reply, Exception):
            raise reply
        return reply
