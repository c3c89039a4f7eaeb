"""How many enrolments per second one worker makes, and how many two."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.cores import ALL
from bench.devices import Devices
from bench.table import spread, table
from bench.trial import Authority, Kind, Relay, Run

CONNECTIONS = 64
"""The kernel deals connections out by a hash: with few, one worker could have them all."""
WARMING = 400
WORKERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Figures:
    """What RAs of one worker and of two made of the same requests, in turns.

    ``cpu_ms`` is of all processes of the RA, for one enrolment; ``busy`` how many cores they kept busy. ``speedup`` is
    the median of the rounds' ratios, with the smallest and the largest; ``projected`` what it would be if the CPU time
    were all that counts, and each worker had a core.
    """

    enrolments_per_second: tuple[float, ...]
    enrolments_per_second_range: tuple[tuple[float, float], ...]
    cpu_ms: tuple[float, ...]
    busy: tuple[float, ...]
    speedup: float
    speedup_range: tuple[float, float]
    projected: float


def needed(count: int, rounds: int) -> int:
    """How many requests each RA is sent."""
    return WARMING + rounds * count


def measure(directory: Path, devices: Devices, count: int, rounds: int) -> Figures:
    """The figures; nothing is bound to a core, so that two workers can use both.

    Args:
        directory: for the files of the trial.
        count: how many enrolments a round has.
        rounds: how many rounds each RA has.
    """
    directory.mkdir()
    authority = Authority(directory, devices, cores=ALL)
    relays = [Relay(directory / f"ra-{workers}", devices, authority, Kind(workers=workers), ALL) for workers in WORKERS]
    runs: list[list[Run]] = [[] for _ in relays]
    with ExitStack() as running:
        for server in (authority.server, *(relay.server for relay in relays)):
            running.enter_context(server.running())
        for relay in relays:
            relay.enrol(WARMING, CONNECTIONS, cores=ALL)
        for _ in range(rounds):
            for relay, done in zip(relays, runs, strict=True):
                done.append(relay.enrol(count, CONNECTIONS, cores=ALL))
    rates = [[count / run.outcome.elapsed for run in done] for done in runs]
    cpu = [statistics.median(run.ra_cpu / count * 1000 for run in done) for done in runs]
    speedups = [two / one for one, two in zip(*rates, strict=True)]
    return Figures(
        enrolments_per_second=tuple(map(statistics.median, rates)),
        enrolments_per_second_range=tuple((min(each), max(each)) for each in rates),
        cpu_ms=tuple(cpu),
        busy=tuple(statistics.median(run.ra_cpu / run.outcome.elapsed for run in done) for done in runs),
        speedup=statistics.median(speedups),
        speedup_range=(min(speedups), max(speedups)),
        projected=WORKERS[1] * cpu[0] / cpu[1],
    )


def show(figures: Figures) -> str:
    """The table, with a column for each number of workers."""
    lines: list[Sequence[str]] = [
        (
            "Enrolments per second",
            *(
                spread(rate, ends, 0)
                for rate, ends in zip(figures.enrolments_per_second, figures.enrolments_per_second_range, strict=True)
            ),
        ),
        ("RA, ms of CPU per enrolment", *(f"{each:.2f}" for each in figures.cpu_ms)),
        ("Cores busy with the RA meanwhile", *(f"{each:.2f}" for each in figures.busy)),
        ("**Times as many**", "1", spread(figures.speedup, figures.speedup_range, 2)),
        ("By CPU time, with a core for each worker", "1", f"{figures.projected:.2f}"),
    ]
    return table(("Workers", *map(str, WORKERS)), lines)
