"""How long a poll takes with few transactions in the store, and with many."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bench.cores import MEASURED
from bench.devices import Devices
from bench.enrolments import percentiles
from bench.load import PENDING
from bench.rows import fill
from bench.store import POSTGRESQL, SQLITE, Stores
from bench.table import NOT_MEASURED, spread, table
from bench.trial import Authority, Kind, Relay
from bench.upstream import HOLDS

FEW = 1000
TURN = 100
"""After how many polls of one RA it is the other's turn."""
WARMING = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies of polls of two RAs that take turns, the one's store with few transactions, the other's with many.

    Percentiles are over all polls, in milliseconds. ``ratio`` is the median of the ratios of two turns that follow each
    other, each that of the medians with many and with few; ``ratio_range`` are their quartiles.
    """

    few: int
    many: int
    few_p50_ms: float
    few_p99_ms: float
    many_p50_ms: float
    many_p99_ms: float
    ratio: float
    ratio_range: tuple[float, float]


def measure(directory: Path, devices: Devices, stores: Stores, polls: int, many: int) -> dict[str, Figures | None]:
    """The figures by the name of the database; None for one that is not there.

    Args:
        directory: for the files of the trials.
        polls: how many of each RA, rounded to whole turns.
        many: how many transactions the larger store has.
    """
    figures: dict[str, Figures | None] = {}
    for database in (SQLITE, POSTGRESQL):
        urls = [url for _ in range(2) if (url := stores.new(database)) is not None]
        figures[database] = _database(directory / database, devices, stores, urls, polls, many) if urls else None
    return figures


def _database(directory: Path, devices: Devices, stores: Stores, urls: Sequence[str], polls: int, many: int) -> Figures:
    directory.mkdir()
    authority = Authority(directory, devices, HOLDS)
    relays = [
        Relay(directory / f"ra-{size}", devices, authority, Kind(store=url), MEASURED)
        for size, url in zip(("few", "many"), urls, strict=True)
    ]
    for relay, size in zip(relays, (FEW, many), strict=True):
        fill(relay.store, size)
    stores.settle()
    with ExitStack() as running:
        for server in (authority.server, *(relay.server for relay in relays)):
            running.enter_context(server.running())
        for relay in relays:
            relay.enrol(1, connections=1, status=PENDING)
            relay.poll(WARMING, connections=1)
        turns: list[list[list[float]]] = [[], []]
        for number in range(max(polls // TURN, 2)):
            # Each is the first of two as often as the other.
            for side in (0, 1) if number % 2 else (1, 0):
                turns[side].append(relays[side].poll(TURN, connections=1).outcome.latencies)
    small, large = (percentiles(list(chain.from_iterable(side))) for side in turns)
    ratios = [statistics.median(b) / statistics.median(a) for a, b in zip(*turns, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return Figures(
        few=FEW,
        many=many,
        few_p50_ms=small[0],
        few_p99_ms=small[1],
        many_p50_ms=large[0],
        many_p99_ms=large[1],
        ratio=quartiles[1],
        ratio_range=(quartiles[0], quartiles[2]),
    )


def show(figures: Mapping[str, Figures | None]) -> str:
    """The table, with a column for each database."""
    measured = next(each for each in figures.values() if each is not None)
    names = (
        f"{_grouped(measured.few)} transactions: p50, p99, ms",
        f"{_grouped(measured.many)} transactions: p50, p99, ms",
        "**Many to few**, p50",
    )
    columns = [_cells(each) for each in figures.values()]
    return table(("Polls, the store on", *figures), list(zip(names, *columns, strict=True)))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _cells(figures: Figures | None) -> tuple[str, str, str]:
    if figures is None:
        return (NOT_MEASURED,) * 3
    return (
        f"{figures.few_p50_ms:.2f}, {figures.few_p99_ms:.2f}",
        f"{figures.many_p50_ms:.2f}, {figures.many_p99_ms:.2f}",
        spread(figures.ratio, figures.ratio_range, 2),
    )
