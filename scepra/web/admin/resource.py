"""The administration over HTTP: who asks, whether they may, and the answer (AC-119, AC-124, AC-014)."""

from __future__ import annotations

import base64
import binascii
import traceback
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import Resource

from scepra.errors import Refused, StoreError
from scepra.scep.transport import split_target
from scepra.store.tokens import Token
from scepra.web.admin.route import AdminRoute, Answer, Call, Denied, Registry
from scepra.web.underway import UnderWay

log = Logger()
access = Logger(namespace="scepra.web.admin.access")

LONGEST_TOKEN = 256
_SEGMENTS, _SEGMENT = 8, 128
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class AdminResource(Resource):
    """Answers every request on the administration's port.

    Whoever shows no good token is told nothing, not even what there is: 401 for every path. ``operations`` are the
    requests under way; ``registry`` is what is served, and may be replaced.
    """

    isLeaf = True

    def __init__(
        self, registry: Registry, find: Callable[[str], Awaitable[Token | None]], now: Callable[[], datetime]
    ) -> None:
        """
        Args:
            registry: what is served.
            find: the token that is kept for a text, good or not.
            now: UTC.
        """
        super().__init__()
        self.registry = registry
        self._find = find
        self._now = now
        self.operations: UnderWay[server.Request] = UnderWay()

    def render(self, request: server.Request) -> int:
        """Answer later."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        self.operations.begin(request)
        Deferred.fromCoroutine(self._respond(request, gone))
        return server.NOT_DONE_YET

    async def _respond(self, request: server.Request, gone: list[Failure]) -> None:
        said = _Said(getattr(request.getClientAddress(), "host", ""))
        try:
            answer = await self._answer(request, said)
        except Denied as denied:
            answer = denied.answer
        except StoreError as error:
            log.error("the administration waits: {error}", error=error.reason)
            answer = Answer.json(503, {"error": "the database does not answer"})
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[-5:]
            where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
            log.critical("{kind} in the administration at {where}", kind=type(error).__name__, where=where)
            answer = Answer.json(500, {"error": "something is wrong here: see the log"})
        finally:
            self.operations.end(request)
        access.info(
            "{source} {caller} {route} {status}",
            source=said.source,
            caller=said.caller,
            route=said.route,
            status=answer.status,
        )
        if not gone:
            _finish(request, answer, said.basic)

    async def _answer(self, request: server.Request, said: _Said) -> Answer:
        method = request.method.decode("latin-1")
        segments, query = _split(request.uri)
        routes = self.registry.at(segments)
        said.basic = any(route.basic for route, _ in routes)
        token = await self._authenticate(request, said.basic)
        said.caller = token.name
        found = [each for each in routes if each[0].method == method]
        if not found:
            status = HTTPStatus.METHOD_NOT_ALLOWED if routes else HTTPStatus.NOT_FOUND
            raise Denied(status, status.phrase.lower())
        route, parts = found[0]
        said.route = str(route)
        _require(route, token, query)
        body = request.content.read() if request.content else b""
        return await route.handler(Call(token, said.source, parts, query, body))

    async def _authenticate(self, request: server.Request, basic: bool) -> Token:
        """Whose token a request shows.

        Raises:
            Denied: 401, the same for whatever is wrong with it.
        """
        lines = request.requestHeaders.getRawHeaders(b"Authorization", ())
        name, text = _credentials(lines[0], basic) if len(lines) == 1 else (None, "")
        token = await self._find(text) if text else None
        if token is None or not token.good(self._now()) or (name is not None and name != token.name):
            raise Denied(401, "a token is needed")
        return token


class _Said:
    """What the access log says of a request: never more of it than where it led."""

    __slots__ = ("basic", "caller", "route", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.caller = self.route = "-"
        self.basic = False


def _split(target: bytes) -> tuple[tuple[str, ...], bytes]:
    """The segments of a path, decoded once (a final slash is followed by an empty one), and the query as it is.

    What is no path of ours whatever it means has no segments.
    """
    try:
        path, query = split_target(target)
        parts = path.removeprefix(b"/").split(b"/", _SEGMENTS)
        segments = tuple(unquote_to_bytes(part).decode("ascii") for part in parts)
    except (Refused, UnicodeDecodeError):
        return (), b""
    if any(len(each) > _SEGMENT or "/" in each or not each.isprintable() for each in segments):
        return (), query
    return segments, query


def _credentials(line: bytes, basic: bool) -> tuple[str | None, str]:
    """The name, where one is said, and the token of an Authorization header; an empty token if there is none."""
    scheme, _, rest = line.decode("latin-1").strip().partition(" ")
    text, name = rest.strip(), None
    if scheme.lower() == "basic" and basic:
        try:
            name, _, text = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, ""
    elif scheme.lower() != "bearer":
        return None, ""
    return (name, text) if len(text) <= LONGEST_TOKEN else (None, "")


def _require(route: AdminRoute, token: Token, query: bytes) -> None:
    """Whether a token may use a route.

    Raises:
        Denied: 403, it may not; 400, there is a query where none belongs.
    """
    if not route.roles & token.roles:
        sentence = f"this needs the role {' or '.join(sorted(role.value for role in route.roles))}"
        raise Denied(403, sentence, route.forbidden)
    if query and not route.open_query:
        raise Denied(400, "no query belongs here")


def _finish(request: server.Request, answer: Answer, basic: bool) -> None:
    headers = {**_HEADERS, "Content-Type": answer.content_type, **answer.headers}
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    if answer.status == HTTPStatus.UNAUTHORIZED:
        schemes = ['Bearer realm="scepra"', *(['Basic realm="scepra", charset="UTF-8"'] if basic else [])]
        request.responseHeaders.setRawHeaders("WWW-Authenticate", schemes)
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode("ascii"))
    request.responseHeaders.setRawHeaders("Content-Length", [str(len(answer.body))])
    request.write(answer.body)
    request.finish()
