"""The store on its threads, before a reactor whose clock a test sets."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from scepra.config.store import Store
from scepra.errors import StoreError
from scepra.store.database import ThreadedDatabase
from scepra.store.engine import create_engine
from tests.store.sample import PATIENCE

PATIENT = 1000.0


class Loop(Clock):
    """A reactor that does what threads hand over while a test waits for something."""

    def __init__(self) -> None:
        super().__init__()
        self._handed: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:  # noqa: N802 - Twisted's name
        """What threads call."""
        self._handed.put(partial(function, *arguments))

    def wait(self, *waiting: Deferred[Any]) -> list[Any]:
        """What they all come to, in their order: results and exceptions."""
        found: dict[int, Any] = {}
        for number, each in enumerate(waiting):
            each.addBoth(partial(found.__setitem__, number))
        while len(found) < len(waiting):
            self._handed.get(timeout=PATIENCE)()
        results = [found[number] for number in range(len(waiting))]
        return [result.value if isinstance(result, Failure) else result for result in results]


@dataclass
class Threads:
    """A store on threads, and what happened.

    ``lost`` holds what it was told when the database was another one; ``commits`` counts.
    """

    database: ThreadedDatabase
    engine: sa.Engine
    loop: Loop
    lost: list[StoreError] = field(default_factory=list)
    commits: int = 0

    def begin(self, function: Callable[..., Any], *arguments: Any, read: bool = False) -> Deferred[Any]:
        """Hand over a call."""
        call = self.database.read if read else self.database.write
        return Deferred.fromCoroutine(call(function, *arguments))

    def do(self, function: Callable[..., Any], *arguments: Any, read: bool = False) -> Any:
        """The result of a call, or what it raised."""
        (result,) = self.loop.wait(self.begin(function, *arguments, read=read))
        return result

    def occupy(self) -> tuple[Deferred[Any], threading.Event]:
        """Keep a thread busy until the event is set; it is, when this returns."""
        begun, release = threading.Event(), threading.Event()

        def hold(connection: sa.Connection) -> bool:
            begun.set()
            return release.wait(PATIENCE)

        waiting = self.begin(hold)
        assert begun.wait(PATIENCE)
        return waiting, release


@contextmanager
def threads(
    settings: Store, *, count: int = 4, limit: int = 1000, prepared: Callable[[sa.Engine], object] | None = None
) -> Iterator[Threads]:
    """A store that is started, and is stopped at the end."""
    engine, loop, lost = create_engine(settings, count), Loop(), []
    if prepared is not None:
        prepared(engine)
    database = ThreadedDatabase(
        engine, settings.sqlite_path, loop, threads=count, patience=PATIENT, limit=limit, lost=lost.append
    )
    made = Threads(database, engine, loop, lost)

    def count_commit(connection: sa.Connection) -> None:
        made.commits += 1

    event.listen(engine, "commit", count_commit)
    database.startService()
    try:
        yield made
    finally:
        loop.wait(database.stopService())
        engine.dispose()


def run(awaited: Awaitable[Any]) -> Any:
    """The result of what waits for nothing."""
    found: list[Any] = []
    Deferred.fromCoroutine(awaited).addBoth(found.append)
    assert found, "it still waits"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
