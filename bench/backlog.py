"""How long an RA takes to drive what has piled up while its CA was down."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from bench.cores import MEASURED
from bench.devices import Devices
from bench.load import PENDING
from bench.table import table
from bench.trial import Authority, Kind, Relay
from scepra.store.engine import create_engine
from scepra.store.tables import transactions
from scepra.transaction import State

RATE = 100
CONNECTIONS = 32
_LOOK = 0.2
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """``requests`` were accepted while the CA was down. From its return it took ``noticed_seconds`` to the first
    PKIOperation and ``seconds`` to the last certificate; ``ideal_seconds`` is what the configured rate comes to.
    ``peak`` is the highest number of PKIOperations that the CA saw in any second after its return."""

    requests: int
    rate: int
    noticed_seconds: float
    seconds: float
    ideal_seconds: float
    peak: int


def needed(count: int) -> int:
    """How many requests the RA is sent."""
    return count + 1


def measure(directory: Path, devices: Devices, count: int) -> Figures:
    """The figures.

    Args:
        directory: for the files of the trial.
        count: how many requests pile up.

    Raises:
        SystemExit: it takes ten times as long as it should.
    """
    directory.mkdir()
    authority = Authority(directory, devices)
    relay = Relay(directory / "ra", devices, authority, Kind(rate=RATE), MEASURED)
    with relay.server.running():
        with authority.server.running():
            # The RA sees the CA's certificates.
            relay.enrol(1, connections=1)
        relay.enrol(count, CONNECTIONS, status=PENDING)
        authority.journal.write_text("")
        with authority.server.running():
            returned = time.time()
            last = _last_issued(relay, needed(count), returned + 10 * count / RATE + _PATIENCE)
    asked = [float(line) for line in authority.journal.read_text("ascii").splitlines()]
    return Figures(count, RATE, asked[0] - returned, last.timestamp() - returned, count / RATE, peak(asked))


def _last_issued(relay: Relay, count: int, deadline: float) -> datetime:
    """When the last of so many certificates was stored."""
    statement = sa.select(sa.func.count(), sa.func.max(transactions.c.changed)).where(
        transactions.c.state == State.ISSUED.value
    )
    engine = create_engine(relay.store, 1).execution_options(reading=True)
    try:
        while True:
            with engine.begin() as connection:
                issued, last = connection.execute(statement).one()
            if issued == count:
                found: datetime = last
                return found
            if time.time() > deadline:
                raise SystemExit(f"only {issued} of {count} were issued in time")
            time.sleep(_LOOK)
    finally:
        engine.dispose()


def peak(moments: list[float]) -> int:
    """The highest number of moments in any one second."""
    window: deque[float] = deque()
    highest = 0
    for moment in moments:
        window.append(moment)
        while window[0] <= moment - 1:
            window.popleft()
        highest = max(highest, len(window))
    return highest


def show(figures: Figures) -> str:
    """The table."""
    lines = [
        ("Requests accepted while the CA was down", f"{figures.requests}"),
        ("Configured rate, per second", f"{figures.rate}"),
        ("Requests by rate, s", f"{figures.ideal_seconds:.1f}"),
        ("From its return to the first PKIOperation, s", f"{figures.noticed_seconds:.1f}"),
        ("**From its return to the last certificate, s**", f"{figures.seconds:.1f}"),
        ("Most PKIOperations in a second", f"{figures.peak}"),
    ]
    return table(("Backlog", ""), lines)
