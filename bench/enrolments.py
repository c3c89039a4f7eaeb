"""What an enrolment costs the RA: with either database, either way to sign to the CA, and its key in a token."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cores import MEASURED
from bench.devices import Devices
from bench.floor import Floor
from bench.store import POSTGRESQL, SQLITE, Stores
from bench.table import NOT_MEASURED, spread, table
from bench.token import token
from bench.trial import Kind, trial

SATURATING, PACED = 8, 32
WARMING = 400
FILE, TOKEN = "file", "SoftHSM"
_COLUMNS = {
    "ra-certificate": ("ra-certificate", SQLITE, FILE),
    "ra-certificate, PostgreSQL": ("ra-certificate", POSTGRESQL, FILE),
    "ephemeral-self-signed": ("ephemeral-self-signed", SQLITE, FILE),
    "ra-certificate, token": ("ra-certificate", SQLITE, TOKEN),
}
HEADLINE = "ra-certificate"
"""The column that is compared fairly: it signs no certificate of its own, as the floor does not."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured with one database, one strategy of signing requests to the CA, and one place of the RA's key.

    Times are milliseconds. ``ratio`` is the median of the rounds' ratios, each of the RA's CPU time to the mean of the
    floors before and after it. Pairs are the smallest and the largest of the rounds. Latencies are medians of the
    rounds' percentiles, and what the RA adds the medians of the differences between a round through it and the round to
    the CA before: a busy moment of the machine spoils a round, not the figure.
    """

    floor_ms: float
    floor_ms_range: tuple[float, float]
    ra_cpu_ms: float
    ra_cpu_ms_range: tuple[float, float]
    ratio: float
    ratio_range: tuple[float, float]
    enrolments_per_second: float
    enrolments_per_second_range: tuple[float, float]
    ra_busy: float
    direct_p50_ms: float
    direct_p99_ms: float
    relayed_p50_ms: float
    relayed_p99_ms: float
    added_p50_ms: float
    added_p99_ms: float


def needed(count: int, rounds: int) -> int:
    """How many requests the RA of one column is sent."""
    return WARMING + 2 * rounds * count


def measure(
    directory: Path, devices: Devices, floor: Floor, stores: Stores, count: int, rounds: int
) -> dict[str, Figures | None]:
    """The figures of each column; None for one whose database or token is not there.

    Args:
        directory: for the files of the trials.
        count: how many enrolments a round has.
        rounds: how many rounds there are of each kind.
    """
    figures: dict[str, Figures | None] = {}
    held = token(devices.lab / "ra.key", directory / "pin")
    for name, (strategy, database, key) in _COLUMNS.items():
        store = stores.new(database)
        if store is None or (key == TOKEN and held is None):
            figures[name] = None
            continue
        kind = Kind(strategy, store, token=held if key == TOKEN else None)
        figures[name] = _column(directory / f"{database}-{strategy}-{key}", devices, floor, kind, count, rounds)
    return figures


def _column(directory: Path, devices: Devices, floor: Floor, kind: Kind, count: int, rounds: int) -> Figures:
    with trial(directory, devices, kind, MEASURED) as (relay, authority):
        authority.enrol(WARMING, SATURATING)
        relay.enrol(WARMING, SATURATING)
        floors = [floor.milliseconds()]
        saturated = []
        for _ in range(rounds):
            saturated.append(relay.enrol(count, SATURATING))
            floors.append(floor.milliseconds())
        rates = [count / run.outcome.elapsed for run in saturated]
        pace = statistics.median(rates) / 2
        direct, relayed = [], []
        for _ in range(rounds):
            direct.append(percentiles(authority.enrol(count, PACED, pace).latencies))
            relayed.append(percentiles(relay.enrol(count, PACED, pace).outcome.latencies))
    cpu = [run.ra_cpu / count * 1000 for run in saturated]
    ratios = [one / ((before + after) / 2) for one, before, after in zip(cpu, floors, floors[1:], strict=False)]
    without, through = _medians(direct), _medians(relayed)
    added = _medians([(b50 - a50, b99 - a99) for (a50, a99), (b50, b99) in zip(direct, relayed, strict=True)])
    return Figures(
        floor_ms=statistics.median(floors),
        floor_ms_range=(min(floors), max(floors)),
        ra_cpu_ms=statistics.median(cpu),
        ra_cpu_ms_range=(min(cpu), max(cpu)),
        ratio=statistics.median(ratios),
        ratio_range=(min(ratios), max(ratios)),
        enrolments_per_second=statistics.median(rates),
        enrolments_per_second_range=(min(rates), max(rates)),
        ra_busy=statistics.median(run.ra_cpu / run.outcome.elapsed for run in saturated),
        direct_p50_ms=without[0],
        direct_p99_ms=without[1],
        relayed_p50_ms=through[0],
        relayed_p99_ms=through[1],
        added_p50_ms=added[0],
        added_p99_ms=added[1],
    )


def percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th percentile of seconds, in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """The median of the firsts, and that of the seconds."""
    firsts, seconds = zip(*pairs, strict=True)
    return statistics.median(firsts), statistics.median(seconds)


def show(figures: Mapping[str, Figures | None]) -> str:
    """The table, with a column for each."""
    head, stores, keys = zip(*_COLUMNS.values(), strict=True)
    columns = [_cells(each) for each in figures.values()]
    lines = [("Store", *stores), ("The RA's key is in", *keys)]
    lines += [(name, *cells) for name, *cells in zip(_LINES, *columns, strict=True)]
    return table(("Requests to the CA are signed by", *head), lines)


_LINES = (
    "Floor, ms of CPU",
    "RA, ms of CPU per enrolment",
    "**RA to floor**",
    "Enrolments per second",
    "RA's core busy meanwhile",
    "Half that load, to the CA: p50, p99, ms",
    "The same through the RA",
    "Added by the RA",
)


def _cells(figures: Figures | None) -> Sequence[str]:
    if figures is None:
        return [NOT_MEASURED] * len(_LINES)
    return (
        spread(figures.floor_ms, figures.floor_ms_range, 2),
        spread(figures.ra_cpu_ms, figures.ra_cpu_ms_range, 2),
        spread(figures.ratio, figures.ratio_range, 2),
        spread(figures.enrolments_per_second, figures.enrolments_per_second_range, 0),
        f"{figures.ra_busy:.0%}",
        f"{figures.direct_p50_ms:.1f}, {figures.direct_p99_ms:.1f}",
        f"{figures.relayed_p50_ms:.1f}, {figures.relayed_p99_ms:.1f}",
        f"{figures.added_p50_ms:.1f}, {figures.added_p99_ms:.1f}",
    )
