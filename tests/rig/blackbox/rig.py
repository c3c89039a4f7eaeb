"""The rig: a recording upstream, an RA before it, devices, and what holds at the end."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.rig.blackbox import invariant
from tests.rig.blackbox.canary import ADDRESS, Canary
from tests.rig.blackbox.database import Database
from tests.rig.blackbox.device import Device
from tests.rig.blackbox.diary import Diary
from tests.rig.blackbox.finale import Finale
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.load import Load
from tests.rig.blackbox.prober import Prober
from tests.rig.blackbox.process import free_port, wait_until
from tests.rig.blackbox.ra import PATHS, RAProcess
from tests.rig.blackbox.recorder import RecordingUpstream

KEY = "scepra.key"
SHOWN = ("wall", "connection", "event", "type", "subject", "transaction", "status", "refusal", "unreadable", "error")
SETTLED = frozenset(("held", "waiting", "issued", "refused"))
"""The states in which the RA leaves a transaction alone, or polls for it now and then."""


class Rig:
    """Everything that one test needs, started; what it leaves behind is checked when it is left.

    Attributes:
        laboratory: certificates, keys, the challenge.
        upstream: the CA.
        ra: the RA; ``ras`` has it and those that :meth:`another_ra` made.
        database: what they store.
        diary: what devices were told.
        canary: who must not be called.
        canaries: what must not be found in anything that the RA writes.
    """

    def __init__(
        self,
        directory: Path,
        laboratory: Laboratory,
        *,
        store: str | None = None,
        workers: int = 1,
        extra: Mapping[str, Any] = {},
        start: bool = True,
    ) -> None:
        """
        Args:
            directory: takes all files.
            laboratory: shared with other rigs.
            store: the URL of an empty PostgreSQL database; None is a file of SQLite's.
            workers: how many processes the RA has.
            extra: what its configuration has besides, or otherwise; see :func:`~tests.rig.blackbox.ra.merge`.
            start: whether the RA is started; the upstream always is.
        """
        self.laboratory = laboratory
        self.directory = directory
        self.canaries = [laboratory.challenge]
        self.diary = Diary(directory / "diary.jsonl")
        self.ras: list[RAProcess] = []
        self._start = start
        self._keys = itertools.cycle(laboratory.keys)
        self._loads: list[Load] = []
        self._probers: list[Prober] = []
        upstream = free_port(ADDRESS)
        self.upstream = RecordingUpstream(laboratory.directory, directory, upstream)
        self._make = partial(RAProcess, laboratory, upstream=self.upstream.url, workers=workers, extra=extra)
        self.ra = self._make(directory=directory / "ra", port=free_port(ADDRESS), store=store)
        self.ras.append(self.ra)
        if store is not None:
            # Several may share a server, so none makes a key of its own.
            key = self.ra.directory / KEY
            key.touch(mode=0o600)
            key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        self.database = Database(self.ra.settings["store"]["url"], self.ra.directory)
        self.canary = Canary((self.ra.port, upstream))

    def start(self) -> None:
        """Start the upstream, and then the RA, unless a test does that."""
        self.upstream.start()
        if self._start:
            self.ra.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.leave()
        finally:
            self.end()

    def leave(self) -> None:
        """Let what is under way come to its end, end the RA as an operator does, and check what holds.

        Raises:
            AssertionError: something does not.
        """
        for load in self._loads:
            load.stop()
        for ra in self.ras:
            if ra.running:
                ra.resume()
        self.upstream.resume()
        # Where a test has ended one of them, nothing can be expected of what is under way.
        if self.upstream.running and any(ra.running for ra in self.ras):
            invariant.reaches_rest(self.database)
        if any(ra.running for ra in self.ras):
            invariant.answers_everybody(self.diary)
        for ra in self.ras:
            if ra.running:
                self._finish(ra)
                code = ra.terminate()
                assert code == 0, f"{ra.name} ended with {code}"
        self.check()

    def _finish(self, ra: RAProcess) -> None:
        """The end of every scenario, for an RA that still serves: see :class:`Finale`."""
        clocks = any("FAKETIME_TIMESTAMP_FILE" in each.environment for each in self.ras)
        usual = self.upstream.running and self.upstream.usual and not clocks
        # The tests' own changes may ask for other challenges.
        settings = ra.settings["profiles"]
        profile = next(name for name in ("dev", "impatient") if settings[name]["challenge"]["type"] == "static")
        device = partial(self.device, profile=profile, ra=ra)
        Finale(ra, self.database, self.upstream, usual, device).play()

    def check(self) -> None:
        """Assert the invariants, as far as they can be seen from outside.

        Raises:
            AssertionError: one does not hold.
        """
        invariant.check(
            database=self.database,
            upstream=self.upstream,
            ras=self.ras,
            diary=self.diary,
            canary=self.canary,
            canaries=self.canaries,
        )

    # Devices

    def device(
        self,
        name: str = "device.example",
        profile: str = "dev",
        *,
        key: rsa.RSAPrivateKey | None = None,
        ra: RAProcess | None = None,
        source: str = "127.0.0.1",
        challenge: str | None = None,
    ) -> Device:
        """A device with the right challenge.

        Args:
            name: its common name; ``[a-z0-9-]+.example`` is what the profiles allow.
            profile: ``dev``, ``impatient`` (whose clients cannot poll) or ``approval`` (which holds everything).
            key: one of the laboratory's if None, each in its turn.
            ra: which one it talks to; the first if None.
            source: its address, in 127.0.0.0/8.
            challenge: another than the right one.
        """
        return Device(
            name=name,
            key=key or self.key(),
            laboratory=self.laboratory,
            diary=self.diary,
            port=(ra or self.ra).port,
            path=PATHS[profile],
            profile=profile,
            challenge=self.laboratory.challenge if challenge is None else challenge,
            source=source,
        )

    def key(self) -> rsa.RSAPrivateKey:
        """The next of the laboratory's keys."""
        return next(self._keys)

    @contextmanager
    def load(self, clients: int = 20, profile: str = "dev", *, pause: float = 0.1) -> Iterator[Load]:
        """Devices that enrol all the time, for the duration of the block; see :class:`Load`.

        At its end those that have begun must have a certificate.
        """
        load = Load(clients, lambda name: self.device(name, profile), pause)
        self._loads.append(load)
        load.start()
        try:
            yield load
        except BaseException:
            load.patience = 0.0
            load.stop()
            raise
        load.finish()

    @contextmanager
    def probing(self) -> Iterator[Prober]:
        """Somebody who asks for capabilities every 50 ms, for the duration of the block."""
        prober = Prober(lambda: self.ra.get("GetCACaps"))
        self._probers.append(prober)
        prober.start()
        try:
            yield prober
        finally:
            prober.stop()

    # What else tests do

    def another_ra(self, **settings: Any) -> RAProcess:
        """Another RA on the same database, not started yet; it gets the first one's key for what is
        stored: so SQLite's first must have been started before."""
        count = len(self.ras) + 1
        ra = self._make(
            directory=self.directory / f"ra{count}",
            port=free_port(ADDRESS),
            store=f"sqlite:{file.absolute()}" if (file := self.database.file) else self.ra.settings["store"]["url"],
            name=f"ra{count}",
            **settings,
        )
        shutil.copy2(self.ra.directory / KEY, ra.directory)
        self.ras.append(ra)
        return ra

    def settle(self, deadline: float = 30.0) -> None:
        """Return when nothing is left to be sent: every transaction is held, waiting, issued or refused."""
        wait_until(
            lambda: all(row["state"] in SETTLED for row in self.database.rows("transactions")),
            "every transaction is settled",
            deadline,
        )

    def end(self) -> None:
        """End everything, however it stands, and print what each has said last: pytest shows it of a failed test."""
        for prober in self._probers:
            prober.stop()
        for process in (*self.ras, self.upstream):
            print(
                f"--- {process.name} at {time.strftime('%H:%M:%S')}, exit code {process.exit_code}\n{process.tail(60)}"
            )
        print("--- upstream's journal")
        for line in self.upstream.events()[-60:]:
            print(" ".join(str(line[name]) for name in SHOWN if line.get(name) is not None))
        for ra in self.ras:
            ra.end()
        self.upstream.close()
        self.canary.close()
        self.diary.close()
