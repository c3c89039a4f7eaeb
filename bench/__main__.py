"""``python -m bench``: measure, print the table, and write it as JSON where asked to."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench.enrolments import Trial
from bench.floor import Floor
from bench.load import Outcome

STRATEGIES = ("ra-certificate", "ephemeral-self-signed")


def percentile(values: list[float], share: float) -> float:
    """The value that *share* of all values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(count: int, rounds: int) -> dict[str, dict[str, float]]:
    """All figures of one run, by the upstream signer's strategy; times in milliseconds."""
    floor = Floor()
    figures = floor.milliseconds()
    result: dict[str, dict[str, float]] = {}
    for strategy in STRATEGIES:
        with tempfile.TemporaryDirectory() as directory, Trial(Path(directory), strategy) as trial:
            trial.through_ra(count // 2, connections=8)  # warm up: the CA remembers, caches fill
            saturated = [trial.through_ra(count, connections=8) for _ in range(rounds)]
            figures += floor.milliseconds()
            rate = statistics.median(count / run.outcome.elapsed for run in saturated)
            direct = trial.direct(count, connections=8, pace=rate / 2)
            relayed = trial.through_ra(count, connections=8, pace=rate / 2)
        floor_ms = statistics.median(figures)
        cpu = [run.ra_cpu / count * 1000 for run in saturated]
        result[strategy] = {
            "floor_ms": floor_ms,
            "floor_spread_ms": max(figures) - min(figures),
            "ra_cpu_ms": statistics.median(cpu),
            "ra_cpu_spread_ms": max(cpu) - min(cpu),
            "ratio": statistics.median(cpu) / floor_ms,
            "enrolments_per_second": rate,
            "ra_cpu_share": statistics.median(run.ra_cpu / run.outcome.elapsed for run in saturated),
            "added_p50_ms": added(relayed.outcome, direct.outcome, 0.5),
            "added_p99_ms": added(relayed.outcome, direct.outcome, 0.99),
            "failed": sum(run.outcome.failed for run in (*saturated, direct, relayed)),
        }
    return result


def added(relayed: Outcome, direct: Outcome, share: float) -> float:
    """What the way through the RA adds to a percentile, in milliseconds."""
    return (percentile(relayed.latencies, share) - percentile(direct.latencies, share)) * 1000


def environment() -> dict[str, object]:
    """On what this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    packages = ("cryptography", "twisted", "treq", "pydantic")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--enrolments", type=int, default=1000, metavar="N", help="per round (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of the saturated measurement (default 5)")
    options = parser.parse_args()
    figures = measure(options.enrolments, options.rounds)
    where = environment()
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    print(f"{'':24}" + "".join(f"{strategy:>24}" for strategy in STRATEGIES))
    headline = figures[STRATEGIES[0]]  # without a third signature, as the floor is
    for key in headline:
        print(f"{key:24}" + "".join(f"{figures[strategy][key]:24.3f}" for strategy in STRATEGIES))
    if options.json:
        options.json.write_text(json.dumps({**headline, "strategies": figures, "environment": where}, indent=2))


if __name__ == "__main__":
    main()
