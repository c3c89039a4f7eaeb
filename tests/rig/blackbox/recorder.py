"""The recording upstream, as a test sees it: told how to behave, stopped at events, asked what it saw."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scepra.lab import Behaviour, Duplicates
from tests.rig.blackbox.control import call
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.journal import JOURNAL, LEDGER, read_lines
from tests.rig.blackbox.process import PATIENCE, Process

HALF = 1000


class Held:
    """A post at an event: the exchanges that it has stopped stand still until it is left, or told otherwise."""

    def __init__(self, upstream: RecordingUpstream, number: int) -> None:
        self._upstream = upstream
        self._number = number

    def wait(self, count: int = 1, deadline: float = PATIENCE) -> dict[str, Any]:
        """Return when so many exchanges are stopped, with what the journal says of the last of them.

        Raises:
            OSError: that does not happen in time.
        """
        about: dict[str, Any] = call(self._upstream.control, deadline, "watch", self._number, count)
        return about

    def release(self) -> None:
        """Let them go on, and stop no more."""
        self._upstream.tell("take_down", self._number, True)

    def cut(self) -> None:
        """Reset their connections, with what has not been taken in or written; stop no more."""
        self._upstream.tell("take_down", self._number, False)


class RecordingUpstream(Process):
    """The lab's CA in a process of its own.

    What it has issued and what is pending there outlives it, and so does how it behaves. ``issues_again`` is True once
    it was told to issue twice.
    """

    def __init__(self, laboratory: Path, directory: Path, port: int) -> None:
        """
        Args:
            laboratory: has the CA's key.
            directory: takes its journal, its ledger and its output.
            port: where it listens at 127.0.0.1, whenever it does.
        """
        self.port = port
        self.url = f"http://127.0.0.1:{port}/scep"
        # A path of a socket must be short.
        self._private = Path(tempfile.mkdtemp(prefix="scepra-rig-"))
        self.control = self._private / "control"
        self.journal = directory / JOURNAL
        self.issues_again = False
        self._told: dict[tuple[str, str | None], tuple[Any, ...]] = {}
        command = [sys.executable, "-m", "tests.rig.blackbox.upstream"]
        arguments = [str(laboratory.absolute()), str(directory.absolute()), str(port), str(self.control)]
        super().__init__("upstream", command + arguments, directory)

    def start(self) -> None:
        """Start it, and return when it can be asked."""
        self.control.unlink(missing_ok=True)
        self.launch()
        self.await_ready(self._answers)
        for (name, _), arguments in self._told.items():
            self.tell(name, *arguments)

    def restart(self) -> None:
        """Kill it if it runs, and start it again."""
        self.end()
        self.start()

    def close(self) -> None:
        """End it for good."""
        self.end()
        shutil.rmtree(self._private)

    def tell(self, name: str, *arguments: Any) -> Any:
        """Have its process call one of its functions."""
        return call(self.control, PATIENCE, name, *arguments)

    def behave(self, behaviour: Behaviour = Behaviour(), subject: str | None = None) -> None:  # noqa: B008 - frozen
        """Behave so from now on: where it is about a subject (a common name), or else wherever nothing else is said."""
        self._told["behave", subject] = (behaviour, subject)
        self.issues_again |= behaviour.duplicates is Duplicates.ISSUED
        self.tell("behave", behaviour, subject)

    @property
    def usual(self) -> bool:
        """Whether it serves whoever it was not told anything about."""
        (behaviour, _) = self._told.get(("behave", None), (Behaviour(), None))
        return bool(behaviour == Behaviour()) and not self._told.get(("set_clock", None), (0.0,))[0]

    def set_clock(self, offset: float) -> None:
        """Let the CA's clock be so many seconds ahead."""
        self._told["set_clock", None] = (offset,)
        self.tell("set_clock", offset)

    def set_labour(self, seconds: float) -> None:
        """Let the CA take so long over every pkiMessage, as one does that waits for others itself."""
        self._told["set_labour", None] = (seconds,)
        self.tell("set_labour", seconds)

    def approve(self, subject: str) -> int:
        """Issue what is pending for a subject; how many transactions that were."""
        count: int = self.tell("settle", subject, True)
        return count

    def deny(self, subject: str) -> int:
        """Refuse what is pending for a subject; how many transactions that were."""
        count: int = self.tell("settle", subject, False)
        return count

    @contextmanager
    def hold(self, event: Event, subject: str | None = None, *, octets: int = HALF, count: int = 1) -> Iterator[Held]:
        """Stop exchanges at an event, for the duration of the block.

        Args:
            subject: stop only those about this common name; not possible before the request is complete.
            octets: how many of the request are let through before :attr:`Event.HALF_REQUEST`.
            count: how many are stopped; those that come after them pass.
        """
        held = Held(self, self.tell("set_up", event, subject, octets, count))
        try:
            yield held
        finally:
            if self.running:
                self.resume()
                held.release()

    # What it saw

    def events(self, event: Event | str | None = None, **about: Any) -> list[dict[str, Any]]:
        """The journal's lines so far, in order: of one event, and with these values."""
        wanted = event.value if isinstance(event, Event) else event
        return [
            line
            for line in read_lines(self.journal)
            if wanted in (None, line["event"]) and all(line.get(name) == value for name, value in about.items())
        ]

    def operations(self, subject: str | None = None) -> list[dict[str, Any]]:
        """The pkiMessages that came in whole, for a subject or any."""
        found = self.events(Event.REQUEST_COMPLETE, kind="PKIOperation")
        return [line for line in found if subject in (None, line.get("subject"))]

    def requests(self, subject: str | None = None) -> list[dict[str, Any]]:
        """The PKCSReqs among them."""
        return [line for line in self.operations(subject) if line.get("type") == "PKCS_REQ"]

    def polls(self, subject: str | None = None) -> list[dict[str, Any]]:
        """The CertPolls among them."""
        return [line for line in self.operations(subject) if line.get("type") == "CERT_POLL"]

    def issued(self, subject: str | None = None) -> list[str]:
        """The fingerprints of the distinct certificates that it issued, in order."""
        lines = read_lines(self.journal.with_name(LEDGER))
        found = {line["fingerprint"]: line["subject"] for line in lines if line["fingerprint"]}
        return [fingerprint for fingerprint, whose in found.items() if subject in (None, whose)]

    def _answers(self) -> bool:
        try:
            self.tell("set_clock", 0.0)
        except OSError:
            return False
        return True
