"""Routes of the administration: what is asked for, who may ask, and what answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scepra.store.tokens import Role, Token


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request: whose token it shows, where it comes from, the variable parts of its path, its query as
    it was sent, its body."""

    token: Token
    source: str
    parts: Mapping[str, str]
    query: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; it is never kept by a cache."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: Any) -> Answer:
        """A JSON value."""
        return cls(status, json.dumps(value, default=str).encode("ascii") + b"\n")


class Denied(Exception):
    """A request that is not carried out.

    Args:
        status: the HTTP status, 4xx or 503.
        sentence: for whoever asked; it tells nothing that they may not know.
        answer: what is answered, where that is something else than the sentence in JSON.
    """

    def __init__(self, status: int, sentence: str, answer: Answer | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.answer = answer or Answer.json(status, {"error": sentence})


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One route.

    Attributes:
        method: GET, POST or DELETE.
        path: its segments; one in braces matches any and is named so in :attr:`Call.parts`.
        roles: a token with any of them may use it.
        handler: answers.
        basic: whether a token may come as the password of Basic authentication, its name as the user.
        open_query: whether it may have a query; others refuse one (keys do not belong there: AC-124).
        forbidden: what is answered to a token that may not use it, where a program expects something else than JSON.
    """

    method: str
    path: tuple[str, ...]
    roles: frozenset[Role]
    handler: Handler
    basic: bool = False
    open_query: bool = False
    forbidden: Answer | None = None

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The variable parts of a path; None if it is not this route's."""
        if len(segments) != len(self.path):
            return None
        parts: dict[str, str] = {}
        for expected, found in zip(self.path, segments, strict=True):
            if expected.startswith("{"):
                parts[expected.strip("{}")] = found
            elif expected != found:
                return None
        return parts

    def __str__(self) -> str:
        return f"{self.method} /{'/'.join(self.path)}"


class Registry:
    """All routes. What is not here is not served.

    Args:
        routes: in any order; two of one method and path are a mistake.
    """

    def __init__(self, routes: Iterable[AdminRoute]) -> None:
        self.routes = tuple(routes)
        names = [str(route) for route in self.routes]
        if len(set(names)) != len(names):
            raise ValueError("two routes of one method and path")

    def at(self, segments: tuple[str, ...]) -> list[tuple[AdminRoute, dict[str, str]]]:
        """The routes of a path, one for each method."""
        found = ((route, route.match(segments)) for route in self.routes)
        return [(route, parts) for route, parts in found if parts is not None]
