"""A client that is bytes: a channel over a transport in memory, and a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from scepra.web.channel import BoundedChannel
from scepra.web.limits import Limits
from scepra.web.site import BoundedSite
from scepra.web.source import NOBODY, Proxies

SMALL = Limits(
    request_target=1000,
    headers=500,
    header_lines=10,
    body=100,
    request_deadline=10,
    idle=30,
    answer=60,
    connections=5,
    connections_per_address=3,
    requests_per_connection=4,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer from the wire; every one has a date, which is left out here."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str


def parse_answers(data: bytes, *, bodies: bool = True) -> list[Answer]:
    """The answers in *data*, which must hold nothing else; ``bodies=False`` for those to HEAD."""
    answers = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator
        line, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = line.split(" ", 2)
        pairs = [header.split(": ", 1) for header in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "no header twice"
        if status == "100":
            answers.append(Answer(100, headers, b"", version))
            continue
        assert headers.pop("date").endswith("GMT")
        size = int(headers["content-length"]) if bodies else 0
        answers.append(Answer(int(status), headers, data[:size], version))
        assert len(answers[-1].body) == size
        data = data[size:]
    return answers


@implementer(ITCPTransport)
class TCP(StringTransport):
    """A TCP connection whose client has not closed, and reads only when the test does."""

    half_closed = False
    aborted = False

    def __init__(self, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 50000), lenient=True)

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted's name
        assert not self.half_closed
        self.half_closed = True

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        assert not self.aborted
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        """Nothing is delayed."""


@implementer(ISSLTransport)
class TLS(TCP):
    """The same under TLS, which has an end of its own."""


class Leaf(Resource):
    """Keeps requests until the test answers them, or answers at once."""

    isLeaf = True

    def __init__(self, at_once: bool = True) -> None:
        super().__init__()
        self.at_once = at_once
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.open: list[server.Request] = []

    def render(self, request: server.Request) -> int:
        self.seen.append((request.method, request.uri, request.content.read()))
        self.open.append(request)
        if self.at_once:
            self.finish()
        return server.NOT_DONE_YET

    def finish(self, body: bytes = b"ok") -> None:
        request = self.open.pop(0)
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
        request.finish()


@dataclass
class Wire:
    """A site, its clock, and connections to it."""

    leaf: IResource = field(default_factory=Leaf)
    limits: Limits = SMALL
    proxies: Proxies = NOBODY
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.site = BoundedSite(self.leaf, self.limits, self.clock, self.proxies)

    def connect(self, address: str = "192.0.2.1", transport: type[TCP] = TCP) -> Connection:
        """A new connection from an address."""
        channel = self.site.buildProtocol(None)
        connection = Connection(channel, transport(address))
        channel.makeConnection(connection.transport)
        return connection


@dataclass
class Connection:
    """The client's end."""

    channel: BoundedChannel
    transport: TCP

    def send(self, data: bytes, size: int = 0) -> list[Answer]:
        """Send data, *size* octets at a time, and read what comes back."""
        for start in range(0, len(data), size or len(data)):
            self.channel.dataReceived(data[start : start + (size or len(data))])
        return self.read()

    def read(self) -> list[Answer]:
        """What has come back since."""
        data = self.transport.value()
        self.transport.clear()
        return parse_answers(data)

    def hang_up(self) -> None:
        """Close, as the client; after this the channel is gone."""
        reason = ConnectionAborted() if self.transport.aborted else ConnectionDone()
        self.channel.connectionLost(Failure(reason))

    @property
    def open(self) -> bool:
        """Whether the server has neither closed nor cut off the connection."""
        return not (self.transport.half_closed or self.transport.aborted or self.transport.disconnecting)


def request(
    target: bytes = b"/",
    method: bytes = b"GET",
    body: bytes = b"",
    headers: tuple[bytes, ...] = (),
    version: bytes = b"1.1",
) -> bytes:
    """A request as bytes; a body gets its length unless *headers* say something of it."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), *headers]
    if body and not any(header.lower().startswith((b"content-length", b"transfer-encoding")) for header in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
