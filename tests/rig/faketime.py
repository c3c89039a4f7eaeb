"""libfaketime: the time of day of a process, which a test moves while the process runs. Its monotonic clock is real."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.rig.programs import absent


class WallClock:
    """The time of day of every process that is started with :attr:`environment`; at first it is the true one.

    ``unhurried`` is the environment of one that has much to do, and notices up to a second late that it was moved.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Files keep their true times: a process compares those with each other, not with a clock.
            "NO_FAKE_STAT": "1",
        }
        # What asks the file each time may find it half read by another thread; so does a process once in many hundred
        # thousand times. This asks once in a second.
        self.unhurried = {**self.environment, "FAKETIME_NO_CACHE": "0", "FAKETIME_CACHE_DURATION": "0"}
        self.set(0)

    def set(self, seconds: int) -> None:
        """From now on the clock is this much ahead of the true time, or behind it."""
        # The processes read the file whenever they ask for the time, so it is replaced as a whole.
        changed = self._file.with_suffix(".new")
        changed.write_text(f"{seconds:+d}\n")
        os.replace(changed, self._file)


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    """A clock for the processes of one test."""
    found = find_spec("libfaketime")
    places = [Path(place) for place in found.submodule_search_locations or ()] if found else []
    libraries = [library for place in places for library in place.glob("vendor/libfaketime/src/libfaketime.so*")]
    if not libraries:
        absent("libfaketime is not installed: it is among the extras of the tests")
    return WallClock(libraries[0], tmp_path / "wall-clock")
