"""The administration in memory: its resource over a store, and tokens of every kind."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from treq.testing import StubTreq
from twisted.logger import LogEvent

from scepra.config.load import parse
from scepra.config.model import Profile
from scepra.config.section import Surroundings
from scepra.store import tokens
from scepra.store.database import Database
from scepra.store.intents import new_id
from scepra.store.tokens import Role, Token
from scepra.web.admin.challenges import ChallengesAPI
from scepra.web.admin.giver import Giver
from scepra.web.admin.ndes import NdesPages
from scepra.web.admin.resource import AdminResource
from scepra.web.admin.route import AdminRoute, Registry
from tests.config.sample import ENVIRONMENT, MINIMAL
from tests.rig.house import VAULT, in_memory, run

THUMBPRINT = bytes.fromhex("a656fa66ab12b433" * 4)
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINTED = "{type: minted, lifetime: 1h, longest: 1d, most-uses: 2, outstanding: 3}"


def profiles(**challenges: str) -> Mapping[str, Profile]:
    """Profiles by name, each with a challenge as a configuration spells it."""
    head, _, one = MINIMAL.partition("profiles:\n")
    first = one.replace("\n", "\n").split("\n", 1)[1]
    text = head + "profiles:\n"
    for name, challenge in challenges.items():
        body = first.replace("{type: static, environment: CHALLENGE}", challenge).replace("/wifi", f"/{name}")
        text += f"  {name}:\n{body.rstrip()}\n"
    found = parse(text.encode(), "c.yaml", Surroundings(environ=ENVIRONMENT))
    assert found.config is not None, [str(problem) for problem in found.problems]
    return found.config.profiles


@dataclass
class Told:
    """An answer: its status, headers in lower case, body, and the JSON in it."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Office:
    """The administration. ``now`` is its time of day; ``events`` what it has logged, if somebody listens;
    ``meanwhile`` is done while it waits for something."""

    profiles: Mapping[str, Profile]
    database: Database = field(default_factory=lambda: Database(in_memory()))
    more: Iterable[AdminRoute] = ()
    now: datetime = NOW
    events: list[LogEvent] = field(default_factory=list)
    meanwhile: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        giver = Giver(self.profiles, self.database, VAULT, lambda: self.now, self._pause)
        api = ChallengesAPI(giver, self.database, lambda: self.now)
        pages = NdesPages(giver, dict.fromkeys(self.profiles, THUMBPRINT))
        self.registry = Registry([*api.routes, *pages.routes, *self.more])
        self.resource = AdminResource(self.registry, self._find, lambda: self.now)

    async def _pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for each in self.meanwhile:
            await each()

    async def _find(self, text: str) -> Token | None:
        return await self.database.read(tokens.find, tokens.digest(VAULT, text))

    def token(
        self,
        *roles: Role,
        name: str = "",
        only: Iterable[str] | None = None,
        lifetime: timedelta | None = None,
    ) -> str:
        """A new token."""
        text = new_id()
        expires = None if lifetime is None else self.now + lifetime
        reach = None if only is None else frozenset(only)
        made = Token(new_id(), name or f"token {text}", frozenset(roles), reach, self.now, expires, None)
        assert self.database.call(tokens.add, tokens.digest(VAULT, text), made)
        return text

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        authorization: str | list[str] | None = None,
    ) -> Told:
        """Send a request; *body* is JSON unless it is octets."""
        said = f"Bearer {token}" if token is not None else authorization
        headers = {} if said is None else {"Authorization": said}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return run(self._ask(method, f"http://ra.example{path}", headers, data))

    async def _ask(self, method: str, url: str, headers: Any, data: bytes) -> Told:
        http = StubTreq(self.resource)
        response = await http.request(method, url, headers=headers, data=data, allow_redirects=False)
        found = {
            name.decode().lower(): [value.decode() for value in values]
            for name, values in response.headers.getAllRawHeaders()
        }
        return Told(response.code, found, await response.content())


def basic(name: str, text: str) -> str:
    """The header of Basic authentication."""
    return "Basic " + base64.b64encode(f"{name}:{text}".encode()).decode()
