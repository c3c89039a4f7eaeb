"""What the devices were told: the clients' side of the story, in memory and in a file for people."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.rig.blackbox.journal import Journal
from tests.rig.blackbox.wire import Wire


@dataclass(frozen=True, slots=True)
class Entry:
    """One CertRep that a device has believed. Digests are lower-case hex of SHA-256; empty where there is nothing.

    ``certificate`` is the fingerprint of the one that was issued; ``recipients`` how many the envelope has, 0 without
    one; ``reference`` what failInfoText names; ``looks`` how a badRequest looks but for what differs between any two.
    """

    subject: str
    profile: str
    message: str
    transaction: str
    csr: str
    spki: str
    status: str
    certificate: str
    recipients: int
    reference: str
    looks: str


class Diary:
    """All entries, in order. Devices in any thread write into it."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._nonces: set[bytes] = set()
        self._wires: list[Wire] = []

    def begin(self, wire: Wire) -> None:
        """A connection was opened; it is looked after until its device has closed it."""
        with self._lock:
            self._wires = [each for each in self._wires if each.open]
            self._wires.append(wire)

    @property
    def wires(self) -> list[Wire]:
        """The connections that no device has closed."""
        with self._lock:
            return [each for each in self._wires if each.open]

    def note(self, entry: Entry, nonce: bytes) -> None:
        """Add an entry, and its answer's senderNonce.

        Raises:
            AssertionError: the nonce was there before.
        """
        with self._lock:
            assert nonce not in self._nonces, "a senderNonce was used twice"
            self._nonces.add(nonce)
            self._entries.append(entry)
            self._journal.note(**asdict(entry))

    @property
    def entries(self) -> list[Entry]:
        """Those so far."""
        with self._lock:
            return list(self._entries)

    def close(self) -> None:
        """Nothing more will come."""
        for wire in self.wires:
            wire.close()
        self._journal.close()
