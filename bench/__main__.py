"""``python -m bench``: measure, print the tables that bench/README.rst has, and write JSON where asked to."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import backlog, enrolments, policy, polls, workers
from bench.devices import Devices
from bench.floor import Floor
from bench.store import Stores, stores


class Measurement:
    """What is to be measured, with what, and the figures so far.

    Args:
        directory: for everything that is made.
        options: of the command line.
        available: the databases.
    """

    def __init__(self, directory: Path, options: argparse.Namespace, available: Stores) -> None:
        self._directory = directory
        self._options = options
        self._stores = available
        self.figures: dict[str, Any] = {}
        needed = {
            "enrolments": enrolments.needed(options.enrolments, options.rounds),
            "workers": workers.needed(options.enrolments, options.rounds),
            "polls": 1,
            "backlog": backlog.needed(options.backlog),
            "policy": 1,
        }
        self._devices = Devices(directory / "lab", max(needed[part] for part in options.parts))

    def enrolments(self) -> str:
        """The table of what an enrolment costs."""
        options = self._options
        figures = enrolments.measure(
            self._directory, self._devices, Floor(), self._stores, options.enrolments, options.rounds
        )
        columns = {name: None if each is None else asdict(each) for name, each in figures.items()}
        self.figures |= {**(columns[enrolments.HEADLINE] or {}), "strategies": columns}
        return enrolments.show(figures)

    def workers(self) -> str:
        """The table of what several processes make of it."""
        options = self._options
        figures = workers.measure(self._directory / "workers", self._devices, options.enrolments, options.rounds)
        self.figures["workers"] = asdict(figures)
        return workers.show(figures)

    def polls(self) -> str:
        """The table of what a poll takes."""
        options = self._options
        figures = polls.measure(self._directory, self._devices, self._stores, options.polls, options.stored)
        self.figures["polls"] = {name: None if each is None else asdict(each) for name, each in figures.items()}
        return polls.show(figures)

    def backlog(self) -> str:
        """The table of what an outage leaves behind."""
        figures = backlog.measure(self._directory / "backlog", self._devices, self._options.backlog)
        self.figures["backlog"] = asdict(figures)
        return backlog.show(figures)

    def policy(self) -> str:
        """The table of what judging a request takes."""
        figures = policy.measure(self._options.rounds)
        self.figures["policy"] = {name: asdict(each) for name, each in figures.items()}
        return policy.show(figures)


PARTS: dict[str, Callable[[Measurement], str]] = {
    "enrolments": Measurement.enrolments,
    "workers": Measurement.workers,
    "polls": Measurement.polls,
    "backlog": Measurement.backlog,
    "policy": Measurement.policy,
}


def environment() -> dict[str, str]:
    """On what this is measured."""
    information = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in information if "model name" in line), platform.machine())
    built = "with" if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")) else "without"
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": f"{platform.python_version()}, built {built} profile-guided optimisation",
        **{name: version(name) for name in ("cryptography", "sqlalchemy", "twisted", "treq")},
    }


def main() -> None:
    """Measure, print, write."""
    options = _options()
    where = environment()
    print("Measured on: " + "; ".join(f"{name} {value}" for name, value in where.items()) + ".", flush=True)
    with tempfile.TemporaryDirectory() as directory, stores() as available:
        measurement = Measurement(Path(directory), options, available)
        for part in options.parts:
            print(f"\n{PARTS[part](measurement)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({**measurement.figures, "environment": where}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--enrolments", type=int, default=600, metavar="N", help="per round (default 600)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of each kind (default 7)")
    parser.add_argument("--polls", type=int, default=4000, metavar="N", help="of each store (default 4000)")
    parser.add_argument("--stored", type=int, default=1_000_000, metavar="N", help="in the larger (default 1000000)")
    parser.add_argument("--backlog", type=int, default=2000, metavar="N", help="requests (default 2000)")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {unknown[0]}")
    options.parts = options.parts or list(PARTS)
    options.enrolments, options.rounds = max(options.enrolments, 100), max(options.rounds, 2)
    return options


if __name__ == "__main__":
    main()
