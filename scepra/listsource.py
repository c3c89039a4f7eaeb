"""Where one revocation list comes from: the web, a directory, a file; never a place that a certificate or a message
names (I11, AC-062)."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from twisted.web.http_headers import Headers

from scepra.config.listurl import ListUrl
from scepra.http.agent import Target
from scepra.http.request import Origin, Unanswered


class Unavailable(Exception):
    """A source gives no list. Its text says why, and repeats nothing of what the source said."""


class Source(Protocol):
    """Where one list comes from; ``place`` names it in the log."""

    place: str

    def changed(self) -> bool:
        """Whether it is known to have something new."""

    async def fetch(self) -> bytes:
        """What it has.

        Raises:
            Unavailable: it has nothing now.
        """


class WebSource:
    """A list at an http or https URL: nothing is followed, and what is too large is not read to its end.

    Args:
        url: as configured.
        origin: the way there, which bounds time and size.
    """

    def __init__(self, url: str, origin: Origin) -> None:
        self.place = url
        self._target = Target(url)
        self._origin = origin

    def changed(self) -> bool:
        """Nobody knows before asking."""
        return False

    async def fetch(self) -> bytes:
        """What is there now."""
        try:
            reply = await self._origin.send("GET", self._target, Headers())
        except Unanswered as error:
            raise Unavailable(error.reason) from error
        if reply.status != 200:
            raise Unavailable(f"no list but {reply}")
        return reply.body


class FileSource:
    """A list in a file, read again when that has changed.

    Args:
        slowly: calls a function where it may take its time.
        limit: the largest file that is read, in octets.
    """

    def __init__(self, path: Path, slowly: Callable[..., Awaitable[Any]], limit: int) -> None:
        self.place = str(path)
        self._path = path
        self._slowly = slowly
        self._limit = limit
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether another file stands there now than was read last."""
        return self._state() != self._seen

    async def fetch(self) -> bytes:
        """What it holds."""
        self._seen = self._state()
        content: bytes = await self._slowly(self._read)
        return content

    def _state(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                content = file.read(self._limit + 1)
        except OSError as error:
            raise Unavailable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
        if len(content) > self._limit:
            raise Unavailable(f"is larger than {self._limit} octets")
        return content


class LdapSource:
    """A list in a directory: one attribute of one entry, read anonymously (RFC 4511, RFC 4523).

    No referral is followed. The library that speaks LDAP waits and reads without bounds of its own, so the octets that
    it reads are counted and timed here.

    Args:
        url: as configured; ``where`` is what it says.
        slowly: calls a function where it may take its time.
        limit: the largest answer that is read, in octets.
        timeout: how long connecting may take, and reading after it, in seconds.
    """

    def __init__(
        self, url: str, where: ListUrl, slowly: Callable[..., Awaitable[Any]], limit: int, timeout: float
    ) -> None:
        self.place = url
        self._where = where
        self._slowly = slowly
        self._limit = limit
        self._timeout = timeout

    def changed(self) -> bool:
        """Nobody knows before asking."""
        return False

    async def fetch(self) -> bytes:
        """What stands there now."""
        content: bytes = await self._slowly(self._read)
        return content

    def _read(self) -> bytes:
        # The extra "ldap", which the configuration has found installed.
        import ldap3
        from ldap3.core.exceptions import LDAPException

        where = self._where
        server = ldap3.Server(where.host, where.port, where.tls, get_info=ldap3.NONE, connect_timeout=self._timeout)
        server.tls = _Tls()
        connection = ldap3.Connection(
            server, receive_timeout=ceil(self._timeout), auto_referrals=False, check_names=False, read_only=True
        )
        try:
            connection.open(read_server_info=False)
            connection.socket = _Bounded(connection.socket, self._limit, time.monotonic() + self._timeout)
            connection.search(where.entry, "(objectClass=*)", ldap3.BASE, attributes=[where.attribute])
            result, response = connection.result["result"], connection.response or []
        except _Exceeded as error:
            raise Unavailable(str(error)) from None
        except LDAPException as error:
            raise Unavailable(f"the directory does not answer ({type(error).__name__})") from None
        except Exception as error:
            # Whatever the library makes of an answer that is none.
            raise Unavailable(f"the directory's answer cannot be read ({type(error).__name__})") from None
        finally:
            connection.strategy.close()
            if connection.socket is not None:
                # The library leaves one open that it could not connect.
                connection.socket.close()
        return self._only(result, response)

    def _only(self, result: int, response: list[dict[str, Any]]) -> bytes:
        """The one value of the attribute in an answer, by whatever name the directory gives it."""
        if result != 0:
            raise Unavailable(f"the directory answers with result {result}")
        wanted = self._where.attribute.partition(";")[0].lower()
        values = [
            value
            for entry in response
            if entry.get("type") == "searchResEntry"
            for name, each in entry["raw_attributes"].items()
            if name.partition(";")[0].lower() == wanted
            for value in each
        ]
        if len(values) != 1 or not isinstance(values[0], bytes):
            raise Unavailable(f"the entry has {len(values)} lists where one belongs")
        return values[0]


class _Tls:
    """What the library has for TLS, by the standard library's rules: its own way to compare names is deprecated."""

    def wrap_socket(self, connection: Any, do_handshake: bool = True) -> None:
        """Begin TLS, with a directory whose certificate this machine trusts for the name that was configured."""
        context = ssl.create_default_context()
        connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


class _Exceeded(BaseException):
    """A bound is reached. No Exception: the library would take that for a broken connection, and tell less."""


class _Bounded:
    """A socket that is read to a bound, and until a moment; everything else is the socket's.

    Args:
        limit: in octets.
        end: by the clock that nobody sets.
    """

    def __init__(self, inner: Any, limit: int, end: float) -> None:
        self._inner = inner
        self._limit = limit
        self._left = limit
        self._end = end

    def recv(self, _: int) -> bytes:
        """What has come in."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise _Exceeded("the directory takes too long")
        self._inner.settimeout(left)
        try:
            # More at once than the library asks for: it copies everything that came before each time.
            octets: bytes = self._inner.recv(1 << 20)
        except TimeoutError:
            raise _Exceeded("the directory takes too long") from None
        self._left -= len(octets)
        if self._left < 0:
            raise _Exceeded(f"the directory's answer is larger than {self._limit} octets")
        return octets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
