"""TCP endpoints that several processes accept from, each at a socket of its own."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import CannotListenError

_FIELD = re.compile(r"((?:\\.|[^\\:])*):", re.DOTALL)
_NAMED = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile("[0-9]{1,5}")
_ORDER = ("port", "interface", "backlog")
_BACKLOG = 50  # Twisted's.
_EXPECTED = "expected tcp:PORT, perhaps with :interface=ADDRESS and :backlog=NUMBER"


@dataclass(frozen=True, slots=True)
class TCPEndpoint:
    """``tcp:PORT``, ``tcp:PORT:interface=ADDRESS:backlog=NUMBER`` and so on, as Twisted's server endpoints are written.

    ``port`` 0 is one that is free; ``interface`` an IPv4 or IPv6 address, empty for all of IPv4's.
    """

    port: int
    interface: str = ""
    backlog: int = _BACKLOG

    @classmethod
    def parse(cls, text: str) -> TCPEndpoint:
        r"""Read an endpoint; a colon within an address is written ``\:``.

        Raises:
            ValueError: it is none.
        """
        fields = _FIELD.findall(text + ":")
        read: dict[str, str] = {}
        for place, field in enumerate(fields[1:]):
            named = _NAMED.fullmatch(field)
            name = _plain(named[1]) if named else _ORDER[place] if place < len(_ORDER) else ""
            if name not in _ORDER or name in read:
                raise ValueError(_EXPECTED)
            read[name] = _plain(named[2] if named else field)
        port, backlog = read.get("port", ""), read.get("backlog", str(_BACKLOG))
        if fields[:1] != ["tcp"] or not _NUMBER.fullmatch(port) or not _NUMBER.fullmatch(backlog):
            raise ValueError(_EXPECTED)
        return cls(int(port), read.get("interface", ""), int(backlog))

    def bind(self, count: int) -> list[socket.socket]:
        """So many sockets that listen at the same address; the kernel deals connections out among them.

        Raises:
            CannotListenError: somebody else listens there, or the address is none of this machine's.
        """
        try:
            family, _, _, _, address = self._resolved()
            # The kernel lets every process of this user share the address: another master must be told from us.
            if self.port:
                _listening(family, address, None).close()
            with ExitStack() as opened:
                sockets = [opened.enter_context(_listening(family, address, self.backlog))]
                address = sockets[0].getsockname()
                for _ in range(count - 1):
                    sockets.append(opened.enter_context(_listening(family, address, self.backlog)))
                opened.pop_all()
        except OSError as error:
            raise CannotListenError(self.interface, self.port, error) from error
        return sockets

    def _resolved(self) -> Any:
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        return socket.getaddrinfo(
            self.interface or None, self.port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _listening(family: int, address: Any, backlog: int | None) -> socket.socket:
    """A socket at an address, which it shares if there is a backlog; without one, it does not listen."""
    each = socket.socket(family, socket.SOCK_STREAM)
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if backlog is not None:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(address)
        if backlog is not None:
            each.listen(backlog)
            each.setblocking(False)
    except OSError:
        each.close()
        raise
    return each
