"""The RA as its users run it, ``twistd -n scepra --config FILE``, as a process of this one."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from scepra.lab.authority import remember

PATIENCE = 10.0
_TAIL = 40
# What the script `twistd` does, wherever that is installed.
_TWISTD = "from twisted.scripts.twistd import run; run()"


class Failed(Exception):
    """Something that should have happened did not; the text may have several lines."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the RA's audit record says of one request; ``reasons`` is empty for what was issued;
    ``enrolment`` names what is stored of it, if anything is."""

    transaction_id: str
    outcome: str
    reference: str
    subject: str
    reasons: tuple[str, ...]
    enrolment: str = ""

    @classmethod
    def parse(cls, line: str) -> Decision | None:
        """The decision in a line of the log, if there is one."""
        _, brace, record = line.partition("{")
        try:
            said = json.loads(brace + record)
            return cls(
                said["transaction"],
                said["outcome"],
                said["reference"],
                said.get("subject", ""),
                tuple(said.get("reasons", ())),
                said.get("enrolment", ""),
            )
        except (ValueError, KeyError):
            return None


class RegistrationAuthorityProcess(ProcessProtocol):
    """A running RA, the last of what it printed, and what it decided.

    ``observe`` is called with each decision; it may be exchanged at any time.
    """

    def __init__(self, reactor: Any, config: Path) -> None:
        """
        Args:
            reactor: spawns the process and keeps the time.
            config: the configuration file.
        """
        self.observe: Callable[[Decision], None] = _nobody
        self._reactor = reactor
        self._lines: deque[str] = deque(maxlen=_TAIL)
        self._rest = ""
        self._decisions: dict[str, Decision] = {}
        self._awaited: dict[str, Deferred[Decision]] = {}
        self._ended: Deferred[None] = Deferred()
        self._stopping = False
        self.running = True
        command = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "scepra", "--config", str(config)]
        # env=None: it inherits ours.
        self._process = reactor.spawnProcess(self, sys.executable, command, env=None)

    @property
    def output(self) -> str:
        """The last lines that it printed."""
        return "\n".join((*self._lines, self._rest)).strip()

    async def decision(self, transaction_id: str) -> Decision:
        """What it decided about a client's request; its record may still be on its way.

        Raises:
            Failed: no record came, or the process has ended.
        """
        if transaction_id not in self._decisions:
            awaited = self._awaited[transaction_id] = Deferred()
            try:
                await awaited.addTimeout(PATIENCE, self._reactor)
            except TimeoutError as error:
                raise Failed(f"the RA has no record of {transaction_id}") from error
        return self._decisions[transaction_id]

    async def unexpected_end(self) -> None:
        """Return when the process has ended without having been told to."""
        await self._ended
        if self._stopping:
            await Deferred()

    async def kill(self) -> None:
        """End the process as a power failure would."""
        self._stopping = True
        self._process.signalProcess("KILL")
        await self._ended

    async def stop(self) -> None:
        """End the process, with force if it does not end by itself in time."""
        if not self.running:
            return
        self._stopping = True
        self._process.signalProcess("TERM")
        last = self._reactor.callLater(PATIENCE, self._process.signalProcess, "KILL")
        await self._ended
        if last.active():
            last.cancel()

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take in what it prints."""
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self._lines.append(line)
            decision = Decision.parse(line)
            if decision is not None:
                remember(self._decisions, decision.transaction_id, decision)
                self.observe(decision)
                if (awaited := self._awaited.pop(decision.transaction_id, None)) is not None:
                    awaited.callback(decision)

    errReceived = outReceived  # noqa: N815 - Twisted's name

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Tell whoever waits."""
        self.running = False
        awaited, self._awaited = self._awaited, {}
        for waiting in awaited.values():
            waiting.errback(Failed("the RA has ended"))
        self._ended.callback(None)


def _nobody(decision: Decision) -> None:
    """Nobody observes."""
