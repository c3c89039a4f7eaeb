"""One HTTP request over a socket of its own, octet by octet if need be."""

from __future__ import annotations

import select
import socket
import struct
from dataclasses import dataclass
from email.parser import BytesHeaderParser

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class CutShort(ConnectionError):
    """The connection ended before the whole answer was there."""


class Wire:
    """A connection on which one request is sent."""

    def __init__(
        self,
        port: int,
        path: str,
        body: bytes,
        *,
        withhold: int = 0,
        receive_buffer: int | None = None,
        source: str = "127.0.0.1",
    ) -> None:
        """Connect, and POST a message, or all but its end.

        Args:
            port: of 127.0.0.1.
            path: and query.
            withhold: how many of the last octets are not sent yet; more than *body* has withholds all of it.
            receive_buffer: how many octets of an answer the kernel may take in for us (SO_RCVBUF).
            source: our address, in 127.0.0.0/8.
        """
        self._received = b""
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if source != "127.0.0.1":
                self._socket.bind((source, 0))
            self._socket.connect(("127.0.0.1", port))
            head = f"POST {path} HTTP/1.1\r\nHost: ra.example\r\nConnection: close\r\n"
            head += f"Content-Type: application/x-pki-message\r\nContent-Length: {len(body)}\r\n\r\n"
            end = max(0, len(body) - withhold)
            self._rest = body[end:]
            self._socket.sendall(head.encode("ascii") + body[:end])
        except BaseException:
            self._socket.close()
            raise

    @property
    def open(self) -> bool:
        """Whether we have not closed it."""
        return self._socket.fileno() != -1

    @property
    def ended(self) -> bool:
        """Whether the other side has answered, or closed it."""
        try:
            return bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def finish(self) -> None:
        """Send what was withheld."""
        rest, self._rest = self._rest, b""
        self._socket.sendall(rest)

    def read(self, count: int) -> bytes:
        """So many octets of the answer, and no more; they count as read for :meth:`response` too.

        Raises:
            CutShort: there are no more.
            OSError: the connection was reset, or nothing came for :data:`PATIENCE` seconds.
        """
        piece = b""
        while len(piece) < count:
            more = self._socket.recv(count - len(piece))
            if not more:
                raise CutShort(f"{len(piece)} of {count} octets")
            piece += more
            self._received += more
        return piece

    def response(self) -> Response:
        """The whole answer; the connection is closed then.

        Raises:
            CutShort: it ended before that.
            OSError: it was reset, or nothing came for :data:`PATIENCE` seconds.
        """
        with self._socket:
            while b"\r\n\r\n" not in self._received:
                self._more()
            head, _, _ = self._received.partition(b"\r\n\r\n")
            line, _, fields = head.partition(b"\r\n")
            headers = {name.lower(): value for name, value in BytesHeaderParser().parsebytes(fields).items()}
            whole = len(head) + 4 + int(headers.get("content-length", 0))
            while len(self._received) < whole:
                self._more()
            return Response(int(line.split()[1]), headers, self._received[len(head) + 4 : whole])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def reset(self) -> None:
        """Hang up without goodbye (RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _more(self) -> None:
        more = self._socket.recv(65536)
        if not more:
            raise CutShort(f"an answer of {len(self._received)} octets so far")
        self._received += more
