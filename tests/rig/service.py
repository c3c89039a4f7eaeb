"""Somebody out there who is asked about challenges: a real resource in memory, whose answers a test writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from treq.testing import StubTreq
from twisted.web import server
from twisted.web.resource import Resource


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Reply:
        """An answer of JSON."""
        return cls(status, json.dumps(value).encode())


@dataclass(frozen=True, slots=True)
class Question:
    """What came in; names of headers in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What its body says."""
        return json.loads(self.body)


Script = Callable[[Question], Reply | Exception]


class Asked(Resource):
    """Answers by a script; ``questions`` are what came in. An exception that a script returns is raised to who asks."""

    isLeaf = True

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.questions: list[Question] = []
        self.problem: Exception | None = None

    def render(self, request: server.Request) -> bytes:
        """Answer."""
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        host = headers.get("host", "localhost")
        question = Question(
            request.method.decode(), f"https://{host}{request.uri.decode()}", headers, request.content.read()
        )
        self.questions.append(question)
        reply = self.script(question)
        if isinstance(reply, Exception):
            self.problem = reply
            return b""
        request.setResponseCode(reply.status)
        for name, value in reply.headers.items():
            request.setHeader(name, value)
        return reply.body

    def client(self, url: str, limits: Any, **settings: Any) -> Any:
        """The way to it, as :func:`scepra.http.agent.http_client`."""
        return _Way(self)


class _Way:
    """A client of treq's that fails where a script says so."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._stub = StubTreq(asked)

    async def request(self, method: str, target: Any, **settings: Any) -> Any:
        """As treq's client."""
        self._asked.problem = None
        response = await self._stub.request(method, target, **settings)
        if self._asked.problem is not None:
            raise self._asked.problem
        return response
