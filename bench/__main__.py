"""``python -m bench``: measure, print the table that bench/README.rst has, and write JSON where asked to."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sysconfig
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.enrolments import Run, Trial
from bench.floor import Floor

STRATEGIES = ("ra-certificate", "ephemeral-self-signed")
SATURATING, PACED = 8, 32


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured with one strategy of signing requests to the CA.

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


def measure(strategy: str, floor: Floor, count: int, rounds: int) -> Figures:
    """The figures of one strategy."""
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(Path(directory), strategy)
        with trial.running():
            floors = [floor.milliseconds()]
            saturated = []
            for _ in range(rounds):
                saturated.append(trial.through_ra(count, SATURATING))
                floors.append(floor.milliseconds())
            rates = [count / run.outcome.elapsed for run in saturated]
            pace = statistics.median(rates) / 2
            direct, relayed = [], []
            for _ in range(rounds):
                direct.append(percentiles(trial.direct(count, PACED, pace)))
                relayed.append(percentiles(trial.through_ra(count, PACED, pace)))
    cpu = [run.ra_cpu / count * 1000 for run in saturated]
    ratios = [one / ((before + after) / 2) for one, before, after in zip(cpu, floors, floors[1:], strict=False)]
    without, through = medians(direct), medians(relayed)
    added = medians([(b50 - a50, b99 - a99) for (a50, a99), (b50, b99) in zip(direct, relayed, strict=True)])
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


def percentiles(run: Run) -> tuple[float, float]:
    """The 50th and the 99th percentile of a round's latencies, in milliseconds."""
    cuts = statistics.quantiles(run.outcome.latencies, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """The median of the firsts, and that of the seconds."""
    firsts, seconds = zip(*pairs, strict=True)
    return statistics.median(firsts), statistics.median(seconds)


def rows(figures: Figures) -> list[tuple[str, str]]:
    """One column of the table, with the names of its lines."""

    def spread(value: float, ends: tuple[float, float], digits: int) -> str:
        return f"{value:.{digits}f} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"

    return [
        ("Floor, ms of CPU", spread(figures.floor_ms, figures.floor_ms_range, 2)),
        ("RA, ms of CPU per enrolment", spread(figures.ra_cpu_ms, figures.ra_cpu_ms_range, 2)),
        ("**RA to floor**", spread(figures.ratio, figures.ratio_range, 2)),
        ("Enrolments per second", spread(figures.enrolments_per_second, figures.enrolments_per_second_range, 0)),
        ("RA's core busy meanwhile", f"{figures.ra_busy:.0%}"),
        ("Half that load, to the CA: p50, p99, ms", f"{figures.direct_p50_ms:.1f}, {figures.direct_p99_ms:.1f}"),
        ("The same through the RA", f"{figures.relayed_p50_ms:.1f}, {figures.relayed_p99_ms:.1f}"),
        ("Added by the RA", f"{figures.added_p50_ms:.1f}, {figures.added_p99_ms:.1f}"),
    ]


def table(figures: dict[str, Figures]) -> str:
    """A reStructuredText table with a column for each strategy."""
    columns = [rows(each) for each in figures.values()]
    lines = [("Requests to the CA are signed by", *figures)]
    lines += [(same[0][0], *(value for _, value in same)) for same in zip(*columns, strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    written = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    rule = "  ".join("=" * width for width in widths)
    return "\n".join((rule, written[0], rule, *written[1:], rule))


def environment() -> dict[str, str]:
    """On what this is measured."""
    information = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in information if "model name" in line), platform.machine())
    built = "with" if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")) else "without"
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": f"{platform.python_version()}, built {built} profile-guided optimisation",
        **{name: version(name) for name in ("cryptography", "twisted", "treq")},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--enrolments", type=int, default=600, metavar="N", help="per round (default 600)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of each kind (default 7)")
    options = parser.parse_args()
    where = environment()
    floor = Floor()
    figures = {
        strategy: measure(strategy, floor, max(options.enrolments, 100), max(options.rounds, 2))
        for strategy in STRATEGIES
    }
    print("Measured on: " + "; ".join(f"{name} {value}" for name, value in where.items()) + ".\n")
    print(table(figures))
    if options.json:
        # At the top, the strategy that signs no certificate of its own, as the floor does not.
        headline = asdict(figures[STRATEGIES[0]])
        written = {**headline, "strategies": {name: asdict(each) for name, each in figures.items()}}
        options.json.write_text(json.dumps({**written, "environment": where}, indent=2) + "\n")


if __name__ == "__main__":
    main()
