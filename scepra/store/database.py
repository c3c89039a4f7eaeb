"""Running functions of a connection: each in one database transaction, whole or not at all.

:class:`Database` runs them where it is called, for commands and tests. :class:`ThreadedDatabase` runs them on threads
of its own, so that the reactor never waits for a disk or a server (FT-33, DR-15).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.errors import StoreError

log = Logger()

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 5
_BATCH = 64
# What PostgreSQL says when a transaction could not be fitted among others (FT-41).
_CROSSED = frozenset(("40001", "40P01"))


class Database:
    """The store, used on the calling thread.

    Args:
        engine: see :func:`scepra.store.engine.create_engine`.
        path: SQLite's file. It is watched: SQLite writes on into a file that has been deleted or replaced, and nobody
            would ever read that (FT-35).
    """

    def __init__(self, engine: sa.Engine, path: Path | None = None) -> None:
        self._engine = engine
        self._path = path
        self._file: tuple[int, int] | None = None
        self._reading = engine.execution_options(reading=True)

    def call(self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """The result of a function that may write, committed.

        Raises:
            StoreError: it was not carried out, or nobody knows whether it was.
        """
        result: R = self._run([_Job(function, arguments, named)], self._engine)[0].result()
        return result

    async def read(
        self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs
    ) -> R:
        """The result of a function that only reads.

        Raises:
            StoreError: the database does not answer.
        """
        result: R = self._run([_Job(function, arguments, named)], self._reading)[0].result()
        return result

    async def write(
        self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs
    ) -> R:
        """The result of a function that may write; it is on the disk when this returns.

        Raises:
            StoreError: it was not carried out, or nobody knows whether it was.
        """
        return self.call(function, *arguments, **named)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def check_file(self) -> None:
        """Whether SQLite's file is still the one that was opened.

        Raises:
            StoreError: it was deleted or replaced.
        """
        if self._path is None:
            return
        try:
            status = os.stat(self._path)
        except OSError as error:
            if self._file is None:
                return
            raise Lost(f"the database file {self._path} has gone: {os.strerror(error.errno or 0)}") from None
        found = (status.st_dev, status.st_ino)
        if self._file is None:
            self._file = found
        elif found != self._file:
            raise Lost(f"the database file {self._path} has been replaced by another")

    def _run(self, jobs: list[_Job], engine: sa.Engine) -> list[_Job]:
        """Run jobs in one database transaction; if that fails, each in one of its own."""
        try:
            self.check_file()
            self._attempt(jobs, engine)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].failure = error
            else:
                for job in jobs:
                    self._run([job], engine)
        return jobs

    def _attempt(self, jobs: list[_Job], engine: sa.Engine) -> None:
        for attempt in range(1, _TRIES + 1):
            committing = False
            try:
                with engine.connect() as connection, connection.begin() as transaction:
                    for job in jobs:
                        job.value = job.function(connection, *job.arguments, **job.named)
                    committing = True
                    transaction.commit()
                    return
            except DBAPIError as error:
                # Whether a commit that nobody answered has happened is not known; all else that failed has not.
                crossed = getattr(error.orig, "sqlstate", None) in _CROSSED
                cut_off = error.connection_invalidated and not committing
                if not (crossed or cut_off) or attempt == _TRIES:
                    raise StoreError(_describe(error)) from error
            except SQLAlchemyError as error:
                raise StoreError(f"the database cannot be used ({type(error).__name__})") from error


class Lost(StoreError):
    """The database is not the one that was opened."""


class _Job:
    """A function to be run, and what became of it."""

    __slots__ = ("arguments", "deadline", "failure", "function", "named", "value", "waiter")

    def __init__(self, function: Callable[..., Any], arguments: Any, named: Any) -> None:
        self.function, self.arguments, self.named = function, arguments, named
        self.value: Any = None
        self.failure: Exception | None = None
        self.waiter: Deferred[Any] | None = None
        self.deadline: IDelayedCall | None = None

    def result(self) -> Any:
        if self.failure is not None:
            raise self.failure
        return self.value


class ThreadedDatabase(Service, Database):
    """The store, used on threads; whoever waits is told within ``patience``, whatever the server does (FT-39).

    On SQLite one thread writes, and commits together what has come meanwhile: several enrolments share one wait for the
    disk. Its readers wait for nobody, and take less time than handing over to a thread; so what is read is read where
    it is asked for, and by a second thread only if that would have to wait. On PostgreSQL all threads do either.

    Args:
        reactor: the clock, and where results are delivered.
        threads: how many, on PostgreSQL.
        patience: how long a caller waits at most, in seconds.
        limit: how many calls may wait.
        lost: called once, in the reactor's thread, when the database turns out to be another one.
    """

    def __init__(
        self,
        engine: sa.Engine,
        path: Path | None,
        reactor: Any,
        *,
        threads: int,
        patience: float,
        limit: int,
        lost: Callable[[StoreError], None],
    ) -> None:
        Database.__init__(self, engine, path)
        self._reactor = reactor
        self._patience = patience
        self._limit = limit
        self._lost: Callable[[StoreError], None] | None = lost
        self._waiting = 0
        self._here: sa.Connection | None = None
        self._writes: SimpleQueue[_Job | None] = SimpleQueue()
        self._reads: SimpleQueue[_Job | None] = SimpleQueue() if path is not None else self._writes
        batch = _BATCH if path is not None else 1
        targets = [(self._writes, batch), (self._reads, 1)] if path is not None else [(self._writes, 1)] * threads
        self._threads = [
            Thread(target=self._work, args=(queue, size), name=f"store-{number}", daemon=True)
            for number, (queue, size) in enumerate(targets)
        ]

    def startService(self) -> None:
        """Start the threads."""
        super().startService()
        for thread in self._threads:
            thread.start()

    def stopService(self) -> Deferred[None]:
        """Let the threads end what they have begun; one that hangs is left behind."""
        super().stopService()
        self._leave()
        for queue in (
            [self._writes] * len(self._threads) if self._reads is self._writes else [self._writes, self._reads]
        ):
            queue.put(None)
        done: Deferred[None] = Deferred()
        Thread(target=self._join, args=(done,), daemon=True).start()
        return done

    def _join(self, done: Deferred[None]) -> None:
        for thread in self._threads:
            thread.join(self._patience)
        self._reactor.callFromThread(done.callback, None)

    async def read(
        self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs
    ) -> R:
        job = _Job(function, arguments, named)
        if self._path is not None and self._read_here(job):
            return cast(R, job.value)
        result: R = await self._submit(self._reads, job)
        return result

    async def write(
        self, function: Callable[Concatenate[sa.Connection, P], R], *arguments: P.args, **named: P.kwargs
    ) -> R:
        result: R = await self._submit(self._writes, _Job(function, arguments, named))
        return result

    def _read_here(self, job: _Job) -> bool:
        """Run a job in the reactor's thread; False if it would have to wait, or something is wrong with the file."""
        try:
            self.check_file()
            if self._here is None:
                self._here = self._reading.connect()
                with self._here.begin():
                    self._here.exec_driver_sql("PRAGMA busy_timeout=0")
            with self._here.begin():
                job.value = job.function(self._here, *job.arguments, **job.named)
        except (DBAPIError, Lost):
            self._leave()
            return False
        return True

    def _leave(self) -> None:
        """Close the reactor's own connection."""
        here, self._here = self._here, None
        if here is not None:
            here.invalidate()
            here.close()

    def _submit(self, queue: SimpleQueue[_Job | None], job: _Job) -> Deferred[Any]:
        if self._waiting >= self._limit:
            raise StoreError("too much is waiting for the database")
        self._waiting += 1
        job.waiter = Deferred()
        job.deadline = self._reactor.callLater(self._patience, self._give_up, job)
        queue.put(job)
        return job.waiter

    def _give_up(self, job: _Job) -> None:
        """The caller waits no longer. A job that has begun may still be carried out."""
        waiter, job.waiter = job.waiter, None
        self._waiting -= 1
        if waiter is not None:
            waiter.errback(Failure(StoreError(f"the database has not answered within {self._patience:g} s")))

    def _deliver(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if isinstance(job.failure, Lost) and self._lost is not None:
                lost, self._lost = self._lost, None
                lost(job.failure)
            waiter, job.waiter = job.waiter, None
            if waiter is None:
                continue
            self._waiting -= 1
            if job.deadline is not None:
                job.deadline.cancel()
            if job.failure is not None:
                waiter.errback(Failure(job.failure))
            else:
                waiter.callback(job.value)

    # In the threads

    def _work(self, queue: SimpleQueue[_Job | None], size: int) -> None:
        engine = self._reading if queue is self._reads and self._path is not None else self._engine
        last = False
        while not last:
            jobs: list[_Job] = []
            first = queue.get()
            last = first is None
            if first is not None:
                jobs.append(first)
            while not last and len(jobs) < size:
                try:
                    job = queue.get_nowait()
                except Empty:
                    break
                last = job is None
                if job is not None:
                    jobs.append(job)
            jobs = [job for job in jobs if job.waiter is not None]
            if jobs:
                self._run(jobs, engine)
                self._reactor.callFromThread(self._deliver, jobs)


def _describe(error: DBAPIError) -> str:
    """What the database said, without the statement and its values."""
    said = str(error.orig).split("\n", maxsplit=1)[0].strip()
    return f"the database refuses: {said[:200]}" if said else "the database refuses"
